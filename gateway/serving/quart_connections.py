"""Requests and websockets on Quart, each with a ``RequestScope``; ``configure`` installs them in an app. quart-trio
does not expose the nursery of a request; these classes do, and run the callbacks after it."""

from functools import partial
from typing import Final, cast

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable
from quart import Request
from quart.asgi import ASGIHTTPConnection, ASGIWebsocketConnection
from quart.routing import QuartMap
from quart.typing import ResponseTypes
from quart.wrappers.base import BaseRequestWebsocket
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection, TrioASGIWebsocketConnection
from werkzeug.routing import MapAdapter

from gateway.http.paths import canonical
from gateway.http.request_scope import RequestScope
from gateway.http.response import Response
from gateway.serving import http_app
from gateway.serving.asgi_extensions import ON_LEAVING, SCOPE, OnLeaving
from gateway.serving.http_app import (
    GUARD,
    MAX_BODY,
    NO_GUARD,
    AppRequest,
    RequestGuard,
    encode_headers,
    origin_path,
    request_id,
)
from gateway.serving.incoming_request import send_continue
from gateway.serving.quart_views import out_of_quart
from gateway.serving.route_table import ROUTES, RouteTable


class HostlessRoutes(QuartMap):
    """Routes that are the same for all hosts.

    Clients choose their ``Host``, and Werkzeug raises an error for names that DNS does not allow, such as ``a..b``."""

    def bind_to_request(
        self, request: BaseRequestWebsocket, subdomain: str | None, server_name: str | None
    ) -> MapAdapter:
        query = request.query_string.decode("latin-1")
        return self.bind("", request.root_path, None, request.scheme, request.method, request.path, query)


class HostlessQuart(QuartTrio):
    """An app of Quart's whose routes are the same for all hosts."""

    url_map_class = HostlessRoutes


def configure(app: QuartTrio, max_body: int = MAX_BODY, guard: RequestGuard = NO_GUARD) -> None:
    """Make ``app`` run requests and websockets with a ``RequestScope``, after the check of ``guard``.

    Bodies may have ``max_body`` bytes and take 60 s."""
    app.extensions[GUARD], app.extensions[ROUTES] = guard, RouteTable()
    app.asgi_http_class = QuartAppRequest
    app.asgi_websocket_class = QuartWebSocketConnection
    app.config["MAX_CONTENT_LENGTH"] = max_body
    app.config["BODY_TIMEOUT"] = http_app.BODY_SECONDS


WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
"""The methods whose requests have a body here."""


class QuartAppRequest(AppRequest, TrioASGIHTTPConnection):
    """One request, handled by a route of the table or by Quart."""

    # Replaces quart-trio's, which does not expose its nursery, and silently cuts long streams (RESPONSE_TIMEOUT):
    # timeouts belong to the exchange.
    __call__ = AppRequest.__call__

    def _other_route(self) -> None:
        return

    async def _call_quart(
        self, request_scope: RequestScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> ResponseTypes:
        request = self._create_request_from_scope(send)
        request.scope[SCOPE] = request_scope  # type: ignore[typeddict-unknown-key]
        if (on_leaving := self.scope["extensions"].get(ON_LEAVING)) is not None:
            cast("OnLeaving", on_leaving)(request_scope.leave)  # ASGI's message comes some turns later
        request_scope.nursery.start_soon(self._receive, request_scope, request, receive)
        response: ResponseTypes = await self.app.handle_request(request)
        return response

    async def _receive(self, request_scope: RequestScope, request: Request, receive: ASGIReceiveCallable) -> None:
        """Feed the request's body until the client has disconnected or has its response. The body of a GET is dropped,
        because Quart would store it."""
        if request.method not in WITH_BODY:
            receive = partial(_without_body, receive)
        else:
            await send_continue(self.scope)
        await ASGIHTTPConnection.handle_messages(self, request, receive)
        # The server sends its "disconnect" also after a complete response, during the last send.
        request_scope.leave()

    async def _send_parts(self, send: ASGISendCallable, response: Response | ResponseTypes) -> None:
        if not isinstance(response, Response):
            if (own := out_of_quart(response)) is None:
                await self._send_response(send, response)
                return
            response = own
        await super()._send_parts(send, response)


class QuartWebSocketConnection(TrioASGIWebsocketConnection):
    """One websocket on Quart. The view must always be receiving: a disconnect after ten unread messages is not
    noticed."""

    # Replaces quart-trio's, which does not expose its nursery.
    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self.scope["path"] = canonical(origin_path(self.scope["path"]))
        headers_by_name, guard = dict(self.scope["headers"]), cast("RequestGuard", self.app.extensions[GUARD])
        websocket = self._create_websocket_from_scope(send)
        request_scope: RequestScope | None = None
        try:
            async with trio.open_nursery() as nursery:
                request_scope = RequestScope(nursery, request_id(headers_by_name), guard.address_of(self.scope))
                self.scope[SCOPE] = request_scope  # type: ignore[typeddict-unknown-key]
                nursery.start_soon(self._receive, request_scope, receive)
                if (refusal := guard.refuse(self.scope, headers_by_name, request_scope)) is not None:
                    await _refuse(send, refusal)
                else:
                    if guard.prepare is not None:
                        await guard.prepare(self.scope)
                    await ASGIWebsocketConnection.handle_websocket(self, websocket, send)
                nursery.cancel_scope.cancel()
        finally:
            if request_scope is not None:
                request_scope.close()

    async def _receive(self, request_scope: RequestScope, receive: ASGIReceiveCallable) -> None:
        await self.handle_messages(request_scope.nursery, receive)
        # The nursery is already cancelled, but none of its tasks has run since.
        if not self._closed:
            request_scope.left = True


async def _without_body(receive: ASGIReceiveCallable) -> ASGIReceiveEvent:
    message = await receive()
    if message["type"] == "http.request":
        message["body"] = b""
    return message


async def _refuse(send: ASGISendCallable, refusal: Response) -> None:
    """Respond to a handshake with ``refusal``, whose body is complete."""
    assert isinstance(refusal.body, bytes)
    headers = [*encode_headers(refusal.headers), (b"content-length", b"%d" % len(refusal.body))]
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": refusal.body, "more_body": False})
