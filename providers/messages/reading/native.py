"""All other blocks, such as those of the provider's own tools: each is passed on once it is whole."""

from collections.abc import Mapping, Sequence
from typing import Any

from providers.messages.answer import block_events
from providers.messages.reading.answer import BlockKind, OpenAnswer, OpenBlock
from streams.events import Event
from streams.surrogates import NOT_JSON, any_json


def begin(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    """No events yet."""
    return []


def take_input(answer: OpenAnswer, block: OpenBlock, text: str) -> Sequence[Event]:
    """A piece of the input's JSON."""
    answer.hold_piece(block.pieces, text)
    return ()


def take_compaction(answer: OpenAnswer, block: OpenBlock, delta: Mapping[str, Any]) -> Sequence[Event]:
    """Members of a compaction."""
    if answer.keeps:
        answer.hold("members of a block")
        block.item |= {name: part for name, part in delta.items() if name != "type"}
    return ()


def finish(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    """The block, whole."""
    if block.pieces:
        block.item["input"] = _parsed("".join(block.pieces), block.item.get("input"))
    return block_events(answer.number(block), block.item, answer.call_ids)


def _parsed(text: str, default: Any) -> Any:
    try:
        return any_json(text.encode())
    except NOT_JSON:
        return default


KIND = BlockKind(begin, finish, {"input_json_delta": ("partial_json", take_input)})
COMPACTION = BlockKind(begin, finish, KIND.pieces, {"compaction_delta": take_compaction})
