"""A provider's ``ConverseStream``, read.

The order is ``messageStart``, blocks, ``messageStop``, ``metadata``: the counts come behind the stop, which therefore
does not end the answer. Texts and reasoning have no ``contentBlockStart``: their first piece opens them.
Source: ``ConverseStreamOutput`` of Amazon Bedrock's API reference.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from providers.converse.ends import read_end
from providers.converse.failures import read_stream_failure
from providers.converse.reading.blocks import text_of
from providers.converse.reading.content import ContentReading
from providers.converse.usage import read_usage
from providers.neutral.bounds import ANSWER
from providers.neutral.stages import ANSWERING, ENDED, WAITING, AnswerStage
from streams.errors import GatewayError
from streams.event_stream import ERROR, EXCEPTION
from streams.events import AnswerEnd, AnswerStart, ErrorInfo, Event, Usage
from streams.surrogates import NOT_JSON, any_json

MALFORMED = ErrorInfo("upstream", "the provider sent an event that is not valid JSON", reason="bad_answer")
EARLY = ErrorInfo("upstream", "the provider ended the stream early", reason="bad_answer")


class ConverseReader:
    """See ``providers.neutral.codec.Reader``."""

    def __init__(self, keeps: int = ANSWER) -> None:
        self._stage: AnswerStage = WAITING
        self._content = ContentReading(keeps)
        self._usage: Usage | None = None
        self._end: AnswerEnd | ErrorInfo | None = None

    def take(self, event: str, data: bytes) -> Sequence[Event]:
        if self._stage is ENDED:
            return ()
        if event in (EXCEPTION, ERROR):
            return self._fail(read_stream_failure(data))
        if (step := _STEPS.get(event)) is None:
            return ()
        try:
            value = any_json(data)
        except NOT_JSON:
            return self._fail(MALFORMED)
        if not isinstance(value, dict):
            return self._fail(MALFORMED)
        self._content.numbers.arriving = data
        try:
            return step(self, value)
        except GatewayError as error:  # beyond a bound, or a piece of what has not begun
            return self._fail(error.failed)

    def close(self) -> Sequence[Event]:
        if self._stage is ENDED:
            return ()
        return self._fail(EARLY) if self._end is None else self._finish(self._end)  # the counts are missing, no more

    # The beginning

    def _message_start(self, value: Mapping[str, Any]) -> Sequence[Event]:
        if self._stage is not WAITING:
            return ()
        self._stage = ANSWERING
        return (AnswerStart(),)

    def _begun(self, events: Sequence[Event]) -> Sequence[Event]:
        """``events`` with an ``AnswerStart`` before the first of them, where there was no ``messageStart``."""
        if not events or self._stage is not WAITING:
            return events
        self._stage = ANSWERING
        return (AnswerStart(), *events)

    # The content

    def _block_start(self, value: Mapping[str, Any]) -> Sequence[Event]:
        return self._begun(self._content.start(value))

    def _block_delta(self, value: Mapping[str, Any]) -> Sequence[Event]:
        return self._begun(self._content.go_on(value))

    def _block_stop(self, value: Mapping[str, Any]) -> Sequence[Event]:
        return self._begun(self._content.stop(value))

    # The end

    def _message_stop(self, value: Mapping[str, Any]) -> Sequence[Event]:
        self._end = read_end(text_of(value.get("stopReason")), value.get("additionalModelResponseFields"))
        if isinstance(self._end, ErrorInfo):  # the counts may follow, and both are told at the end of the body
            return ()
        return self._begun(self._content.finish_all()) if self._usage is None else self._finish(self._end)

    def _metadata(self, value: Mapping[str, Any]) -> Sequence[Event]:
        self._usage = read_usage(value) or self._usage
        return self._finish(self._end) if isinstance(self._end, AnswerEnd) else ()

    def _finish(self, end: AnswerEnd | ErrorInfo) -> Sequence[Event]:
        counted = () if self._usage is None else (self._usage,)
        if isinstance(end, ErrorInfo):
            return [*self._begun(counted), *self._fail(end)]
        events = self._begun([*self._content.finish_all(), *counted, end])
        self._stage = ENDED
        return events

    def _fail(self, failed: ErrorInfo) -> Sequence[Event]:
        self._stage = ENDED
        return (failed,)


_STEPS: Mapping[str, Callable[[ConverseReader, Mapping[str, Any]], Sequence[Event]]] = {
    "messageStart": ConverseReader._message_start,
    "contentBlockStart": ConverseReader._block_start,
    "contentBlockDelta": ConverseReader._block_delta,
    "contentBlockStop": ConverseReader._block_stop,
    "messageStop": ConverseReader._message_stop,
    "metadata": ConverseReader._metadata,
}
"""Events by name; nobody has to know the others."""
