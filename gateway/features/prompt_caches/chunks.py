"""Chunks of system texts at fixed places, by which a difference of two texts is found although neither is kept."""

import re
from bisect import bisect_left, bisect_right
from hashlib import blake2b
from itertools import accumulate, pairwise
from struct import Struct
from typing import Final, Literal, TypeAlias

ValueClass: TypeAlias = Literal["time", "date", "uuid", "hash", "number"]
"""The kind of a value that changes between requests. Nothing else of a text is known after it was read."""

_SPANS: Final = (64,) * 160 + (128,) * 48 + (1024,) * 32 + (16 * 1024,) * 15
_STARTS: Final = (0, *accumulate(_SPANS))
"""The places in a text where chunks begin, the same in every text. The last chunk has the rest of a long one."""

_HEAD: Final = Struct("!I")
_CHUNK: Final = Struct("!8s4sB")
CHUNK: Final = _CHUNK.size

_MOST_VALUES: Final = 4096
"""The values of a text that are recognized; a text with more has no classes."""

_CLASSES: Final[tuple[ValueClass | None, ...]] = (None, "uuid", "time", "date", "hash", "number")
"""The classes by number, the more specific first."""

_MONTH: Final = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?"
_DAY: Final = r"(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?\b"
_VALUES: Final = re.compile(
    r"\b(?:(?P<uuid>[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})"
    r"|(?P<time>(?:\d{4}-\d\d-\d\d[T ])?\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:\s?[AaPp][Mm]\b|Z|[+-]\d\d:?\d\d)?)"
    rf"|(?P<date>\d{{4}}[-/]\d\d[-/]\d\d|\d{{1,2}}[./]\d{{1,2}}[./]\d{{2,4}}|{_DAY}(?:,? {_MONTH} \d{{1,2}})?"
    rf"|{_MONTH} \d{{1,4}}(?:st|nd|rd|th)?(?:,? \d{{4}})?|\d{{1,2}}(?:st|nd|rd|th)? {_MONTH}(?: \d{{4}})?)"
    r"|(?P<hash>(?=[0-9a-fA-F]{0,64}[0-9])(?=[0-9a-fA-F]{0,64}[a-fA-F])[0-9a-fA-F]{7,64}\b)"
    r"|(?P<number>\d{1,100}(?:[.,]\d{1,100}){0,100}))"
)

TextChunks: TypeAlias = bytes
"""The length of a text in characters, then for each chunk a digest of its text, a digest of the values in it, and the
class of the most specific value. A text without room for all chunks has the first ones."""


def read_chunks(text: str, key: bytes) -> TextChunks:
    """Return the chunks of ``text``."""
    starts = _starts_of(len(text))
    kinds, values = _read_values(text, starts, key)
    digests = [
        blake2b(text[start:end].encode(errors="surrogatepass"), digest_size=8, key=key).digest()
        for start, end in pairwise((*starts, len(text)))
    ]
    return _HEAD.pack(min(len(text), 2**32 - 1)) + b"".join(map(_CHUNK.pack, digests, values, kinds))


def limit_chunks(chunks: TextChunks, most: int) -> TextChunks:
    """Return the first ``most`` chunks."""
    return chunks[: _HEAD.size + most * CHUNK]


def changed_span(old: TextChunks, new: TextChunks) -> tuple[int, int, ValueClass | None] | None:
    """Return the first characters of ``new`` that differ from ``old``, by chunks, and the class of the value there.

    A class requires that the values in the chunk differ. The span ends where equal chunks follow, if both texts have
    the same length. After the last known chunk it ends with the text. ``None`` if no chunk differs."""
    before, after = _split(old), _split(new)
    length, count = length_of(new), min(len(before), len(after))
    is_same_length = length_of(old) == length
    first = next((at for at in range(count) if before[at][0] != after[at][0]), count)
    if first == count and is_same_length and count == len(_starts_of(length)):
        return None
    last = first + 1
    while is_same_length and last < count and before[last][0] != after[last][0]:
        last += 1
    kind = None
    if first < len(after) and (first >= len(before) or before[first][1] != after[first][1]):
        kind = _CLASSES[after[first][2]]
    start = min(_STARTS[min(first, len(_SPANS))], length)
    end = length if last > len(_SPANS) or first >= len(after) else min(_STARTS[last], length)
    return start, max(start, end), kind


def equal_share(old: TextChunks, new: TextChunks) -> float:
    """Return the share of the characters of ``new`` that are equal in ``old``, at the same places."""
    length = length_of(new)
    ends = [min(one, length) for one in (*_STARTS[1:], length)]
    pairs = zip(_split(old), _split(new), _STARTS, ends, strict=False)
    return sum(end - start for one, other, start, end in pairs if one[0] == other[0]) / max(1, length)


def length_of(chunks: TextChunks) -> int:
    """Return the characters of a text."""
    length: int = _HEAD.unpack_from(chunks)[0]
    return length


def _starts_of(length: int) -> tuple[int, ...]:
    """Return where the chunks of a text of ``length`` characters begin."""
    return _STARTS[: bisect_left(_STARTS, max(length, 1))]


def _split(chunks: TextChunks) -> list[tuple[bytes, bytes, int]]:
    return [*_CHUNK.iter_unpack(chunks[_HEAD.size :])]


def _read_values(text: str, starts: tuple[int, ...], key: bytes) -> tuple[list[int], list[bytes]]:
    """Return for each chunk the class of its most specific value, and the digest of all its values."""
    kinds, values = [0] * len(starts), [b""] * len(starts)
    for count, found in enumerate(_VALUES.finditer(text)):
        if count == _MOST_VALUES:
            return [0] * len(starts), [bytes(4)] * len(starts)
        kind = _CLASSES.index(found.lastgroup)
        for at in range(bisect_right(starts, found.start()) - 1, bisect_right(starts, found.end() - 1)):
            kinds[at] = min(kinds[at] or kind, kind)
            values[at] = blake2b(values[at] + found[0].encode(), digest_size=4, key=key).digest()
    return kinds, [value or bytes(4) for value in values]
