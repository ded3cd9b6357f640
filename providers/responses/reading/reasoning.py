"""Reasoning items: all parts of one become one block, with what the provider wants back at its end."""

from collections.abc import Mapping, Sequence
from typing import Any

from providers.responses.reading.answer import OpenAnswer, TakeEvent
from providers.responses.reading.items import DONE, SAID, ItemStage, OutputItem
from providers.responses.reading.wire import Wire
from providers.responses.values import Json, as_index, reasoning_text
from streams.events import Event, ReasoningDelta, ReasoningState


def take_summary(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """A piece of a summary of reasoning."""
    return _think(answer, wire, "summary", wire.summary_index, wire.delta)


def take_text(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """A piece of the reasoning itself."""
    return _think(answer, wire, "text", wire.content_index, wire.delta)


def _think(answer: OpenAnswer, wire: Wire, voice: str, part: Any, text: Any) -> Sequence[Event]:
    """A piece of reasoning. Of an item that says the same as summary and as text only the one that came first is
    read."""
    item = answer.items.of(wire, "reasoning")
    if not isinstance(text, str) or not text or item.stage is DONE or (item.voice or voice) != voice:
        return ()
    item.voice = voice
    if answer.place != (item, ReasoningDelta, None):
        events = answer.open(item, ReasoningDelta, None)
    else:
        events = []
        if as_index(part) != item.part:
            text = "\n\n" + text
    item.part = as_index(part)
    return [*events, ReasoningDelta(answer.block, text)]


def finish(answer: OpenAnswer, item: OutputItem, value: Json, before: ItemStage) -> list[Event]:
    """A whole item: its text if none was said before, and the item itself where its provider has a use for it."""
    events: list[Event] = []
    text = reasoning_text(value)
    heard = before is SAID
    if not heard and text:
        events += [*answer.open(item, ReasoningDelta, None), ReasoningDelta(answer.block, text)]
    open_here = answer.says(item)
    if _is_worth_returning(answer, value, late=heard and not open_here):
        if not open_here:
            events += answer.open(item, ReasoningDelta, None)
        events.append(ReasoningState(answer.block, "responses", value))
        open_here = True
    return events + (answer.shut() if open_here else [])


def _is_worth_returning(answer: OpenAnswer, value: Json, late: bool) -> bool:
    """The provider has a use for the item in the next turn: it holds the reasoning, or the provider kept it under its
    id. What comes ``late``, behind another item's text, is returned only if nothing else has it."""
    if value.get("encrypted_content"):
        return True
    return not late and bool(value.get("content") or (answer.items.terms.stored and value.get("id")))


EVENTS: Mapping[str, TakeEvent] = {
    "response.reasoning_summary_text.delta": take_summary,
    "response.reasoning_text.delta": take_text,
}
