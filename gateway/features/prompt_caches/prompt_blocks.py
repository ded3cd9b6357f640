"""Tools, system texts and content blocks, each as digests and lengths."""

from typing import Final, Literal, TypeAlias

import attrs
import msgspec

Section: TypeAlias = Literal["tools", "system", "history"]
"""A part of a prompt. Providers cache them in this order; ``history`` is the messages, input or contents.

Messages of the system at the start of a conversation are in the section ``system``."""

BlockKind: TypeAlias = Literal["text", "tool_use", "tool_result", "media", "reasoning", "compaction", "other"]
Role: TypeAlias = Literal["tool", "system", "user", "assistant"]

ValueClass: TypeAlias = Literal["time", "date", "uuid", "hash", "number"]
"""The kind of a value that changes between requests. Nothing else of a text is known after it was read."""

DIGEST: Final = 16
"""Bytes of a strict digest, and of a cumulative one."""

LOOSE: Final = 4
"""Bytes of a loose digest, and of the digests of a tool's parts."""

SETTING: Final = 8
"""Bytes of the digest of a setting."""

HEAD: Final = 32
"""The blocks that are kept from the start of a history."""

TAIL: Final = 224
"""The blocks that are kept from its end."""


class TextChunks(msgspec.Struct, array_like=True, frozen=True, eq=False):
    """A text of ``length`` characters in chunks of ``span`` characters.

    Chunk for chunk, ``digests`` has 8 bytes, ``kinds`` a ``ValueClass`` by number (0: none) and ``values`` 4 bytes: the
    digest of the values in the chunk. Digests add up, so that two chunks together have the sum of their digests."""

    span: int
    length: int
    digests: bytes
    kinds: bytes
    values: bytes

    def __repr__(self) -> str:
        return f"TextChunks(length={self.length})"


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
    - ``chunks``: of a system text."""

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

    @property
    def path(self) -> str:
        """The client's path to the block."""
        item = self.where if self.index < 0 else f"{self.where}[{self.index}]"
        return item if self.part < 0 else f"{item}.{self.within}[{self.part}]"


class KeyMember(msgspec.Struct, array_like=True, frozen=True, eq=False):
    """A member of the request, other than the prompt, that is in the row's key from ``section`` on."""

    name: str
    section: Section
    digest: bytes
