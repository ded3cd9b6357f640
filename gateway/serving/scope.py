"""The scope of one request and its response body. Every private or subclassed piece of Quart lives here.

All tasks of a request live in one nursery. The client leaving cancels it, and with it everything done on the client's
behalf. A half-closed connection (the client has shut its sending side down and still reads) counts as left, because
Hypercorn cannot tell the two apart: no LLM client does that.
"""

import contextlib
import logging
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import Final, Protocol, TypeAlias, cast
from urllib.parse import urlsplit

import quart
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, HTTPScope, WebsocketScope
from quart import Quart, Request, Response, Websocket
from quart.asgi import ASGIHTTPConnection
from quart.typing import ResponseTypes
from quart.wrappers.response import DataBody, ResponseBody
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection, TrioASGIWebsocketConnection
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from gateway.http.headers import as_text
from gateway.http.paths import canonical
from gateway.serving.asgi_extensions import LEFT, ON_LEAVING, WRITE_NOW, OnLeaving, WriteNow
from streams.errors import GatewayError

log = logging.getLogger("trigate.scope")

KEY: Final = "trigate"
"""Where a route finds its ``Scope``: ``quart.request.scope[KEY]``, ``quart.websocket.scope[KEY]``."""
MAX_WRITE: Final = 256 * 1024
MAX_HEADER: Final = 4096
MAX_BODY: Final = 64 * 2**20
BODY_SECONDS: Final = 60

_OWN_ID = re.compile(rb"[!-~]{1,128}")


class Scope:
    """What a route needs of its request's life.

    ``nursery`` holds every task of the request; one that raises ends the request. ``id`` names the request in logs: the
    client's own ``x-request-id`` where that is 1 to 128 printable ASCII characters, else a new one. ``left`` says that
    the client went away before its answer was complete, ``complete`` that the answer was wholly given to the kernel.
    Both are false for an answer that was cut on our side.
    """

    def __init__(self, nursery: trio.Nursery, request_id: str) -> None:
        self.nursery = nursery
        self.id = request_id
        self.left = False
        self.complete = False
        self.ending = False
        """The last of the answer is being given to the kernel: what the server says of the client now is no leaving."""
        self._callbacks: list[Callable[[bool], object]] = []

    def on_close(self, callback: Callable[[bool], object]) -> None:
        """Call ``callback(left)`` exactly once, synchronously, after every task of the request has ended, however it
        ended. What it raises is logged and does not keep the others from being called."""
        self._callbacks.append(callback)

    @contextlib.asynccontextmanager
    async def part(self, request_id: str) -> AsyncIterator["Scope"]:
        """The scope of one of several exchanges on a connection, whose scope this is. Its nursery ends with the block:
        cancelled, whatever is still running in it. Its callbacks run then."""
        part: Scope | None = None
        try:
            async with trio.open_nursery() as nursery:
                part = Scope(nursery, request_id)
                yield part
                nursery.cancel_scope.cancel()
        finally:
            if part is not None:
                part.left = self.left
                part._close()

    def _close(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback(self.left)
            except Exception:  # the border: a mistake in settling one request must not end the connection
                log.exception("request %s: a callback failed while the request was closed", self.id)


class Arrival(Protocol):
    """A request that has come, its header names in lower case."""

    @property
    def scope(self) -> Scope: ...

    @property
    def headers(self) -> tuple[tuple[str, str], ...]: ...

    @property
    def query(self) -> str: ...

    async def read(self) -> bytes:
        """The whole body. Raises ``GatewayError`` (413, 408). The client leaving cancels it."""
        ...


class Routed:
    """The ``Arrival`` that Quart is handling."""

    def __init__(self) -> None:
        self.scope = current_scope()
        self.headers = as_text(quart.request.scope["headers"])
        self.query = quart.request.query_string.decode("latin-1")

    async def read(self) -> bytes:
        return await read_body()


class Direct:
    """The ``Arrival`` that a route of ``bypass`` answers, as the server hands it over."""

    def __init__(self, scope: Scope, asgi: HTTPScope, receive: ASGIReceiveCallable, most: int, seconds: float) -> None:
        self.scope = scope
        self.headers = as_text(asgi["headers"])
        self.query = asgi["query_string"].decode("latin-1")
        self._receive = receive
        self._most = most
        self._seconds = seconds
        on_leaving = asgi["extensions"].get(ON_LEAVING)
        self._listening = on_leaving is not None
        if on_leaving is not None:
            cast("OnLeaving", on_leaving)(self._left)

    async def read(self) -> bytes:
        length = dict(self.headers).get("content-length", "")
        if length.isdecimal() and int(length) > self._most:
            raise _too_large(self._most)
        with trio.move_on_after(self._seconds):
            body = await self._whole()
            self.listen()
            return body
        raise _too_slow()

    async def _whole(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while (message := await self._receive())["type"] == "http.request":
            part = message.get("body", b"")
            size += len(part)
            if size > self._most:
                raise _too_large(self._most)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
        self._left()
        return await trio.sleep_forever()

    def listen(self) -> None:
        """The client leaving cancels the request from now on: a disconnect comes behind the body."""
        if not self._listening:
            self._listening = True
            self.scope.nursery.start_soon(self._listen)

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left()

    def _left(self) -> None:
        self.scope.left = self.scope.left or not self.scope.ending
        self.scope.nursery.cancel_scope.cancel()


Answering: TypeAlias = Callable[[Arrival], Awaitable[Response]]


def bypass(app: Quart, path: str, answer: Answering) -> None:
    """Answer ``POST path`` with ``answer`` and without Quart's routing, contexts and hooks, which cost as much as all
    that is done for a small request. It must raise nothing; ``request`` and ``g`` are not there."""
    app.extensions.setdefault(KEY, {})[path] = answer


class Truncated(Exception):
    """The answer must not look complete. Raised by a response body, understood by ``RequestScope``."""


class ChannelBody(ResponseBody):
    """A response body out of a memory channel: each write takes all that is queued, so batching regulates itself.

    A write ends with the item that reaches ``MAX_WRITE`` bytes. Closing the channel's sending side ends the answer
    well. For any other end call ``cut()`` before closing it: what is queued is still written, then the connection is
    closed without the terminating chunk (HTTP/2: the stream is reset), so that the answer cannot be taken for whole.

    If the client leaves before the body starts, Quart enters neither ``__aenter__`` nor ``__aexit__``: nothing that
    must happen may depend on them.
    """

    def __init__(self, channel: trio.MemoryReceiveChannel[bytes]) -> None:
        self._channel = channel
        self._cut = False

    def cut(self) -> None:
        """The answer is not whole."""
        self._cut = True

    async def __aenter__(self) -> "ChannelBody":
        return self

    async def __aexit__(self, *_: object) -> None:
        # Not `async with channel`: its aclose() is a checkpoint, and raises in a cancelled scope.
        self._channel.close()

    def __aiter__(self) -> "ChannelBody":
        return self

    async def __anext__(self) -> bytes:
        try:
            data = await self._channel.receive()
        except trio.EndOfChannel:
            if self._cut:
                raise Truncated from None
            raise StopAsyncIteration from None
        parts = [data]
        size = len(data)
        while size < MAX_WRITE:
            try:
                data = self._channel.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                break
            parts.append(data)
            size += len(data)
        return b"".join(parts)


class IteratedBody(ResponseBody):
    """A response body out of an iterator, which runs in the task that writes: each of its pieces is a write. The end of
    the iterator ends the answer well; what it raises cuts it.

    Where the server can write without waiting, ``attach`` is called with what does it, before the first piece."""

    def __init__(self, pieces: AsyncIterator[bytes], attach: Callable[[WriteNow], None]) -> None:
        self._pieces = pieces
        self.attach = attach

    async def __aenter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def __aexit__(self, *_: object) -> None:
        pass

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces


class RequestScope(TrioASGIHTTPConnection):
    """One request on quart-trio; install it with ``configure``.

    quart-trio opens a nursery per request and keeps it to itself; this publishes it, and settles after it."""

    def __init__(self, app: Quart, scope: HTTPScope) -> None:
        super().__init__(app, scope)
        self._published: Scope | None = None

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        path = self.scope["path"]
        answers = self.app.extensions.get(KEY, {}) if self.scope["method"] == "POST" else {}
        if (answer := answers.get(path)) is None:
            self.scope["path"] = path = canonical(_origin_path(path))
            answer = answers.get(path)
        try:
            if answer is None:
                await super().__call__(receive, send)
            else:
                await self._answer(answer, receive, send)
        finally:
            # The one place that always runs, and after every task of the request: the response body's own
            # `__aexit__` and generators' `finally` do not when the client leaves early.
            if self._published is not None:
                self._published._close()

    async def handle_messages(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, receive: ASGIReceiveCallable
    ) -> None:
        await ASGIHTTPConnection.handle_messages(self, request, receive)
        # The server sends its "disconnect" also after a complete answer, in the middle of the last send.
        if self._published is not None and not self._published.ending:
            self._published.left = True
        nursery.cancel_scope.cancel()

    async def handle_request(  # type: ignore[override]
        self, nursery: trio.Nursery, request: Request, send: ASGISendCallable
    ) -> None:
        """Without quart's RESPONSE_TIMEOUT, which cuts long streams in silence: timeouts belong to the exchange."""
        self._published = Scope(nursery, _request_id(self.scope))
        request.scope[KEY] = self._published  # type: ignore[typeddict-unknown-key]
        await self._respond(self._published, send, await self.app.handle_request(request))

    async def _answer(self, answer: Answering, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async with trio.open_nursery() as nursery:
            self._published = Scope(nursery, _request_id(self.scope))
            config = self.app.config
            limits = config["MAX_CONTENT_LENGTH"], config["BODY_TIMEOUT"]
            arrival = Direct(self._published, self.scope, receive, *limits)
            response = await answer(arrival)
            arrival.listen()
            await self._respond(self._published, send, response)

    async def _respond(self, published: Scope, send: ASGISendCallable, response: ResponseTypes) -> None:
        """Send ``response``, and end the request."""
        try:
            await self._send_response(partial(self._send, published, send), response)
        except Truncated:
            # To return without the last message is the ASGI way to cut: the server closes without the end chunk.
            log.warning("request %s: the answer was cut, the connection closes without its end", published.id)
        published.nursery.cancel_scope.cancel()

    async def _send_response(self, send: ASGISendCallable, response: ResponseTypes) -> None:
        """A body that is at hand goes out with the end in one message: quart takes two, each a write and a wake-up."""
        body = response.response
        if not isinstance(body, DataBody | ChannelBody | IteratedBody):
            await super()._send_response(send, response)
            return
        status, headers = response.status_code, response.headers
        await send({"type": "http.response.start", "status": status, "headers": _encoded(headers)})
        last = b""
        if isinstance(body, DataBody):
            last = body.data[body.begin : body.end]
        else:
            write_now = self.scope["extensions"].get(WRITE_NOW)
            if write_now is not None and isinstance(body, IteratedBody):
                body.attach(cast("WriteNow", write_now))
            async with body as pieces:
                async for data in pieces:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _send(self, published: Scope, send: ASGISendCallable, message: ASGISendEvent) -> None:
        if message["type"] != "http.response.body" or message.get("more_body", False):
            await send(message)
            return
        # A task that crashes closes its channels on the way out, which looks like a good end to the body: the nursery
        # is cancelled by then, and the shield below must not hide it.
        await trio.lowlevel.checkpoint_if_cancelled()
        published.ending = True
        # The server answers the last message with a disconnect, which cancels this task; unless the send is shielded
        # Hypercorn does not get to re-arm the keep-alive timer, and idle connections stay for ever.
        with trio.CancelScope(shield=True):
            await send(message)
        published.left = published.left or bool(self.scope.get(LEFT, False))
        published.complete = not published.left


def _encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


class WebsocketConnection(TrioASGIWebsocketConnection):
    """One websocket on quart-trio; install it with ``configure``. Publishes the connection's nursery, and settles after
    it.

    The view must always be receiving: beyond ten messages that nobody has taken a disconnect is not seen."""

    def __init__(self, app: QuartTrio, scope: WebsocketScope) -> None:
        super().__init__(app, scope)
        self._published: Scope | None = None

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self.scope["path"] = canonical(_origin_path(self.scope["path"]))
        try:
            await super().__call__(receive, send)
        finally:
            if self._published is not None:
                self._published._close()

    async def handle_messages(self, nursery: trio.Nursery, receive: ASGIReceiveCallable) -> None:  # type: ignore[override]
        await super().handle_messages(nursery, receive)
        # The nursery is cancelled already, but none of its tasks has run since.
        if self._published is not None and not self._closed:
            self._published.left = True

    async def handle_websocket(  # type: ignore[override]
        self, nursery: trio.Nursery, websocket: Websocket, send: ASGISendCallable
    ) -> None:
        self._published = Scope(nursery, _request_id(self.scope))
        self.scope[KEY] = self._published  # type: ignore[typeddict-unknown-key]
        await super().handle_websocket(nursery, websocket, send)


def configure(app: QuartTrio, max_body: int = MAX_BODY) -> None:
    """Run ``app``'s requests in a ``RequestScope`` and its websockets in a ``WebsocketConnection``, with bodies of at
    most ``max_body`` bytes and 60 s for a whole upload, the guard against slow ones."""
    app.asgi_http_class = RequestScope
    app.asgi_websocket_class = WebsocketConnection
    app.config["MAX_CONTENT_LENGTH"] = max_body
    app.config["BODY_TIMEOUT"] = BODY_SECONDS
    app.config["RESPONSE_TIMEOUT"] = None


def _request_id(scope: HTTPScope | WebsocketScope) -> str:
    given = next((value for name, value in scope["headers"] if name.lower() == b"x-request-id"), b"")
    return given.decode("ascii") if _OWN_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"


def _origin_path(path: str) -> str:
    """``path`` with a leading slash. Quart fails with a 500 on an empty path and on an absolute one it cannot parse."""
    if path.startswith("/"):
        return path
    with contextlib.suppress(ValueError):  # "http://[": no route has such a path, so this is a 404
        path = urlsplit(path).path
    return path if path.startswith("/") else "/" + path


def current_scope() -> Scope:
    """The scope of the request that is being handled."""
    return quart.request.scope[KEY]  # type: ignore[typeddict-item, no-any-return]


def websocket_scope() -> Scope:
    """The scope of the websocket connection that is being handled."""
    return quart.websocket.scope[KEY]  # type: ignore[typeddict-item, no-any-return]


async def read_body() -> bytes:
    """The whole body of the request that Quart is handling. Raises as ``Arrival.read`` does."""
    try:
        return cast("bytes", await quart.request.get_data(cache=False))
    except RequestEntityTooLarge:
        raise _too_large(quart.request.max_content_length) from None
    except RequestTimeout:
        raise _too_slow() from None


def _too_large(most: int | None) -> GatewayError:
    return GatewayError("too_large", f"the request body is larger than the limit of {most} bytes")


def _too_slow() -> GatewayError:
    return GatewayError("invalid_request", "the request body did not arrive in time", status=408)


def respond(body: bytes | ResponseBody, status: int, headers: Iterable[tuple[str, str]]) -> Response:
    """A response with these headers, which name the content type.

    Each is cut at ``MAX_HEADER``: what a client put into its request, such as a model's name, may be megabytes, and
    clients give up on an answer with such a head."""
    return Response(body, status, Headers((name, value[:MAX_HEADER]) for name, value in headers))
