"""Readers of a Responses provider's answers: streams (``ResponsesReader``) and whole bodies (``read_answer``).

Content may arrive up to four times (deltas, ``….done``, ``output_item.done``, the terminal event), on some servers only
in the last one, so each item records which content it has returned. Items are found by ``output_index``, or by
``item_id`` on servers that omit it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from providers.errors.failures import EARLY, array_failure, error_or_raise, read_event_failure
from providers.neutral.bounds import ANSWER, AnswerTooLarge
from providers.neutral.codec import ANSWERING, ENDED, WAITING, StagedReader
from providers.neutral.ends import ENDS, NO_CALL, Failed, end_failure
from providers.neutral.shapes import ByType, Shape, check_answer
from providers.neutral.values import Json, as_object, as_string, load
from providers.responses.open_answer import OpenAnswer, RequestFacts, TakeEvent, Wire, count_hosted_calls, decode
from providers.responses.reading import CALL_EVENTS, ITEM_EVENTS, MESSAGE_EVENTS, PARTS, REASONING_EVENTS, finish_all
from providers.responses.tools import read_usage
from streams.events import AnswerEnd, AnswerStart, ErrorInfo, Event, Usage
from streams.surrogates import NOT_JSON

UNREADABLE = "the provider sent an event that is not JSON"

FAILED_STATUSES = ("failed", "cancelled")
PENDING_STATUSES = ("queued", "in_progress")

_CONTENT: Mapping[str, TakeEvent] = {**MESSAGE_EVENTS, **CALL_EVENTS, **REASONING_EVENTS, **ITEM_EVENTS}
"""Functions that read the events of items, by event type."""

_STARTS = ("response.created", "response.queued", "response.in_progress")
_ENDS = {f"response.{status}": status for status in ("completed", "incomplete", "failed")}


class ResponsesReader(StagedReader):
    """A ``Reader`` of one Responses stream."""

    def __init__(self, content_limit: int = ANSWER) -> None:
        """Start before the first event. ``content_limit`` is ignored, because the last event of each item repeats
        its content."""
        self._answer = OpenAnswer()
        self._unexplained: ErrorInfo | None = None  # the error of a `response.failed` without one
        self._late_usage: Usage | None = None  # of `response.failed` after `error`

    def read_event(self, event: str, data: bytes) -> Sequence[Event]:
        if self._stage is ENDED:
            self._read_late(event, data)
            return ()
        try:
            wire = decode(data)
        except NOT_JSON as error:
            return self._read_unreadable(data, error)
        name = wire.type if isinstance(wire.type, str) else event
        try:
            read_event = _CONTENT.get(name)
            if read_event is not None:
                events = read_event(self._answer, wire)
                return events if self._stage is ANSWERING else self.start_with(events)
            if name in _STARTS:
                return self._read_start(wire)
            if name in _ENDS:
                return self._await_error(self._end_events(wire.response, _ENDS[name]), as_object(wire.response))
        except AnswerTooLarge as error:
            return self.fail(error.info)
        if name == "error" or wire.error:
            return self.fail(read_event_failure(load(data)))
        return ()  # keep-alives, progress of hosted tools, unknown events

    def _read_late(self, event: str, data: bytes) -> None:
        if event == "response.failed":
            for usage in self._usage_events(as_object(as_object(load(data)).get("response"))):
                self._late_usage = usage

    def unsent_usage(self) -> Usage | None:
        return self._late_usage

    def close(self) -> Sequence[Event]:
        if self._stage is ENDED:
            return ()
        if self._unexplained is not None:  # before any content, the client gets a status instead of the event
            return self.fail(attrs.evolve(self._unexplained, native=self._answer.blocks > 0))
        return self.fail(EARLY)

    def read_whole(self, response: Json) -> Sequence[Event]:
        self._answer_start(response)
        status = response.get("status")
        return self._end_events(response, status if isinstance(status, str) else "completed")

    def _read_unreadable(self, data: bytes, error: Exception) -> Sequence[Event]:
        if (listed := array_failure(data)) is not None:
            return self.fail(listed)
        if isinstance(error, msgspec.ValidationError) and not data.lstrip().startswith(b"{"):
            return ()  # JSON but not an object, or `[DONE]`, which some servers send
        return self.fail(ErrorInfo("upstream", UNREADABLE, reason="bad_answer"))

    # The beginning

    def _read_start(self, wire: Wire) -> Sequence[Event]:
        if self._stage is not WAITING:
            return ()
        self._stage = ANSWERING
        return (self._answer_start(as_object(wire.response)),)

    def _answer_start(self, response: Json) -> AnswerStart:
        self._answer.items.request = RequestFacts.of(response)
        created = response.get("created_at")
        return AnswerStart(
            as_string(response.get("id")),
            as_string(response.get("model")),
            int(created) if isinstance(created, int | float) else None,
        )

    # The end

    def _end_events(self, value: Any, status: str) -> Sequence[Event]:
        response = as_object(value)
        if status == "completed" and (stated := as_string(response.get("status"))) != "completed":
            is_failed = isinstance(ENDS["responses"].get(stated), Failed)
            status = stated if is_failed or stated in ("incomplete", *FAILED_STATUSES) else status
        start = (self._answer_start(response),) if self._stage is WAITING else ()
        self._stage = ENDED
        has_failed = status in FAILED_STATUSES
        if has_failed or (status == "completed" and any(as_object(response.get("error")).values())):
            error = attrs.evolve(read_event_failure(response), native=has_failed)
            return [*start, *self._usage_events(response), error]
        word = (_incomplete_reason(response) if status == "incomplete" else "") or status
        if isinstance(failed := ENDS["responses"].get(word), Failed):
            return [*start, *self._usage_events(response), end_failure(failed, word, word)]
        if status in PENDING_STATUSES:  # a background response without an answer yet
            message = f"the provider's answer is not finished: its status is {status!r}"
            return [*start, *self._usage_events(response), ErrorInfo("upstream", message, native=True, reason=None)]
        rest = finish_all(self._answer, response.get("output"))
        return [*start, *rest, *self._usage_events(response), self._answer_end(response, status)]

    def _await_error(self, events: Sequence[Event], response: Json) -> Sequence[Event]:
        """Return the ``events`` of an end. Hold a failure without an error until the next event, because Azure sends
        the error after ``response.failed`` (maximhq/bifrost#6419)."""
        *others, last = events
        if (
            not isinstance(last, ErrorInfo)
            or not last.native
            or response.get("error")
            or response.get("status") in PENDING_STATUSES
        ):
            return events
        self._stage = ANSWERING
        self._unexplained = last
        return others

    def _usage_events(self, response: Json) -> Sequence[Usage]:
        billed = self._answer.billed
        return read_usage(response, count_hosted_calls(billed, response) if billed or "tool_usage" in response else ())

    def _answer_end(self, response: Json, status: str) -> AnswerEnd | ErrorInfo:
        found = response.get("moderation")
        moderation = found if isinstance(found, dict) else None
        if status == "incomplete":
            word = _incomplete_reason(response)
            meaning = ENDS["responses"].get(word)
            reason = meaning if isinstance(meaning, str) else "length"  # it is incomplete, whatever the word
            return AnswerEnd(reason, word or status, moderation=moderation, is_known=not word or meaning is not None)
        if self._answer.lacks_calls():
            return NO_CALL
        reason = "tool_calls" if self._answer.call_ids else "stop"
        return AnswerEnd(reason, status, moderation=moderation, is_known=status in ENDS["responses"])


def _incomplete_reason(response: Json) -> str:
    return as_string(as_object(response.get("incomplete_details")).get("reason"))


_PART = ByType({name: {member: str} for name, (_, member) in PARTS.items()})
_RESPONSE: Shape = {
    "status": str,
    "output": [
        ByType(
            {
                "message": {"content": [_PART]},
                "reasoning": {"summary": [{}], "content": [{}]},
                "function_call": {"name": str},
                "custom_tool_call": {"name": str},
            }
        )
    ],
}


def read_answer(body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
    """Return a whole response object as events.

    Raises a 502 ``GatewayError`` if the body is neither a response nor an error.
    """
    value = load(body)
    if isinstance(value, dict) and (value.get("object") == "response" or isinstance(value.get("output"), list)):
        if checked:
            check_answer(value, _RESPONSE)
        return ResponsesReader().read_whole(value)
    return (error_or_raise(value, "the provider's answer is not a JSON object of the Responses API"),)


READER: Final = ResponsesReader
