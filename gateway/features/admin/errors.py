"""Errors of the HTTP API: ``{"error": {"type", "code", "message", "param"}}`` with the request's id."""

from collections.abc import Mapping
from typing import Any, Final

from configfile.document import ConfigError, Mistake
from streams.errors import GatewayError
from streams.events import ErrorInfo

_WORDS: Final[Mapping[int, tuple[str, str]]] = {
    400: ("invalid_request_error", "invalid_request"),
    401: ("authentication_error", "invalid_credential"),
    403: ("permission_error", "not_permitted"),
    404: ("not_found_error", "not_found"),
    405: ("invalid_request_error", "method_not_allowed"),
    408: ("invalid_request_error", "too_slow"),
    409: ("conflict_error", "conflict"),
    413: ("invalid_request_error", "too_large"),
    415: ("invalid_request_error", "unsupported_encoding"),
    429: ("rate_limit_error", "rate_limited"),
    503: ("unavailable_error", "unavailable"),
}
"""The type and the usual code of an error by its status."""


def error_value(info: ErrorInfo, request_id: str) -> dict[str, Any]:
    """Return the body of an error."""
    kind, code = _WORDS.get(info.status, ("internal_error", "internal"))
    error = {"type": kind, "code": info.code or code, "message": info.message, "param": info.param}
    return {"error": error, "request_id": request_id}


def not_permitted(message: str, code: str | None = None, param: str | None = None) -> GatewayError:
    """Return the error (403) for a visible object that the caller may not change, or a right that it has not."""
    return GatewayError("permission", message, code=code, param=param)


def not_found(message: str, code: str | None = None) -> GatewayError:
    """Return the error (404) for an object that does not exist, or that the caller does not see."""
    return GatewayError("not_found", message, code=code)


def conflict(message: str, code: str = "conflict") -> GatewayError:
    """Return the error (409) for a change that does not fit the stored state."""
    return GatewayError("invalid_request", message, status=409, code=code)


def mistakes_error(error: ConfigError) -> GatewayError:
    """Return the error (400) for settings that the file would not accept either."""
    first: Mistake = error.mistakes[0]
    unknown = first.found == "unknown key"
    text = "; ".join(part for part in (first.found.replace("unknown key", "unknown member"), first.expected) if part)
    if unknown and first.known and first.suggestion is None:
        text = f"{text}; the members are {', '.join(first.known)}"
    if first.suggestion is not None:
        text = f"{first.found.replace('unknown key', 'unknown member')}; did you mean {first.suggestion}?"
    message = f"{first.path}: {text}" if first.path else text
    code = "unknown_member" if unknown else "invalid_value"
    return GatewayError("invalid_request", message, code=code, param=first.path or None)
