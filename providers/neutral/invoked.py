"""Streams of Claude models in Bedrock's InvokeModel, of providers and for clients.

Each frame has one of Anthropic's events as base64.
Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html. Bedrock
adds its own measurements to the last event.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from providers.neutral.values import as_object, load
from streams import event_stream
from streams.framing import Framing
from streams.structure import MAX_ELEMENTS, TOO_MANY_ELEMENTS, has_more_elements

METRICS: Final = "amazon-bedrock-invocationMetrics"

_KINDS: Final[Mapping[str, str]] = {
    "throttlingException": "rate_limit_error",
    "serviceUnavailableException": "overloaded_error",
    "modelTimeoutException": "timeout_error",
    "validationException": "invalid_request_error",
    "accessDeniedException": "permission_error",
}
"""Anthropic's types for Bedrock's failures in mid-stream; others are server errors."""

_IN_STREAMS: Final = frozenset(
    ("throttlingException", "serviceUnavailableException", "modelTimeoutException", "validationException")
)
"""Exceptions of the service's model that SDKs recognise in a stream."""


def parse(raw: bytes) -> tuple[str, bytes] | None:
    """Return the name and data of the event in a whole frame.

    A failure becomes Anthropic's ``error`` event.
    """
    name, data = event_stream.parse(raw) or ("", b"")
    if name in (event_stream.EXCEPTION, event_stream.ERROR):
        return "error", _error_event(as_object(load(data)))
    inner = _unwrap_event(data)
    if has_more_elements(inner, MAX_ELEMENTS):  # the splitter has only seen its base64
        return "error", _error_event({"message": f"the provider sent an event {TOO_MANY_ELEMENTS}"})
    said = as_object(load(inner))
    kind = said.get("type")
    if METRICS in said:
        inner = msgspec.json.encode({name: value for name, value in said.items() if name != METRICS})
    return (kind if isinstance(kind, str) else ""), inner


def change_event(raw: bytes, change: Callable[[bytes], bytes]) -> bytes:
    return event_stream.change_payload(raw, lambda data: _wrap_event(change(_unwrap_event(data))))


def _unwrap_event(data: bytes) -> bytes:
    """Return the event in a frame's payload, or the payload itself, which the reader then rejects."""
    try:
        return base64.b64decode(as_object(load(data))["bytes"], validate=True)
    except (KeyError, TypeError, ValueError):
        return data


def _wrap_event(event: bytes) -> bytes:
    return msgspec.json.encode({"bytes": base64.b64encode(event).decode()})


def _error_event(said: Mapping[str, Any]) -> bytes:
    kind, message = said.get("type"), said.get("message")
    error = {"type": _KINDS.get(kind if isinstance(kind, str) else "", "api_error"), "message": message or kind or ""}
    return msgspec.json.encode({"type": "error", "error": error})


class InvokedWriter:
    """A writer of Anthropic's events in Bedrock's frames, for clients of InvokeModel."""

    def event(self, name: str, data: bytes) -> bytes:
        if name != "error":
            return event_stream.event_frame("chunk", _wrap_event(data))
        error = as_object(as_object(load(data)).get("error"))
        message = msgspec.json.encode({"message": error.get("message")})
        return event_stream.exception_frame(_exception(error.get("type")), message)

    def close(self) -> bytes:
        return b""


def _exception(kind: Any) -> str:
    """Return the exception of Bedrock for Anthropic's type of an error in mid-stream."""
    known = (exception for exception, error in _KINDS.items() if error == kind and exception in _IN_STREAMS)
    return next(known, "modelStreamErrorException" if kind == "api_error" else "internalServerException")


INVOKED = Framing(
    media_type=event_stream.MEDIA_TYPE,
    content_type=event_stream.MEDIA_TYPE,
    splitter=event_stream.FrameSplitter,
    parse=parse,
    complete=lambda rest: b"",  # the splitter's rest is never whole
    writer=InvokedWriter,
    change_payload=change_event,
)
"""The frames of ``invoke-with-response-stream``."""
