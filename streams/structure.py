"""JSON's structure, counted before it is decoded: a few bytes of it may become a hundred of memory.

``[],`` is three bytes and a list of 64, ``{"a":1},`` eight and an object of 240. Strings cost what they have bytes.
"""

from typing import Final

PIECE: Final = 128 * 1024
"""Bytes that are looked at in one go, which takes some hundred microseconds: between two of them other threads run."""

LOOK: Final = 16 * 1024
"""Bytes after each of which it is asked whether the rest can still matter."""

ELEMENTS: Final = 200_000
"""Arrays, objects and commas that a provider's event or whole answer may have: 20 MB of memory at most, and less than a
tenth of a second to decode, in one call in which no stream moves. A whole answer of 20,000 tokens with their
probabilities has as many."""

UNFOLDS: Final = f"of more than {ELEMENTS:,} JSON elements"

_STRUCTURE: Final = b"[{,"


def holds_more(data: bytes, most: int) -> bool:
    """Return whether the JSON in ``data`` has more than ``most`` arrays, objects and commas, which is nearly the number
    of its values. Those in strings do not count. ``data`` need not be valid; work is linear in it, and ends as soon as
    the answer is known. One comparison for what has no more bytes than that."""
    return _may_hold_more(data, most) and _count(data, most) > most


def _may_hold_more(data: bytes, most: int) -> bool:
    """Return false if there are not more with those in strings. Looks at no more than has to be: it is false once so
    many other bytes have been seen that the rest cannot be more than ``most``, as of a long text."""
    found, start, size = 0, 0, len(data)
    while start < size and found <= most < found + size - start:
        piece = data[start : start + LOOK]
        found += _signs(piece)
        start += LOOK
    return found > most


def count(data: bytes, most: int, few: int) -> int:
    """Return the number of those, counted as far as ``most``. Where there are no more than ``few`` with those in
    strings it is the number of both, which is cheaper to tell."""
    with_strings = _count_all(data, few)
    return with_strings if with_strings <= few else _count(data, most)


def _count_all(data: bytes, most: int) -> int:
    total, start = 0, 0
    while start < len(data) and total <= most:
        total += _signs(data[start : start + PIECE])
        start += PIECE
    return total


def _count(data: bytes, most: int) -> int:
    total, quoted, start = 0, False, 0
    while start < len(data) and total <= most:
        end = _whole_escapes(data, start + PIECE)
        bare = data[start:end].replace(rb"\\", b"").replace(rb"\"", b"")
        parts = bare.split(b'"')
        total += _signs(b"".join(parts[quoted::2]))
        quoted ^= len(parts) % 2 == 0
        start = end
    return total


def _signs(piece: bytes) -> int:
    return len(piece) - len(piece.translate(None, _STRUCTURE))


def _whole_escapes(data: bytes, end: int) -> int:
    """Return ``end``, or one more where that would part a backslash from what it escapes."""
    head = data[max(0, end - PIECE) : end]
    return end + (len(head) - len(head.rstrip(b"\\"))) % 2
