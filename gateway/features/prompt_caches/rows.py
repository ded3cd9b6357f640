"""Blocks of prompts as rows of bytes, so that a long prompt consists of few objects.

A row has a digest and the bytes of all blocks of its section up to its end. So it identifies a beginning, whose earlier
rows may be missing."""

from collections.abc import Sequence
from hashlib import blake2b
from struct import Struct
from typing import Final, NamedTuple

import msgspec
from xxhash import xxh3_128_digest

from gateway.features.prompt_caches.structures import MutableStructure
from gateway.features.prompt_caches.tables.layouts import LAYOUTS
from streams.surrogates import NOT_JSON

END: Final = 10
"""Bytes of the digest of a beginning."""

STRICT: Final = 8
"""Bytes of a strict digest."""

LOOSE: Final = 4
"""Bytes of a loose digest, and of the digests of a tool's parts."""

_ROW: Final = Struct(f"!{END}s{STRICT}s{LOOSE}sIihBBBB")
_TOTAL: Final = Struct(f"!{END + STRICT + LOOSE}xI")
ROW: Final = _ROW.size
_START: Final = b"", b"", b"", 0
_MOST: Final = 2**32 - 1
_MOST_PARTS: Final = 2**15 - 1

MARKS: Final = ("", "5m", "30m", "1h", "12h", "24h")
"""The lifetimes that marks of blocks state, for a mark with the number after its index; other ones count as none."""

_MARK_NUMBERS: Final = {word: number + 1 for number, word in enumerate(MARKS)}

PLACES: Final = tuple(dict.fromkeys(pair for layout in LAYOUTS.values() for pair in layout.places()))
"""The member of a request with a block's item, and the member of the item with the block, by number."""

PLACE_NUMBERS: Final = {pair: number for number, pair in enumerate(PLACES)}
_LABELS: Final = (b"tool\0", b"system\0", b"user\0", b"assistant\0")

LONGEST: Final = 4 * 2**20
"""Bytes of JSON that are read in one call, which other threads wait for: some 20 milliseconds. Longer values, such as
media, have to be spelled alike in each turn."""


class RawBlock(MutableStructure):
    """A block's compact JSON without marks.

    ``place``, ``index`` and ``part`` are its path, as in ``PromptBlock``. ``mark`` is the lifetime of the mark at its
    end, "" if the mark states none, ``None`` without a mark. ``text`` is the JSON of its text, if it is one."""

    place: int
    index: int
    part: int
    role: int
    kind: int
    raw: bytes
    mark: str | None = None
    text: bytes | None = None


class PromptBlock(NamedTuple):
    """A tool, a system text or a content block of a message, as a row has it.

    - ``end``: the digest of its section up to its end. ``total``: the bytes up to there.
    - ``strict``: the keyed digest of its role and its JSON as sent, without white space, marks and the parts that the
      provider ignores. ``loose``: the same with sorted members, equal numbers and equal escapes; zeros if unknown.
    - ``number``, ``part``, ``place``: its path in the request, such as ``messages[7].content[2]``; -1 is left out."""

    end: bytes
    strict: bytes
    loose: bytes
    total: int
    number: int
    part: int
    place: int
    role: int
    kind: int
    mark: int

    @property
    def path(self) -> str:
        """The client's path to the block."""
        return self.item_path if self.part < 0 else f"{self.item_path}.{PLACES[self.place][1]}[{self.part}]"

    @property
    def item_path(self) -> str:
        """The path of the whole item."""
        where = PLACES[self.place][0]
        return where if self.number < 0 else f"{where}[{self.number}]"


def block_at(rows: bytes, number: int) -> PromptBlock:
    """Return the block of a row."""
    return PromptBlock(*_ROW.unpack_from(rows, number * ROW))


def blocks_of(rows: bytes) -> list[PromptBlock]:
    """Return the blocks of all rows."""
    return [PromptBlock(*row) for row in _ROW.iter_unpack(rows)]


def end_at(rows: bytes, number: int) -> bytes:
    """Return the digest of the first ``number`` blocks."""
    return rows[(number - 1) * ROW : (number - 1) * ROW + END] if number else b""


def total_at(rows: bytes, number: int) -> int:
    """Return the bytes of the first ``number`` blocks."""
    total: int = _TOTAL.unpack_from(rows, (number - 1) * ROW)[0] if number else 0
    return total


def strict_at(rows: bytes, number: int) -> bytes:
    """Return a block's strict digest, which only equal JSON shares."""
    return rows[number * ROW + END : number * ROW + END + STRICT]


def roles_of(rows: bytes) -> bytes:
    """Return the role of each block."""
    return rows[ROW - 3 :: ROW]


def kinds_of(rows: bytes) -> bytes:
    """Return the kind of each block."""
    return rows[ROW - 2 :: ROW]


def marks_of(rows: bytes) -> bytes:
    """Return the mark of each block: the number of its lifetime in ``MARKS`` plus one, 0 without a mark."""
    return rows[ROW - 1 :: ROW]


def make_rows(blocks: Sequence[RawBlock], key: bytes, before: bytes = b"", *, has_loose: bool = True) -> bytes:
    """Return the rows of ``blocks`` after the rows ``before``. Without ``has_loose`` they have no loose digests."""
    end, _, _, total, *_ = _ROW.unpack(before[-ROW:]) if before else _START
    rows = []
    for one in blocks:
        label, raw, mark = _LABELS[one.role], one.raw, one.mark
        strict, loose = _digests_of(label, raw, key, has_loose=has_loose)
        end = join_digests(end, strict)
        total += len(raw)
        rows.append(
            _ROW.pack(
                end, strict, loose, total if total < _MOST else _MOST, one.index,
                one.part if one.part < _MOST_PARTS else _MOST_PARTS, one.place, one.role, one.kind,
                0 if mark is None else _MARK_NUMBERS.get(mark, 1),
            )
        )  # fmt: skip
    return b"".join(rows)


def append_rows(before: bytes, rows: bytes, *, items_only: bool = False) -> bytes:
    """Return ``rows`` after the rows ``before``, with ``items_only`` without those of no item."""
    if not rows or (not before and not items_only):
        return before or rows
    count = len(before) // ROW
    end, total, earlier, found = end_at(before, count), total_at(before, count), 0, [before]
    for _, strict, loose, until, index, *others in _ROW.iter_unpack(rows):
        size, earlier = until - earlier, until
        if index >= 0 or not items_only:
            end = join_digests(end, strict)
            total = min(total + size, _MOST)
            found.append(_ROW.pack(end, strict, loose, total, index, *others))
    return b"".join(found)


def join_digests(before: bytes, digest: bytes) -> bytes:
    """Return the digest of a beginning that ends with a block's ``digest``. Both have the key already."""
    return xxh3_128_digest(before + digest)[:END]


def short_digest(raw: bytes, key: bytes, size: int = LOOSE) -> bytes:
    return blake2b(raw, digest_size=size, key=key).digest()


def _digests_of(label: bytes, raw: bytes, key: bytes, *, has_loose: bool) -> tuple[bytes, bytes]:
    """Return the strict digest of JSON, and the loose one: without regard to order of members, escapes and spellings of
    numbers.

    Tool calls have their arguments as JSON in a string, which is read as well. Very long JSON has no loose one."""
    if len(raw) > LONGEST:
        digest = blake2b(label, digest_size=STRICT, key=key)
        digest.update(raw)  # without a copy
        return digest.digest(), bytes(LOOSE)
    strict = blake2b(label + raw, digest_size=STRICT, key=key).digest()
    if not has_loose:
        return strict, bytes(LOOSE)
    try:
        value = _LOOSELY.decode(raw)
        text = msgspec.json.encode(_with_arguments(value) if b'"arguments"' in raw else value, order="sorted")
    except NOT_JSON:
        return strict, bytes(LOOSE)
    return strict, xxh3_128_digest(label + text, int.from_bytes(key[:8]))[:LOOSE]


def _to_number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


_LOOSELY: Final = msgspec.json.Decoder(float_hook=_to_number)


def _with_arguments(value: object) -> object:
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
