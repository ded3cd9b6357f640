"""Counting of JSON elements before decoding, because a few bytes may decode to a hundred bytes of memory.

``[],`` is three bytes and decodes to a list of 64; ``{"a":1},`` is eight and decodes to an object of 240. Strings take
as much memory as they have bytes.
"""

from typing import Final

PIECE: Final = 128 * 1024
"""Bytes that are scanned in one call, which takes some hundred microseconds; other threads run between calls."""

_CHECK_BYTES: Final = 16 * 1024
"""Bytes between two checks whether the scan can stop early."""

MAX_ELEMENTS: Final = 200_000
"""Limit of arrays, objects and commas in a provider's event or whole answer.

Decoding takes at most 20 MB of memory and less than a tenth of a second, in one call that blocks every stream. An
answer of 20,000 tokens with their probabilities has as many.
"""

UNSCANNED_BYTES: Final = MAX_ELEMENTS * 3 // 2
"""Size in bytes up to which JSON that a decoder reads has at most ``MAX_ELEMENTS``: the smallest, ``[],``, takes three
bytes for two of them. Such data needs no scan."""

TOO_MANY_ELEMENTS: Final = f"of more than {MAX_ELEMENTS:,} JSON elements"

_STRUCTURE: Final = b"[{,"


def has_more_elements(data: bytes, limit: int) -> bool:
    """Return whether the JSON in ``data`` has more than ``limit`` arrays, objects and commas outside strings.

    That number is close to the number of values. ``data`` need not be valid. Work is linear and stops as soon as the
    result is known; ``data`` of at most ``limit`` bytes takes one comparison.
    """
    return _may_have_more_elements(data, limit) and _count_outside_strings(data, limit) > limit


def _may_have_more_elements(data: bytes, limit: int) -> bool:
    """Return false if ``data`` has at most ``limit`` such bytes, in strings or not.

    Stops as soon as the remaining bytes are too few to exceed ``limit``, as in a long text.
    """
    found, start, size = 0, 0, len(data)
    while start < size and found <= limit < found + size - start:
        piece = data[start : start + _CHECK_BYTES]
        found += _count_marks(piece)
        start += _CHECK_BYTES
    return found > limit


def count_elements(data: bytes, limit: int, exact_above: int) -> int:
    """Return the number of arrays, objects and commas, and stop counting soon after ``limit``.

    If there are at most ``exact_above`` including those in strings, returns that number, which is cheaper to determine.
    """
    total, start = 0, 0
    while start < len(data) and total <= exact_above:
        total += _count_marks(data[start : start + PIECE])
        start += PIECE
    return total if total <= exact_above else _count_outside_strings(data, limit)


def _count_outside_strings(data: bytes, limit: int) -> int:
    total, in_string, start = 0, False, 0
    while start < len(data) and total <= limit:
        end = _end_after_escape(data, start + PIECE)
        bare = data[start:end].replace(rb"\\", b"").replace(rb"\"", b"")
        parts = bare.split(b'"')
        total += _count_marks(b"".join(parts[in_string::2]))
        in_string ^= len(parts) % 2 == 0
        start = end
    return total


def _count_marks(piece: bytes) -> int:
    return len(piece) - len(piece.translate(None, _STRUCTURE))


def _end_after_escape(data: bytes, end: int) -> int:
    """Return ``end``, or ``end + 1`` if it would separate a backslash from the character that it escapes."""
    head = data[max(0, end - PIECE) : end]
    return end + (len(head) - len(head.rstrip(b"\\"))) % 2
