"""Errors for a client, in Bedrock's words.

Source: the exceptions of ``Converse`` and ``ConverseStream`` in Amazon's service model. Their type stands in the header
``x-amzn-errortype``, where SDKs look first, and for those that see only the body in its member ``__type`` (Smithy,
AWS restJson1, "Operation error serialization").
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from providers.errors.overflow import CODE, overflows
from streams import event_stream
from streams.events import ErrorInfo, ErrorKind

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


def write_error(failed: ErrorInfo) -> bytes:
    """See ``Codec.write_error``."""
    return msgspec.json.encode({"message": failed.message, "__type": _type(failed)})


def last_event(failed: ErrorInfo) -> bytes:
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
