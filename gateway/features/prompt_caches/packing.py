"""Prompts as few bytes, for the memory that the workers of a machine share.

The bytes have three parts. Most turns of a conversation change nothing in the first part, and add a few rows to the
second, so that the memory writes little."""

from typing import Final, TypeAlias

import msgspec

from gateway.features.prompt_caches.digests import limit_chunks
from gateway.features.prompt_caches.packed_blocks import ROW, PackedBlocks
from gateway.features.prompt_caches.positions import shorten
from gateway.features.prompt_caches.prompt_blocks import KeyMember, TextChunks
from gateway.features.prompt_caches.prompts import PromptDigest
from streams.events import Api

LARGEST: Final = 12 * 1024
"""Bytes of a conversation in the memory."""

PackedPrompt: TypeAlias = tuple[bytes, ...]
"""Tools, system texts and settings; the rows of the history; everything else."""

PARTS: Final = 3
"""The parts of a packed prompt."""

_SIZES: Final = ((256, 224), (128, 224), (128, 128), (64, 96), (0, 64), (0, 32), (0, 8))
"""The most chunks of all system texts and the most blocks after the head of a history, tried in this order."""


class _Front(msgspec.Struct, array_like=True):
    """The part of a prompt that rarely changes. ``marks`` and ``chunks`` are by the number of a block."""

    api: Api
    tools: bytes
    tool_marks: dict[int, str]
    tool_parts: bytes
    system: bytes
    system_marks: dict[int, str]
    chunks: dict[int, TextChunks]
    settings: tuple[KeyMember, ...]
    own_settings: tuple[KeyMember, ...]
    end_mark: str | None
    is_explicit: bool
    lifetime: str | None


class _Rest(msgspec.Struct, array_like=True):
    """The numbers of a prompt, and the marks of its history."""

    history_size: int
    head: int
    gap: int
    gap_digest: bytes
    has_answer: bool
    ends: tuple[bytes, bytes, bytes]
    marks: dict[int, str]


_FRONT: Final = msgspec.msgpack.Decoder(_Front)
_REST: Final = msgspec.msgpack.Decoder(_Rest)
_encode: Final = msgspec.msgpack.Encoder().encode


def pack(prompt: PromptDigest, most: int = LARGEST) -> PackedPrompt:
    """Return ``prompt`` in at most ``most`` bytes for the memory, nothing if that is impossible.

    A prompt that does not fit loses first details of its system texts, then blocks from the middle of its history. One
    with too many tools cannot be remembered."""
    front = prompt.history_start * ROW + len(prompt.tools.parts)
    for chunks, tail in _SIZES:
        if front + min(prompt.history.length, prompt.head + tail) * ROW > most:
            continue
        data = _pack(shorten(prompt, tail), chunks)
        if sum(map(len, data)) <= most:
            return data
    return ()


def unpack(data: PackedPrompt) -> PromptDigest:
    """Return the prompt that ``pack`` wrote, the first one in ``data``."""
    front, rows, rest = _FRONT.decode(data[0]), data[1], _REST.decode(data[2])
    start = rest.head * ROW
    return PromptDigest(
        front.api, PackedBlocks(front.tools, front.tool_marks, front.tool_parts),
        PackedBlocks(front.system, front.system_marks, chunks=front.chunks),
        PackedBlocks(rows[:start] + _rotate(rows[start:], -rest.gap), rest.marks), rest.history_size, front.settings,
        front.own_settings, rest.head, rest.gap, rest.gap_digest, front.end_mark, front.is_explicit, front.lifetime,
        rest.has_answer, ends=rest.ends,
    )  # fmt: skip


def _pack(prompt: PromptDigest, most_chunks: int) -> PackedPrompt:
    history = prompt.history
    rest = _Rest(
        prompt.history_size, prompt.head, prompt.gap, prompt.gap_digest, prompt.has_answer, prompt.section_digests,
        dict(history.marks),
    )  # fmt: skip
    start = prompt.head * ROW
    return (
        _pack_front(prompt, most_chunks),
        history.rows[:start] + _rotate(history.rows[start:], prompt.gap),
        _encode(rest),
    )


def _pack_front(prompt: PromptDigest, most_chunks: int) -> bytes:
    """Return the first part of a prompt. Turns with the same tools and system texts share it."""
    tools, system = prompt.tools, prompt.system
    numbers = prompt.settings, prompt.own_settings, prompt.end_mark, prompt.is_explicit, prompt.lifetime
    others = _encode((most_chunks, prompt.api, *numbers))
    if system.front is not None and system.front[0] is tools and system.front[1] == others:
        return system.front[2]
    chunks = _limit_all(dict(system.chunks), most_chunks)
    packed = _encode(
        _Front(
            prompt.api, tools.rows, dict(tools.marks), tools.parts, system.rows, dict(system.marks), chunks, *numbers
        )
    )
    system.front = tools, others, packed
    return packed


def _rotate(rows: bytes, count: int) -> bytes:
    """Return the last blocks of a history as a ring, in which each block keeps its place while new ones follow."""
    if not rows:
        return rows
    at = -count * ROW % len(rows)
    return rows[at:] + rows[:at]


def _limit_all(texts: dict[int, TextChunks], most: int) -> dict[int, TextChunks]:
    """Return the chunks of several texts, together at most ``most``, by the share of each text."""
    total = sum(len(chunks.kinds) for chunks in texts.values())
    if total <= most:
        return texts
    shares = ((number, chunks, len(chunks.kinds) * most // total) for number, chunks in texts.items())
    return {number: limit_chunks(chunks, share) for number, chunks, share in shares if share}
