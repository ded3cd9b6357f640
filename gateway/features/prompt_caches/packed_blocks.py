"""Blocks as rows of bytes. A block is decoded only for its details, so a long prompt consists of few objects."""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate
from types import MappingProxyType
from typing import Final, overload

from gateway.features.prompt_caches.prompt_blocks import DIGEST, LOOSE, BlockKind, PromptBlock, Role, TextChunks
from gateway.features.prompt_caches.structures import once_property
from gateway.features.prompt_caches.tables.layouts import PATH_WORDS

_ROW: Final = struct.Struct(f"!{DIGEST}s{LOOSE}sIihBBBB")
_SIZE: Final = struct.Struct(f"!{DIGEST + LOOSE}xI10x")
_DIGEST_AND_SIZE: Final = struct.Struct(f"!{DIGEST}s{LOOSE}xI10x")
_LARGEST_PART: Final = 2**15 - 1
_LARGEST_SIZE: Final = 2**32 - 1
_ROLES: Final[tuple[Role, ...]] = ("tool", "system", "user", "assistant")
_KINDS: Final[tuple[BlockKind, ...]] = (
    "text", "tool_use", "tool_result", "media", "reasoning", "compaction", "other",
)  # fmt: skip
_WORDS: Final = {word: number for number, word in enumerate(PATH_WORDS)}

_BLOCK: Final = 100
"""Bytes of memory of a block's cumulative digest and of its position, in addition to its row."""
_MARK: Final = 350
"""Bytes of memory of a mark with its word, wherever it is listed."""
_TEXT: Final = 350
"""Bytes of memory of a text's chunks, in addition to their digests, kinds and values."""

ROW: Final = _ROW.size
ROLE_NUMBERS: Final = {role: number for number, role in enumerate(_ROLES)}
KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(_KINDS)}
UNKNOWN: Final = 255
"""The kind and the role of a block in a gap."""


def pack_block(
    where: str, index: int, within: str, part: int, role: Role, kind: BlockKind, strict: bytes, loose: bytes, size: int
) -> bytes:
    """Return the row of a block, by the attributes of ``PromptBlock``."""
    return _ROW.pack(
        strict, loose, size if size < _LARGEST_SIZE else _LARGEST_SIZE, index,
        part if part < _LARGEST_PART else _LARGEST_PART, _WORDS.get(where, 0), _WORDS.get(within, 0),
        ROLE_NUMBERS[role], KIND_NUMBERS[kind],
    )  # fmt: skip


class PackedBlocks(Sequence[PromptBlock]):
    """Blocks in ``rows``. ``marks`` and ``chunks`` are by the number of a block, ``parts`` those of all of them."""

    def __init__(
        self,
        rows: bytes = b"",
        marks: Mapping[int, str] = MappingProxyType({}),
        parts: bytes = b"",
        chunks: Mapping[int, TextChunks] = MappingProxyType({}),
    ) -> None:
        self.rows = rows
        self.length = len(rows) // ROW
        self.marks = marks
        self.parts = parts
        self.chunks = chunks
        self.front: tuple[PackedBlocks, bytes, bytes] | None = None
        """The packed first part of a prompt with these system texts, after its tools and other parts (``packing``)."""

    def __len__(self) -> int:
        return self.length

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

    # All blocks, without decoding them

    @property
    def kinds(self) -> bytes:
        """The kind of each block, as in ``KIND_NUMBERS``."""
        return self.rows[ROW - 1 :: ROW]

    @property
    def roles(self) -> bytes:
        """The role of each block, as in ``ROLE_NUMBERS``."""
        return self.rows[ROW - 2 :: ROW]

    @property
    def memory_size(self) -> int:
        """The bytes of memory of all blocks, including values that are computed from them later."""
        size = len(self.rows) + len(self.parts) + self.length * _BLOCK
        if self.marks:
            size += len(self.marks) * _MARK
        if self.chunks:
            chunks = self.chunks.values()
            size += sum([_TEXT + len(one.digests) + len(one.kinds) + len(one.values) for one in chunks])
        return size

    @once_property
    def sizes(self) -> tuple[int, ...]:
        """The bytes of all blocks before each position."""
        return (0, *accumulate(size for (size,) in _SIZE.iter_unpack(self.rows)))

    @once_property
    def cumulative(self) -> tuple[bytes, ...]:
        """The cumulative digests of all positions."""
        return self.cumulative_after(b"")

    def cumulative_after(self, before: bytes) -> tuple[bytes, ...]:
        """Return the cumulative digests of all positions, ``before`` at the first one."""
        found = [before]
        for at in range(0, len(self.rows), ROW):
            before = next_digest(before, self.rows[at : at + DIGEST])
            found.append(before)
        return tuple(found)

    def strict(self, number: int) -> bytes:
        """Return a block's strict digest, which only equal JSON shares."""
        return self.rows[number * ROW : number * ROW + DIGEST]

    def digests_and_sizes(self, start: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int]]:
        """Return the strict digest and the bytes of each block from ``start`` to ``end``."""
        return _DIGEST_AND_SIZE.iter_unpack(self.rows[start * ROW : None if end is None else end * ROW])

    def size(self, number: int) -> int:
        """Return the bytes of a block."""
        size: int = _SIZE.unpack_from(self.rows, number * ROW)[0]
        return size

    def cut(self, start: int, end: int) -> "PackedBlocks":
        """Return the blocks from ``start`` to ``end``, for a history."""
        marks = {number - start: mark for number, mark in self.marks.items() if start <= number < end}
        return PackedBlocks(self.rows[start * ROW : end * ROW], marks)

    def _block(self, number: int) -> PromptBlock:
        fields = _ROW.unpack_from(self.rows, number * ROW)
        strict, loose, size, index, part, where, within, role, kind = fields
        return PromptBlock(
            PATH_WORDS[where], index, PATH_WORDS[within], part, _ROLES[role], _KINDS[kind], strict, loose, size,
            self.marks.get(number), self._parts_of(number), self.chunks.get(number),
        )  # fmt: skip

    def _parts_of(self, number: int) -> tuple[bytes, bytes, bytes] | None:
        if not self.parts:
            return None
        first = number * 3 * LOOSE
        name, description, schema = (self.parts[first + at * LOOSE : first + (at + 1) * LOOSE] for at in range(3))
        return name, description, schema


def join_blocks(parts: Iterable[PackedBlocks]) -> PackedBlocks:
    """Return the blocks of several sections in a row."""
    marks: dict[int, str] = {}
    chunks: dict[int, TextChunks] = {}
    sections, start = list(parts), 0
    for blocks in sections:
        if blocks.marks:
            marks |= {start + number: mark for number, mark in blocks.marks.items()}
        if blocks.chunks:
            chunks |= {start + number: text for number, text in blocks.chunks.items()}
        start += blocks.length
    return PackedBlocks(
        b"".join([blocks.rows for blocks in sections]), marks, b"".join([blocks.parts for blocks in sections]), chunks
    )


def join_ends(parts: Sequence[PackedBlocks], head: int, tail: int) -> PackedBlocks:
    """Return the first ``head`` and the last ``tail`` blocks of several parts of a history in a row."""
    rows = b"".join([blocks.rows for blocks in parts])
    cut, start = max(len(rows) // ROW - head - tail, 0), 0
    marks: dict[int, str] = {}
    for blocks in parts:
        if blocks.marks:
            for number, mark in blocks.marks.items():
                at = start + number
                if at < head or at >= head + cut:
                    marks[at if at < head else at - cut] = mark
        start += blocks.length
    if cut:
        rows = rows[: head * ROW] + rows[(head + cut) * ROW :]
    return PackedBlocks(rows, marks)


def next_digest(before: bytes, strict: bytes) -> bytes:
    """Return the cumulative digest after a block with the digest ``strict``."""
    return blake2b(before + strict, digest_size=DIGEST).digest()
