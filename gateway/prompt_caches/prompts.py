"""A request as blocks in the order in which a provider caches them, each as digests and lengths."""

from collections.abc import Iterator
from functools import cached_property
from typing import Literal, TypeAlias

import attrs

from streams.events import Api

Section: TypeAlias = Literal["tools", "system", "history"]
"""A part of a prompt. Providers cache them in this order; ``history`` is the messages, input or contents."""

BlockKind: TypeAlias = Literal["text", "tool_use", "tool_result", "media", "reasoning", "compaction", "other"]
Role: TypeAlias = Literal["tool", "system", "user", "assistant"]

ChunkClass: TypeAlias = Literal["time", "date", "uuid", "hash", "number"]
"""The kind of a value that changes between requests. Nothing else of a text is known after it was read."""


@attrs.frozen(repr=False, eq=False)
class TextChunk:
    """A piece of a system text, ``span`` characters long: its digest, and the class and digest of the values in it."""

    digest: bytes
    kind: ChunkClass | None = None
    values: bytes = b""


@attrs.frozen(repr=False, eq=False)
class PromptBlock:
    """A tool, a system text or a content block of a message.

    - ``index`` and ``part``: its position in the request, such as message 7, content block 2. A ``part`` of -1 is the
      whole item.
    - ``strict``: the keyed digest of its JSON as sent, without white space, marks and what the provider ignores.
      ``loose``: the same with sorted members, equal numbers and equal escapes.
    - ``size``: the bytes of that JSON.
    - ``mark``: the lifetime of the client's mark at its end, such as ``5m``; "" if the mark states none; ``None``
      without a mark.
    - ``parts``: of a tool, the digests of its name, description and schema.
    - ``chunks``: of a system text, its pieces of ``span`` characters each."""

    index: int
    part: int
    role: Role
    kind: BlockKind
    strict: bytes
    loose: bytes
    size: int
    mark: str | None = None
    parts: tuple[bytes, bytes, bytes] | None = None
    chunks: tuple[TextChunk, ...] = ()
    span: int = 0
    length: int = 0


@attrs.frozen(repr=False, eq=False)
class KeyMember:
    """A member of the request, other than the prompt, that is in the row's key from ``section`` on."""

    name: str
    section: Section
    digest: bytes


@attrs.frozen(repr=False, eq=False, slots=False)
class PromptDigest:
    """A request's prompt as blocks.

    A remembered prompt has no blocks for ``gap`` positions after the first ``head`` messages' blocks; ``gap_digest`` is
    the cumulative digest up to the end of the gap, and ``gap_size`` the bytes in it. Positions count the blocks of
    tools, system and messages, in this order, including the gap: position 0 is the start of the prompt, and
    ``PromptDigest.end`` its end."""

    api: Api
    tools: tuple[PromptBlock, ...]
    system: tuple[PromptBlock, ...]
    history: tuple[PromptBlock, ...]
    settings: tuple[KeyMember, ...] = ()
    head: int = 0
    gap: int = 0
    gap_digest: bytes = b""
    gap_size: int = 0

    @property
    def end(self) -> int:
        """The position after the last block."""
        return len(self.tools) + len(self.system) + len(self.history) + self.gap

    @cached_property
    def has_answer(self) -> bool:
        """True if the prompt contains an assistant's message, so that it continues a conversation."""
        return any(block.role == "assistant" for block in self.history)

    @cached_property
    def size(self) -> int:
        """The bytes of all blocks."""
        return self.gap_size + sum(block.size for block in self.blocks())

    def blocks(self) -> Iterator[PromptBlock]:
        """Yield all blocks in order, without those of the gap."""
        yield from self.tools
        yield from self.system
        yield from self.history

    def prefix(self, position: int) -> bytes:
        """Return the cumulative strict digest of the blocks before ``position``, with the settings that apply there.

        Two requests with equal digests have the same prefix as sent. The digest of a position in the gap is
        unknown."""
        raise NotImplementedError

    def path(self, position: int) -> str:
        """Return the client's path of the block at ``position``, such as ``messages[7].content[2]``."""
        raise NotImplementedError


@attrs.frozen(repr=False)
class Anchor:
    """A block by which later requests of the same client find this conversation.

    ``digest`` is that of the user's block or the message's tool results, and of the assistant's block before it.
    ``position`` is the position after it."""

    digest: bytes
    position: int
