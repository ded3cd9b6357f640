"""Writer of errors for Interactions clients, whose ``code`` is a word; and the error of both directions, for calls.

Source: ``Error`` and ``ErrorEvent`` of the google-genai package, and the codes in its tests.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from providers.errors.failures import GOOGLE_STATUS, STEP_CODES
from streams import sse
from streams.events import AnswerStart, ErrorInfo

_OWN_CODES: Final[Mapping[str, str]] = {
    "INVALID_ARGUMENT": "invalid_request", "RESOURCE_EXHAUSTED": "too_many_requests",
}  # fmt: skip
"""The codes that differ from Google's status in lower case."""


def error_member(error: ErrorInfo) -> dict[str, str]:
    """Return an error's code and message in the words of Interactions."""
    status = GOOGLE_STATUS[error.kind]
    code = error.code if error.code in STEP_CODES else _OWN_CODES.get(status, status.lower())
    return {"code": code, "message": error.message}


def write_error(error: ErrorInfo, request_id: str) -> bytes:
    """Return the error as JSON. See ``Codec.write_error``."""
    return msgspec.json.encode({"error": error_member(error)})


def error_event(error: ErrorInfo, number: int) -> bytes:
    """Return the event that ends a failed stream. ``number`` is its position, which becomes its id."""
    return sse.event("error", {"event_type": "error", "error": error_member(error), "event_id": str(number)})


def last_event(error: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
    """Return the event that ends a stream after ``events``. See ``Codec.last_event``."""
    return error_event(error, events + 1)


def is_own_error(body: Mapping[str, Any]) -> bool:
    """Return whether ``body`` is an error of this API. See ``Codec.is_own_error``."""
    error = body.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return False
    return isinstance(error.get("code"), str) and "type" not in error
