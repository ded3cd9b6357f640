"""Reader of the messages of a request: the first and the last blocks, and a cumulative digest after each."""

from hashlib import blake2b
from typing import Final

import attrs
import msgspec

from gateway.prompt_caches.digests import compact_json
from gateway.prompt_caches.items import LIST, RawBlock, split_item, text_part
from gateway.prompt_caches.memo import BlockMemo
from gateway.prompt_caches.prompts import DIGEST, HEAD, TAIL, PromptBlock
from gateway.prompt_caches.tables.layouts import PromptLayout

_BETWEEN: Final = b" \t\r\n,"


@attrs.frozen(repr=False, eq=False)
class ReadHistory:
    """The blocks of the first ``items`` items of a history, as in ``PromptDigest``.

    ``system`` are blocks of the section ``system``, which are no part of the history."""

    items: int = 0
    system: tuple[PromptBlock, ...] = ()
    head: tuple[PromptBlock, ...] = ()
    tail: tuple[PromptBlock, ...] = ()
    count: int = 0
    size: int = 0
    has_answer: bool = False
    digests: bytes = b""

    @property
    def blocks(self) -> tuple[PromptBlock, ...]:
        """The first and the last blocks."""
        return self.head + self.tail

    @property
    def gap(self) -> int:
        """The number of blocks between them."""
        return self.count - len(self.head) - len(self.tail)

    @property
    def gap_digest(self) -> bytes:
        """The cumulative digest at the end of the gap."""
        end = (self.count - len(self.tail)) * DIGEST
        return self.digests[end - DIGEST : end] if self.gap else b""

    @property
    def gap_size(self) -> int:
        """The bytes of the blocks in the gap."""
        return self.size - sum(block.size for block in self.head) - sum(block.size for block in self.tail)


class _Collector:
    """The history that is being read, from a known beginning on."""

    def __init__(self, start: ReadHistory) -> None:
        self._start = start
        self._system = list(start.system)
        self._head = list(start.head)
        self._tail = list(start.tail)
        self._digests = [start.digests]
        self._last = start.digests[-DIGEST:]
        self.count = start.count
        self._size = start.size
        self._items = start.items
        self._has_answer = start.has_answer

    @property
    def is_at_start(self) -> bool:
        """True before the first block that is not a system text."""
        return self.count == 0

    def add_system(self, block: PromptBlock) -> None:
        self._system.append(block)

    def add(self, block: PromptBlock) -> None:
        """Add the next block of the history."""
        self._last = blake2b(self._last + block.strict, digest_size=DIGEST).digest()
        self._digests.append(self._last)
        self.count += 1
        self._size += block.size
        self._has_answer = self._has_answer or block.role == "assistant"
        if len(self._head) < HEAD:
            self._head.append(block)
        else:
            self._tail.append(block)
            if len(self._tail) > 8 * TAIL:
                del self._tail[:-TAIL]

    def end_item(self) -> None:
        self._items += 1

    def to_history(self) -> ReadHistory:
        """Return the history up to here."""
        return ReadHistory(
            self._items, tuple(self._system), tuple(self._head), tuple(self._tail[-TAIL:]), self.count, self._size,
            self._has_answer, b"".join(self._digests),
        )  # fmt: skip


def read_history(
    layout: PromptLayout, where: str, raw: memoryview, key: bytes, memo: BlockMemo | None, name: str
) -> ReadHistory:
    """Return the history in ``raw``, a JSON list of items, or a text that is one user message.

    ``memo`` remembers it, under ``name``, up to its first mark or its end. So the next request of the conversation,
    which has other marks, parses only the rest."""
    first = bytes(raw[:1])
    if first == b'"':
        text = bytes(raw)
        collector = _Collector(ReadHistory())
        collector.add(RawBlock(where, -1, "", -1, "user", "text", text_part(text), None, text).to_block(key))
        return collector.to_history()
    if first != b"[":
        return ReadHistory()
    known = None if memo is None else memo.longest_part(name, raw)
    start, begin = (ReadHistory(), 1) if known is None else (known.value, _next_item(raw, known.length))
    assert isinstance(start, ReadHistory)
    items = LIST.decode(b"[" + bytes(raw[begin:]))
    collector, marked = _Collector(start), None
    for number, item in enumerate(items):
        blocks = split_item(layout, where, start.items + number, compact_json(bytes(item)))
        if marked is None and memo is not None and any(block.mark is not None for block in blocks):
            marked = number, collector.to_history()
        is_kept = number + TAIL >= len(items) or collector.count < HEAD
        _add_blocks(layout, collector, blocks, key, is_kept=is_kept)
        collector.end_item()
    history = collector.to_history()
    if memo is not None:
        number, stored = marked or (len(items), history)
        if number:
            memo.store_part(name, raw, _end_of_items(raw, begin, items, number), stored, known)
    return history


def _add_blocks(
    layout: PromptLayout, collector: _Collector, blocks: list[RawBlock], key: bytes, *, is_kept: bool
) -> None:
    for block in blocks:
        if collector.is_at_start and block.role == "system" and layout.system_roles:
            collector.add_system(block.to_block(key, has_chunks=True))
        else:
            collector.add(block.to_block(key, is_kept=is_kept))


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
