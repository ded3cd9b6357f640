"""Blocks as rows of bytes, which are decoded when they are needed."""

import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeAlias, overload

from gateway.prompt_caches.prompts import DIGEST, BlockKind, PromptBlock, Role, TextChunks
from gateway.prompt_caches.tables.layouts import PATH_WORDS

SHORT: Final = 4
"""Bytes of a remembered loose digest, and of the digests of a tool's parts."""

PackedChunks: TypeAlias = tuple[int, int, bytes, bytes, bytes]

_ROW: Final = struct.Struct(f"!{DIGEST}s{SHORT}sIihBBBB")
_LARGEST_PART: Final = 2**15 - 1
_ROLES: Final[tuple[Role, ...]] = ("tool", "system", "user", "assistant")
_KINDS: Final[tuple[BlockKind, ...]] = (
    "text", "tool_use", "tool_result", "media", "reasoning", "compaction", "other",
)  # fmt: skip
_WORDS: Final = {word: number for number, word in enumerate(PATH_WORDS)}
_ROLE_NUMBERS: Final = {role: number for number, role in enumerate(_ROLES)}
_KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(_KINDS)}


def pack_block(block: PromptBlock) -> bytes:
    """Return the row of a block, without its mark, parts and chunks."""
    return _ROW.pack(
        block.strict, block.loose[:SHORT], min(block.size, 2**32 - 1), block.index, min(block.part, _LARGEST_PART),
        _WORDS.get(block.where, 0), _WORDS.get(block.within, 0), _ROLE_NUMBERS[block.role], _KIND_NUMBERS[block.kind],
    )  # fmt: skip


class PackedBlocks(Sequence[PromptBlock]):
    """Remembered blocks. ``marks`` and ``chunks`` are by the number of a block, ``parts`` those of all of them."""

    def __init__(
        self,
        rows: bytes,
        marks: Mapping[int, str],
        parts: bytes = b"",
        chunks: Mapping[int, PackedChunks] = MappingProxyType({}),
    ) -> None:
        self._rows = rows
        self._marks = marks
        self._parts = parts
        self._chunks = chunks

    def __len__(self) -> int:
        return len(self._rows) // _ROW.size

    @overload
    def __getitem__(self, index: int) -> PromptBlock: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[PromptBlock, ...]: ...

    def __getitem__(self, index: int | slice) -> PromptBlock | tuple[PromptBlock, ...]:
        if isinstance(index, slice):
            return tuple(self._block(number) for number in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._block(index % len(self))

    def _block(self, number: int) -> PromptBlock:
        fields = _ROW.unpack_from(self._rows, number * _ROW.size)
        strict, loose, size, index, part, where, within, role, kind = fields
        chunks = self._chunks.get(number)
        return PromptBlock(
            PATH_WORDS[where], index, PATH_WORDS[within], part, _ROLES[role], _KINDS[kind], strict, loose, size,
            self._marks.get(number), self._parts_of(number), None if chunks is None else TextChunks(*chunks),
        )  # fmt: skip

    def _parts_of(self, number: int) -> tuple[bytes, bytes, bytes] | None:
        if not self._parts:
            return None
        first = number * 3 * SHORT
        name, description, schema = (self._parts[first + at * SHORT : first + (at + 1) * SHORT] for at in range(3))
        return name, description, schema
