"""Readers of a Converse provider's answers: streams (``ConverseReader``), and whole answers, read like streams.

The order of a stream is ``messageStart``, blocks, ``messageStop``, ``metadata``: the counts follow the stop, which
therefore does not end the answer. Texts and reasoning have no ``contentBlockStart``; their first piece opens them.
Source: ``ConverseStreamOutput`` and ``ConverseResponse`` of Amazon Bedrock's API reference.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from providers.converse.errors import read_stream_failure
from providers.converse.reading import SERVER_TOOL, ContentReading
from providers.converse.wording import read_end, read_usage
from providers.errors.failures import EARLY, NO_JSON, error_or_raise, load_answer
from providers.neutral.bounds import ANSWER, check_length
from providers.neutral.codec import ANSWERING, ENDED, WAITING, StagedReader
from providers.neutral.shapes import Shape, check_answer
from providers.neutral.values import arguments_text, as_object, as_string, bounded_objects
from streams.errors import GatewayError
from streams.event_stream import ERROR, EXCEPTION
from streams.events import AnswerEnd, AnswerStart, ErrorInfo, Event, Usage
from streams.surrogates import any_json, decode_or


class ConverseReader(StagedReader):
    """A ``Reader`` of one Converse stream."""

    def __init__(self, content_limit: int = ANSWER) -> None:
        self._content = ContentReading(content_limit)
        self._usage: Usage | None = None
        self._end: AnswerEnd | ErrorInfo | None = None

    def read_event(self, event: str, data: bytes) -> Sequence[Event]:
        if self._stage is ENDED:
            return ()
        if event in (EXCEPTION, ERROR):
            return self.fail(read_stream_failure(data))
        if event not in _CONTENT and event not in _STEPS:
            return ()
        value = decode_or(any_json, data, None)
        if not isinstance(value, dict):
            return self.fail(NO_JSON)
        self._content.shared.arriving = data
        try:
            if (read_content := _CONTENT.get(event)) is not None:
                return self.start_with(read_content(self._content, value))
            return _STEPS[event](self, value)
        except GatewayError as error:  # a limit was exceeded, or a piece has no start
            return self.fail(error.info)

    def unsent_usage(self) -> Usage | None:
        return self._usage

    def has_finished(self) -> bool:
        return self._end is not None and self._stage is not ENDED

    def close(self) -> Sequence[Event]:
        if self._stage is ENDED:
            return ()
        return self.fail(EARLY) if self._end is None else self._end_events(self._end)  # only the counts are missing

    # The beginning

    def _read_message_start(self, value: Mapping[str, Any]) -> Sequence[Event]:
        if self._stage is not WAITING:
            return ()
        self._stage = ANSWERING
        return (AnswerStart(),)

    # The end

    def _read_message_stop(self, value: Mapping[str, Any]) -> Sequence[Event]:
        self._end = read_end(as_string(value.get("stopReason")), value.get("additionalModelResponseFields"))
        if isinstance(self._end, ErrorInfo):  # counts may follow, and both are returned at the end of the body
            return ()
        return self.start_with(self._content.finish_all()) if self._usage is None else self._end_events(self._end)

    def _read_metadata(self, value: Mapping[str, Any]) -> Sequence[Event]:
        self._usage = read_usage(value) or self._usage
        return self._end_events(self._end) if isinstance(self._end, AnswerEnd) else ()

    def _end_events(self, end: AnswerEnd | ErrorInfo) -> Sequence[Event]:
        counted = () if self._usage is None else (self._usage,)
        if isinstance(end, ErrorInfo):
            failed = [*self.start_with(counted), end]
            self._stage = ENDED
            return failed
        events = self.start_with([*self._content.finish_all(), *counted, end])
        self._stage = ENDED
        return events


_CONTENT: Mapping[str, Callable[[ContentReading, Mapping[str, Any]], Sequence[Event]]] = {
    "contentBlockStart": ContentReading.start,
    "contentBlockDelta": ContentReading.continue_block,
    "contentBlockStop": ContentReading.stop,
}
_STEPS: Mapping[str, Callable[[ConverseReader, Mapping[str, Any]], Sequence[Event]]] = {
    "messageStart": ConverseReader._read_message_start,
    "messageStop": ConverseReader._read_message_stop,
    "metadata": ConverseReader._read_metadata,
}
"""The steps for events, by name; other events are ignored."""


_NO_ANSWER: Final = "the provider's response is not a Converse response"
_SHAPE: Shape = {
    "output": {
        "message": {
            "content": [
                {
                    "text": str,
                    "toolUse": {"toolUseId": str, "name": str},
                    "reasoningContent": {"reasoningText": {"text": str, "signature": str}, "redactedContent": str},
                    "citationsContent": {"content": [{"text": str}], "citations": [{}]},
                }
            ]
        }
    },
    "stopReason": str,
}


def read_answer(body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
    """Return a whole answer as events. See ``Codec.read_answer``."""
    value = load_answer(body)
    if not isinstance(value, dict) or "output" not in value:
        return [error_or_raise(value, _NO_ANSWER)]
    if checked:
        check_answer(value, _SHAPE)
    message = as_object(value["output"]).get("message")
    if not isinstance(message, dict):
        raise GatewayError("upstream", _NO_ANSWER, reason="bad_answer")
    content = message.get("content")
    return _answer_events(value, content if isinstance(content, list) else [])


def _answer_events(value: Mapping[str, Any], content: list[Any]) -> list[Event]:
    usage = read_usage(value)
    events: list[Event] = [AnswerStart(), *([] if usage is None else [usage])]
    end = read_end(as_string(value.get("stopReason")), value.get("additionalModelResponseFields"))
    if isinstance(end, ErrorInfo):
        return [*events, end]
    reading = ContentReading(ANSWER)
    for index, block in enumerate(check_length(content, "content blocks")):
        if isinstance(block, dict):
            events += _whole_block_events(reading, index, block)
    events += reading.finish_all()
    return [*events, end]


def _whole_block_events(reading: ContentReading, index: int, block: Mapping[str, Any]) -> Iterator[Event]:
    at = {"contentBlockIndex": index}
    if start := {name: value for name, value in block.items() if name not in _WITHOUT_START}:
        yield from reading.start({**at, "start": start})
    for delta in _stream_deltas_of(block):
        yield from reading.continue_block({**at, "delta": delta})
    yield from reading.stop(at)


_WITHOUT_START = ("text", "reasoningContent", "citationsContent")
"""The blocks that have no start in a stream."""


def _stream_deltas_of(block: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the deltas that the block would have in a stream."""
    if "text" in block:
        yield {"text": block["text"]}
    if isinstance(cited := block.get("citationsContent"), dict):
        for part in bounded_objects(cited.get("content")):
            yield {"text": part.get("text")}
        for citation in bounded_objects(cited.get("citations")):
            yield {"citation": citation}
    if isinstance(reasoning := block.get("reasoningContent"), dict):
        text = reasoning.get("reasoningText")
        yield {"reasoningContent": text if isinstance(text, dict) else reasoning}
    call = block.get("toolUse")
    if isinstance(call, dict) and call.get("type") != SERVER_TOOL and (text := arguments_text(call.get("input"))):
        yield {"toolUse": {"input": text}}


READER: Final = ConverseReader
