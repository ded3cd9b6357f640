"""Items that call a tool of the client's: functions and custom tools."""

from collections.abc import Mapping, Sequence
from typing import Any

from providers.neutral.bounds import ID
from providers.neutral.codec import new_id
from providers.responses.reading.answer import OpenAnswer, TakeEvent
from providers.responses.reading.items import CALLS, SAID, ItemStage, OutputItem
from providers.responses.reading.wire import Wire
from providers.responses.tools import flat_name
from providers.responses.values import Json, as_string
from streams.events import BlockEnd, Event, ToolCallDelta, ToolCallStart


def begin(answer: OpenAnswer, item: OutputItem, value: Json) -> list[Event]:
    """The start of a call, once its name is known."""
    name = as_string(value.get("name"))
    if not name or item.block is not None:
        return []
    events = answer.shut()
    item.block = answer.next_block()
    kind = CALLS[item.type][0]
    events.append(ToolCallStart(item.block, _call_id(answer, value), flat_name(value.get("namespace"), name), kind))
    return events


def _call_id(answer: OpenAnswer, value: Json) -> str:
    call_id = as_string(value.get("call_id")) or as_string(value.get("id"))
    if not call_id or call_id in answer.call_ids:
        call_id = new_id("call_")
    answer.items.places.spend(ID + len(call_id), "tool calls")
    answer.call_ids.add(call_id)
    return call_id


def take_input(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """A piece of a call's input."""
    return _write(answer.items.of(wire, "function_call"), wire.delta)


def take_whole_arguments(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """The whole arguments of a function's call."""
    item = answer.items.of(wire, "function_call")
    return () if item.stage is SAID else _write(item, wire.arguments)


def take_whole_input(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """The whole input of a custom tool's call."""
    item = answer.items.of(wire, "custom_tool_call")
    return () if item.stage is SAID else _write(item, wire.input)


def _write(item: OutputItem, text: Any) -> Sequence[Event]:
    if item.block is None or not isinstance(text, str) or not text:
        return ()
    item.say()
    return (ToolCallDelta(item.block, text),)


def finish(answer: OpenAnswer, item: OutputItem, value: Json, before: ItemStage) -> list[Event]:
    """The rest of a whole call, and its end."""
    events = begin(answer, item, value)
    text = value.get(CALLS[item.type][1])
    if item.block is not None and before is not SAID and isinstance(text, str) and text:
        events.append(ToolCallDelta(item.block, text))
    return events + end(item)


def end(item: OutputItem) -> list[Event]:
    """The end of a call that is open."""
    if item.block is None:
        return []
    block, item.block = item.block, None
    return [BlockEnd(block)]


EVENTS: Mapping[str, TakeEvent] = {
    "response.function_call_arguments.delta": take_input,
    "response.function_call_arguments.done": take_whole_arguments,
    "response.custom_tool_call_input.delta": take_input,
    "response.custom_tool_call_input.done": take_whole_input,
}
