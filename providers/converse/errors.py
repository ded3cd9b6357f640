"""Errors of Bedrock: those of providers read, those for clients written.

Source: the exceptions of ``Converse`` and ``ConverseStream`` in Amazon's service model. An error response has a
``message`` alone; its type is in the header ``x-amzn-errortype``, up to its colon, where SDKs look first. For clients
that see only the body the type is in its member ``__type`` too (Smithy, AWS restJson1, "Operation error
serialization"). In a stream a frame of its own kind says it.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from providers.errors.failures import read_event_failure, read_failure
from providers.errors.overflow import CODE, overflows
from streams import event_stream
from streams.events import STATUS, ErrorInfo, ErrorKind, FailureReason
from streams.surrogates import NOT_JSON, any_json

_MEANT: Final[Mapping[FailureReason | None, ErrorKind]] = {"quota": "rate_limited", "server_error": "upstream"}
"""What a 4xx says that is no mistake of the client's: a used-up quota comes as a 400, a model's failure as a 424."""


def read_error(status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> ErrorInfo:
    """See ``Codec.read_error``."""
    failed = read_failure(status, body, headers)
    meant = _MEANT.get(failed.reason) if failed.kind == "invalid_request" else None
    return failed if meant is None else attrs.evolve(failed, kind=meant, status=STATUS[meant])


def read_stream_failure(data: bytes) -> ErrorInfo:
    """Read the failure in a frame of an exception or an error, as ``streams.event_stream.parse`` gives it."""
    try:
        return read_event_failure(any_json(data))
    except NOT_JSON:
        return read_event_failure({})


TYPE_HEADER: Final = "x-amzn-errortype"

_TYPES: Final[Mapping[ErrorKind, str]] = {
    "invalid_request": "ValidationException",
    "authentication": "AccessDeniedException",
    "billing": "ServiceQuotaExceededException",
    "permission": "AccessDeniedException",
    "not_found": "ResourceNotFoundException",
    "too_large": "ValidationException",
    "rate_limited": "ThrottlingException",
    "overloaded": "ServiceUnavailableException",
    "upstream": "InternalServerException",
    "timeout": "ModelTimeoutException",
    "unsupported": "ValidationException",
    "internal": "InternalServerException",
}
_IN_STREAMS: Final[Mapping[ErrorKind, str]] = {
    "rate_limited": "throttlingException",
    "overloaded": "serviceUnavailableException",
    "upstream": "modelStreamErrorException",
    "timeout": "modelStreamErrorException",
    "internal": "internalServerException",
}
"""A stream has five exceptions, and SDKs show nothing of any other: what the client has done wrong is the fifth."""

_MODEL_FAILED: Final = 424
_TOO_LONG: Final = "Input is too long for requested model"
"""Bedrock's words for a conversation that is too long, upon which agents shorten theirs (crewAIInc/crewAI#7417)."""


def error_headers(failed: ErrorInfo) -> tuple[tuple[str, str], ...]:
    """Return the headers of an error response that name its exception; none where Bedrock's own error passes with its
    own."""
    if failed.body and any(name == TYPE_HEADER for name, _ in failed.headers):
        return ()
    return ((TYPE_HEADER, _type(failed)),)


def _type(failed: ErrorInfo) -> str:
    return "ModelErrorException" if failed.status == _MODEL_FAILED else _TYPES[failed.kind]


def write_error(failed: ErrorInfo, request_id: str = "") -> bytes:
    """See ``Codec.write_error``."""
    return msgspec.json.encode({"message": failed.message, "__type": _type(failed)})


def error_event(failed: ErrorInfo) -> bytes:
    """See ``Codec.last_event``."""
    kind = _IN_STREAMS.get(failed.kind, "validationException")
    return event_stream.exception(kind, msgspec.json.encode({"message": failed.message}))


def phrase_error(failed: ErrorInfo) -> ErrorInfo:
    """See ``Codec.phrase_error``."""
    if failed.code != CODE or _TOO_LONG in failed.message:
        return failed
    return attrs.evolve(failed, message=f"{_TOO_LONG}: {failed.message}")


def is_own_error(body: Mapping[str, Any]) -> bool:
    """See ``Codec.is_own_error``. The type is in a header, which is written anew."""
    message = body.get("message")
    return isinstance(message, str) and (not overflows(body, 400) or _TOO_LONG in message)
