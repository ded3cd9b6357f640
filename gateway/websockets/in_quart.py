"""Websockets on Quart, each with a ``RequestScope``; ``configure`` installs them in an app. quart-trio does not expose
the nursery of a websocket; this class does, and runs the callbacks after it."""

from typing import Final, cast

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart import Response as QuartResponse
from quart import websocket
from quart.asgi import ASGIWebsocketConnection
from quart.routing import QuartMap
from quart.wrappers.base import BaseRequestWebsocket
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIWebsocketConnection
from werkzeug.datastructures import Headers
from werkzeug.routing import MapAdapter

from gateway.http.paths import canonical
from gateway.http.request_scope import RequestScope
from gateway.http.response import Response
from gateway.serving.asgi_extensions import SCOPE
from gateway.serving.http_app import (
    NO_GUARD,
    RequestGuard,
    encode_headers,
    origin_path,
    request_id,
)


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


GUARD: Final = "trigate.guard"
"""The key in an app's ``extensions`` for its ``RequestGuard``."""


def configure(app: QuartTrio, guard: RequestGuard = NO_GUARD) -> None:
    """Make ``app`` run websockets with a ``RequestScope``, after the check of ``guard``."""
    app.extensions[GUARD] = guard
    app.asgi_websocket_class = QuartWebSocketConnection


class QuartWebSocketConnection(TrioASGIWebsocketConnection):
    """One websocket on Quart. The view must always be receiving: a disconnect after ten unread messages is not
    noticed."""

    # Replaces quart-trio's, which does not expose its nursery.
    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self.scope["path"] = canonical(origin_path(self.scope["path"]))
        headers_by_name, guard = dict(self.scope["headers"]), cast("RequestGuard", self.app.extensions[GUARD])
        handshake = self._create_websocket_from_scope(send)
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
                    await ASGIWebsocketConnection.handle_websocket(self, handshake, send)
                nursery.cancel_scope.cancel()
        finally:
            if request_scope is not None:
                request_scope.close()

    async def _receive(self, request_scope: RequestScope, receive: ASGIReceiveCallable) -> None:
        await self.handle_messages(request_scope.nursery, receive)
        # The nursery is already cancelled, but none of its tasks has run since.
        if not self._closed:
            request_scope.left = True
            request_scope.release_places()  # its responses may continue


def websocket_scope() -> RequestScope:
    """Return the life of the current websocket."""
    return websocket.scope[SCOPE]  # type: ignore[typeddict-item, no-any-return]


def through_quart(response: Response) -> QuartResponse:
    """Return ``response``, whose body is complete, as Quart's response to a handshake."""
    assert isinstance(response.body, bytes)
    return QuartResponse(response.body, response.status, Headers(response.headers))


async def _refuse(send: ASGISendCallable, refusal: Response) -> None:
    """Respond to a handshake with ``refusal``, whose body is complete."""
    assert isinstance(refusal.body, bytes)
    headers = [*encode_headers(refusal.headers), (b"content-length", b"%d" % len(refusal.body))]
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": refusal.body, "more_body": False})
