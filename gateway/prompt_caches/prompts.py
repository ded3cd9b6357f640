"""A request as blocks in the order in which a provider caches them, each as digests and lengths."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate
from typing import Final, Literal, TypeAlias

import attrs

from streams.events import Api

Section: TypeAlias = Literal["tools", "system", "history"]
"""A part of a prompt. Providers cache them in this order; ``history`` is the messages, input or contents.

Messages of the system at the start of a conversation are in the section ``system``."""

BlockKind: TypeAlias = Literal["text", "tool_use", "tool_result", "media", "reasoning", "compaction", "other"]
Role: TypeAlias = Literal["tool", "system", "user", "assistant"]

ValueClass: TypeAlias = Literal["time", "date", "uuid", "hash", "number"]
"""The kind of a value that changes between requests. Nothing else of a text is known after it was read."""

DIGEST: Final = 16
"""Bytes of a strict digest, and of a cumulative one."""

LOOSE: Final = 8
"""Bytes of a loose digest."""

HEAD: Final = 32
"""The blocks that are kept from the start of a history."""

TAIL: Final = 224
"""The blocks that are kept from its end."""


@attrs.frozen(repr=False, eq=False)
class TextChunks:
    """A text of ``length`` characters in chunks of ``span`` characters.

    Chunk for chunk, ``digests`` has 8 bytes, ``kinds`` a ``ValueClass`` by number (0: none) and ``values`` 4 bytes: the
    digest of the values in the chunk. Digests add up, so that two chunks together have the sum of their digests."""

    span: int
    length: int
    digests: bytes
    kinds: bytes
    values: bytes


@attrs.frozen(repr=False, eq=False)
class PromptBlock:
    """A tool, a system text or a content block of a message.

    - ``where``, ``index``, ``within``, ``part``: its path in the request, such as ``messages[7].content[2]``. An index
      of -1 is left out.
    - ``strict``: the keyed digest of its role and its JSON as sent, without white space, marks and the parts that the
      provider ignores. ``loose``: the same with sorted members, equal numbers and equal escapes.
    - ``size``: the bytes of that JSON.
    - ``mark``: the lifetime of the client's mark at its end, such as ``5m``; "" if the mark states none; ``None``
      without a mark.
    - ``parts``: of a tool, the digests of its name, description and schema, of ``LOOSE`` bytes each.
    - ``chunks``: of a system text.
    - ``packed``: the block's row in the memory (``packed_blocks``), b"" if it is not prepared."""

    where: str
    index: int
    within: str
    part: int
    role: Role
    kind: BlockKind
    strict: bytes
    loose: bytes
    size: int
    mark: str | None = None
    parts: tuple[bytes, bytes, bytes] | None = None
    chunks: TextChunks | None = None
    packed: bytes = b""

    @property
    def path(self) -> str:
        """The client's path to the block."""
        item = self.where if self.index < 0 else f"{self.where}[{self.index}]"
        return item if self.part < 0 else f"{item}.{self.within}[{self.part}]"


@attrs.frozen(repr=False, eq=False)
class KeyMember:
    """A member of the request, other than the prompt, that is in the row's key from ``section`` on."""

    name: str
    section: Section
    digest: bytes


@attrs.frozen(repr=False, eq=False, slots=False)
class PromptDigest:
    """A request's prompt as blocks.

    A long ``history`` has only its first ``head`` blocks and its last ones. The gap between them has ``gap`` blocks of
    ``gap_size`` bytes, and ``gap_digest`` is the cumulative digest of the history up to its end. Positions count the
    blocks of tools, system and history, in this order, with the gap: position 0 is the start of the prompt, and ``end``
    its end.

    - ``settings``: members in the row's key. ``own_settings``: all members of the API that may be in any key.
    - ``end_mark``: the lifetime of a mark for the whole request, like ``PromptBlock.mark``.
    - ``is_explicit``: the client switched automatic boundaries off.
    - ``lifetime``: the word for the lifetime of all boundaries, if the client sent one.
    - ``digests``: the cumulative digests of all positions in the history, until the prompt is remembered.
    - ``tool_digests``: those of the tools, if they are known.
    - ``ends``: the cumulative digests of all three sections, of a remembered prompt."""

    api: Api
    tools: Sequence[PromptBlock]
    system: Sequence[PromptBlock]
    history: Sequence[PromptBlock]
    settings: tuple[KeyMember, ...] = ()
    head: int = HEAD
    gap: int = 0
    gap_digest: bytes = b""
    gap_size: int = 0
    end_mark: str | None = None
    is_explicit: bool = False
    lifetime: str | None = None
    has_answer: bool = False
    digests: bytes | None = None
    tool_digests: tuple[bytes, ...] | None = None
    ends: tuple[bytes, bytes, bytes] | None = None
    own_settings: tuple[KeyMember, ...] = ()

    @property
    def history_start(self) -> int:
        """The position of the first block of the history, the end of system."""
        return len(self.tools) + len(self.system)

    @property
    def end(self) -> int:
        """The position after the last block."""
        return self.history_start + self.history_count

    @property
    def history_count(self) -> int:
        """The blocks of the history, with those of the gap."""
        return len(self.history) + self.gap

    @property
    def size(self) -> int:
        """The bytes of all blocks."""
        return self.size_at(self.end)

    @property
    def section_digests(self) -> tuple[bytes, bytes, bytes]:
        """The cumulative digests at the ends of tools, system and history, each of its own section."""
        if self.ends is not None:
            return self.ends
        tools, system = self._tool_digests, self._system_digests
        return tools[-1], system[-1], self.history_digest(self.history_count) or b""

    def blocks(self) -> Iterator[PromptBlock]:
        """Yield all blocks in order, without those of the gap."""
        yield from self.tools
        yield from self.system
        yield from self.history

    def block_before(self, position: int) -> PromptBlock | None:
        """Return the block that ends at ``position``; ``None`` at the start and in the gap."""
        at = position - 1
        if at < 0:
            return None
        for blocks in (self.tools, self.system):
            if at < len(blocks):
                return blocks[at]
            at -= len(blocks)
        if at >= self.head and self.gap:
            at -= self.gap
            if at < self.head:
                return None
        return self.history[at] if at < len(self.history) else None

    def size_at(self, position: int) -> int:
        """Return the bytes before ``position``. In the gap, every block counts the same."""
        before = self._front_sizes
        if position < len(before):
            return before[position]
        number = position - self.history_start
        sizes = self._history_sizes
        head = min(self.head, len(self.history))
        if number <= head:
            return before[-1] + sizes[number]
        if number < head + self.gap:
            return before[-1] + sizes[head] + self.gap_size * (number - head) // self.gap
        return before[-1] + self.gap_size + sizes[min(number - self.gap, len(self.history))]

    @cached_property
    def marks(self) -> tuple[tuple[int, str], ...]:
        """The positions after the client's marked blocks, with the lifetimes of the marks."""
        sections = ((0, self.tools), (len(self.tools), self.system), (self.history_start, self.history))
        found = [
            (start + number + 1, block.mark)
            for start, blocks in sections
            for number, block in enumerate(blocks)
            if block.mark is not None
        ]
        if not self.gap:
            return tuple(found)
        head = self.history_start + self.head
        return tuple((position if position <= head else position + self.gap, mark) for position, mark in found)

    def prefix(self, position: int) -> bytes | None:
        """Return a digest of the blocks before ``position``, with the settings that apply there.

        Two requests with equal digests have the same prefix as sent. ``None`` is a position in the gap that is no
        longer known."""
        tools, system, history = self._fronts
        if position <= len(self.tools):
            return tools + self._tool_digests[position]
        if position <= self.history_start:
            return system + self._system_digests[position - len(self.tools)]
        cumulative = self.history_digest(position - self.history_start)
        return None if cumulative is None else history + cumulative

    @cached_property
    def _fronts(self) -> tuple[bytes, bytes, bytes]:
        """By section, the digest of the sections before it and of the settings that apply in it."""
        tools, system, _ = self.section_digests
        return (
            self._front("tools", b""),
            self._front("system", tools),
            self._front("history", tools + system),
        )

    def _front(self, section: Section, before: bytes) -> bytes:
        sections = _REACH[section]
        known = [member.name.encode() + member.digest for member in self.settings if member.section in sections]
        return blake2b(section.encode() + before + b"".join(known), digest_size=DIGEST).digest()

    def history_digest(self, number: int) -> bytes | None:
        """Return the cumulative digest of the first ``number`` blocks of the history; ``None`` in a forgotten gap."""
        if number <= 0:
            return b""
        if self.digests is not None:
            return self.digests[(number - 1) * DIGEST : number * DIGEST]
        if self.ends is not None and number == self.history_count:
            return self.ends[2]
        head = min(self.head, len(self.history))
        if self.gap and head < number <= head + self.gap:
            return self.gap_digest if number == head + self.gap else None
        known = self._remembered_digests
        return known[number - 1 if number <= head else number - 1 - self.gap]

    @cached_property
    def _remembered_digests(self) -> tuple[bytes, ...]:
        if not self.gap:
            return cumulative_digests(self.history)[1:]
        return (
            *cumulative_digests(self.history[: self.head])[1:],
            *cumulative_digests(self.history[self.head :], self.gap_digest)[1:],
        )

    @cached_property
    def _tool_digests(self) -> tuple[bytes, ...]:
        return cumulative_digests(self.tools) if self.tool_digests is None else self.tool_digests

    @cached_property
    def _system_digests(self) -> tuple[bytes, ...]:
        return cumulative_digests(self.system)

    @cached_property
    def _front_sizes(self) -> tuple[int, ...]:
        return _running_sizes((*self.tools, *self.system))

    @cached_property
    def _history_sizes(self) -> tuple[int, ...]:
        return _running_sizes(self.history)


@attrs.frozen(repr=False)
class Anchor:
    """A block by which later requests of the same client find this conversation.

    ``digest`` is that of the user's block or the message's tool results, and of the assistant's block before it.
    ``position`` is the position after it."""

    digest: bytes
    position: int


_REACH: Final[dict[Section, tuple[Section, ...]]] = {
    "tools": ("tools",),
    "system": ("tools", "system"),
    "history": ("tools", "system", "history"),
}


def cumulative_digests(blocks: Iterable[PromptBlock], before: bytes = b"") -> tuple[bytes, ...]:
    """Return the cumulative digests before the first one and after each of ``blocks``."""
    found = [before]
    for block in blocks:
        before = blake2b(before + block.strict, digest_size=DIGEST).digest()
        found.append(before)
    return tuple(found)


def _running_sizes(blocks: Iterable[PromptBlock]) -> tuple[int, ...]:
    return (0, *accumulate(block.size for block in blocks))
