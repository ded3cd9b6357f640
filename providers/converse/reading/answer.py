"""A whole answer, read as the stream that it might have been: block by block, each with its start, one piece and its
end.

Source: ``ConverseResponse`` of Amazon Bedrock's API reference.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from providers.converse.ends import read_end
from providers.converse.reading.blocks import SERVER_TOOL, text_of
from providers.converse.reading.content import ContentReading
from providers.converse.usage import read_usage
from providers.errors.failures import listed_failure, read_event_failure
from providers.neutral.bounds import ANSWER, bounded
from providers.neutral.shapes import Shape, check_answer
from streams.errors import GatewayError
from streams.events import AnswerStart, ErrorInfo, Event
from streams.surrogates import NOT_JSON, any_json

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
    "usage": {},
}


def read_answer(body: bytes, checked: bool = True) -> Sequence[Event]:
    """See ``Codec.read_answer``."""
    try:
        value = any_json(body)
    except NOT_JSON:
        raise GatewayError("upstream", "the provider's answer is not valid JSON", reason="bad_answer") from None
    if isinstance(value, dict) and "output" not in value and (text_of(value.get("message")) or value.get("error")):
        return [read_event_failure(value)]
    if (failed := listed_failure(value)) is not None:
        return [failed]
    if checked:
        check_answer(value, _SHAPE)
    content = _content(value)
    if content is None:
        message = "the provider's answer is none of the Converse API"
        raise GatewayError("upstream", message, reason="bad_answer")
    return _events(value, content)


def _content(value: Any) -> list[Any] | None:
    """The content blocks, none where the message has none; ``None`` if there is no answer."""
    output = value.get("output") if isinstance(value, dict) else None
    message = output.get("message") if isinstance(output, dict) else None
    if not isinstance(message, dict):
        return None
    content = message.get("content")
    return content if isinstance(content, list) else []


def _events(value: Mapping[str, Any], content: list[Any]) -> list[Event]:
    usage = read_usage(value)
    events: list[Event] = [AnswerStart(), *([] if usage is None else [usage])]
    end = read_end(text_of(value.get("stopReason")), value.get("additionalModelResponseFields"))
    if isinstance(end, ErrorInfo):
        return [*events, end]
    reading = ContentReading(ANSWER)
    for index, block in enumerate(bounded(content, "content blocks")):
        if isinstance(block, dict):
            events += _block_events(reading, index, block)
    events += reading.finish_all()
    return [*events, end]


def _block_events(reading: ContentReading, index: int, block: Mapping[str, Any]) -> Iterator[Event]:
    begun = _start(block)
    at = {"contentBlockIndex": index}
    if begun:
        yield from reading.start({**at, "start": begun})
    for delta in _deltas(block):
        yield from reading.go_on({**at, "delta": delta})
    yield from reading.stop(at)


def _start(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the block's start would have said; nothing for texts and reasoning."""
    return {name: value for name, value in block.items() if name not in _WITHOUT_START}


_WITHOUT_START = ("text", "reasoningContent", "citationsContent")


def _deltas(block: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The pieces in which the block would have come."""
    if "text" in block:
        yield {"text": block["text"]}
    if isinstance(cited := block.get("citationsContent"), dict):
        for part in bounded(cited.get("content") or (), "texts"):
            yield {"text": part.get("text") if isinstance(part, dict) else None}
        for citation in bounded(cited.get("citations") or (), "citations"):
            yield {"citation": citation}
    if isinstance(said := block.get("reasoningContent"), dict):
        text = said.get("reasoningText")
        yield {"reasoningContent": text if isinstance(text, dict) else said}
    call = block.get("toolUse")
    if isinstance(call, dict) and call.get("type") != SERVER_TOOL and (input := call.get("input")):
        yield {"toolUse": {"input": msgspec.json.encode(input).decode()}}
