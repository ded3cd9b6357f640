"""Blocks that call a tool of the client's."""

from collections.abc import Sequence

from providers.messages.answer import input_text, tool_begin
from providers.messages.reading.answer import BlockKind, OpenAnswer, OpenBlock
from providers.neutral.bounds import PLACE
from streams.events import BlockEnd, Event, ToolCallDelta


def begin(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    """The start of a call."""
    begun = tool_begin(answer.number(block), block.item, answer.call_ids)
    answer.places.spend(PLACE + len(begun.id), "tool calls")
    return [begun]


def take_input(answer: OpenAnswer, block: OpenBlock, text: str) -> Sequence[Event]:
    """A piece of the input's JSON."""
    if not text:
        return ()
    if not block.pieces:
        block.pieces.append(text)  # that there was one is all that matters
    return (ToolCallDelta(answer.number(block), text),)


def finish(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    """The end of a call, with an input that was whole in its start and had no deltas."""
    number = answer.number(block)
    text = "" if block.pieces else input_text(block.item.get("input"))
    return [ToolCallDelta(number, text), BlockEnd(number)] if text else [BlockEnd(number)]


KIND = BlockKind(begin, finish, {"input_json_delta": ("partial_json", take_input)})
