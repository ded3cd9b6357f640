"""Content blocks that start, go on and stop: each is read by the module of its kind."""

from collections.abc import Mapping, Sequence
from typing import Any

from providers.messages.answer import block_events, text_of
from providers.messages.reading import calls, native, texts, thinking
from providers.messages.reading.answer import BlockKind, OpenAnswer, OpenBlock
from providers.neutral.bounds import PLACE, bounded
from streams.events import Event

_KINDS: Mapping[str, BlockKind] = {
    "text": texts.KIND,
    "thinking": thinking.KIND,
    "tool_use": calls.KIND,
    "compaction": native.COMPACTION,
}
"""Kinds of blocks by their type. Others: ``native.KIND``."""

_TYPE_OF_DELTA = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "thinking"}
"""The type of block that a delta tells."""


def start(answer: OpenAnswer, value: Mapping[str, Any]) -> Sequence[Event]:
    """The start of a block."""
    item, index = value.get("content_block"), _index(value)
    if not isinstance(item, dict):
        return ()
    events = _end_words(answer)
    if index in answer.blocks:
        events += _finish(answer, index)
    block = _open(answer, index, item)
    events += block.kind.begin(answer, block)
    if answer.keeps:
        answer.hold("content blocks")
    else:
        block.item = {}
    return events


def go_on(answer: OpenAnswer, value: Mapping[str, Any]) -> Sequence[Event]:
    """A delta of a block."""
    delta, index = value.get("delta"), _index(value)
    if not isinstance(delta, dict):
        return ()
    type = text_of(delta.get("type"))
    block = answer.blocks.get(index)
    if block is not None:
        return _take(answer, block, type, delta)
    if type not in _TYPE_OF_DELTA:
        return ()
    events = _end_words(answer)  # the block's start is missing
    return [*events, *_take(answer, _open(answer, index, {"type": _TYPE_OF_DELTA[type]}), type, delta)]


def stop(answer: OpenAnswer, value: Mapping[str, Any]) -> Sequence[Event]:
    """The stop of a block."""
    index = _index(value)
    return _finish(answer, index) if index in answer.blocks else ()


def take_whole(answer: OpenAnswer, content: object) -> list[Event]:
    """Blocks that are there whole before any starts, as with programmatic tool calling."""
    events: list[Event] = []
    for item in bounded(content, "content blocks") if isinstance(content, list) else ():
        if isinstance(item, dict) and (block := block_events(answer.opened, item, answer.call_ids)):
            answer.opened += 1
            events.extend(block)
    return events


def finish_all(answer: OpenAnswer) -> list[Event]:
    """The ends of all blocks that are open."""
    return [event for index in list(answer.blocks) for event in _finish(answer, index)]


def _open(answer: OpenAnswer, index: int, item: Mapping[str, Any]) -> OpenBlock:
    answer.places.spend(PLACE, "content blocks")
    kind = _KINDS.get(text_of(item.get("type")), native.KIND)
    block = answer.blocks[index] = OpenBlock(kind, item)
    if kind is not calls.KIND:
        answer.words.append(index)
    return block


def _take(answer: OpenAnswer, block: OpenBlock, type: str, delta: Mapping[str, Any]) -> Sequence[Event]:
    if type in block.kind.pieces:
        member, take_piece = block.kind.pieces[type]
        return take_piece(answer, block, text_of(delta.get(member)))
    take = block.kind.deltas.get(type)
    return () if take is None else take(answer, block, delta)


def _end_words(answer: OpenAnswer) -> list[Event]:
    """The ends of all blocks but tool calls: a server that forgets its stops has only one of them open."""
    return [event for index in tuple(answer.words) for event in _finish(answer, index)]


def _finish(answer: OpenAnswer, index: int) -> list[Event]:
    block = answer.blocks.pop(index)
    answer.places.give_back(PLACE)
    if block.kind is not calls.KIND:
        answer.words.remove(index)
    return block.kind.finish(answer, block)


def _index(value: Mapping[str, Any]) -> int:
    index = value.get("index")
    return index if isinstance(index, int) else 0  # blocks come one by one, so one place is enough for those without
