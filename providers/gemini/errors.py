"""Writer of errors for Gemini clients, in the format of Google's APIs.

Source: ``google.rpc.Status`` and its details (AIP-193), ``APIError`` of the google-genai package.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from providers.errors.failures import GOOGLE_STATUS
from providers.gemini.framing import event
from streams.events import ErrorInfo

_TYPE: Final = "type.googleapis.com/google.rpc."


def google_error(error: ErrorInfo, request_id: str = "") -> dict[str, Any]:
    """Return the ``error`` member. If the client may retry, it includes ``RetryInfo`` with the delay, which Gemini CLI
    reads."""
    member: dict[str, Any] = {
        "code": error.status, "message": error.message, "status": GOOGLE_STATUS[error.kind],
    }  # fmt: skip
    if details := _error_details(error, request_id):
        member["details"] = details
    return member


def _error_details(error: ErrorInfo, request_id: str) -> list[Any]:
    if isinstance(error.details, list) and all(isinstance(one, dict) and "@type" in one for one in error.details):
        return error.details  # the provider's own details
    details: list[Any] = []
    if (wait := _retry_seconds(error)) is not None:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{wait}s"})
    if error.param:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]})
    if error.code:
        details.append(
            {"@type": f"{_TYPE}ErrorInfo", "reason": error.code.upper(), "domain": "trigate",
             "metadata": {"code": error.code}}
        )  # fmt: skip
    if request_id:
        details.append({"@type": f"{_TYPE}RequestInfo", "requestId": request_id})
    return details


def _retry_seconds(error: ErrorInfo) -> int | None:
    header = dict(error.headers).get("retry-after", "")
    try:
        wait = float(header)
    except ValueError:
        return None
    return math.ceil(wait) if 0 <= wait < math.inf else None


def write_error(error: ErrorInfo, request_id: str) -> bytes:
    """Return the error as JSON. See ``Codec.write_error``."""
    return msgspec.json.encode({"error": google_error(error, request_id)})


def error_event(error: ErrorInfo) -> bytes:
    """Return the end of a failed stream: the error as bare JSON, then as an event.

    Google's older SDKs for JavaScript and those for Go recognize only bare JSON as an error, and read an event with one
    as an empty piece of an answer. All other clients read only events. The newer SDK for JavaScript skips an event that
    does not begin with ``data:``, so a blank line separates the two.
    """
    data = event({"error": google_error(error)})
    return data.removeprefix(b"data: ") + data


def is_own_error(body: Mapping[str, Any]) -> bool:
    """Return whether ``body`` is an error of this API. See ``Codec.is_own_error``."""
    error = body.get("error")
    return isinstance(error, dict) and isinstance(error.get("message"), str) and isinstance(error.get("status"), str)
