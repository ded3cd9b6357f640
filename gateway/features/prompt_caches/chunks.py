"""Chunks of system texts at fixed places, by which a difference of two texts is found although neither is kept."""

import re
from bisect import bisect_left, bisect_right
from functools import lru_cache
from hashlib import blake2b
from itertools import accumulate, pairwise
from struct import Struct
from typing import Final, Literal, TypeAlias

ValueClass: TypeAlias = Literal["time", "date", "uuid", "hash", "number"]
"""The kind of a value that changes between requests. Nothing else of a text is known after it was read."""

_SPANS: Final = (64,) * 160 + (128,) * 48 + (1024,) * 32 + (16 * 1024,) * 15
_STARTS: Final = (0, *accumulate(_SPANS))
"""The places in a text where chunks begin, the same in every text. The last chunk has the rest of a long one."""

_HEAD: Final = Struct("!IB")
_CHUNK: Final = Struct("!QIB")
CHUNK: Final = _CHUNK.size
_WORDS: Final = 2**64
_SHORT_WORDS: Final = 2**32

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
"""The length of a text in characters, and how often pairs of its chunks were merged. Then for each chunk a digest of
its text, one of the values in it, and the class of the most specific value. The digests of two chunks together are the
sums of theirs."""


def read_chunks(text: str, key: bytes) -> TextChunks:
    """Return the chunks of ``text``."""
    starts = _starts_of(len(text))
    kinds, values = _read_values(text, starts, key)
    digests = [
        int.from_bytes(blake2b(text[start:end].encode(errors="surrogatepass"), digest_size=8, key=key).digest())
        for start, end in pairwise((*starts, len(text)))
    ]
    return _HEAD.pack(min(len(text), 2**32 - 1), 0) + b"".join(map(_CHUNK.pack, digests, values, kinds))


@lru_cache(maxsize=64)
def limit_chunks(chunks: TextChunks, most: int) -> TextChunks:
    """Return ``chunks`` as at most ``most``, larger ones.

    The same chunks are remembered in each turn, so the last results are kept."""
    while len(chunks) // CHUNK > most:
        chunks = _merge_pairs(chunks)
    return chunks


def changed_span(old: TextChunks, new: TextChunks) -> tuple[int, int, ValueClass | None] | None:
    """Return the first characters of ``new`` that differ from ``old``, by chunks, and the class of the value there.

    A class requires that the values in the chunk differ. The span ends where equal chunks follow, if both texts have
    the same length. ``None`` if no chunk differs."""
    before, after, starts = _align(old, new)
    count, is_same_length = min(len(before), len(after)), length_of(old) == length_of(new)
    first = next((at for at in range(count) if before[at][0] != after[at][0]), count)
    if first == len(before) == len(after):
        return None
    last = first + 1
    while is_same_length and last < count and before[last][0] != after[last][0]:
        last += 1
    kind = None
    if first < len(after) and (first >= len(before) or before[first][1] != after[first][1]):
        kind = _CLASSES[after[first][2]]
    return starts[first], starts[min(last, len(after))], kind


def equal_share(old: TextChunks, new: TextChunks) -> float:
    """Return the share of the characters of ``new`` that are equal in ``old``, at the same places."""
    before, after, starts = _align(old, new)
    pairs = zip(before, after, pairwise(starts), strict=False)
    return sum(end - start for one, other, (start, end) in pairs if one[0] == other[0]) / max(1, starts[-1])


def length_of(chunks: TextChunks) -> int:
    """Return the characters of a text."""
    length: int = _HEAD.unpack_from(chunks)[0]
    return length


_Chunks: TypeAlias = list[tuple[int, int, int]]


def _align(old: TextChunks, new: TextChunks) -> tuple[_Chunks, _Chunks, tuple[int, ...]]:
    """Return the chunks of both texts, merged equally often, with the starts of those of ``new`` and its end."""
    while old[_HEAD.size - 1] < new[_HEAD.size - 1]:
        old = _merge_pairs(old)
    while new[_HEAD.size - 1] < old[_HEAD.size - 1]:
        new = _merge_pairs(new)
    length, merged = _HEAD.unpack_from(new)
    return _split(old), _split(new), (*_starts_of(length)[:: 2**merged], length)


def _merge_pairs(chunks: TextChunks) -> TextChunks:
    """Return chunks that are each two of ``chunks``."""
    length, merged = _HEAD.unpack_from(chunks)
    found, all_chunks = [_HEAD.pack(length, merged + 1)], _split(chunks)
    for at in range(0, len(all_chunks), 2):
        digests, values, kinds = zip(*all_chunks[at : at + 2], strict=True)
        kind = min([one for one in kinds if one], default=0)
        found.append(_CHUNK.pack(sum(digests) % _WORDS, sum(values) % _SHORT_WORDS, kind))
    return b"".join(found)


def _starts_of(length: int) -> tuple[int, ...]:
    """Return where the chunks of a text of ``length`` characters begin."""
    return _STARTS[: bisect_left(_STARTS, max(length, 1))]


def _split(chunks: TextChunks) -> _Chunks:
    return [*_CHUNK.iter_unpack(chunks[_HEAD.size :])]


def _read_values(text: str, starts: tuple[int, ...], key: bytes) -> tuple[list[int], list[int]]:
    """Return for each chunk the class of its most specific value, and the sum of its values' digests."""
    kinds, values = [0] * len(starts), [0] * len(starts)
    for count, found in enumerate(_VALUES.finditer(text)):
        if count == _MOST_VALUES:
            return [0] * len(starts), [0] * len(starts)
        kind = _CLASSES.index(found.lastgroup)
        digest = int.from_bytes(blake2b(found[0].encode(), digest_size=4, key=key).digest())
        for at in range(bisect_right(starts, found.start()) - 1, bisect_right(starts, found.end() - 1)):
            kinds[at] = min(kinds[at] or kind, kind)
            values[at] = (values[at] + digest) % _SHORT_WORDS
    return kinds, values
