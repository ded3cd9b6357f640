"""Errors outside exchanges: unknown paths, wrong methods, upgrades, and bugs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from quart import Response as QuartResponse
from quart import has_request_context, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException
from werkzeug.routing.exceptions import WebsocketMismatch

from gateway.endpoints.answers import client_headers, error_response
from gateway.endpoints.model_shapes import SERVED_METHODS, model_method
from gateway.endpoints.unknown_paths import method_not_allowed_error, unknown_path_error
from gateway.exchange.service import Service
from gateway.http.paths import api_of, shorten_path
from gateway.http.response import JSON_HEADERS, Response
from gateway.request.public_errors import MISTAKE
from gateway.serving.quart_views import through_quart
from providers.apis import CODECS
from streams.events import ErrorInfo


def add_errors(
    app: QuartTrio,
    service: Service,
    *,
    websocket: bool,
    endpoints: Sequence[str] = (),
    methods: Callable[[str], Sequence[str]] = lambda path: (),
) -> None:
    """Add error handlers, which respond in the format of the API that a request's path resembles.

    ``websocket`` means that upgrades are supported; ``endpoints`` are the paths other than conversations, ``methods``
    returns the methods of such a path."""

    async def http_error(error: HTTPException) -> QuartResponse:
        if not has_request_context():  # an upgrade on a path without one
            return await upgrade()
        return through_quart(
            error_response(
                _http_error_info(error, endpoints, methods), api_of(request.path, client_headers()), service.ledger
            )
        )

    async def upgrade() -> QuartResponse:
        # Codex falls back to HTTP only on a 426 (openai/codex#43353).
        error = ErrorInfo(
            "invalid_request", "this server does not support WebSockets: use POST /v1/responses", status=426
        )
        body = CODECS["responses"].write_error(error, "")
        return through_quart(Response(426, (*JSON_HEADERS, ("connection", "close")), body))

    async def internal_error(error: Exception) -> QuartResponse:
        app.logger.exception("unexpected error", exc_info=error)
        return await http_error(HTTPException(MISTAKE.message))

    app.register_error_handler(HTTPException, http_error)
    app.register_error_handler(Exception, internal_error)
    if not websocket:
        app.add_websocket("/v1/responses", "upgrade", upgrade)


def _http_error_info(
    error: HTTPException, endpoints: Sequence[str], methods: Callable[[str], Sequence[str]]
) -> ErrorInfo:
    status = error.code or 500
    if (status in (404, 405) or isinstance(error, WebsocketMismatch)) and (allowed := methods(request.path)):
        return method_not_allowed_error(request.method, request.path, client_headers(), request.scope, allowed)
    if status == 404:
        return unknown_path_error(request.method, request.path, client_headers(), request.scope, endpoints)
    if isinstance(error, WebsocketMismatch):
        message = f"{shorten_path(request.path)} is a WebSocket: connect to it with an upgrade"
        return ErrorInfo("invalid_request", message, status=426, headers=(("upgrade", "websocket"),))
    if status == 405 and (method_error := _model_method_error(request.method, request.path, request.scope)) is not None:
        return method_error
    if status == 405:
        allowed = sorted(getattr(error, "valid_methods", None) or ())
        return method_not_allowed_error(request.method, request.path, client_headers(), request.scope, allowed)
    message = error.description or "the gateway cannot handle this request"
    return ErrorInfo("invalid_request" if status < 500 else "internal", message, status=status)


def _model_method_error(method: str, path: str, asgi: Mapping[str, Any]) -> ErrorInfo | None:
    """Return the error for a path with a Gemini method instead of a model (``…/models/NAME:predict``)."""
    called = model_method(path)
    if called is None:
        return None
    if called in SERVED_METHODS:
        return method_not_allowed_error(method, path, client_headers(), asgi, ("POST",))
    if method != "POST":
        return None
    served = ", ".join(f":{name}" for name in SERVED_METHODS)
    message = f"there is no {method} {shorten_path(path)}; the methods of models are {served}"
    return ErrorInfo("not_found", message, status=404, code="unknown_path")
