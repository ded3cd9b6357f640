"""Reader of Bedrock's errors, and writer of errors for Converse clients.

Source: the exceptions of ``Converse`` and ``ConverseStream`` in Amazon's service model. The body of an error response
only has a ``message``; SDKs read its type from the header ``x-amzn-errortype``, up to the colon. For clients that only
see the body, the member ``__type`` repeats the type (Smithy, AWS restJson1, "Operation error serialization"). In a
stream a separate kind of frame carries the error.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from providers.errors.failures import BEDROCK_EXCEPTION, STEP_CODES, read_event_failure, read_failure
from providers.errors.overflow import CODE, overflows
from providers.neutral.values import load
from streams import event_stream
from streams.events import STATUS, ErrorInfo, ErrorKind, FailureReason

_KIND_OF_REASON: Final[Mapping[FailureReason | None, ErrorKind]] = {"quota": "rate_limited", "server_error": "upstream"}
"""The kinds of 4xx that are no error of the client: an exhausted quota is a 400, a model's failure a 424."""


def read_error(status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> ErrorInfo:
    """Return the error in a provider's response. See ``Codec.read_error``."""
    error = read_failure(status, body, headers)
    kind = _KIND_OF_REASON.get(error.reason) if error.kind == "invalid_request" else None
    return error if kind is None else attrs.evolve(error, kind=kind, status=STATUS[kind])


def read_stream_failure(data: bytes) -> ErrorInfo:
    """Return the failure in an exception or error frame, as parsed by ``streams.event_stream.parse``."""
    return read_event_failure(load(data))


TYPE_HEADER: Final = "x-amzn-errortype"

_STREAM_EXCEPTIONS: Final[Mapping[ErrorKind, str]] = {
    "rate_limited": "throttlingException",
    "overloaded": "serviceUnavailableException",
    "upstream": "modelStreamErrorException",
    "timeout": "modelStreamErrorException",
    "internal": "internalServerException",
}
"""Exceptions in streams. SDKs only recognize five; client errors are the fifth, ``validationException``."""

_MODEL_FAILED: Final = 424
_TOO_LONG: Final = "Input is too long for requested model"
"""Bedrock's message for a conversation that is too long; agents shorten theirs on it (crewAIInc/crewAI#7417)."""


def error_headers(error: ErrorInfo) -> tuple[tuple[str, str], ...]:
    """Return the headers that name the exception of an error response; none if Bedrock's own are forwarded."""
    if error.body and any(name == TYPE_HEADER for name, _ in error.headers):
        return ()
    return ((TYPE_HEADER, _type(error)),)


def _type(error: ErrorInfo) -> str:
    return "ModelErrorException" if error.status == _MODEL_FAILED else BEDROCK_EXCEPTION[error.kind]


def write_error(error: ErrorInfo, request_id: str = "") -> bytes:
    """Return the error as JSON. See ``Codec.write_error``."""
    return msgspec.json.encode({"message": _message(error), "__type": _type(error)})


def _message(error: ErrorInfo) -> str:
    """Return the message, with the code of a refusal by a step, because the API has no other place for it."""
    return f"{error.message} ({error.code})" if error.code in STEP_CODES else error.message


def error_event(error: ErrorInfo) -> bytes:
    """Return the exception frame that ends a stream. See ``Codec.last_event``."""
    kind = _STREAM_EXCEPTIONS.get(error.kind, "validationException")
    return event_stream.exception_frame(kind, msgspec.json.encode({"message": _message(error)}))


def phrase_error(error: ErrorInfo) -> ErrorInfo:
    """Return an overflow with Bedrock's message. See ``Codec.phrase_error``."""
    if error.code != CODE or _TOO_LONG in error.message:
        return error
    return attrs.evolve(error, message=f"{_TOO_LONG}: {error.message}")


def is_own_error(body: Mapping[str, Any]) -> bool:
    """Return whether ``body`` is an error of this API; its type is in a header, which the gateway writes.

    See ``Codec.is_own_error``.
    """
    message = body.get("message")
    return isinstance(message, str) and (not overflows(body, 400) or _TOO_LONG in message)
