"""Readers of an Interactions provider's answers: streams (``InteractionsReader``) and whole answers (``read_answer``).

Only ``interaction.completed`` with a terminal status ends a stream well: ``[DONE]`` and the end of the body do not.
Source: ``InteractionSSEEvent`` and ``Interaction`` of the google-genai package, the page "Streaming interactions", and
recordings.
"""

from collections.abc import Sequence
from typing import Final

import attrs

from providers.errors.failures import EARLY, NO_JSON, array_failure, listed_failure, read_event_failure
from providers.interactions.open_answer import OpenAnswer
from providers.interactions.reading import continue_step, finish_all, finish_step, start_step
from providers.interactions.usage import Counts
from providers.neutral.bounds import ANSWER
from providers.neutral.codec import ANSWERING, ENDED, WAITING, StagedReader
from providers.neutral.ends import ENDS
from providers.neutral.shapes import Shape, check_answer
from providers.neutral.values import Json, as_object, as_string, bounded_objects, load
from streams.errors import GatewayError
from streams.events import AnswerEnd, AnswerStart, ErrorInfo, Event, Usage
from streams.sse import DONE
from streams.surrogates import NOT_JSON, any_json

PENDING: Final = ("queued", "in_progress")
FAILED: Final = ("failed", "cancelled")


class InteractionsReader(StagedReader):
    """A ``Reader`` of one Interactions stream."""

    def __init__(self, content_limit: int = ANSWER) -> None:
        self._answer = OpenAnswer(content_limit)
        self._counts = Counts()
        self._fallback = Counts()  # of deltas, for a stream that breaks

    def read_event(self, event: str, data: bytes) -> Sequence[Event]:
        if self._stage is ENDED:
            return ()
        try:
            value = any_json(data)
        except NOT_JSON:
            return self._fail(EARLY) if data.strip() == DONE else self._fail(NO_JSON)
        if not isinstance(value, dict):
            listed = array_failure(data)
            return () if listed is None else self._fail(listed)
        self._answer.arriving = data
        try:
            return self._read(event, value)
        except GatewayError as error:
            return self._fail(error.info)

    def close(self) -> Sequence[Event]:
        return () if self._stage is ENDED else self._fail(EARLY)

    def unsent_usage(self) -> Usage | None:
        return (self._fallback if self._counts.is_empty else self._counts).usage()

    def read_whole(self, interaction: Json) -> Sequence[Event]:
        try:
            return self._end(interaction)
        except GatewayError as error:
            return self._fail(error.info)

    def _read(self, event: str, value: Json) -> Sequence[Event]:
        name = as_string(value.get("event_type")) or event
        self._fallback.add(as_object(value.get("metadata")).get("total_usage"))
        match name:
            case "step.delta":
                index = self._answer.index_of(value.get("index"))
                return [*self._start({}), *continue_step(self._answer, index, as_object(value.get("delta")))]
            case "step.start":
                index = self._answer.index_of(value.get("index"))
                return [*self._start({}), *start_step(self._answer, index, as_object(value.get("step")))]
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
        return self._fail(read_event_failure(value)) if name == "error" or value.get("error") else ()

    # The whole answer

    def _start(self, interaction: Json) -> list[Event]:
        if self._stage is not WAITING:
            return []
        self._stage = ANSWERING
        model = as_string(interaction.get("model")) or as_string(interaction.get("agent"))
        return [AnswerStart(as_string(interaction.get("id")), model)]

    def _fail(self, error: ErrorInfo) -> Sequence[Event]:
        started = self._stage is not WAITING
        self._stage = ENDED
        return [*(self._usage_events() if started else ()), error]

    def _usage_events(self) -> Sequence[Event]:
        usage = self.unsent_usage()
        return () if usage is None else (usage,)

    def _end(self, interaction: Json) -> Sequence[Event]:
        start = self._start(interaction)
        self._counts.add(interaction.get("usage"), interaction.get("service_tier"))
        status = as_string(interaction.get("status"))
        if status in FAILED:
            return [*start, *self._fail(_failure(interaction, status))]
        if status in PENDING or not status:
            message = f"the provider's answer is not finished: its status is {status!r}"
            return [*start, *self._fail(ErrorInfo("upstream", message, native=True, reason=None))]
        events = list(start)
        if not self._answer.has_blocks and not self._answer.steps:
            for index, step in enumerate(bounded_objects(interaction.get("steps"))):
                events += start_step(self._answer, index, step)
                events += finish_step(self._answer, index)
        events += finish_all(self._answer)
        self._stage = ENDED
        return [*events, *self._usage_events(), self._answer_end(interaction, status)]

    def _answer_end(self, interaction: Json, status: str) -> AnswerEnd:
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


def _failure(interaction: Json, status: str) -> ErrorInfo:
    """Return the failure in an interaction's own status, which clients of this API receive as an answer."""
    error = _first_error(interaction)
    if error:
        return attrs.evolve(read_event_failure({"error": error}), native=True)
    message = "the provider cancelled its answer" if status == "cancelled" else "the provider failed to answer"
    return ErrorInfo("upstream", message, native=True)


_STEP: Final[Shape] = {"type": str, "content": list, "summary": list, "signature": str, "name": str, "id": str}
_SHAPE: Final[Shape] = {"id": str, "status": str, "model": str, "steps": [_STEP], "usage": dict, "errors": list}


def read_answer(body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
    """Return a whole interaction as events. See ``Codec.read_answer``."""
    value = load(body)
    if isinstance(value, dict) and isinstance(value.get("status"), str) and not value.get("error"):
        if checked:
            check_answer(value, _SHAPE)
        return InteractionsReader().read_whole(value)
    if isinstance(value, dict) and value.get("error"):
        return (read_event_failure(value),)
    if (error := listed_failure(value)) is not None:
        return (error,)
    raise GatewayError("upstream", "the provider's response is not an interaction", reason="bad_answer")


READER: Final = InteractionsReader
