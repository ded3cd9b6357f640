"""A request's prompt as blocks, in the order in which a provider caches them."""

import re
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import structs

from gateway.features.prompt_caches.chunks import CHUNK, TextChunks, limit_chunks
from gateway.features.prompt_caches.rows import (
    END,
    MARKS,
    ROW,
    PromptBlock,
    append_rows,
    block_at,
    blocks_of,
    end_at,
    join_digests,
    kinds_of,
    marks_of,
    roles_of,
    total_at,
)
from gateway.features.prompt_caches.structures import once_property
from gateway.features.prompt_caches.tables.layouts import ASSISTANT
from streams.events import Api

Section: TypeAlias = Literal["tools", "system", "history"]
"""A part of a prompt. Providers cache them in this order; ``history`` is the messages, input or contents.

Messages of the system at the start of a conversation are in the section ``system``."""

HEAD: Final = 32
"""The blocks of a history that are kept from its start."""

TAIL: Final = 225
"""The blocks that are kept from its end. The first of them has the digest of the ones that are missing."""

UNKNOWN: Final = 255
"""The kind and the role of a missing block."""

LARGEST: Final = 12 * 1024
_SIZES: Final = ((256, TAIL), (128, TAIL), (128, 129), (64, 97), (0, 65), (0, 33), (0, 9))
"""The most chunks of all system texts and the most blocks at the end of a history, tried in this order."""

_MARKED: Final = re.compile(rb"[^\0]")
_OTHERS: Final = 200
"""Bytes of the numbers of a remembered prompt."""


class KeyMember(msgspec.Struct, array_like=True, frozen=True, eq=False):
    """A member of the request, other than the prompt, that is in the row's key from ``section`` on."""

    name: str
    section: Section
    digest: bytes


class PromptDigest(msgspec.Struct, array_like=True, frozen=True, eq=False, dict=True):
    """A request's prompt as rows of blocks.

    ``gap`` blocks are missing in a remembered ``history``, after its first ``HEAD`` ones. Positions count the blocks of
    tools, system and history, in this order, with the gap: position 0 is the start of the prompt, and ``end`` its end.

    - ``tool_parts``: for each tool the digests of its name, description and schema, of ``LOOSE`` bytes each.
    - ``chunks``: by the number of a system text.
    - ``settings``: members in the row's key. ``own_settings``: all members of the API that may be in any key.
    - ``end_mark``: the lifetime of a mark for the whole request, like that of a block.
    - ``is_explicit``: the client switched automatic boundaries off.
    - ``lifetime``: the word for the lifetime of all boundaries, if the client sent one.
    - ``is_continued``: the provider or the memory has added the earlier turns."""

    api: Api
    tools: bytes = b""
    tool_parts: bytes = b""
    system: bytes = b""
    chunks: dict[int, TextChunks] = {}
    settings: tuple[KeyMember, ...] = ()
    own_settings: tuple[KeyMember, ...] = ()
    end_mark: str | None = None
    is_explicit: bool = False
    lifetime: str | None = None
    is_continued: bool = False
    history: bytes = b""
    gap: int = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    # Positions

    @once_property
    def tool_count(self) -> int:
        return len(self.tools) // ROW

    @once_property
    def history_start(self) -> int:
        """The position of the first block of the history, the end of system."""
        return (len(self.tools) + len(self.system)) // ROW

    @once_property
    def history_count(self) -> int:
        """The blocks of the history, with those of the gap."""
        return len(self.history) // ROW + self.gap

    @once_property
    def end(self) -> int:
        """The position after the last block."""
        return self.history_start + self.history_count

    def row_of(self, number: int) -> int | None:
        """Return the row of a block of the history; ``None`` if it is missing."""
        if not self.gap or number < HEAD:
            return number
        return number - self.gap if number >= HEAD + self.gap else None

    def block_before(self, position: int) -> PromptBlock | None:
        """Return the block that ends at ``position``; ``None`` at the start, after the end and in the gap."""
        if not 0 < position <= self.end:
            return None
        if position <= self.tool_count:
            return block_at(self.tools, position - 1)
        if position <= self.history_start:
            return block_at(self.system, position - self.tool_count - 1)
        row = self.row_of(position - self.history_start - 1)
        return None if row is None else block_at(self.history, row)

    # Sizes

    @once_property
    def front_size(self) -> int:
        """The bytes of tools and system."""
        return total_at(self.tools, self.tool_count) + total_at(self.system, len(self.system) // ROW)

    @once_property
    def history_size(self) -> int:
        return total_at(self.history, len(self.history) // ROW)

    @property
    def size(self) -> int:
        """The bytes of all blocks."""
        return self.front_size + self.history_size

    def size_at(self, position: int) -> int:
        """Return the bytes before ``position``. In the gap, every block counts the same."""
        position = min(position, self.end)
        if position <= self.tool_count:
            return total_at(self.tools, position)
        number = position - self.history_start
        if number <= 0:
            return total_at(self.tools, self.tool_count) + total_at(self.system, position - self.tool_count)
        if (row := self.row_of(number - 1)) is not None:
            return self.front_size + total_at(self.history, row + 1)
        start, end = total_at(self.history, HEAD), total_at(self.history, HEAD + 1)
        return self.front_size + start + (end - start) * (number - HEAD) // (self.gap + 1)

    # All blocks

    @once_property
    def history_kinds(self) -> bytes:
        """The kinds of the rows of the history."""
        return kinds_of(self.history)

    @once_property
    def history_roles(self) -> bytes:
        """The roles of the rows of the history."""
        return roles_of(self.history)

    @once_property
    def kinds(self) -> bytes:
        """The kinds of all blocks; those in the gap are unknown."""
        return kinds_of(self.tools + self.system) + self._fill(self.history_kinds, b"\xff")

    @once_property
    def roles(self) -> bytes:
        """The roles of all blocks, like ``kinds``."""
        return roles_of(self.tools + self.system) + self._fill(self.history_roles, b"\xff")

    @once_property
    def marks(self) -> tuple[tuple[int, str], ...]:
        """The positions after the client's marked blocks, with the lifetimes of the marks."""
        marks = marks_of(self.tools + self.system) + self._fill(marks_of(self.history), b"\0")
        return tuple([(found.end(), MARKS[found[0][0] - 1]) for found in _MARKED.finditer(marks)])

    def _fill(self, history: bytes, missing: bytes) -> bytes:
        return history if not self.gap else b"".join((history[:HEAD], missing * self.gap, history[HEAD:]))

    @once_property
    def has_answer(self) -> bool:
        """Whether the history has an assistant's block."""
        return self.is_continued or ASSISTANT in self.history_roles

    # Digests

    @once_property
    def ends(self) -> tuple[bytes, bytes, bytes]:
        """The digests of the whole sections."""
        return self.tools[-ROW:][:END], self.system[-ROW:][:END], self.history[-ROW:][:END]

    def history_end(self, number: int) -> bytes | None:
        """Return the digest of the first ``number`` blocks of the history; ``None`` in a gap and after its end."""
        if number <= 0:
            return b""
        row = self.row_of(number - 1)
        return None if row is None else end_at(self.history, row + 1) or None

    def prefix(self, position: int) -> bytes | None:
        """Return a digest of the blocks before ``position``, with the settings that apply there.

        Two requests with equal digests have the same prefix as sent. ``None`` is a position in the gap."""
        tools, system, history = self._fronts
        if position <= self.tool_count:
            return tools + end_at(self.tools, position)
        if position <= self.history_start:
            return system + end_at(self.system, position - self.tool_count)
        end = self.history_end(position - self.history_start)
        return None if end is None else history + end

    @once_property
    def _fronts(self) -> tuple[bytes, bytes, bytes]:
        """For each section, the digest of the sections before it and of the settings that apply to it."""
        tools, system, _ = self.ends
        return (
            _front_digest(("tools",), b"", self.settings),
            _front_digest(("tools", "system"), tools, self.settings),
            _front_digest(("tools", "system", "history"), tools + system, self.settings),
        )

    # The memory

    @once_property
    def memory_size(self) -> int:
        """The bytes of a remembered prompt."""
        rows = len(self.tools) + len(self.tool_parts) + len(self.system) + len(self.history)
        return rows + sum(map(len, self.chunks.values())) + _OTHERS

    def to_remember(self, most: int = LARGEST) -> "PromptDigest | None":
        """Return the prompt in at most ``most`` bytes, ``None`` if that is impossible.

        A prompt that does not fit loses first details of its system texts, then blocks from the middle of its history.
        One with too many tools cannot be remembered."""
        count, chunks = len(self.history) // ROW, sum(map(len, self.chunks.values()))
        others = len(self.tools) + len(self.tool_parts) + len(self.system) + _OTHERS
        for most_chunks, tail in _SIZES:
            kept = min(count, HEAD + tail)
            if others + kept * ROW + min(chunks, most_chunks * CHUNK) > most:
                continue
            history, gap = self.history, self.gap + count - kept
            if kept < count:
                history = history[: HEAD * ROW] + history[-tail * ROW :]
            return structs.replace(self, history=history, gap=gap, chunks=_limit_all(self.chunks, most_chunks))
        return None

    def in_a_ring(self, direction: int = 1) -> "PromptDigest":
        """Return the prompt with the last blocks of its history as a ring, or with -1 the prompt without its ring.

        In a ring, each block keeps its place while new ones follow, so that the memory writes little."""
        if not self.gap:
            return self
        head, tail = self.history[: HEAD * ROW], self.history[HEAD * ROW :]
        at = -direction * self.gap * ROW % len(tail)
        return structs.replace(self, history=head + tail[at:] + tail[:at])

    def continued_by(self, new: "PromptDigest") -> "PromptDigest":
        """Return the whole prompt of ``new``, a request with only the new messages: its provider keeps those of this.

        For ``previous_response_id``, threads and the turns of a websocket. Tools and system texts that ``new`` does not
        repeat are those of this prompt, without its ``instructions``, which belong to one response."""
        tools, count = new if new.tools else self, len(new.system) // ROW
        kept = [at for at, block in enumerate(blocks_of(self.system)) if block.number >= 0]
        more = {count + at: self.chunks[number] for at, number in enumerate(kept) if number in self.chunks}
        return structs.replace(
            new, tools=tools.tools, tool_parts=tools.tool_parts, chunks=new.chunks | more, is_continued=True,
            system=append_rows(new.system, self.system, items_only=True),
            history=append_rows(self.history, new.history), gap=self.gap,
        )  # fmt: skip


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[PromptDigest, PromptDigest | None]).decode


def pack_prompts(prompt: PromptDigest, client_prompt: PromptDigest | None) -> bytes:
    """Return two remembered prompts as bytes. Most turns of a conversation add a few rows to them."""
    return _encode((prompt.in_a_ring(), None if client_prompt is None else client_prompt.in_a_ring()))


def unpack_prompts(data: bytes) -> tuple[PromptDigest, PromptDigest | None]:
    """Return the prompts that ``pack_prompts`` wrote."""
    prompt, client_prompt = _decode(data)
    return prompt.in_a_ring(-1), None if client_prompt is None else client_prompt.in_a_ring(-1)


class Anchor(msgspec.Struct, frozen=True):
    """A block by which later requests of the same client find this conversation.

    ``digest`` is that of the user's block or the message's tool results, and of the assistant's block before it.
    ``position`` is the position after it."""

    digest: bytes
    position: int


def _front_digest(sections: tuple[Section, ...], before: bytes, settings: tuple[KeyMember, ...]) -> bytes:
    known = [member.name.encode() + member.digest for member in settings if member.section in sections]
    return join_digests(sections[-1].encode() + before, b"".join(known))


def _limit_all(texts: dict[int, TextChunks], most: int) -> dict[int, TextChunks]:
    """Return the chunks of several texts, together at most ``most``, by the share of each text."""
    total = sum([len(chunks) // CHUNK for chunks in texts.values()])
    if total <= most:
        return texts
    shares = ((number, chunks, len(chunks) // CHUNK * most // total) for number, chunks in texts.items())
    return {number: limit_chunks(chunks, share) for number, chunks, share in shares if share}
