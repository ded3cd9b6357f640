"""Requests and websockets on Quart, each in a ``RequestScope``; ``configure`` installs them in an app.

quart-trio opens a nursery for each request and keeps it to itself. These publish it, and settle after it.
"""

import contextlib
import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, ASGISendEvent
from quart import Request
from quart.asgi import ASGIHTTPConnection, ASGIWebsocketConnection
from quart.typing import ResponseTypes
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection, TrioASGIWebsocketConnection

from gateway.http.headers import may_hold_key, with_key_in_header
from gateway.http.paths import canonical
from gateway.http.request_scope import RequestScope
from gateway.http.response import MAX_WRITE, Response, Truncated, WriteNow
from gateway.serving.asgi_extensions import AT_ONCE, LEFT, ON_LEAVING, WRITE_NOW, OnLeaving
from gateway.serving.fast_route import AsgiRequest, FastRoute, ask_for_body, fast_routes
from gateway.serving.quart_views import KEY, out_of_quart, request_id

DOOR: Final = "trigate.door"
"""The member of an app's ``extensions`` that is its ``Door``."""


class Door(Protocol):
    """The check of every request and websocket before any route. Its methods must be cheap, and never raise."""

    def address_of(self, asgi: Mapping[str, Any]) -> str | None:
        """Return the address of the client of an ASGI scope."""
        ...

    def refuse(self, asgi: Mapping[str, Any], named: Mapping[bytes, bytes], scope: RequestScope) -> Response | None:
        """Return the response to a request that is refused, its body complete; ``None`` for any other. ``named`` are
        its headers by name."""
        ...


class OpenDoor:
    """A ``Door`` that refuses nothing."""

    def address_of(self, asgi: Mapping[str, Any]) -> None:
        return

    def refuse(self, asgi: Mapping[str, Any], named: Mapping[bytes, bytes], scope: RequestScope) -> None:
        return


OPEN_DOOR: Final = OpenDoor()


log = logging.getLogger("trigate.scope")

MAX_BODY: Final = 64 * 2**20
BODY_SECONDS: Final = 60


def configure(app: QuartTrio, max_body: int = MAX_BODY, door: Door = OPEN_DOOR) -> None:
    """Make ``app`` run requests and websockets in a ``RequestScope``, after the check of ``door``, with bodies of at
    most ``max_body`` bytes and 60 s for a whole upload, the guard against slow ones."""
    app.extensions[DOOR] = door
    app.asgi_http_class = QuartHttpConnection
    app.asgi_websocket_class = QuartWebSocketConnection
    app.config["MAX_CONTENT_LENGTH"] = max_body
    app.config["BODY_TIMEOUT"] = BODY_SECONDS


WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
"""The methods whose requests have a body here."""


class QuartHttpConnection(TrioASGIHTTPConnection):
    """One request, answered by a fast route or by Quart."""

    # Replaces quart-trio's, which shows its nursery to nobody, and cuts long streams in silence (RESPONSE_TIMEOUT):
    # timeouts belong to the exchange.
    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        path = self.scope["path"]
        routes = fast_routes(self.app, self.scope["method"])
        if (answer := routes.by_path.get(path)) is None:
            self.scope["path"] = path = canonical(_origin_path(path))
            answer = routes.by_path.get(path) or routes.around(path)
            if may_hold_key(path, query := self.scope["query_string"]):
                self.scope["query_string"], self.scope["headers"] = with_key_in_header(query, self.scope["headers"])
        named, door = dict(self.scope["headers"]), cast("Door", self.app.extensions[DOOR])
        published: RequestScope | None = None
        try:
            async with trio.open_nursery() as nursery:
                published = RequestScope(nursery, request_id(named), door.address_of(self.scope))
                response: Response | ResponseTypes
                if (refusal := door.refuse(self.scope, named, published)) is not None:
                    response = refusal
                elif answer is None:
                    response = await self._ask_quart(published, receive, send)
                else:
                    response = await self._ask(answer, published, receive)
                await self._respond(published, send, response)
        finally:
            # The one place that always runs, and after every task of the request: the response body's own
            # `__aexit__` and generators' `finally` do not when the client leaves early.
            if published is not None:
                published.close()

    async def _ask(self, answer: FastRoute, published: RequestScope, receive: ASGIReceiveCallable) -> Response:
        config = self.app.config
        request = AsgiRequest(published, self.scope, receive, config["MAX_CONTENT_LENGTH"], config["BODY_TIMEOUT"])
        response = await answer(request)
        request.listen()
        return response

    async def _ask_quart(
        self, published: RequestScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> ResponseTypes:
        request = self._create_request_from_scope(send)
        request.scope[KEY] = published  # type: ignore[typeddict-unknown-key]
        if (on_leaving := self.scope["extensions"].get(ON_LEAVING)) is not None:
            cast("OnLeaving", on_leaving)(published.leave)  # ASGI's message comes some turns later
        published.nursery.start_soon(self._receive, published, request, receive)
        return await self.app.handle_request(request)

    async def _receive(self, published: RequestScope, request: Request, receive: ASGIReceiveCallable) -> None:
        """Feed the request's body until the client has left, or has its answer. The body of a GET is dropped, because
        Quart would keep what no route reads."""
        if request.method not in WITH_BODY:
            receive = partial(_without_body, receive)
        else:
            await ask_for_body(self.scope)
        await ASGIHTTPConnection.handle_messages(self, request, receive)
        # The server sends its "disconnect" also after a complete answer, in the middle of the last send.
        published.leave()

    # The answer

    async def _respond(
        self, published: RequestScope, send: ASGISendCallable, response: Response | ResponseTypes
    ) -> None:
        """Send ``response``, and end the request."""
        self.scope[AT_ONCE] = not published.admitted  # type: ignore[typeddict-unknown-key]
        try:
            await self._send_parts(partial(self._send, published, send), response)
        except Truncated:
            # To return without the last message is the ASGI way to cut: the server closes without the end chunk.
            log.warning("request %s: the answer was cut, the connection closes without its end", published.id)
        published.nursery.cancel_scope.cancel()

    async def _send_parts(self, send: ASGISendCallable, response: Response | ResponseTypes) -> None:
        """Send a complete body in one message with the end: Quart sends two, each a write and a wake-up."""
        if not isinstance(response, Response):
            if (own := out_of_quart(response)) is None:
                await self._send_response(send, response)
                return
            response = own
        headers, body = _encoded(response.headers), response.body
        last = b""
        if isinstance(body, bytes):
            last = body
            if response.status != 204 and not any(name == b"content-length" for name, _ in headers):
                headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        if not isinstance(body, bytes):
            self.scope[AT_ONCE] = False  # type: ignore[typeddict-unknown-key]
            if (write_now := self.scope["extensions"].get(WRITE_NOW)) is not None:
                body.set_writer(cast("WriteNow", write_now))
            async with body as pieces:
                async for data in pieces:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _send(self, published: RequestScope, send: ASGISendCallable, message: ASGISendEvent) -> None:
        if message["type"] != "http.response.body" or message.get("more_body", False):
            await send(message)
            return
        # A task that crashes closes its channels on the way out, which looks like a good end to the body: the nursery
        # is cancelled by then, and a send that needs no turn of the loop would not notice.
        await trio.lowlevel.checkpoint_if_cancelled()
        published.ending = True
        if len(message["body"]) <= MAX_WRITE:  # a larger one may take its client a while
            published.send_last_bytes()
        await send(message)
        published.left = published.left or bool(self.scope.get(LEFT, False))
        published.complete = not published.left


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers]


class QuartWebSocketConnection(TrioASGIWebsocketConnection):
    """One websocket on Quart.

    The view must always be receiving: beyond ten messages that nobody has taken a disconnect is not seen."""

    # Replaces quart-trio's, which shows its nursery to nobody.
    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self.scope["path"] = canonical(_origin_path(self.scope["path"]))
        named, door = dict(self.scope["headers"]), cast("Door", self.app.extensions[DOOR])
        websocket = self._create_websocket_from_scope(send)
        published: RequestScope | None = None
        try:
            async with trio.open_nursery() as nursery:
                published = RequestScope(nursery, request_id(named), door.address_of(self.scope))
                self.scope[KEY] = published  # type: ignore[typeddict-unknown-key]
                nursery.start_soon(self._receive, published, receive)
                if (refusal := door.refuse(self.scope, named, published)) is not None:
                    await _refuse(send, refusal)
                else:
                    await ASGIWebsocketConnection.handle_websocket(self, websocket, send)
                nursery.cancel_scope.cancel()
        finally:
            if published is not None:
                published.close()

    async def _receive(self, published: RequestScope, receive: ASGIReceiveCallable) -> None:
        await self.handle_messages(published.nursery, receive)
        # The nursery is cancelled already, but none of its tasks has run since.
        if not self._closed:
            published.left = True


async def _without_body(receive: ASGIReceiveCallable) -> ASGIReceiveEvent:
    message = await receive()
    if message["type"] == "http.request":
        message["body"] = b""
    return message


async def _refuse(send: ASGISendCallable, refusal: Response) -> None:
    """Answer a handshake with ``refusal``, whose body is at hand."""
    assert isinstance(refusal.body, bytes)
    headers = [*_encoded(refusal.headers), (b"content-length", b"%d" % len(refusal.body))]
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": refusal.body, "more_body": False})


def _origin_path(path: str) -> str:
    """``path`` with a leading slash. Quart fails with a 500 on an empty path and on an absolute one it cannot parse."""
    if path.startswith("/"):
        return path
    with contextlib.suppress(ValueError):  # "http://[": no route has such a path, so this is a 404
        path = urlsplit(path).path
    return path if path.startswith("/") else "/" + path
