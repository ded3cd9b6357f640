"""What a Responses provider answers, as events.

Every content may arrive up to four times (deltas, ``….done``, ``output_item.done``, the terminal event) and with some
servers only in the last of them, so each item remembers what it has said and says it once. Items are found by
``output_index``; servers that leave it out are read by ``item_id``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import msgspec

from providers.errors.failures import array_failure, read_event_failure
from providers.neutral.codec import new_id
from providers.neutral.shapes import ByType, Shape, check_answer
from providers.responses.tools import custom_names, flat_name
from providers.responses.values import (
    Json,
    as_index,
    as_object,
    as_objects,
    as_string,
    load,
    read_usage,
    reasoning_text,
)
from providers.responses.wire import Wire, decode
from streams.errors import GatewayError
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    ErrorInfo,
    Event,
    NativeItem,
    Reason,
    ReasoningDelta,
    ReasoningState,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    ToolKind,
)
from streams.surrogates import NOT_JSON

EARLY = ErrorInfo("upstream", "the provider ended the stream early")
UNREADABLE = "the provider sent an event that is not JSON"

# What stays unknown (`max_messages`, `steered`, what comes next) is an answer cut short as well.
REASON_OF_INCOMPLETE: Mapping[str, Reason] = {"max_output_tokens": "length", "content_filter": "refusal"}

UNWELL = ("failed", "cancelled")
UNFINISHED = ("queued", "in_progress")

CALLS: Mapping[str, tuple[ToolKind, str]] = {
    "function_call": ("function", "arguments"),
    "custom_tool_call": ("custom", "input"),
}


class _Item:
    """What is known of one output item."""

    __slots__ = ("block", "cited", "done", "input_said", "part", "parts", "phase", "said", "type", "voice")

    def __init__(self, type: str) -> None:
        self.type = type
        self.said = False  # something of its content is told
        self.done = False
        self.parts: set[Any] = set()  # the content indices told
        self.cited = False
        self.voice: str | None = None  # reasoning: "summary" or "text", whichever came first
        self.part: Any = None  # reasoning: the summary part that was told last
        self.phase: str | None = None  # messages: commentary or the final answer
        self.block: int | None = None  # calls: the block while it is open
        self.input_said = False


_Speech: TypeAlias = type[TextDelta] | type[RefusalDelta] | type[ReasoningDelta]


class ResponsesReader:
    """A ``Reader`` of one Responses stream. Its memory grows with the number of items,
    never with their length."""

    def __init__(self) -> None:
        self._begun = False
        self._ended = False
        self._stored = False
        self._called = False
        self._blocks = 0
        self._items: dict[Any, _Item] = {}
        self._by_id: dict[Any, _Item] = {}
        self._place: tuple[_Item, _Speech, Any] | None = None  # whose text is open, and which part of it
        self._block = 0  # the block of that text
        self._heard = 0  # characters of it
        self._piece = ""  # the last of them
        self._call_ids: set[str] = set()
        self._hosted_tools = False
        self._custom: frozenset[str] = frozenset()

    def take(self, event: str, data: bytes) -> Sequence[Event]:
        if self._ended:
            return ()
        try:
            wire = decode(data)
        except NOT_JSON as error:
            if (failed := array_failure(data)) is not None:
                return self._fail(failed)
            if isinstance(error, msgspec.ValidationError) and not data.lstrip().startswith(b"{"):
                return ()  # JSON, but no object; `[DONE]`, which some servers send, looks like one
            return self._fail(ErrorInfo("upstream", UNREADABLE))
        name = wire.type if isinstance(wire.type, str) else event
        taker = _TAKERS.get(name)
        if taker is not None:
            return self._led(taker(self, wire))
        if name == "response.failed":
            return self._end(wire.response, "failed")
        if name == "error" or wire.error:
            return self._fail(read_event_failure(load(data)))
        return ()  # keepalive, progress of hosted tools, whatever is new

    def close(self) -> Sequence[Event]:
        return () if self._ended else self._fail(EARLY)

    def whole(self, response: Json) -> Sequence[Event]:
        """The events of a whole response object."""
        self._created(response)
        status = response.get("status")
        return self._end(response, status if isinstance(status, str) else "completed")

    def _fail(self, failed: ErrorInfo) -> Sequence[Event]:
        self._ended = True
        return (failed,)

    def _led(self, events: Sequence[Event]) -> Sequence[Event]:
        """``events`` with a ``AnswerStart`` before the first of all, whatever the upstream left out."""
        if not self._begun and events:
            self._begun = True
            return events if isinstance(events[0], AnswerStart) else (AnswerStart(), *events)
        return events

    def _take_created(self, wire: Wire) -> Sequence[Event]:
        return () if self._begun else (self._created(as_object(wire.response)),)

    def _created(self, response: Json) -> AnswerStart:
        self._custom = custom_names(response.get("tools"))
        self._hosted_tools = bool(response.get("tools"))
        self._stored = response.get("store") is True
        created = response.get("created_at")
        return AnswerStart(
            as_string(response.get("id")),
            as_string(response.get("model")),
            int(created) if isinstance(created, int | float) else None,
        )

    # Text, refusals and reasoning

    def _take_text(self, wire: Wire) -> Sequence[Event]:
        return self._say(wire, TextDelta, wire.content_index, wire.delta, wire.logprobs)

    def _take_refusal(self, wire: Wire) -> Sequence[Event]:
        return self._say(wire, RefusalDelta, wire.content_index, wire.delta)

    def _say(self, wire: Wire, speech: _Speech, part: Any, text: Any, logprobs: Any = None) -> Sequence[Event]:
        if not isinstance(text, str) or not text:
            return ()
        item = self._item(wire, "message")
        if self._place == (item, speech, part):
            self._heard += len(text)
            self._piece = text
            return (self._words(speech, text, logprobs),)
        if item.done:
            return ()
        item.parts.add(as_index(part))
        events = self._open(item, speech, part)
        self._heard, self._piece = len(text), text
        return [*events, self._words(speech, text, logprobs, item.phase)]

    def _words(self, speech: _Speech, text: str, logprobs: Any, phase: str | None = None) -> Event:
        """A piece of the block that is open, with its tokens' log probabilities where they were asked for."""
        if speech is TextDelta and (logprobs or phase):
            return TextDelta(self._block, text, as_objects(logprobs) or None, phase)
        return speech(self._block, text)

    def _open(self, item: _Item, speech: _Speech, part: Any) -> list[Event]:
        """Open a block for the words of ``item``; the block that was open before ends."""
        events = self._shut()
        item.said = True
        item.cited = False
        self._place = (item, speech, part)
        self._block = self._next_block()
        return events

    def _shut(self) -> list[Event]:
        if self._place is None:
            return []
        self._place = None
        return [BlockEnd(self._block)]

    def _next_block(self) -> int:
        self._blocks += 1
        return self._blocks - 1

    def _take_text_done(self, wire: Wire) -> Sequence[Event]:
        return self._late(wire, TextDelta, wire.text, wire.logprobs)

    def _take_refusal_done(self, wire: Wire) -> Sequence[Event]:
        return self._late(wire, RefusalDelta, wire.refusal)

    def _late(self, wire: Wire, speech: _Speech, text: Any, logprobs: Any = None) -> Sequence[Event]:
        """Of a part that is now told whole what no delta told: all of it, or its end."""
        item = self._item(wire, "message")
        if as_index(wire.content_index) not in item.parts:
            return self._say(wire, speech, wire.content_index, text, logprobs)
        if self._place != (item, speech, wire.content_index) or not isinstance(text, str):
            return ()
        if len(text) > self._heard and text.endswith(self._piece, 0, self._heard):
            return self._say(wire, speech, wire.content_index, text[self._heard :])
        return ()

    def _take_part_done(self, wire: Wire) -> Sequence[Event]:
        part = as_object(wire.part)
        speech, member = _PARTS.get(as_string(part.get("type")), (None, ""))
        if speech is None:
            return ()
        events = list(self._late(wire, speech, part.get(member), part.get("logprobs")))
        item = self._item(wire, "message")
        if self._place == (item, TextDelta, wire.content_index) and not item.cited:
            events += self._citations(part)
        return events

    def _take_annotation(self, wire: Wire) -> Sequence[Event]:
        item = self._item(wire, "message")
        if self._place is None or self._place[0] is not item or not isinstance(wire.annotation, dict):
            return ()
        item.cited = True
        return (Citation(self._block, "responses", wire.annotation),)

    def _citations(self, part: Json) -> list[Event]:
        return [Citation(self._block, "responses", note) for note in as_objects(part.get("annotations"))]

    def _take_summary(self, wire: Wire) -> Sequence[Event]:
        return self._think(wire, "summary", wire.summary_index, wire.delta)

    def _take_reasoning(self, wire: Wire) -> Sequence[Event]:
        return self._think(wire, "text", wire.content_index, wire.delta)

    def _think(self, wire: Wire, voice: str, part: Any, text: Any) -> Sequence[Event]:
        """A piece of reasoning. All parts of an item are one block; of an item that says the same as summary and as
        text only the one that came first is told."""
        item = self._item(wire, "reasoning")
        if not isinstance(text, str) or not text or item.done or (item.voice or voice) != voice:
            return ()
        item.voice = voice
        if self._place != (item, ReasoningDelta, None):
            events = self._open(item, ReasoningDelta, None)
        else:
            events = []
            if part != item.part:
                text = "\n\n" + text
        item.part = part
        return [*events, ReasoningDelta(self._block, text)]

    # Items

    def _item(self, wire: Wire, type: str) -> _Item:
        """The item that ``wire`` belongs to, made if the upstream never announced it."""
        index = wire.output_index
        item = self._items.get(index) if isinstance(index, int) else None
        if item is not None:  # by far the most frequent
            return item
        id = as_string(wire.item_id)
        item = self._find(index, id)
        if item is None:
            item = self._items[self._key(wire, id)] = _Item(type)
            if id:
                self._by_id.setdefault(id, item)
        return item

    def _key(self, wire: Wire, id: str) -> Any:
        return wire.output_index if isinstance(wire.output_index, int) else id

    def _find(self, index: Any, id: str) -> _Item | None:
        """The item by its index, else by its id: servers may leave the one out in some events and not in others. What
        has an index is never found by the id of another, which may be the same."""
        if not isinstance(index, int):
            return self._by_id.get(id) or self._items.get(id)
        item = self._items.get(index)
        if item is None and id and id in self._items:
            item = self._items[index] = self._items.pop(id)
        return item

    def _take_added(self, wire: Wire) -> Sequence[Event]:
        value = as_object(wire.item)
        if not value:
            return ()
        id = as_string(value.get("id"))
        before = self._find(wire.output_index, id)
        if before is not None and not before.done and self._by_id.get(id) is before:
            return ()  # announced twice
        events = self._end_call(before) if before is not None else []
        item = self._items[self._key(wire, id)] = self._know(_Item(self._type(value)), value)
        return [*events, *self._begin_call(item, value)] if item.type in CALLS else events

    def _take_done(self, wire: Wire) -> Sequence[Event]:
        value = as_object(wire.item)
        if not value:
            return ()
        id = as_string(value.get("id"))
        item = self._find(wire.output_index, id)
        if item is None or (item.done and id not in self._by_id):
            item = self._items[self._key(wire, id)] = _Item(self._type(value))
        return self._finish(item, value)

    def _type(self, value: Json) -> str:
        """The item's type; ``hosted`` for a custom call of a tool that the client never declared: xAI says so of its
        own search tools, and the client would be asked to run what it does not have."""
        type = as_string(value.get("type"))
        if type == "custom_tool_call" and self._hosted_tools and as_string(value.get("name")) not in self._custom:
            return "hosted"
        return type

    def _know(self, item: _Item, value: Json) -> _Item:
        if id := as_string(value.get("id")):
            self._by_id[id] = item
        if item.type in CALLS and (call_id := as_string(value.get("call_id"))):
            self._by_id["call", call_id] = item
        item.phase = as_string(value.get("phase")) or item.phase
        return item

    def _finish(self, item: _Item, value: Json) -> list[Event]:
        """Everything of a whole item that has not been told yet."""
        if item.done:
            return []
        item.done = True
        item.type = self._type(value)
        self._know(item, value)
        if item.type in CALLS:
            return self._finish_call(item, value)
        if item.type == "message":
            return self._finish_message(item, value)
        if item.type == "reasoning":
            return self._finish_reasoning(item, value)
        return [*self._shut(), NativeItem(self._next_block(), "responses", as_string(value.get("type")), value)]

    def _finish_message(self, item: _Item, value: Json) -> list[Event]:
        events: list[Event] = []
        content = as_objects(value.get("content"))
        # A server that counts its parts otherwise in deltas than it lists them has told as many.
        if None not in item.parts and len(content) > len(item.parts):
            for i, part in enumerate(content):
                speech, member = _PARTS.get(as_string(part.get("type")), (None, ""))
                if speech is not None and i not in item.parts and (text := as_string(part.get(member))):
                    events += self._open(item, speech, None)
                    events += [self._words(speech, text, part.get("logprobs"), item.phase), *self._citations(part)]
        return events + self._shut()

    def _finish_reasoning(self, item: _Item, value: Json) -> list[Event]:
        events: list[Event] = []
        text = reasoning_text(value)
        heard = item.said
        if not heard and text:
            events += [*self._open(item, ReasoningDelta, None), ReasoningDelta(self._block, text)]
        open_here = self._place is not None and self._place[0] is item
        if self._is_worth_returning(value, late=heard and not open_here):
            if not open_here:
                events += self._open(item, ReasoningDelta, None)
            events.append(ReasoningState(self._block, "responses", value))
            open_here = True
        return events + (self._shut() if open_here else [])

    def _is_worth_returning(self, value: Json, late: bool) -> bool:
        """Whether the provider has a use for the item in the next turn: it holds the reasoning, or the provider kept
        it under its id. What comes ``late``, behind another item's text, is returned only if nothing else has it."""
        if value.get("encrypted_content"):
            return True
        return not late and bool(value.get("content") or (self._stored and value.get("id")))

    # Calls

    def _begin_call(self, item: _Item, value: Json) -> list[Event]:
        name = as_string(value.get("name"))
        if not name or item.block is not None:
            return []
        events = self._shut()
        item.block = self._next_block()
        self._called = True
        kind = CALLS[item.type][0]
        events.append(ToolCallStart(item.block, self._call_id(value), flat_name(value.get("namespace"), name), kind))
        return events

    def _call_id(self, value: Json) -> str:
        call_id = as_string(value.get("call_id")) or as_string(value.get("id"))
        if not call_id or call_id in self._call_ids:
            call_id = new_id("call_")
        self._call_ids.add(call_id)
        return call_id

    def _take_arguments(self, wire: Wire) -> Sequence[Event]:
        return self._input(wire, wire.delta)

    def _take_arguments_done(self, wire: Wire) -> Sequence[Event]:
        item = self._item(wire, "function_call")
        return () if item.input_said else self._input(wire, wire.arguments)

    def _take_input_done(self, wire: Wire) -> Sequence[Event]:
        item = self._item(wire, "custom_tool_call")
        return () if item.input_said else self._input(wire, wire.input)

    def _input(self, wire: Wire, text: Any) -> Sequence[Event]:
        item = self._item(wire, "function_call")
        if item.block is None or not isinstance(text, str) or not text:
            return ()
        item.input_said = True
        return (ToolCallDelta(item.block, text),)

    def _finish_call(self, item: _Item, value: Json) -> list[Event]:
        events = self._begin_call(item, value)
        text = value.get(CALLS[item.type][1])
        if item.block is not None and not item.input_said and isinstance(text, str) and text:
            events.append(ToolCallDelta(item.block, text))
        return events + self._end_call(item)

    def _end_call(self, item: _Item) -> list[Event]:
        if item.block is None:
            return []
        block, item.block = item.block, None
        return [BlockEnd(block)]

    # The end

    def _take_completed(self, wire: Wire) -> Sequence[Event]:
        status = as_object(wire.response).get("status")
        return self._end(wire.response, status if status in ("incomplete", *UNWELL) else "completed")

    def _take_incomplete(self, wire: Wire) -> Sequence[Event]:
        return self._end(wire.response, "incomplete")

    def _end(self, value: Any, status: str) -> Sequence[Event]:
        response = as_object(value)
        self._ended = True
        begin = () if self._begun else (self._created(response),)
        self._begun = True
        usage = read_usage(response.get("usage"))
        if status in UNWELL:
            return [*begin, *usage, attrs.evolve(read_event_failure(response), native=True)]
        if status in UNFINISHED:  # a background response: there is no answer yet
            message = f"the provider's answer is not finished: its status is {status!r}"
            return [*begin, *usage, ErrorInfo("upstream", message, native=True)]
        return [*begin, *self._rest(response), *usage, self._reason(response, status)]

    def _rest(self, response: Json) -> list[Event]:
        """What only the terminal event tells, and the ends of all blocks that are open."""
        events: list[Event] = []
        for position, value in enumerate(as_objects(response.get("output"))):
            item = self._by_id.get(as_string(value.get("id")))
            if item is None and self._type(value) in CALLS:
                item = self._by_id.get(("call", as_string(value.get("call_id"))))
            if item is None:
                item = self._items.get(position)
                if item is None or (not item.done and item.type != self._type(value)):
                    item = _Item(self._type(value))
            events += self._finish(item, value)
        events += self._shut()
        for item in self._items.values():
            events += self._end_call(item)
        return events

    def _reason(self, response: Json, status: str) -> AnswerEnd:
        if status == "incomplete":
            word = as_string(as_object(response.get("incomplete_details")).get("reason"))
            return AnswerEnd(REASON_OF_INCOMPLETE.get(word, "length"), word or status)
        return AnswerEnd("tool_calls" if self._called else "stop", status)


_PARTS: Mapping[str, tuple[_Speech | None, str]] = {
    "output_text": (TextDelta, "text"),
    "refusal": (RefusalDelta, "refusal"),
}

_TAKERS: Mapping[str, Callable[[ResponsesReader, Wire], Sequence[Event]]] = {
    "response.output_text.delta": ResponsesReader._take_text,
    "response.function_call_arguments.delta": ResponsesReader._take_arguments,
    "response.reasoning_summary_text.delta": ResponsesReader._take_summary,
    "response.reasoning_text.delta": ResponsesReader._take_reasoning,
    "response.custom_tool_call_input.delta": ResponsesReader._take_arguments,
    "response.refusal.delta": ResponsesReader._take_refusal,
    "response.output_text.done": ResponsesReader._take_text_done,
    "response.refusal.done": ResponsesReader._take_refusal_done,
    "response.function_call_arguments.done": ResponsesReader._take_arguments_done,
    "response.custom_tool_call_input.done": ResponsesReader._take_input_done,
    "response.output_text.annotation.added": ResponsesReader._take_annotation,
    "response.content_part.done": ResponsesReader._take_part_done,
    "response.output_item.added": ResponsesReader._take_added,
    "response.output_item.done": ResponsesReader._take_done,
    "response.created": ResponsesReader._take_created,
    "response.queued": ResponsesReader._take_created,
    "response.in_progress": ResponsesReader._take_created,
    "response.completed": ResponsesReader._take_completed,
    "response.incomplete": ResponsesReader._take_incomplete,
}


_PART = ByType({"output_text": {"text": str}, "refusal": {"refusal": str}})
_RESPONSE: Shape = {
    "status": str,
    "output": [
        ByType(
            {
                "message": {"content": [_PART]},
                "reasoning": {"summary": [{}], "content": [{}]},
                "function_call": {"name": str, "arguments": str},
                "custom_tool_call": {"name": str, "input": str},
            }
        )
    ],
    "usage": {},
}


def read_answer(body: bytes, checked: bool = True) -> Sequence[Event]:
    """A whole response object as events. Raises a 502 ``GatewayError`` for anything else that is no error either."""
    value = load(body)
    if isinstance(value, dict) and (value.get("object") == "response" or isinstance(value.get("output"), list)):
        if checked:
            check_answer(value, _RESPONSE)
        return ResponsesReader().whole(value)
    if isinstance(value, dict) and value.get("error"):
        return (read_event_failure(value),)
    raise GatewayError("upstream", "the provider's answer is not a JSON object of the Responses API")
