"""Requests for a path or method that is not served: preflights of CORS, and errors."""

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gateway.endpoints.inference import ROUTES
from gateway.exchange.responding import error_response, open_record
from gateway.exchange.service import Service
from gateway.features.known import imported_features
from gateway.http.external_url import url_of_request
from gateway.http.headers import Headers
from gateway.http.paths import SERVED_METHODS, advice, api_of, base_urls, model_method, shorten_path
from gateway.http.response import Response
from gateway.serving.incoming_request import IncomingRequest
from gateway.serving.route_table import READING, WEBSOCKET, RouteTable
from streams.errors import GatewayError
from streams.events import ErrorInfo

if TYPE_CHECKING:
    from gateway.endpoints.cors import Cors

_SERVED = tuple(reversed({ROUTES[path]: path for path in reversed(tuple(ROUTES))}.values()))
"""The first path of each API."""


async def answer_unknown(
    service: Service, routes: RouteTable, cors: "Cors | None", incoming: IncomingRequest
) -> Response:
    """Answer a request without a route in ``routes``.

    It needs a client's key, except for well-known paths: clients look there without a key for what a server offers.
    ``cors`` answers preflights."""
    path, method, headers = incoming.asgi["path"], incoming.asgi["method"], incoming.headers
    if method == "OPTIONS" and cors is not None and cors.covers(path):
        return cors.answer_preflight(incoming)
    error, client = _error(routes, path, method, incoming), None
    try:
        if not path.startswith("/.well-known/"):
            client = service.admission.authenticate(incoming)
    except GatewayError as refusal:
        error = refusal.info
    served = error.status != 404
    record = open_record(api_of(path, headers), service.ledger, incoming.scope, served=served)
    record.client = client
    return error_response(record, error)


def _error(routes: RouteTable, path: str, method: str, incoming: IncomingRequest) -> ErrorInfo:
    headers, asgi = incoming.headers, incoming.asgi
    shortened = path[:-1] if path.endswith("/") else path
    if allowed := routes.methods(path) or routes.methods(shortened):
        return _model_method_error(method, path, headers, asgi) or method_not_allowed_error(
            method, path, headers, asgi, allowed
        )
    if any(routes.find(WEBSOCKET, one) is not None for one in (path, shortened)):
        if method not in READING:
            return method_not_allowed_error(method, path, headers, asgi, READING)
        message = f"{shorten_path(path)} is a WebSocket: connect to it with an upgrade"
        return ErrorInfo("invalid_request", message, status=426, headers=(("upgrade", "websocket"),))
    return unknown_path_error(method, path, headers, asgi, routes.listed)


def _model_method_error(method: str, path: str, headers: Headers, asgi: Mapping[str, Any]) -> ErrorInfo | None:
    """Return the error for a path with a Gemini method instead of a model (``…/models/NAME:predict``)."""
    called = model_method(path)
    if called is None:
        return None
    if called in SERVED_METHODS:
        return method_not_allowed_error(method, path, headers, asgi, ("POST",))
    if method != "POST":
        return None
    served = ", ".join(f":{name}" for name in SERVED_METHODS)
    message = f"there is no {method} {shorten_path(path)}; the methods of models are {served}"
    return ErrorInfo("not_found", message, status=404, code="unknown_path")


def method_not_allowed_error(
    method: str, path: str, headers: Headers, asgi: Mapping[str, Any], allowed: Sequence[str]
) -> ErrorInfo:
    """Return the error for a path with a wrong method; ``allowed`` are the right ones."""
    help = advice(path, headers, url_of_request(asgi, headers), _settings())
    listed = ", ".join(allowed)
    message = f"{method} is not allowed on {shorten_path(path)}; {help or f'use {listed}'}"
    return ErrorInfo("invalid_request", message, status=405, headers=(("allow", listed),))


def unknown_path_error(
    method: str, path: str, headers: Headers, asgi: Mapping[str, Any], endpoints: Sequence[str]
) -> ErrorInfo:
    """Return the error for an unknown path, with the path that was probably meant, else with the conversations' paths.

    A list of all paths would bury the advice. ``asgi`` is the request's scope."""
    origin = url_of_request(asgi, headers)
    help = advice(path, headers, origin, _settings())
    if help is None:
        rows = (row for feature in imported_features() for row in feature.unwanted_paths)
        help = next((text for start, text in rows if f"{path}/".startswith(f"{start}/")), None)
    if help is None:
        near = difflib.get_close_matches(path[:_MAX_COMPARED], (*_SERVED, *endpoints), n=1, cutoff=_MIN_SIMILARITY)
        known = base_urls(path, origin)
        if near:
            help = f"did you mean {near[0]}?" + (f" {known[0].upper()}{known[1:]}" if known else "")
        else:
            help = f"conversations are at {', '.join(_SERVED)}" + (f"; {known}" if known else "")
    return ErrorInfo("not_found", f"there is no {method} {shorten_path(path)}; {help}", status=404, code="unknown_path")


def _settings() -> dict[str, str]:
    """Return the settings with which features serve the clients of other servers, by the names of these."""
    return {client: setting for feature in imported_features() for client, setting in feature.served_clients}


_MAX_COMPARED, _MIN_SIMILARITY = 100, 0.8
"""Characters of a path that are compared with known paths, and the required similarity."""
