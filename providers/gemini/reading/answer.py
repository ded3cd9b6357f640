"""A whole answer, read as the stream of it would have been."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from providers.gemini.reading.chunks import ChunkReader
from providers.neutral.bounds import ANSWER
from providers.neutral.shapes import Shape, check_answer
from streams.errors import GatewayError
from streams.events import ErrorInfo, Event
from streams.surrogates import NOT_JSON, any_json

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
_KNOWN: Final = ("candidates", "promptFeedback", "usageMetadata", "error")


def read_answer(body: bytes, checked: bool = True) -> Sequence[Event]:
    """See ``Codec.read_answer``. An array of answers is a stream whose chunks came in one."""
    try:
        value = any_json(body)
    except NOT_JSON:
        raise _no_answer() from None
    chunks = value if isinstance(value, list) else [value]
    if not chunks or not all(_is_chunk(chunk) for chunk in chunks):
        raise _no_answer()
    reader, events = ChunkReader(ANSWER), list[Event]()
    for chunk in chunks:
        if checked:
            check_answer(chunk, _SHAPE)
        events += reader.take(chunk)
        if events and isinstance(events[-1], ErrorInfo):
            return events
    return [*events, *reader.close()]


def _is_chunk(value: Any) -> bool:
    return isinstance(value, Mapping) and any(name in value for name in _KNOWN)


def _no_answer() -> GatewayError:
    return GatewayError("upstream", "the provider's answer is none of the Gemini API", reason="bad_answer")
