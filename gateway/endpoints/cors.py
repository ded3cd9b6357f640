"""CORS (https://fetch.spec.whatwg.org): which responses to programs the pages of other origins may read.

Imported only for a configuration with ``cors``."""

from collections.abc import Iterable, Mapping, MutableMapping
from functools import partial
from typing import Any, Final

from gateway.access.page_guard import ANY
from gateway.endpoints.plain_answers import request_ids
from gateway.http.headers import EditHeaders, Headers, RawHeaders
from gateway.http.passing import TO_PROVIDER
from gateway.http.response import Response
from gateway.seams.route import HttpRoute
from gateway.serving.http_app import encode_headers
from gateway.serving.incoming_request import IncomingRequest

_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
_ALLOWED = (
    "authorization", "content-type", "x-api-key", "anthropic-version", "anthropic-beta", "x-request-id",
    "x-trigate-key", "x-trigate-strict", "x-goog-api-key", "x-goog-api-client", "last-event-id", "api-key",
    "user-agent",  # of the SDKs in Firefox and Safari; Chrome drops it
)  # fmt: skip
_ALLOWED_PREFIXES = (
    "x-trigate-", "anthropic-", "openai-", "x-openai-", "x-goog-", "x-amz-", "amz-sdk-", "api-revision",
    "http-referer", "x-title", *(name.rstrip("*") for name in TO_PROVIDER),
)  # fmt: skip
"""Headers that programs add in a browser, including those that every provider receives."""
_REMEMBERED = "600"  # seconds; browsers limit it


class Cors:
    """The origins that may read responses, ``*`` for all, on paths with one of ``starts``. They may send headers whose
    names begin with one of ``header_starts``, too."""

    def __init__(
        self, origins: Iterable[str], starts: tuple[str, ...] = (), header_starts: tuple[str, ...] = ()
    ) -> None:
        self._origins = frozenset(origin.lower() for origin in origins)
        self._starts = starts
        self._header_starts = (*_ALLOWED_PREFIXES, *header_starts)
        self._raw_vary = encode_headers(self._vary_header())

    def adapt(self, scope: MutableMapping[str, Any]) -> EditHeaders | None:
        """Return what adds to the headers of the response to a request: an ``Adapter``."""
        if scope["type"] != "http" or scope["method"] == "OPTIONS":
            return None
        return partial(self._add_to_response, scope, dict(scope["headers"]).get(b"origin"))

    def _add_to_response(self, scope: Mapping[str, Any], origin: bytes | None, headers: RawHeaders) -> RawHeaders:
        if not self.covers(scope["path"]):
            return headers
        if origin is None:
            return [*headers, *self._raw_vary]
        names = (name.decode("latin-1") for name, _ in headers)
        return [*headers, *encode_headers(self.response_headers(origin.decode("latin-1"), names))]

    def covers(self, path: str) -> bool:
        return path.startswith(self._starts)

    def answer_preflight(self, incoming: IncomingRequest) -> Response:
        """Return the response to an ``OPTIONS`` preflight on any of these paths."""
        headers = dict(incoming.headers)
        shared = self.preflight(headers.get("origin"), headers.get("access-control-request-headers", ""))
        return Response(204, (*shared, *request_ids(incoming.scope.id, incoming.headers)), b"")

    def preflight(self, origin: str | None, requested: str) -> Headers:
        """Return the headers of the response to an ``OPTIONS`` preflight, which lists the header names
        ``requested``."""
        allowed = self._allow_origin_header(origin)
        if not allowed:
            return self._vary_header()
        requested_names = (name.strip().lower() for name in requested.split(","))
        more = (name for name in requested_names if name.isascii() and name.startswith(self._header_starts))
        names = dict.fromkeys((*_ALLOWED, *sorted(more)))
        return (
            *allowed,
            ("access-control-allow-methods", _METHODS),
            ("access-control-allow-headers", ", ".join(names)),
            ("access-control-max-age", _REMEMBERED),
            *self._vary_header(),
        )

    def response_headers(self, origin: str | None, names: Iterable[str]) -> Headers:
        """Return the headers to add to a response with the headers ``names``, so that scripts can read all of them."""
        allowed = self._allow_origin_header(origin)
        if not allowed:
            return self._vary_header()
        exposed = ", ".join(dict.fromkeys(name.lower() for name in names))
        return (*allowed, ("access-control-expose-headers", exposed), *self._vary_header())

    def _allow_origin_header(self, origin: str | None) -> Headers:
        if origin is None:
            return ()
        if ANY in self._origins:
            return (("access-control-allow-origin", ANY),)
        return (("access-control-allow-origin", origin),) if origin.lower() in self._origins else ()

    def _vary_header(self) -> Headers:
        """Return ``Vary: Origin`` unless all origins are equal: caches must not mix responses for different origins."""
        return () if ANY in self._origins else (("vary", "Origin"),)


_PROGRAM_PATHS: Final = ("/v1/", "/v1beta/", "/model/", "/.well-known/")


def cors_of(origins: Iterable[str], routes: Iterable[HttpRoute]) -> Cors:
    """Let pages of ``origins`` read the responses on the paths of programs: these, and those that start like the paths
    of ``routes`` for programs."""
    programs = [route for route in routes if route.for_programs]
    starts = (route.path.partition("{")[0] for route in programs)
    others = (start for start in starts if not start.startswith(_PROGRAM_PATHS))
    header_starts = dict.fromkeys(route.header_start for route in programs if route.header_start)
    return Cors(origins, tuple(dict.fromkeys((*_PROGRAM_PATHS, *others))), tuple(header_starts))
