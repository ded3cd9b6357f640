"""A request as blocks in the order in which a provider caches them."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final

from msgspec import field, structs

from gateway.features.prompt_caches.packed_blocks import PackedBlocks
from gateway.features.prompt_caches.prompt_blocks import DIGEST, HEAD, KeyMember, PromptBlock, Section
from gateway.features.prompt_caches.structures import Structure, once_property
from streams.events import Api


class PromptDigest(Structure, frozen=True, dict=True, gc=True):
    """A request's prompt as blocks.

    A long ``history`` has only its first ``head`` blocks and its last ones. The gap between them has ``gap`` blocks,
    and ``gap_digest`` is the cumulative digest of the history up to its end. Positions count the blocks of tools,
    system and history, in this order, with the gap: position 0 is the start of the prompt, and ``end`` its end.

    - ``history_size``: the bytes of the history's blocks, with those of the gap.
    - ``settings``: members in the row's key. ``own_settings``: all members of the API that may be in any key.
    - ``end_mark``: the lifetime of a mark for the whole request, like ``PromptBlock.mark``.
    - ``is_explicit``: the client switched automatic boundaries off.
    - ``lifetime``: the word for the lifetime of all boundaries, if the client sent one.
    - ``digests``: the cumulative digests of all positions in the history, until the prompt is remembered.
    - ``ends``: the cumulative digests of all three sections, of a remembered prompt.
    - ``fronts``: the ``front_digests``, if they are known.
    - ``known_lookups``: results of ``lookup_positions``, by the identity of the row."""

    api: Api
    tools: PackedBlocks
    system: PackedBlocks
    history: PackedBlocks
    history_size: int
    settings: tuple[KeyMember, ...] = ()
    own_settings: tuple[KeyMember, ...] = ()
    head: int = HEAD
    gap: int = 0
    gap_digest: bytes = b""
    end_mark: str | None = None
    is_explicit: bool = False
    lifetime: str | None = None
    has_answer: bool = False
    digests: bytes | None = None
    ends: tuple[bytes, bytes, bytes] | None = None
    fronts: tuple[bytes, bytes, bytes] | None = None
    known_lookups: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def replace(self, **changes: Any) -> "PromptDigest":
        """Return the prompt with ``changes``, and without results for the unchanged one."""
        return structs.replace(self, known_lookups={}, **changes)

    @once_property
    def history_start(self) -> int:
        """The position of the first block of the history, the end of system."""
        return self.tools.length + self.system.length

    @once_property
    def end(self) -> int:
        """The position after the last block."""
        return self.history_start + self.history_count

    @once_property
    def history_count(self) -> int:
        """The blocks of the history, with those of the gap."""
        return self.history.length + self.gap

    @property
    def size(self) -> int:
        """The bytes of all blocks."""
        return self.front_size + self.history_size

    @property
    def front_size(self) -> int:
        """The bytes of tools and system."""
        return self.tools.sizes[-1] + self.system.sizes[-1]

    @once_property
    def section_digests(self) -> tuple[bytes, bytes, bytes]:
        """The cumulative digests at the ends of tools, system and history, each of its own section."""
        if self.ends is not None:
            return self.ends
        last = self.history_digest(self.history_count) or b""
        return self.tools.cumulative[-1], self.system.cumulative[-1], last

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
        return self.history[at] if at < self.history.length else None

    def size_at(self, position: int) -> int:
        """Return the bytes before ``position``. In the gap, every block counts the same."""
        if position >= self.end:
            return self.size
        if position <= self.tools.length:
            return self.tools.sizes[position]
        front, number = self.front_size, position - self.history_start
        if number <= 0:
            return self.tools.sizes[-1] + self.system.sizes[position - self.tools.length]
        sizes = self.history.sizes
        head = min(self.head, self.history.length)
        if number <= head:
            return front + sizes[number]
        gap_size = self.history_size - sizes[-1]
        if number < head + self.gap:
            return front + sizes[head] + gap_size * (number - head) // self.gap
        return front + gap_size + sizes[number - self.gap]

    @once_property
    def kinds(self) -> bytes:
        """The kinds of all blocks, as numbers (``packed_blocks``). Those in the gap are unknown."""
        return self._expand(self.tools.kinds + self.system.kinds, self.history.kinds)

    @once_property
    def roles(self) -> bytes:
        """The roles of all blocks, like ``kinds``."""
        return self._expand(self.tools.roles + self.system.roles, self.history.roles)

    def _expand(self, front: bytes, history: bytes) -> bytes:
        return b"".join((front, history[: self.head], b"\xff" * self.gap, history[self.head :]))

    @once_property
    def marks(self) -> tuple[tuple[int, str], ...]:
        """The positions after the client's marked blocks, with the lifetimes of the marks."""
        found: list[tuple[int, str]] = []
        if self.tools.marks:
            found += [(number + 1, mark) for number, mark in self.tools.marks.items()]
        if self.system.marks:
            found += [(self.tools.length + number + 1, mark) for number, mark in self.system.marks.items()]
        if self.history.marks:
            start, after_gap = self.history_start + 1, self.history_start + 1 + self.gap
            marks = self.history.marks.items()
            found += [(number + (start if number < self.head else after_gap), mark) for number, mark in marks]
        return tuple(sorted(found))

    def prefix(self, position: int) -> bytes | None:
        """Return a digest of the blocks before ``position``, with the settings that apply there.

        Two requests with equal digests have the same prefix as sent. ``None`` is a position in the gap that is no
        longer known."""
        tools, system, history = self.fronts or self._fronts
        if position <= self.tools.length:
            return tools + self.tools.cumulative[position]
        if position <= self.history_start:
            return system + self.system.cumulative[position - self.tools.length]
        cumulative = self.history_digest(position - self.history_start)
        return None if cumulative is None else history + cumulative

    @once_property
    def _fronts(self) -> tuple[bytes, bytes, bytes]:
        return front_digests(*self.section_digests[:2], self.settings)

    def history_digest(self, number: int) -> bytes | None:
        """Return the cumulative digest of the first ``number`` blocks of the history; ``None`` in a forgotten gap."""
        if number <= 0:
            return b""
        if self.digests is not None:
            return self.digests[(number - 1) * DIGEST : number * DIGEST]
        if self.ends is not None and number == self.history_count:
            return self.ends[2]
        head = min(self.head, self.history.length)
        if self.gap and head < number <= head + self.gap:
            return self.gap_digest if number == head + self.gap else None
        return self._remembered_digests[number - 1 if number <= head else number - 1 - self.gap]

    @once_property
    def _remembered_digests(self) -> tuple[bytes, ...]:
        if not self.gap:
            return self.history.cumulative[1:]
        head = self.history.cut(0, self.head).cumulative[1:]
        return (*head, *self.history.cut(self.head, self.history.length).cumulative_after(self.gap_digest)[1:])


def front_digests(tools: bytes, system: bytes, settings: tuple[KeyMember, ...]) -> tuple[bytes, bytes, bytes]:
    """Return for tools, system and history the digest of the sections before it and of the settings that apply to it.

    ``tools`` and ``system`` are the cumulative digests at the ends of these sections."""
    return (
        _front_digest("tools", b"", settings),
        _front_digest("system", tools, settings),
        _front_digest("history", tools + system, settings),
    )


def _front_digest(section: Section, before: bytes, settings: tuple[KeyMember, ...]) -> bytes:
    known = [member.name.encode() + member.digest for member in settings if member.section in _REACH[section]]
    return blake2b(section.encode() + before + b"".join(known), digest_size=DIGEST).digest()


class Anchor(Structure, frozen=True, eq=True):
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
