"""Errors outside an exchange: paths that are not served, methods, upgrades, and mistakes of our own."""

from quart import Response as QuartResponse
from quart import has_request_context, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from gateway.endpoints.answers import client_headers, refused
from gateway.endpoints.inference import ROUTES
from gateway.exchange.exchange import JSON_HEADERS
from gateway.exchange.service import Service
from gateway.http.paths import advice, api_of, base_urls, origin_of, shown
from gateway.http.response import Response
from gateway.request.public_errors import MISTAKE
from gateway.serving.quart_views import through_quart
from providers.apis import CODECS
from streams.events import ErrorInfo

_SERVED = tuple(reversed({ROUTES[path]: path for path in reversed(tuple(ROUTES))}.values()))
"""The first path of each API."""


def add_errors(app: QuartTrio, service: Service, *, websocket: bool) -> None:
    """Answer what no route does, in the shape of the API whose path it looks like. ``websocket``: upgrades are
    served."""

    async def http_error(error: HTTPException) -> QuartResponse:
        if not has_request_context():  # an upgrade on a path that has none
            return await upgrade()
        return through_quart(refused(_http_failed(error), api_of(request.path, client_headers()), service.ledger))

    async def upgrade() -> QuartResponse:
        # Codex falls back to HTTP on a 426 and on nothing else (openai/codex#43353).
        failed = ErrorInfo("invalid_request", "WebSocket is not served here: use POST /v1/responses", status=426)
        body = CODECS["responses"].write_error(failed, "")
        return through_quart(Response(426, (*JSON_HEADERS, ("connection", "close")), body))

    async def our_mistake(error: Exception) -> QuartResponse:
        app.logger.exception("unexpected error", exc_info=error)
        return await http_error(HTTPException(MISTAKE.message))

    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, our_mistake)
    if not websocket:
        app.add_websocket("/v1/responses", "upgrade", upgrade)


def _http_failed(error: HTTPException) -> ErrorInfo:
    status = error.code or 500
    if status in (404, 405):
        return _misdirected(status, ", ".join(sorted(getattr(error, "valid_methods", None) or ())))
    message = error.description or "the request could not be handled"
    return ErrorInfo("invalid_request" if status < 500 else "internal", message, status=status)


def _misdirected(status: int, allowed: str) -> ErrorInfo:
    """A path that is not served, or not to this method; ``allowed`` are those that it is served to."""
    path, headers = shown(request.path), client_headers()
    origin = origin_of(request.scope, headers)
    help = advice(request.path, headers, origin)
    if status == 405:
        message = f"{request.method} is not allowed on {path}; {help or f'use {allowed}'}"
        return ErrorInfo("invalid_request", message, status=405, headers=(("allow", allowed),))
    help = help or f"served are {', '.join(_SERVED)} and /v1/models{base_urls(request.path, origin)}"
    return ErrorInfo("not_found", f"there is no {request.method} {path} here; {help}", status=404)
