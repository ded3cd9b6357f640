"""Chunks of a Gemini answer, each a ``GenerateContentResponse``, read in turn.

A ``finishReason`` does not end a stream: several chunks may have one, and an error may follow (recorded). The good end
is that of the body, behind a last candidate with a reason.
"""

from collections.abc import Mapping
from typing import Any

import attrs

from providers.errors.failures import read_event_failure
from providers.gemini.ends import FAILURES, answer_end, blocked, failure, reason_word
from providers.gemini.reading.citations import citation_events
from providers.gemini.reading.logprobs import token_logprobs
from providers.gemini.reading.parts import part_events
from providers.gemini.reading.unfinished import UnfinishedAnswer
from providers.gemini.usage import Counts
from providers.neutral.bounds import bounded
from streams.errors import GatewayError
from streams.events import AnswerEnd, AnswerStart, ErrorInfo, Event, TextDelta

EARLY = ErrorInfo("upstream", "the provider ended the stream early", reason="bad_answer")


class ChunkReader:
    """The chunks of one answer. Nothing may be given to it any more once an ``ErrorInfo`` has come out."""

    __slots__ = ("_answer", "_begun", "_block", "_counted", "_counts", "_failed", "_reason")

    def __init__(self, keeps: int) -> None:
        self._answer = UnfinishedAnswer(keeps)
        self._counts = Counts()
        self._begun = False
        self._counted = False
        self._failed: ErrorInfo | None = None  # by a `finishReason`
        self._reason: str | None = None  # the last `finishReason`
        self._block: AnswerEnd | None = None  # what a blocked prompt ends with

    def take(self, chunk: Mapping[str, Any]) -> list[Event]:
        """The events of ``chunk``."""
        if chunk.get("error"):
            return self.fail(read_event_failure(chunk))
        self._counts.add(chunk.get("usageMetadata"))
        self._see_feedback(chunk.get("promptFeedback"))
        candidate = _candidate(chunk.get("candidates"))
        word = reason_word(candidate.get("finishReason"))
        if word in FAILURES and self._failed is None:
            self._failed = failure(word, _text(candidate.get("finishMessage")))
        if self._failed is not None:  # its parts are of no use, but counts may follow
            return self._begin(chunk)
        self._reason = word or self._reason
        try:
            return [*self._begin(chunk), *self._candidate_events(candidate)]
        except GatewayError as error:
            return self.fail(error.failed)

    def close(self) -> list[Event]:
        """The end of the body."""
        if self._failed is not None:
            return self.fail(self._failed)
        end = answer_end(self._reason) if self._reason is not None else self._block
        if end is None:
            return self.fail(EARLY)
        return [*self._answer.end_block(), *self._usage(), end]

    def fail(self, failed: ErrorInfo) -> list[Event]:
        """The failure of the answer, with what it has cost."""
        return [*(self._usage() if self._begun else ()), failed]

    def _begin(self, chunk: Mapping[str, Any]) -> list[Event]:
        """The start of the answer, and the first count of its prompt."""
        events: list[Event] = []
        if not self._begun:
            self._begun = True
            events.append(AnswerStart(_text(chunk.get("responseId")), _text(chunk.get("modelVersion"))))
        if not self._counted and self._counts.begun:
            self._counted = True
            events += self._usage()
        return events

    def _see_feedback(self, feedback: Any) -> None:
        if isinstance(feedback, dict) and (word := feedback.get("blockReason")):
            self._block = blocked(str(word), _text(feedback.get("blockReasonMessage")))

    def _candidate_events(self, candidate: Mapping[str, Any]) -> list[Event]:
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        events: list[Event] = []
        for part in bounded(parts, "parts") if isinstance(parts, list) else ():
            if isinstance(part, dict):
                events += part_events(self._answer, part)
        if (tokens := token_logprobs(candidate.get("logprobsResult"))) is not None:
            events = _with_logprobs(events, tokens)
        grounding = candidate.get("groundingMetadata")
        if isinstance(grounding, dict) and isinstance(queries := grounding.get("webSearchQueries"), list):
            self._counts.searched(len(queries))
        return [*events, *citation_events(self._answer, candidate)]

    def _usage(self) -> list[Event]:
        usage = self._counts.usage()
        return [] if usage is None else [usage]


def _candidate(candidates: Any) -> Mapping[str, Any]:
    """The first choice: the only one, as we ask for no more."""
    several = bounded(candidates, "candidates") if isinstance(candidates, list) else ()
    return next((one for one in several if isinstance(one, dict) and not one.get("index")), {})


def _with_logprobs(events: list[Event], tokens: list[dict[str, Any]]) -> list[Event]:
    """``events`` with ``tokens`` on the last piece of text."""
    for i, event in reversed(list(enumerate(events))):
        if isinstance(event, TextDelta):
            return [*events[:i], attrs.evolve(event, logprobs=tokens), *events[i + 1 :]]
    return events


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
