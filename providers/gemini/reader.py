"""Readers of a Gemini provider's answers: streams (``GeminiReader``) and whole answers (``read_answer``).

A stream consists of unnamed server-sent events, each a ``GenerateContentResponse``, without a terminator. A
``finishReason`` does not end it: several chunks may have one, and an error may follow (recorded). It is complete if the
body ends after a candidate with a reason. ``promptTokenCount`` includes tokens read from a cache and excludes tokens
added by Google's own tools; ``candidatesTokenCount`` excludes thoughts (BerriAI/litellm#10667). Source:
``streamGenerateContent``, ``UsageMetadata`` and ``LogprobsResult`` of the Gemini API.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from providers.errors.failures import EARLY, NO_JSON, array_failure, read_event_failure
from providers.gemini.citations import citation_events
from providers.gemini.ends import (
    CONTINUED,
    FAILURES,
    answer_end,
    blocked_end,
    finish_reason,
    unusable_answer,
)
from providers.gemini.reading import UnfinishedAnswer, part_events
from providers.gemini.usage import Counts
from providers.neutral.bounds import ANSWER, check_length
from providers.neutral.shapes import Shape, check_answer
from providers.neutral.values import as_string
from streams.errors import GatewayError
from streams.events import AnswerEnd, AnswerStart, ErrorInfo, Event, TextDelta, Usage
from streams.sse import DONE
from streams.surrogates import NOT_JSON, any_json


def token_logprobs(result: Any) -> list[dict[str, Any]] | None:
    """Return the tokens in ``logprobsResult``, or ``None``."""
    chosen = result.get("chosenCandidates") if isinstance(result, dict) else None
    if not isinstance(chosen, list) or not chosen:
        return None
    tops = result.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    return [
        {**_token_object(one), "top_logprobs": _top_candidates(tops[i] if i < len(tops) else None)}
        for i, one in enumerate(chosen)
        if isinstance(one, dict)
    ]


def _top_candidates(held: Any) -> list[dict[str, Any]]:
    candidates = held.get("candidates") if isinstance(held, dict) else None
    several = check_length(candidates, "log probabilities") if isinstance(candidates, list) else []
    return [_token_object(one) for one in several if isinstance(one, dict)]


def _token_object(one: Mapping[str, Any]) -> dict[str, Any]:
    token, value = one.get("token"), one.get("logProbability", 0.0)
    text = token if isinstance(token, str) else ""
    return {"token": text, "logprob": value, "bytes": list(text.encode("utf-8", "surrogatepass"))}


class ChunkReader:
    """A reader of the chunks of one answer. It must not be used after it has returned an ``ErrorInfo``."""

    __slots__ = (
        "_answer",
        "_blocked_end",
        "_counted",
        "_counts",
        "_failed",
        "_has_started",
        "_is_continued",
        "_reason",
    )

    def __init__(self, content_limit: int) -> None:
        self._answer = UnfinishedAnswer(content_limit)
        self._counts = Counts()
        self._has_started = False
        self._counted = False
        self._failed: ErrorInfo | None = None  # the failure that a `finishReason` means
        self._reason: str | None = None  # the last `finishReason`
        self._is_continued = False  # the provider would continue the answer after another request
        self._blocked_end: AnswerEnd | None = None  # the end for a blocked prompt

    def chunk_events(self, chunk: Mapping[str, Any]) -> list[Event]:
        if chunk.get("error"):
            return self.failure_events(read_event_failure(chunk))
        self._counts.add(chunk.get("usageMetadata"))
        self._read_feedback(chunk.get("promptFeedback"))
        candidate = _first_candidate(chunk.get("candidates"))
        word = finish_reason(candidate.get("finishReason"))
        if word is not None and word in FAILURES and self._failed is None:
            self._failed = unusable_answer(word, as_string(candidate.get("finishMessage")))
        if self._failed is not None:  # its parts are unusable, but counts may follow
            return self._begin(chunk)
        if candidate.get("continuationToken"):
            self._is_continued = True
            word = word or CONTINUED
        self._reason = word or self._reason
        try:
            return [*self._begin(chunk), *self._candidate_events(candidate)]
        except GatewayError as error:
            return self.failure_events(error.info)

    def end_events(self, default: str | None = None, missing: ErrorInfo = EARLY) -> list[Event]:
        """Return the events for the end of the body.

        Without a reason from the provider, ``default`` is the reason, and without both ``missing`` is the failure.
        """
        if self._failed is not None:
            return self.failure_events(self._failed)
        end, reason = self._blocked_end, self._reason
        if reason is None and end is None:
            reason = default
        if reason is not None:
            end = answer_end(reason, self._is_continued, bool(self._answer.call_ids))
        if end is None:
            return self.failure_events(missing)
        return [*self._answer.end_block(), *self._usage_events(), end]

    def failure_events(self, error: ErrorInfo) -> list[Event]:
        """Return the failure of the answer, preceded by its usage."""
        return [*(self._usage_events() if self._has_started else ()), error]

    def _begin(self, chunk: Mapping[str, Any]) -> list[Event]:
        """Return the events for the start of the answer and the first count of its prompt."""
        events: list[Event] = []
        if not self._has_started:
            self._has_started = True
            events.append(AnswerStart(as_string(chunk.get("responseId")), as_string(chunk.get("modelVersion"))))
        if not self._counted and self._counts.has_prompt:
            self._counted = True
            events += self._usage_events()
        return events

    def _read_feedback(self, feedback: Any) -> None:
        if isinstance(feedback, dict) and (word := feedback.get("blockReason")):
            self._blocked_end = blocked_end(str(word), as_string(feedback.get("blockReasonMessage")))

    def _candidate_events(self, candidate: Mapping[str, Any]) -> list[Event]:
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        events: list[Event] = []
        for part in check_length(parts, "parts") if isinstance(parts, list) else ():
            if isinstance(part, dict):
                events += part_events(self._answer, part)
        if (tokens := token_logprobs(candidate.get("logprobsResult"))) is not None:
            events = _with_logprobs(events, tokens)
        grounding = candidate.get("groundingMetadata")
        if isinstance(grounding, dict) and isinstance(queries := grounding.get("webSearchQueries"), list):
            self._counts.record_searches(len(queries))
        return [*events, *citation_events(self._answer, candidate)]

    def _usage_events(self) -> list[Event]:
        usage = self._counts.usage()
        return [] if usage is None else [usage]


def _first_candidate(candidates: Any) -> Mapping[str, Any]:
    """Return the first choice, the only one that the gateway requests."""
    several = check_length(candidates, "candidates") if isinstance(candidates, list) else ()
    return next((one for one in several if isinstance(one, dict) and not one.get("index")), {})


def _with_logprobs(events: list[Event], tokens: list[dict[str, Any]]) -> list[Event]:
    """Return ``events`` with ``tokens`` added to the last piece of text."""
    for i, event in reversed(list(enumerate(events))):
        if isinstance(event, TextDelta):
            return [*events[:i], attrs.evolve(event, logprobs=tokens), *events[i + 1 :]]
    return events


_PART: Final[Shape] = {
    "text": str, "thoughtSignature": str, "functionCall": {"name": str, "args": dict, "id": str}, "inlineData": dict,
    "executableCode": dict, "codeExecutionResult": dict, "toolCall": dict, "toolResponse": dict,
}  # fmt: skip
_SHAPE: Final[Shape] = {
    "candidates": [{"content": {"parts": [_PART]}, "finishMessage": str}],
    "promptFeedback": dict,
    "usageMetadata": dict,
    "responseId": str,
    "modelVersion": str,
}
_NO_ANSWER: Final = ErrorInfo(
    "upstream", "the provider's response has neither content nor a finish reason", reason="bad_answer"
)
_KNOWN: Final = ("candidates", "promptFeedback", "usageMetadata", "error")


def read_answer(body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
    """Return a whole answer as events. See ``Codec.read_answer``.

    An array of answers is read as the chunks of a stream.
    """
    try:
        value = any_json(body)
    except NOT_JSON:
        raise _no_answer_error() from None
    chunks = value if isinstance(value, list) else [value]
    if not chunks or not all(_is_chunk(chunk) for chunk in chunks):
        raise _no_answer_error()
    reader, events = ChunkReader(ANSWER), list[Event]()
    for chunk in chunks:
        if checked:
            check_answer(chunk, _SHAPE)
        events += reader.chunk_events(chunk)
        if events and isinstance(events[-1], ErrorInfo):
            return events
    if value is chunks:
        return [*events, *reader.end_events()]
    has_content = any(not isinstance(event, AnswerStart | Usage) for event in events)
    return [*events, *reader.end_events("STOP" if has_content else None, _NO_ANSWER)]


def _is_chunk(value: Any) -> bool:
    return isinstance(value, Mapping) and any(name in value for name in _KNOWN)


def _no_answer_error() -> GatewayError:
    return GatewayError("upstream", "the provider's response is not a Gemini response", reason="bad_answer")


class GeminiReader:
    """A ``Reader`` of one Gemini stream."""

    def __init__(self, content_limit: int = ANSWER) -> None:
        self._chunks = ChunkReader(content_limit)
        self._has_ended = False

    def read_event(self, event: str, data: bytes) -> Sequence[Event]:
        if self._has_ended:
            return ()
        events = self._read_chunk(data)
        self._has_ended = bool(events) and isinstance(events[-1], ErrorInfo)
        return events

    def close(self) -> Sequence[Event]:
        if self._has_ended:
            return ()
        self._has_ended = True
        return self._chunks.end_events()

    def _read_chunk(self, data: bytes) -> Sequence[Event]:
        try:
            value = any_json(data)
        except NOT_JSON:
            return () if data.strip() == DONE else self._chunks.failure_events(NO_JSON)
        if isinstance(value, dict):
            try:
                return self._chunks.chunk_events(value)
            except GatewayError as error:
                return self._chunks.failure_events(error.info)
        listed = array_failure(data)
        return () if listed is None else self._chunks.failure_events(listed)
