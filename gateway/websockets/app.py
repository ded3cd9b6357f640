"""The Quart app of websockets."""

from typing import Any

from quart import Response as QuartResponse
from quart import websocket
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from gateway.http.response import JSON_HEADERS, Response
from gateway.serving.http_app import RequestGuard
from gateway.serving.route_table import WEBSOCKET, RouteTable
from gateway.websockets.in_quart import HostlessQuart, configure, through_quart
from providers.apis import CODECS
from streams.events import ErrorInfo


class _AnyPath(BaseConverter):
    """A path of any characters: the table of routes judges it."""

    regex = "(?s:.*)"
    part_isolating = False


def websocket_app(routes: RouteTable, guard: RequestGuard) -> QuartTrio:
    """Return the app that serves the websockets in ``routes``."""
    app = HostlessQuart("trigate", static_folder=None)
    app.url_map.converters = {**app.url_map.converters, "any_path": _AnyPath}
    configure(app, guard)

    async def view(path: str) -> Any:
        serve = routes.find(WEBSOCKET, websocket.path) or routes.find_shortened(WEBSOCKET, websocket.path)
        return _no_websocket() if serve is None else await serve()

    async def fail(error: Exception) -> QuartResponse:
        if not isinstance(error, HTTPException):
            app.logger.exception("unexpected error", exc_info=error)
        return _no_websocket()

    app.add_websocket("/<any_path:path>", "websocket", view)
    app.register_error_handler(Exception, fail)
    return app


def release_service(app: QuartTrio) -> None:
    """Drop the references of a replaced ``app`` to its service.

    Quart's apps contain reference cycles, which are freed much later. A service may have thousands of clients, and is
    replaced with each change of their keys."""
    for functions in (app.view_functions, app.error_handler_spec, app.extensions):
        functions.clear()


def _no_websocket() -> QuartResponse:
    """Return the response on a path without websockets. Codex falls back to HTTP only on a 426 (openai/codex#43353)."""
    error = ErrorInfo("invalid_request", "this server does not support WebSockets: use POST /v1/responses", status=426)
    body = CODECS["responses"].write_error(error, "")
    return through_quart(Response(426, (*JSON_HEADERS, ("connection", "close")), body))
