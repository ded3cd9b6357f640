"""Readers of an Interactions provider's answers: streams (``InteractionsReader``) and whole answers (``read_answer``).

Only ``interaction.completed`` with a terminal status ends a stream well: ``[DONE]`` and the end of the body do not.
Source: ``InteractionSSEEvent`` and ``Interaction`` of the google-genai package, the page "Streaming interactions", and
recordings.

A step's start may contain its first text, summary or arguments. Deltas may lack ``type``, and empty signatures and ids
count as absent (recorded).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from providers.errors.failures import EARLY, NO_JSON, array_failure, error_or_raise, read_event_failure
from providers.interactions.citations import MAX_SCANNED, read_annotations
from providers.interactions.open_answer import UNNUMBERED, OpenAnswer, OpenStep, StepEvent, native_events
from providers.interactions.usage import Counts
from providers.neutral.bounds import ANSWER
from providers.neutral.codec import ANSWERING, ENDED, WAITING, StagedReader
from providers.neutral.ends import ENDS, NO_CALL
from providers.neutral.seal import MAX_SEALED
from providers.neutral.shapes import Shape, check_answer
from providers.neutral.texts import MAX_CITED
from providers.neutral.values import Json, arguments_text, as_object, as_string, bounded_objects, load
from streams.errors import GatewayError
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    ErrorInfo,
    Event,
    ReasoningDelta,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.sse import DONE
from streams.surrogates import NOT_JSON, any_json

Read: TypeAlias = Callable[[OpenAnswer, OpenStep, Json], list[Event]]
Finish: TypeAlias = Callable[[OpenAnswer, OpenStep], list[Event]]

_TYPE: Final = "type"
_SUMMARY: Final = "summary"
_TEXT_TYPES: Final = ("", "text", "thought_summary", "thought_signature")
"""The types of contents and deltas of a thought that have nothing but text; the others are images."""
_SPOKEN: Final = ("model_output", "thought")
_ARGUMENTS: Final = (None, "", "arguments_delta")
"""The types of deltas with arguments of the client's tools; those of Google's tools have other types."""
_INPUT: Final = "user_input"
_HELD: Final = "steps of Google's tools"


def start_step(answer: OpenAnswer, index: int, step: Json) -> list[Event]:
    """Return the events for the start of ``step``, which may have content; a whole step has all of it."""
    events = finish_step(answer, index)
    kind = as_string(step.get(_TYPE)) or "model_output"
    opened = answer.open_step(index, kind)
    return events + _START.get(kind, _start_native)(answer, opened, step)


def continue_step(answer: OpenAnswer, index: int, delta: Json) -> list[Event]:
    """Return the events for a delta. A step that did not start is derived from the members of its delta.

    Arguments of a call that did not start fail the answer at its end, which has the usage.
    """
    step = answer.steps.get(index)
    if (step is None or step.kind in _SPOKEN) and delta.get("arguments") and delta.get(_TYPE) in _ARGUMENTS:
        answer.lacks_call = True
        return []
    if step is None:
        step = answer.open_step(index, "thought" if "signature" in delta or "content" in delta else "model_output")
    return _CONTINUE.get(step.kind, _continue_native)(answer, step, delta)


def finish_step(answer: OpenAnswer, index: int) -> list[Event]:
    step = answer.steps.pop(index, None)
    return [] if step is None else _FINISH.get(step.kind, _finish_native)(answer, step)


def finish_all(answer: OpenAnswer) -> list[Event]:
    return [event for index in list(answer.steps) for event in finish_step(answer, index)]


# Texts


def _start_output(answer: OpenAnswer, step: OpenStep, value: Json) -> list[Event]:
    contents = bounded_objects(value.get("content"))
    return [event for one in contents for event in _continue_output(answer, step, one)]


def _continue_output(answer: OpenAnswer, step: OpenStep, delta: Json) -> list[Event]:
    """Return the events for a delta or a content of a ``model_output``, which have the same members."""
    text, notes = delta.get("text"), delta.get("annotations")
    if isinstance(text, str) or notes is not None:
        events: list[StepEvent] = []
        if isinstance(text, str) and text:
            if answer.holds_content and step.text_size <= MAX_CITED:
                answer.keep_piece(step.pieces, text)
            step.text_size += len(text)
            events.append(TextDelta(_block(step), text))
        events += _citations(answer, step, notes)
        return answer.add(step, events)
    if as_string(delta.get(_TYPE)) in ("", "text", "text_annotation_delta"):
        return []
    # An image or the like, as a step of its own
    item = {_TYPE: "model_output", "content": [dict(delta)]}
    ended: list[StepEvent] = [BlockEnd(UNNUMBERED)] if step.text_size else []
    step.pieces, step.text_size = [], 0
    return answer.add(step, [*ended, *native_events(as_string(delta.get(_TYPE)), item)])


def _citations(answer: OpenAnswer, step: OpenStep, notes: Any) -> Iterator[StepEvent]:
    if not notes or not step.text_size or not answer.holds_content:
        return
    answer.scanned += step.text_size
    too_long = step.text_size > MAX_CITED or answer.scanned > MAX_SCANNED
    for item in read_annotations(notes, () if too_long else step.pieces):
        yield Citation(_block(step), "interactions", item)


def _finish_output(answer: OpenAnswer, step: OpenStep) -> list[Event]:
    return answer.end(step, [BlockEnd(UNNUMBERED)] if step.text_size else [])


def _block(step: OpenStep) -> int:
    return UNNUMBERED if step.number is None else step.number


# Thoughts


def _start_thought(answer: OpenAnswer, step: OpenStep, value: Json) -> list[Event]:
    summaries = bounded_objects(value.get(_SUMMARY))
    events = [event for one in summaries for event in _add_summary(answer, step, one)]
    step.signature = as_string(value.get("signature"))
    return events


def _continue_thought(answer: OpenAnswer, step: OpenStep, delta: Json) -> list[Event]:
    if signature := as_string(delta.get("signature")):
        answer.held.spend(len(signature) - len(step.signature) if answer.holds_content else 0, "signatures")
        step.signature = signature
    inner = as_object(delta.get("content")) or delta
    return _add_summary(answer, step, inner)


def _add_summary(answer: OpenAnswer, step: OpenStep, content: Json) -> list[Event]:
    text = as_string(content.get("text"))
    if not text:
        if as_string(content.get(_TYPE)) not in _TEXT_TYPES and answer.charge("images of thoughts"):
            step.item.setdefault(_SUMMARY, []).append(dict(content))
        return []
    answer.keep_piece(step.pieces, text)
    step.text_size += len(text)
    return answer.add(step, [ReasoningDelta(_block(step), text)])


def _finish_thought(answer: OpenAnswer, step: OpenStep) -> list[Event]:
    """Return the end of a thought, and its images as another thought: only this API has them."""
    events: list[StepEvent] = []
    if step.signature:
        item: dict[str, Any] = {_TYPE: "thought", "signature": step.signature}
        if step.pieces:
            item[_SUMMARY] = [{_TYPE: "text", "text": "".join(step.pieces)}]
        events.append(ReasoningState(UNNUMBERED, "interactions", item))
    if events or step.text_size:
        events.append(BlockEnd(UNNUMBERED))
    if images := step.item.get(_SUMMARY):
        events += native_events("thought", {_TYPE: "thought", _SUMMARY: images})
    return answer.end(step, events)


# Calls


def _start_call(answer: OpenAnswer, step: OpenStep, value: Json) -> list[Event]:
    id, arguments = answer.call_id(value.get("id")), value.get("arguments")
    events = answer.call_events(step, [ToolCallStart(UNNUMBERED, id, as_string(value.get("name")))])
    if not isinstance(arguments, dict):
        return events + _add_arguments(answer, step, arguments_text(arguments))
    if arguments and answer.charge("arguments"):
        step.item["arguments"] = arguments  # whole, unless deltas follow
    return events


def _continue_call(answer: OpenAnswer, step: OpenStep, delta: Json) -> list[Event]:
    arguments = delta.get("arguments")
    if isinstance(arguments, dict):
        if answer.charge("arguments"):
            step.item["arguments"] = arguments
        return []
    return _add_arguments(answer, step, arguments_text(arguments))


def _add_arguments(answer: OpenAnswer, step: OpenStep, text: str) -> list[Event]:
    if not text:
        return []
    step.text_size += len(text)
    return answer.call_events(step, [ToolCallDelta(_block(step), text)])


def _finish_call(answer: OpenAnswer, step: OpenStep) -> list[Event]:
    """Return the end of a call, with arguments that it carried as an object."""
    events: list[Event] = []
    if not step.text_size and (arguments := step.item.get("arguments")):
        events = _add_arguments(answer, step, msgspec.json.encode(arguments).decode())
    return events + answer.call_events(step, [BlockEnd(UNNUMBERED)])


# Steps of this API only


def _start_native(answer: OpenAnswer, step: OpenStep, value: Json) -> list[Event]:
    step.item = dict(value) if answer.charge(_HELD) else {_TYPE: step.kind}
    if step.kind == "function_result":
        answer.record_result(value.get("call_id"))
    return []


def _continue_native(answer: OpenAnswer, step: OpenStep, delta: Json) -> list[Event]:
    """Add the members of a delta: lists grow, other values replace earlier ones."""
    if not answer.charge(_HELD):
        return []
    for name, value in delta.items():
        if name == _TYPE or value in ("", None):
            continue
        earlier = step.item.get(name)
        if isinstance(value, list) and isinstance(earlier, list):
            earlier += value
        else:
            step.item[name] = value
    return []


def _finish_native(answer: OpenAnswer, step: OpenStep) -> list[Event]:
    """Return the item, and a state that contains it: clients of other APIs send the state back in their history."""
    if step.kind == _INPUT:
        return []
    events: list[StepEvent] = []
    if answer.holds_content and len(msgspec.json.encode(step.item)) <= MAX_SEALED:
        events = [ReasoningState(UNNUMBERED, "interactions", step.item), BlockEnd(UNNUMBERED)]
    return answer.end(step, [*events, *native_events(step.kind, step.item)])


_START: Final[Mapping[str, Read]] = {
    "model_output": _start_output, "thought": _start_thought, "function_call": _start_call,
}  # fmt: skip
_CONTINUE: Final[Mapping[str, Read]] = {
    "model_output": _continue_output, "thought": _continue_thought, "function_call": _continue_call,
}  # fmt: skip
_FINISH: Final[Mapping[str, Finish]] = {
    "model_output": _finish_output, "thought": _finish_thought, "function_call": _finish_call,
}  # fmt: skip


PENDING: Final = ("queued", "in_progress")
FAILED: Final = ("failed", "cancelled")


class InteractionsReader(StagedReader):
    """A ``Reader`` of one Interactions stream."""

    def __init__(self, content_limit: int = ANSWER) -> None:
        self._answer = OpenAnswer(content_limit)
        self._counts = Counts()
        self._fallback = Counts()  # of deltas, for a stream that breaks
        self._step_error: Json = {}

    def read_event(self, event: str, data: bytes) -> Sequence[Event]:
        if self._stage is ENDED:
            return ()
        try:
            value = any_json(data)
        except NOT_JSON:
            return self.fail(EARLY) if data.strip() == DONE else self.fail(NO_JSON)
        if not isinstance(value, dict):
            listed = array_failure(data)
            return () if listed is None else self.fail(listed)
        self._answer.arriving = data
        try:
            return self._read(event, value)
        except GatewayError as error:
            return self.fail(error.info)

    def close(self) -> Sequence[Event]:
        return () if self._stage is ENDED else self.fail(EARLY)

    def unsent_usage(self) -> Usage | None:
        return (self._fallback if self._counts.is_empty else self._counts).usage()

    def read_whole(self, interaction: Json) -> Sequence[Event]:
        try:
            return self._end(interaction)
        except GatewayError as error:
            return self.fail(error.info)

    def _read(self, event: str, value: Json) -> Sequence[Event]:
        name = as_string(value.get("event_type")) or event
        self._fallback.add(as_object(value.get("metadata")).get("total_usage"))
        match name:
            case "step.delta":
                index = self._answer.index_of(value.get("index"))
                return [*self._start({}), *continue_step(self._answer, index, as_object(value.get("delta")))]
            case "step.start":
                index, step = self._answer.index_of(value.get("index")), as_object(value.get("step"))
                self._step_error = as_object(step.get("error")) or self._step_error
                return [*self._start({}), *start_step(self._answer, index, step)]
            case "step.stop":
                self._fallback.add(value.get("usage"))
                return finish_step(self._answer, self._answer.index_of(value.get("index")))
            case "interaction.created":
                return self._start(as_object(value.get("interaction")))
            case "interaction.status_update":
                self._counts.add(value.get("usage"))
                return ()
            case "interaction.completed":
                return self._end(as_object(value.get("interaction")))
        return self.fail(read_event_failure(value)) if name == "error" or value.get("error") else ()

    # The whole answer

    def _start(self, interaction: Json) -> list[Event]:
        if self._stage is not WAITING:
            return []
        self._stage = ANSWERING
        model = as_string(interaction.get("model")) or as_string(interaction.get("agent"))
        return [AnswerStart(as_string(interaction.get("id")), model)]

    def _end(self, interaction: Json) -> Sequence[Event]:
        start = self._start(interaction)
        self._counts.add(interaction.get("usage"), interaction.get("service_tier"))
        status = as_string(interaction.get("status"))
        if status in FAILED:
            return [*start, *self.fail(_failure(interaction, status, self._step_error))]
        if status in PENDING or not status:
            message = f"the provider's answer is not finished: its status is {status!r}"
            return [*start, *self.fail(ErrorInfo("upstream", message, native=True, reason=None))]
        events = list(start)
        if not self._answer.has_blocks and not self._answer.steps:
            for index, step in enumerate(bounded_objects(interaction.get("steps"))):
                self._answer.lacks_call = False
                events += start_step(self._answer, index, step)
                events += finish_step(self._answer, index)
        events += finish_all(self._answer)
        usage = self.unsent_usage()
        if usage is not None:
            events.append(usage)
        self._stage = ENDED
        return [*events, self._answer_end(interaction, status)]

    def _answer_end(self, interaction: Json, status: str) -> AnswerEnd | ErrorInfo:
        if self._answer.lacks_call:
            return NO_CALL
        meaning = ENDS["interactions"].get(status)
        reason, is_known = (meaning, True) if isinstance(meaning, str) else ("stop", False)
        if _first_error(interaction).get("code") == "refusal":
            return AnswerEnd("refusal", status)
        if interaction.get("continuation_token"):
            reason = "length"
        if reason == "stop" and self._answer.awaits_results:
            reason = "tool_calls"
        return AnswerEnd(reason, status, is_known=is_known)


def _first_error(interaction: Json) -> Json:
    errors = interaction.get("errors")
    return as_object(errors[0]) if isinstance(errors, list) and errors else {}


def _failure(interaction: Json, status: str, step_error: Json) -> ErrorInfo:
    """Return the failure in an interaction's own status, which clients of this API receive as an answer."""
    listed = (as_object(step.get("error")) for step in bounded_objects(interaction.get("steps")))
    if error := _first_error(interaction) or next(filter(None, listed), step_error):
        return attrs.evolve(read_event_failure({"error": error}), native=True)
    message = "the provider cancelled its answer" if status == "cancelled" else "the provider failed to answer"
    return ErrorInfo("upstream", message, native=True)


_STEP: Final[Shape] = {"type": str, "content": list, "summary": list, "signature": str, "name": str, "id": str}
_SHAPE: Final[Shape] = {"id": str, "status": str, "model": str, "steps": [_STEP], "errors": list}


def read_answer(body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
    """Return a whole interaction as events. See ``Codec.read_answer``."""
    value = load(body)
    if isinstance(value, dict) and isinstance(value.get("status"), str) and not value.get("error"):
        if checked:
            check_answer(value, _SHAPE)
        return InteractionsReader().read_whole(value)
    return (error_or_raise(value, "the provider's response is not an interaction"),)


READER: Final = InteractionsReader
