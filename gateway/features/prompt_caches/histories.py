"""Reader of the messages of a request: the first and the last blocks, and a cumulative digest after each."""

import re
from functools import cache
from hashlib import blake2b
from typing import Final

import msgspec

from gateway.features.prompt_caches.digests import compact_json
from gateway.features.prompt_caches.items import LIST, RawBlock, pack_blocks, split_item, text_part
from gateway.features.prompt_caches.memo import BlockMemo, KnownPart
from gateway.features.prompt_caches.packed_blocks import ROLE_NUMBERS, PackedBlocks, join_blocks, join_ends, next_digest
from gateway.features.prompt_caches.prompt_blocks import DIGEST, HEAD, TAIL
from gateway.features.prompt_caches.structures import Structure
from gateway.features.prompt_caches.tables.layouts import PromptLayout

_BETWEEN: Final = b" \t\r\n,"
_ASSISTANT: Final = ROLE_NUMBERS["assistant"]


class ReadHistory(Structure, frozen=True):
    """The blocks of the first ``items`` items of a history, as in ``PromptDigest``.

    ``blocks`` are the first ``head`` blocks and the last ones; those between them are the gap. ``count`` and ``size``
    are the number and the bytes of all blocks. ``system`` are blocks of the section ``system``, outside the history.
    ``has_items``: a memo may have the items after it."""

    items: int = 0
    system: PackedBlocks = msgspec.field(default_factory=PackedBlocks)
    blocks: PackedBlocks = msgspec.field(default_factory=PackedBlocks)
    head: int = 0
    count: int = 0
    size: int = 0
    has_answer: bool = False
    digests: bytes = b""
    has_items: bool = False

    @property
    def gap(self) -> int:
        """The number of blocks between the first and the last ones."""
        return self.count - len(self.blocks)

    @property
    def gap_digest(self) -> bytes:
        """The cumulative digest at the end of the gap."""
        end = (self.head + self.gap) * DIGEST
        return self.digests[end - DIGEST : end] if self.gap else b""


class _Collector:
    """The history that is being read, from a known beginning on."""

    def __init__(self, start: ReadHistory, key: bytes) -> None:
        self._start = start
        self._key = key
        self._system: list[RawBlock] = []
        self._kept: list[PackedBlocks] = []
        self._digests = [start.digests]
        self._last = start.digests[-DIGEST:]
        self._joined = start.blocks
        self.count = start.count
        self._size = start.size
        self.items = start.items
        self._has_answer = start.has_answer

    def add_system(self, block: RawBlock) -> None:
        self._system.append(block)

    def skip(self, blocks: list[RawBlock]) -> None:
        """Add the next blocks of the history, which are in the gap: only their digests count."""
        self._join_kept(HEAD, 0)
        for block in blocks:
            self._last = next_digest(self._last, block.strict(self._key))
            self._digests.append(self._last)
            self.count += 1
            self._size += len(block.raw)
            self._has_answer = self._has_answer or block.role == "assistant"

    def add(self, blocks: PackedBlocks) -> None:
        """Add the next blocks of the history."""
        self.count += blocks.length
        self._kept.append(blocks)

    def _join_kept(self, head: int = HEAD, tail: int = TAIL) -> None:
        """Join the added blocks, and drop those between the first ``head`` and the last ``tail`` ones."""
        kept, last = self._kept, self._last
        if not kept and len(self._joined) <= head + tail:
            return
        for blocks in kept:
            for strict, size in blocks.digests_and_sizes():
                last = blake2b(last + strict, digest_size=DIGEST).digest()
                self._digests.append(last)
                self._size += size
            self._has_answer = self._has_answer or _ASSISTANT in blocks.roles
        self._last, self._kept = last, []
        self._joined = join_ends((self._joined, *kept), head, tail)

    def to_history(self) -> ReadHistory:
        """Return the history up to here."""
        self._join_kept()
        blocks, system = self._joined, self._start.system
        if self._system:
            system = join_blocks((system, pack_blocks(self._system, self._key, has_chunks=True)))
        return ReadHistory(
            self.items, system, blocks, min(HEAD, blocks.length), self.count, self._size, self._has_answer,
            b"".join(self._digests),
        )  # fmt: skip


def read_history(
    layout: PromptLayout, where: str, raw: memoryview, key: bytes, memo: BlockMemo | None, name: str,
    known: KnownPart[object] | None = None, earlier: int = 0,
) -> ReadHistory:  # fmt: skip
    """Return the history in ``raw``, a JSON list of items, or a text that is one user message.

    ``memo`` remembers it, under ``name``, with the last item without its mark: so the next request of the conversation,
    which has other marks, parses only the new items. If an earlier item has a mark, it remembers the history up to
    there, and the items of the rest with and without their marks. ``known`` is a beginning that it has found already.
    The first ``earlier`` items are stored turns. The memo ends after them: the next ones get ids when they are stored,
    so the next request has other JSON for them."""
    first = bytes(raw[:1])
    if first == b'"':
        text = bytes(raw)
        collector = _Collector(ReadHistory(), key)
        collector.add(pack_blocks([RawBlock(where, -1, "", -1, "user", "text", text_part(text), None, text)], key))
        return collector.to_history()
    if first != b"[":
        return ReadHistory()
    if known is None and memo is not None:
        known = memo.longest_part(name, raw)
    start, begin = (ReadHistory(), 1) if known is None else (known.value, _next_item(raw, known.length))
    assert isinstance(start, ReadHistory)
    items = LIST.decode(b"[" + bytes(raw[begin:]))
    collector, reader = (
        _Collector(start, key),
        _ItemReader(layout, where, name, key, memo, known is None or start.has_items),
    )
    marked, unmarked = reader.read_all(collector, items, earlier)
    history = collector.to_history()
    if memo is not None:
        number, stored = marked or (len(items), history)
        end = 0 if known is None else known.length
        if number:
            end = _end_of_items(raw, begin, items, number)
        if unmarked:
            end -= len(items[-1])
            stored = msgspec.structs.replace(history, blocks=PackedBlocks(history.blocks.rows))
        elif number < len(items):
            stored = msgspec.structs.replace(stored, has_items=True)
        if end > 1 or unmarked:
            # ``PromptFront.with_system`` may keep a copy of the system texts.
            size = len(stored.digests) + stored.blocks.memory_size + 2 * stored.system.memory_size
            memo.store_part(name, raw, end, stored, size, known, unmarked)
    return history


class _ItemReader(Structure, frozen=True):
    """The reader of the items of a history, with a memo of the last ones, which may know some (``has_items``)."""

    layout: PromptLayout
    where: str
    name: str
    key: bytes
    memo: BlockMemo | None
    has_items: bool

    def read_all(
        self, collector: _Collector, items: list[msgspec.Raw], earlier: int
    ) -> tuple[tuple[int, ReadHistory] | None, bytes]:
        """Add ``items`` to ``collector``. Return how many are before those with changing JSON, with the history there.

        If only the last one changes, by its mark, return ``None``, and this item without its mark."""
        marked: tuple[int, ReadHistory] | None = None
        for number, item in enumerate(items):
            if earlier and collector.items == earlier and marked is None:
                marked = number, collector.to_history()
            if number + TAIL < len(items) and collector.count >= HEAD:
                blocks = split_item(self.layout, self.where, collector.items, compact_json(bytes(item)))
                if marked is None and any(block.mark is not None for block in blocks):
                    marked = number, collector.to_history()
                collector.skip(blocks)
            elif collector.count or not self.layout.system_roles or not self.read_system(collector, item):
                packed = self.read(collector.items, item, is_stored=marked is not None)
                if packed.marks and marked is None and self.memo is not None:
                    unmarked = self.without_mark(item, packed) if number + 1 == len(items) else b""
                    if unmarked:
                        collector.add(packed)
                        collector.items += 1
                        return None, unmarked
                    marked = number, collector.to_history()
                    self.store(collector.items, item, packed)
                collector.add(packed)
            collector.items += 1
        return marked, b""

    def read_system(self, collector: _Collector, item: msgspec.Raw) -> bool:
        """Add an item before the history if it belongs to the section ``system``, and return whether it does."""
        blocks = self._split(collector.items, bytes(item))
        if not blocks or any(block.role != "system" for block in blocks):
            return False
        for block in blocks:
            collector.add_system(block)
        return True

    def read(self, index: int, item: msgspec.Raw, *, is_stored: bool) -> PackedBlocks:
        """Return the blocks of an item."""
        raw = bytes(item)
        if self.has_items and self.memo is not None:
            known = self.memo.value(f"{self.name}:{index}:{len(raw)}", raw)
            if known is not None:
                assert isinstance(known, PackedBlocks)
                return known
        packed = pack_blocks(self._split(index, raw), self.key)
        if is_stored:
            self.store(index, item, packed)
        return packed

    def store(self, index: int, item: msgspec.Raw, packed: PackedBlocks) -> None:
        """Remember the blocks of an item, also in the form without its mark that the next request will have."""
        if self.memo is None:
            return
        name = f"{self.name}:{index}"
        self.memo.store(f"{name}:{len(item)}", (item,), packed, packed.memory_size)
        if unmarked := self.without_mark(item, packed):
            bare = PackedBlocks(packed.rows)
            self.memo.store(f"{name}:{len(unmarked)}", (unmarked,), bare, bare.memory_size)

    def without_mark(self, item: msgspec.Raw, packed: PackedBlocks) -> bytes:
        """Return the JSON of an item without its only mark, b"" if it has another number of marks."""
        raw = bytes(item)
        if len(packed.marks) != 1 or sum(map(raw.count, _mark_names(self.layout))) != 1:
            return b""
        unmarked, count = _mark_pattern(self.layout).subn(b"", raw)
        return unmarked if count else b""

    def _split(self, index: int, raw: bytes) -> list[RawBlock]:
        return split_item(self.layout, self.where, index, compact_json(raw))


@cache
def _mark_names(layout: PromptLayout) -> tuple[bytes, ...]:
    return tuple(b'"%b"' % name.encode() for name in (*layout.marks, *layout.mark_block))


@cache
def _mark_pattern(layout: PromptLayout) -> re.Pattern[bytes]:
    """Return the pattern of a mark that is not the first member of its block, or not the first block."""
    space, members = rb"\s*", rb"|".join(name.encode() for name in layout.marks)
    mark = rb'"(?:%b)"%b:%b\{[^{}]*\}' % (members, space, space)
    if layout.mark_block:
        blocks = rb"|".join(name.encode() for name in layout.mark_block)
        mark += rb'|\{%b"(?:%b)"%b:%b\{[^{}]*\}%b\}' % (space, blocks, space, space, space)
    return re.compile(rb",%b(?:%b)" % (space, mark))


def _next_item(raw: memoryview, at: int) -> int:
    """Return the position of the item, or of the list's end, after the item that ends at ``at``."""
    while raw[at] in _BETWEEN:
        at += 1
    return at


def _end_of_items(raw: memoryview, begin: int, items: list[msgspec.Raw], number: int) -> int:
    """Return the position in ``raw`` after the first ``number`` of the ``items`` that begin at ``begin``."""
    if len(raw) == begin + sum(map(len, items)) + len(items):  # no white space between them
        return begin + sum(map(len, items[:number])) + number - 1
    for item in items[:number]:
        begin = _next_item(raw, begin) + len(item)
    return begin
