"""JSON's structure, counted before it is decoded: a few bytes of it may become a hundred of memory.

``[],`` is three bytes and a list of 64, ``{"a":1},`` eight and an object of 240. Strings cost what they have bytes.
"""

from typing import Final

PIECE: Final = 128 * 1024
"""Bytes that are looked at in one go, which takes some hundred microseconds: between two of them other threads run."""

_STRUCTURE: Final = b"[{,"


def holds_more(data: bytes, most: int) -> bool:
    """Whether the JSON in ``data`` has more than ``most`` arrays, objects and commas, which is nearly the number of its
    values. Those in strings do not count. ``data`` need not be valid; work is linear in it, and ends as soon as the
    answer is known. One comparison for what has no more bytes than that."""
    if len(data) <= most or not _may_hold_more(data, most):
        return False
    count, quoted, start = 0, False, 0
    while start < len(data) and count <= most:
        end = _whole_escapes(data, start + PIECE)
        bare = data[start:end].replace(rb"\\", b"").replace(rb"\"", b"")
        parts = bare.split(b'"')
        count += _signs(b"".join(parts[quoted::2]))
        quoted ^= len(parts) % 2 == 0
        start = end
    return count > most


def _may_hold_more(data: bytes, most: int) -> bool:
    """The same where strings count as well: cheap, and enough for most."""
    count, start = 0, 0
    while start < len(data) and count <= most:
        count += _signs(data[start : start + PIECE])
        start += PIECE
    return count > most


def _signs(piece: bytes) -> int:
    return len(piece) - len(piece.translate(None, _STRUCTURE))


def _whole_escapes(data: bytes, end: int) -> int:
    """``end``, or one more where that would part a backslash from what it escapes."""
    head = data[max(0, end - PIECE) : end]
    return end + (len(head) - len(head.rstrip(b"\\"))) % 2
