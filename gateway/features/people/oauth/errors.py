"""Errors of sign-in: JSON for programs (RFC 6749, section 5.2), and pages for people."""

from typing import Any, Final

import msgspec

from gateway.http.headers import Headers
from gateway.http.response import Response
from streams.events import ErrorInfo

JSON_PRIVATE: Final[Headers] = (
    ("content-type", "application/json"),
    ("cache-control", "no-store"),
    ("pragma", "no-cache"),
    ("x-content-type-options", "nosniff"),
)
"""Headers of every response to a program (RFC 6749, section 5.1)."""

_CODES: Final = {429: "slow_down", 503: "temporarily_unavailable", 500: "server_error"}
_PRINTABLE: Final = frozenset(map(chr, range(0x20, 0x7F))) - {'"', "\\"}
"""The characters of ``error_description`` (RFC 6749, section 5.2)."""


class OAuthError(Exception):
    """A refused request of a program, with the error ``code`` of the OAuth standards."""

    def __init__(self, code: str, description: str, status: int = 400, headers: Headers = ()) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.status = status
        self.headers = headers


class PageError(Exception):
    """A refused request of a browser: ``message`` explains it to a person, ``retry`` is the path to try again.

    ``issuer_logout`` is the name and the sign-out page of an issuer, where another account may help."""

    def __init__(
        self,
        message: str,
        status: int = 400,
        *,
        title: str = "Sign-in failed",
        retry: str | None = None,
        issuer_logout: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.title = title
        self.retry = retry
        self.issuer_logout = issuer_logout


def oauth_error_of(error: ErrorInfo) -> OAuthError:
    """Return the OAuth error of a request that the gateway rejected."""
    return OAuthError(_CODES.get(error.status, "invalid_request"), error.message, error.status, error.headers)


def json_response(value: Any, status: int = 200, headers: Headers = ()) -> Response:
    """Return ``value`` as JSON that no cache stores."""
    return Response(status, (*JSON_PRIVATE, *headers), msgspec.json.encode(value))


def oauth_error_response(error: OAuthError) -> Response:
    description = "".join(one if one in _PRINTABLE else "'" for one in error.description)
    value = {"error": error.code, "error_description": description}
    return json_response(value, error.status, error.headers)
