"""Readers of the items of a provider's Responses answer: messages, reasoning, tool calls; other items stay whole.

Text may arrive up to four times: as deltas, in ``….done``, with its part and with its item. All parts of a reasoning
item become one block, followed by the state that the provider requires back.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from providers.neutral.bounds import ID
from providers.neutral.codec import new_id
from providers.neutral.values import Json, arguments_text, as_index, as_object, as_objects, as_string, bounded_objects
from providers.responses.open_answer import (
    CALLS,
    DONE,
    NEW,
    PARTIAL,
    ItemStage,
    OpenAnswer,
    OutputItem,
    Speech,
    TakeEvent,
    Wire,
    record_hosted_call,
)
from providers.responses.tools import flat_name, reasoning_text
from streams.events import (
    BlockEnd,
    Citation,
    Event,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)

PARTS: Mapping[str, tuple[Speech, str]] = {
    "output_text": (TextDelta, "text"),
    "text": (TextDelta, "text"),  # `TextContent` of OpenAI's specification
    "output_audio": (TextDelta, "transcript"),
    "refusal": (RefusalDelta, "refusal"),
}
"""By content part type, the events that it becomes and the member with its text."""


def read_text(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    return _add_text(answer, wire, TextDelta, wire.content_index, wire.delta, wire.logprobs)


def _add_text(
    answer: OpenAnswer, wire: Wire, speech: Speech, part: Any, text: Any, logprobs: Any = None
) -> Sequence[Event]:
    if not isinstance(text, str) or not text:
        return ()
    item = answer.items.find_or_add(wire, "message")
    if answer.open_text == (item, speech, part):
        answer.text_length += len(text)
        answer.last_piece = text
        return (_text_event(answer, speech, text, logprobs) if logprobs else speech(answer.block, text),)
    if item.stage is DONE:
        return ()
    answer.items.places.spend(ID, "parts of messages")
    item.parts.add(as_index(part))
    events = answer.open_block(item, speech, part)
    answer.text_length, answer.last_piece = len(text), text
    return [*events, _text_event(answer, speech, text, logprobs, item.phase)]


def _text_event(answer: OpenAnswer, speech: Speech, text: str, logprobs: Any, phase: str | None = None) -> Event:
    """Return an event with a piece of the open block, including log probabilities if requested."""
    if speech is TextDelta and (logprobs or phase):
        return TextDelta(answer.block, text, as_objects(logprobs) or None, phase)
    return speech(answer.block, text)


def read_whole_part(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """Return the events for the rest of a whole content part and all its citations."""
    part = as_object(wire.part)
    speech, member = PARTS.get(as_string(part.get("type")), (None, ""))
    if speech is None:
        return ()
    events = list(_add_rest(answer, wire, speech, part.get(member), part.get("logprobs")))
    item = answer.items.find_or_add(wire, "message")
    if answer.open_text == (item, TextDelta, wire.content_index) and not answer.citations:
        events += _citation_events(answer, part)
    return events


def _add_rest(answer: OpenAnswer, wire: Wire, speech: Speech, text: Any, logprobs: Any = None) -> Sequence[Event]:
    """Return the events for the rest of a text that the deltas did not carry."""
    item = answer.items.find_or_add(wire, "message")
    index, known = as_index(wire.content_index), item.parts  # some events of a server may have no index
    if not known or not (index is None or index in known or None in known):
        return _add_text(answer, wire, speech, wire.content_index, text, logprobs)
    if answer.open_text != (item, speech, wire.content_index) or not isinstance(text, str):
        return ()
    was_partial = answer.text_length
    if len(text) > was_partial and text.endswith(answer.last_piece, 0, was_partial):
        return _add_text(answer, wire, speech, wire.content_index, text[was_partial:])
    return ()


def read_annotation(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """Return the event for a citation of the open text."""
    item = answer.items.find_or_add(wire, "message")
    if not answer.is_open(item, TextDelta) or not isinstance(wire.annotation, dict):
        return ()
    answer.citations += 1
    return (Citation(answer.block, "responses", wire.annotation),)


def _citation_events(answer: OpenAnswer, part: Json) -> list[Event]:
    return [Citation(answer.block, "responses", note) for note in bounded_objects(part.get("annotations"))]


def finish_message(answer: OpenAnswer, item: OutputItem, value: Json, before: ItemStage) -> list[Event]:
    """Return the events for the parts of a whole message that were not returned before."""
    events: list[Event] = []
    content = bounded_objects(value.get("content"))
    # If a server numbers parts differently in deltas, the number of parts shows that all were returned.
    if None not in item.parts and len(content) > len(item.parts):
        for i, part in enumerate(content):
            speech, member = PARTS.get(as_string(part.get("type")), (None, ""))
            if speech is not None and i not in item.parts and (text := as_string(part.get(member))):
                events += answer.open_block(item, speech, None)
                events += [
                    _text_event(answer, speech, text, part.get("logprobs"), item.phase),
                    *_citation_events(answer, part),
                ]
    return events + answer.close_block()


MESSAGE_EVENTS: Mapping[str, TakeEvent] = {
    "response.output_text.delta": read_text,
    "response.output_text.done": lambda answer, wire: _add_rest(answer, wire, TextDelta, wire.text, wire.logprobs),
    "response.output_text.annotation.added": read_annotation,
    "response.refusal.delta": lambda answer, wire: _add_text(
        answer, wire, RefusalDelta, wire.content_index, wire.delta
    ),
    "response.refusal.done": lambda answer, wire: _add_rest(answer, wire, RefusalDelta, wire.refusal),
    "response.content_part.done": read_whole_part,
}


def read_summary(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    return _add_reasoning(answer, wire, "summary", wire.summary_index, wire.delta)


def read_reasoning_text(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    return _add_reasoning(answer, wire, "text", wire.content_index, wire.delta)


def _add_reasoning(answer: OpenAnswer, wire: Wire, variant: str, part: Any, text: Any) -> Sequence[Event]:
    """Return the events for a piece of reasoning.

    If an item has both summary and text, only the kind that arrives first is read.
    """
    item = answer.items.find_or_add(wire, "reasoning")
    if not isinstance(text, str) or not text or item.stage is DONE or (item.variant or variant) != variant:
        return ()
    item.variant = variant
    if answer.open_text != (item, ReasoningDelta, None):
        events = answer.open_block(item, ReasoningDelta, None)
    else:
        events = []
        if as_index(part) != item.part:
            text = "\n\n" + text
    item.part = as_index(part)
    return [*events, ReasoningDelta(answer.block, text)]


def finish_reasoning(answer: OpenAnswer, item: OutputItem, value: Json, before: ItemStage) -> list[Event]:
    """Return the events of a whole reasoning item: its text if none was returned, and its state if the provider
    requires it."""
    events: list[Event] = []
    text = reasoning_text(value)
    was_partial = before is PARTIAL
    if not was_partial and text:
        events += [*answer.open_block(item, ReasoningDelta, None), ReasoningDelta(answer.block, text)]
    open_here = answer.open_text == (item, ReasoningDelta, None)  # some servers give a text the reasoning's index
    if _must_be_returned(answer, value, late=was_partial and not open_here):
        if not open_here:
            events += answer.open_block(item, ReasoningDelta, None)
        events.append(ReasoningState(answer.block, "responses", value))
        open_here = True
    return events + (answer.close_block() if open_here else [])


def _must_be_returned(answer: OpenAnswer, value: Json, late: bool) -> bool:
    """Return whether the provider can use the item on the next turn: it holds the reasoning, or the provider stored it
    under its id.

    If it arrives ``late``, after another item's text, only encrypted content counts.
    """
    if value.get("encrypted_content"):
        return True
    return not late and bool(value.get("content") or (answer.items.request.stored and value.get("id")))


REASONING_EVENTS: Mapping[str, TakeEvent] = {
    "response.reasoning_summary_text.delta": read_summary,
    "response.reasoning_text.delta": read_reasoning_text,
}


def begin_call(answer: OpenAnswer, item: OutputItem, value: Json, is_whole: bool = False) -> list[Event]:
    """Return the events for the start of a call, once its name is known.

    A whole call without a name starts with an empty one: the client must see that the model called.
    """
    name = as_string(value.get("name"))
    if item.block is not None or not (name or is_whole):
        return []
    events = answer.close_block()
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


def read_input(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    return _add_input(answer, wire, wire.delta)


def _add_input(answer: OpenAnswer, wire: Wire, value: Any, *, is_whole: bool = False) -> Sequence[Event]:
    if not (text := arguments_text(value)):
        return ()
    item = answer.items.find_or_add(wire, "function_call")
    if item.block is None or (is_whole and item.stage is not NEW):  # without a block, its name may still follow
        return ()
    item.mark_partial()
    return (ToolCallDelta(item.block, text),)


def finish_call(answer: OpenAnswer, item: OutputItem, value: Json, before: ItemStage) -> list[Event]:
    """Return the events for the rest of a whole call and its end."""
    events = begin_call(answer, item, value, is_whole=True)
    text = arguments_text(value.get(CALLS[item.type][1]))
    if item.block is not None and before is not PARTIAL and text:
        events.append(ToolCallDelta(item.block, text))
    return events + end_call(item)


def end_call(item: OutputItem) -> list[Event]:
    if item.block is None:
        return []
    block, item.block = item.block, None
    return [BlockEnd(block)]


CALL_EVENTS: Mapping[str, TakeEvent] = {
    "response.function_call_arguments.delta": read_input,
    "response.function_call_arguments.done": lambda answer, wire: _add_input(
        answer, wire, wire.arguments, is_whole=True
    ),
    "response.custom_tool_call_input.delta": read_input,
    "response.custom_tool_call_input.done": lambda answer, wire: _add_input(answer, wire, wire.input, is_whole=True),
}


_Finish: TypeAlias = Callable[[OpenAnswer, OutputItem, Json, ItemStage], list[Event]]


def read_added(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """Return the events for the announcement of an item."""
    value = as_object(wire.item)
    if not value:
        return ()
    items, id = answer.items, as_string(value.get("id"))
    before = items.find(wire.output_index, id)
    if before is not None and before.stage is not DONE and items.is_known(id, before):
        return ()  # a repeated announcement
    events = end_call(before) if before is not None and before.id in ("", id) else []
    item = items.remember_ids(items.add(wire, value), value)
    return [*events, *begin_call(answer, item, value)] if item.type in CALLS else events


def read_done(answer: OpenAnswer, wire: Wire) -> Sequence[Event]:
    """Return the events for a whole item."""
    value = as_object(wire.item)
    if not value:
        return ()
    id = as_string(value.get("id"))
    item = answer.items.find(wire.output_index, id)
    if item is None or (item.stage is DONE and not answer.items.is_known(id)):
        item = answer.items.add(wire, value)
    return finish_item(answer, item, value)


def finish_item(answer: OpenAnswer, item: OutputItem, value: Json) -> list[Event]:
    """Return the events for all content of a whole item that was not returned before."""
    before = item.stage
    if before is DONE:
        return []
    item.stage = DONE
    item.type = answer.items.type_of(value)
    answer.items.remember_ids(item, value)
    return _FINISH.get(item.type, _finish_native)(answer, item, value, before)


def _finish_native(answer: OpenAnswer, item: OutputItem, value: Json, before: ItemStage) -> list[Event]:
    """Return the events of a hosted tool's item, or of an item of unknown type."""
    record_hosted_call(answer.billed, item.type, value)
    return [*answer.close_block(), NativeItem(answer.next_block(), "responses", as_string(value.get("type")), value)]


def finish_all(answer: OpenAnswer, output: object) -> list[Event]:
    """Return the events for content that only the terminal event carries, and the ends of all open blocks."""
    events: list[Event] = []
    # All are found first: those of one output are different items, even if they share an id.
    found = [(answer.items.find_final(at, value), value) for at, value in enumerate(bounded_objects(output))]
    for item, value in found:
        events += finish_item(answer, item, value)
    events += answer.close_block()
    for item in answer.items:
        events += end_call(item)
    return events


_FINISH: Mapping[str, _Finish] = {
    "message": finish_message,
    "reasoning": finish_reasoning,
    **dict.fromkeys(CALLS, finish_call),
}
ITEM_EVENTS: Mapping[str, TakeEvent] = {
    "response.output_item.added": read_added,
    "response.output_item.done": read_done,
}
