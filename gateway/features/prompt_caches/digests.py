"""Digests of JSON values and of texts, so that no text has to be kept."""

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec

from gateway.features.prompt_caches.prompt_blocks import DIGEST, LOOSE, TextChunks, ValueClass
from streams.surrogates import NOT_JSON

MOST_CHUNKS: Final = 256
"""The chunks of a text."""

SHORTEST: Final = 64
"""Characters of the shortest chunks. Longer texts have chunks of twice, four times … as many."""

_MOST_VALUES: Final = 4096
"""The values of a text that are recognized; a text with more has no classes."""

CLASSES: Final[tuple[ValueClass | None, ...]] = (None, "uuid", "time", "date", "hash", "number")
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

_LONGEST: Final = 4 * 2**20
"""Bytes of JSON that are read in one call, which other threads wait for: some 20 milliseconds. Longer values, such as
media, have to be spelled alike in each turn."""

_WORDS: Final = 2**64
_SHORT_WORDS: Final = 2**32


def _to_number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


_LOOSELY: Final = msgspec.json.Decoder(float_hook=_to_number)


def compact_json(raw: bytes) -> bytes:
    """Return ``raw`` without white space between tokens; unchanged if it is no JSON, or very long."""
    if len(raw) > _LONGEST:
        return raw
    try:
        return msgspec.json.format(raw, indent=-1)
    except NOT_JSON:
        return raw


def strict_digest(label: bytes, raw: bytes, key: bytes) -> bytes:
    """Return the digest of compact JSON with a label that ends with a zero, such as its role."""
    if len(raw) <= _LONGEST:
        return blake2b(label + raw, digest_size=DIGEST, key=key).digest()
    digest = blake2b(label, digest_size=DIGEST, key=key)
    digest.update(raw)  # without a copy
    return digest.digest()


def digests_of(label: bytes, raw: bytes, key: bytes) -> tuple[bytes, bytes]:
    """Return the strict digest of JSON, and one without regard to order of members, escapes and spellings of numbers.

    Tool calls have their arguments as JSON in a string, which is read as well. Very long JSON is compared unchanged."""
    if len(raw) > _LONGEST:
        strict = strict_digest(label, raw, key)
        return strict, strict[:LOOSE]
    strict = blake2b(label + raw, digest_size=DIGEST, key=key).digest()
    try:
        value = _LOOSELY.decode(raw)
        text = msgspec.json.encode(_with_arguments(value) if b'"arguments"' in raw else value, order="sorted")
    except NOT_JSON:
        return strict, strict[:LOOSE]
    return strict, blake2b(label + text, digest_size=DIGEST, key=key).digest()[:LOOSE]


def short_digest(raw: bytes, key: bytes, size: int = LOOSE) -> bytes:
    return blake2b(raw, digest_size=size, key=key).digest()


def read_chunks(text: str, key: bytes) -> TextChunks:
    """Return ``text`` in at most ``MOST_CHUNKS`` chunks, with the classes of the values in them."""
    number = -(-len(text) // SHORTEST)
    digests = [
        int.from_bytes(
            blake2b(text[at : at + SHORTEST].encode(errors="surrogatepass"), digest_size=8, key=key).digest()
        )
        for at in range(0, len(text), SHORTEST)
    ]
    kinds, values = _read_values(text, number, key)
    span = SHORTEST
    while len(digests) > MOST_CHUNKS:
        digests, kinds, values = _merge_pairs(digests, kinds, values)
        span *= 2
    return _pack_chunks(span, len(text), digests, kinds, values)


@lru_cache(maxsize=64)
def limit_chunks(chunks: TextChunks, most: int) -> TextChunks:
    """Return ``chunks`` as at most ``most``, larger ones.

    The same chunks are packed in each turn, so the last results are kept."""
    while len(chunks.kinds) > most:
        chunks = _widen(chunks, 2 * chunks.span)
    return chunks


def changed_span(old: TextChunks, new: TextChunks) -> tuple[int, int, ValueClass | None] | None:
    """Return the first characters of ``new`` that differ from ``old``, by chunks, and the class of the value there.

    A class requires that the values in the chunk differ. The span ends where equal chunks follow, if both texts have
    the same length. ``None`` if no chunk differs."""
    old, new = _widen(old, new.span), _widen(new, old.span)
    span, count = new.span, min(len(old.kinds), len(new.kinds))
    first = next(
        (at for at in range(count) if old.digests[8 * at : 8 * at + 8] != new.digests[8 * at : 8 * at + 8]), count
    )
    if first == len(new.kinds) == len(old.kinds):
        return None
    last = first + 1
    if old.length == new.length:
        while last < count and old.digests[8 * last : 8 * last + 8] != new.digests[8 * last : 8 * last + 8]:
            last += 1
    kind = _class_of_change(old, new, first)
    return first * span, min(last * span, max(new.length, first * span)), kind


def equal_share(old: TextChunks, new: TextChunks) -> float:
    """Return the share of the chunks of ``new`` that are equal in ``old``, at the same characters."""
    old, new = _widen(old, new.span), _widen(new, old.span)
    ends = range(8, len(new.digests) + 1, 8)
    return sum(old.digests[end - 8 : end] == new.digests[end - 8 : end] for end in ends) / max(1, len(ends))


def _class_of_change(old: TextChunks, new: TextChunks, at: int) -> ValueClass | None:
    if at >= len(new.kinds):
        return None
    if at < len(old.kinds) and old.values[4 * at : 4 * at + 4] == new.values[4 * at : 4 * at + 4]:
        return None
    return CLASSES[new.kinds[at]]


def _read_values(text: str, number: int, key: bytes) -> tuple[list[int], list[int]]:
    """Return for each of ``number`` chunks the class of its most specific value, and the sum of its values' digests."""
    kinds, values = [0] * number, [0] * number
    for count, found in enumerate(_VALUES.finditer(text)):
        if count == _MOST_VALUES:
            return [0] * number, [0] * number
        kind = CLASSES.index(found.lastgroup)
        digest = int.from_bytes(blake2b(found[0].encode(), digest_size=4, key=key).digest())
        for at in range(found.start() // SHORTEST, (found.end() - 1) // SHORTEST + 1):
            kinds[at] = min(kinds[at] or kind, kind)
            values[at] = (values[at] + digest) % _SHORT_WORDS
    return kinds, values


def _widen(chunks: TextChunks, span: int) -> TextChunks:
    """Return ``chunks`` with at least ``span`` characters each."""
    while chunks.span < span:
        digests = [int.from_bytes(chunks.digests[at : at + 8]) for at in range(0, len(chunks.digests), 8)]
        values = [int.from_bytes(chunks.values[at : at + 4]) for at in range(0, len(chunks.values), 4)]
        merged = _merge_pairs(digests, list(chunks.kinds), values)
        chunks = _pack_chunks(2 * chunks.span, chunks.length, *merged)
    return chunks


def _pack_chunks(span: int, length: int, digests: list[int], kinds: list[int], values: list[int]) -> TextChunks:
    packed = b"".join(digest.to_bytes(8) for digest in digests)
    return TextChunks(span, length, packed, bytes(kinds), b"".join(value.to_bytes(4) for value in values))


def _merge_pairs(digests: list[int], kinds: list[int], values: list[int]) -> tuple[list[int], list[int], list[int]]:
    """Return the digests, classes and values of chunks twice as long."""
    pairs = range(0, len(digests), 2)
    return (
        [sum(digests[at : at + 2]) % _WORDS for at in pairs],
        [min((kind for kind in kinds[at : at + 2] if kind), default=0) for at in pairs],
        [sum(values[at : at + 2]) % _SHORT_WORDS for at in pairs],
    )


def _with_arguments(value: Any) -> Any:
    """Return ``value`` with the arguments of its tool calls decoded."""
    if not isinstance(value, dict):
        return value
    if isinstance(calls := value.get("tool_calls"), list):
        return {**value, "tool_calls": [_with_arguments(call) for call in calls]}
    if isinstance(function := value.get("function"), dict):
        return {**value, "function": _with_arguments(function)}
    if isinstance(arguments := value.get("arguments"), str):
        try:
            return {**value, "arguments": _LOOSELY.decode(arguments)}
        except NOT_JSON:
            return value
    return value
