"""Prompts as few bytes, for the memory that the workers of a machine share."""

from collections.abc import Iterable
from typing import Final

import msgspec

from gateway.prompt_caches.digests import limit_chunks
from gateway.prompt_caches.packed_blocks import SHORT, PackedBlocks, PackedChunks, pack_block
from gateway.prompt_caches.positions import shorten
from gateway.prompt_caches.prompts import KeyMember, PromptBlock, PromptDigest, Section, TextChunks

LARGEST: Final = 12 * 1024
"""Bytes of a conversation in the memory."""

_SECTIONS: Final[tuple[Section, ...]] = ("tools", "system", "history")

_SIZES: Final = ((256, 224), (128, 224), (128, 128), (64, 96), (0, 64), (0, 32), (0, 8))
"""The most chunks of all system texts and the most blocks after the head of a history, tried in this order."""


class _PackedPrompt(msgspec.Struct, array_like=True):
    """A prompt in MessagePack. ``marks`` and ``chunks`` are by the number of a block in its section."""

    api: str
    rows: tuple[bytes, bytes, bytes]
    marks: tuple[dict[int, str], dict[int, str], dict[int, str]]
    parts: bytes
    chunks: dict[int, PackedChunks]
    ends: tuple[bytes, bytes, bytes]
    settings: list[tuple[str, int, bytes]]
    head: int
    gap: int
    gap_digest: bytes
    gap_size: int
    end_mark: str | None
    is_explicit: bool
    lifetime: str | None
    has_answer: bool
    own_settings: list[tuple[str, int, bytes]]


_DECODER: Final = msgspec.msgpack.Decoder(_PackedPrompt)


def pack(prompt: PromptDigest, most: int = LARGEST) -> bytes:
    """Return ``prompt`` in at most ``most`` bytes for the memory, b"" if that is impossible.

    A prompt that does not fit loses first details of its system texts, then blocks from the middle of its history. One
    with too many tools cannot be remembered."""
    for chunks, tail in _SIZES:
        data = msgspec.msgpack.encode(_to_packed(shorten(prompt, tail), chunks))
        if len(data) <= most:
            return data
    return b""


def unpack(data: bytes) -> PromptDigest:
    """Return the prompt that ``pack`` wrote, with shorter loose digests. Its blocks are decoded when they are read."""
    packed = _DECODER.decode(data)
    tools, system, history = packed.rows
    return PromptDigest(
        packed.api, PackedBlocks(tools, packed.marks[0], packed.parts),
        PackedBlocks(system, packed.marks[1], chunks=packed.chunks), PackedBlocks(history, packed.marks[2]),
        _read_members(packed.settings),
        packed.head, packed.gap, packed.gap_digest, packed.gap_size, packed.end_mark, packed.is_explicit,
        packed.lifetime, packed.has_answer, ends=packed.ends, own_settings=_read_members(packed.own_settings),
    )  # fmt: skip


def _to_packed(prompt: PromptDigest, most_chunks: int) -> _PackedPrompt:
    sections = (prompt.tools, prompt.system, prompt.history)
    texts = [(number, block.chunks) for number, block in enumerate(prompt.system) if block.chunks is not None]
    tools, system, history = (b"".join([block.packed or pack_block(block) for block in blocks]) for blocks in sections)
    return _PackedPrompt(
        prompt.api, (tools, system, history), (_marks(sections[0]), _marks(sections[1]), _marks(sections[2])),
        b"".join([part[:SHORT] for block in prompt.tools for part in block.parts or (bytes(SHORT),) * 3]),
        {
            number: (chunks.span, chunks.length, chunks.digests, chunks.kinds, chunks.values)
            for number, chunks in _limit_all(texts, most_chunks)
        },
        prompt.section_digests, _pack_members(prompt.settings),
        prompt.head, prompt.gap, prompt.gap_digest, prompt.gap_size, prompt.end_mark, prompt.is_explicit,
        prompt.lifetime, prompt.has_answer, _pack_members(prompt.own_settings),
    )  # fmt: skip


def _pack_members(members: Iterable[KeyMember]) -> list[tuple[str, int, bytes]]:
    return [(member.name, _SECTIONS.index(member.section), member.digest) for member in members]


def _read_members(packed: Iterable[tuple[str, int, bytes]]) -> tuple[KeyMember, ...]:
    return tuple(KeyMember(name, _SECTIONS[section], digest) for name, section, digest in packed)


def _marks(blocks: Iterable[PromptBlock]) -> dict[int, str]:
    return {number: block.mark for number, block in enumerate(blocks) if block.mark is not None}


def _limit_all(texts: list[tuple[int, TextChunks]], most: int) -> Iterable[tuple[int, TextChunks]]:
    """Return the chunks of several texts, together at most ``most``, by the share of each text."""
    total = sum(len(chunks.kinds) for _, chunks in texts)
    if total <= most:
        return texts
    shares = ((number, chunks, len(chunks.kinds) * most // total) for number, chunks in texts)
    return [(number, limit_chunks(chunks, share)) for number, chunks, share in shares if share]
