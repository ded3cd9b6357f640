"""Items that are announced or there whole: each is finished by the module of its kind."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from providers.responses.reading import calls, messages, reasoning
from providers.responses.reading.answer import OpenAnswer, TakeEvent
from providers.responses.reading.hosted_tools import note_hosted
from providers.responses.reading.items import CALLS, DONE, ItemStage, OutputItem
from providers.responses.reading.wire import Wire
from providers.responses.values import Json, as_object, as_string, few_objects
from streams.events import Event, NativeItem

_Finish: TypeAlias = Callable[[OpenAnswer, OutputItem, Json, ItemStage], list[Event]]


def take_added(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """The announcement of an item."""
    value = as_object(wire.item)
    if not value:
        return ()
    items, id = answer.items, as_string(value.get("id"))
    before = items.find(wire.output_index, id)
    if before is not None and before.stage is not DONE and items.is_known(id, before):
        return ()  # announced twice
    events = calls.end(before) if before is not None else []
    item = items.know(items.add(wire, value), value)
    return [*events, *calls.begin(answer, item, value)] if item.type in CALLS else events


def take_done(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """A whole item."""
    value = as_object(wire.item)
    if not value:
        return ()
    id = as_string(value.get("id"))
    item = answer.items.find(wire.output_index, id)
    if item is None or (item.stage is DONE and not answer.items.is_known(id)):
        item = answer.items.add(wire, value)
    return finish(answer, item, value)


def finish(answer: OpenAnswer, item: OutputItem, value: Json) -> list[Event]:
    """Everything of a whole item that has not become events before."""
    before = item.stage
    if before is DONE:
        return []
    item.stage = DONE
    item.type = answer.items.type_of(value)
    answer.items.know(item, value)
    return _FINISH.get(item.type, _finish_native)(answer, item, value, before)


def _finish_native(answer: OpenAnswer, item: OutputItem, value: Json, before: ItemStage) -> list[Event]:
    """A hosted tool's item, or one of a kind that is not known."""
    note_hosted(answer.ran, item.type, value)
    return [*answer.shut(), NativeItem(answer.next_block(), "responses", as_string(value.get("type")), value)]


def finish_all(answer: OpenAnswer, output: object) -> list[Event]:
    """The content that only the terminal event has, and the ends of all blocks that are open."""
    events: list[Event] = []
    for position, value in enumerate(few_objects(output)):
        events += finish(answer, answer.items.at_the_end(position, value), value)
    events += answer.shut()
    for item in answer.items:
        events += calls.end(item)
    return events


_FINISH: Mapping[str, _Finish] = {
    "message": messages.finish,
    "reasoning": reasoning.finish,
    **dict.fromkeys(CALLS, calls.finish),
}
EVENTS: Mapping[str, TakeEvent] = {
    "response.output_item.added": take_added,
    "response.output_item.done": take_done,
}
