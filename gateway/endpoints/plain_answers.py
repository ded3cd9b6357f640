"""Responses on paths that belong to no API."""

from typing import Any, Final

import msgspec

from gateway.http.headers import Headers
from gateway.http.paths import is_anthropic
from gateway.http.response import JSON_HEADERS, Response

NOSNIFF: Final = ("x-content-type-options", "nosniff")
PRIVATE: Final = (("cache-control", "no-store"), NOSNIFF)
"""Headers of objects stored for one client: shared caches do not treat ``x-api-key`` as a credential, and would store
the response (RFC 9111, section 3.5)."""


def json_response(value: Any, id: str, headers: Headers, status: int = 200) -> Response:
    """Return ``value`` as JSON. ``id`` is the request's; ``headers`` are the client's, names in lower case."""
    return Response(status, (*JSON_HEADERS, NOSNIFF, *request_ids(id, headers)), msgspec.json.encode(value))


def request_ids(id: str, headers: Headers) -> Headers:
    """Return headers with the request's ``id``: for an Anthropic client also under the name that its SDK reads."""
    return (("x-request-id", id), ("request-id", id)) if is_anthropic(headers) else (("x-request-id", id),)
