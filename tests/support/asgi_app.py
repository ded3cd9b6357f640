"""A small app in a ``RequestScope`` on a real socket, and a client that is a bare socket."""

import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from functools import partial

import msgspec
import trio
from hypercorn.typing import ASGIFramework
from quart_trio import QuartTrio

from gateway.http.request_scope import RequestScope
from gateway.http.response import JSON_HEADERS, ChannelBody, Response
from gateway.processes.binding import bind
from gateway.serving.http_app import App
from gateway.serving.incoming_request import IncomingRequest, ignore_arrived
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.route_table import READING, RouteTable
from gateway.serving.worker import serve
from gateway.websockets.in_quart import configure
from streams.errors import GatewayError
from tests.support.harness import PATIENCE, Late

HTML = (("content-type", "text/html; charset=utf-8"),)


class Witness:
    """The record of what happened to the requests of one test: their scopes, disconnects and ends."""

    def __init__(self) -> None:
        self.lifecycle = Lifecycle()
        self.begun = trio.Event()  # a request has a task in its nursery
        self.crash = trio.Event()  # makes the producer of a stream crash
        self.released = trio.Event()  # ends requests that survive a disconnect
        self.ended: list[float] = []  # when such tasks ended
        self.closed: list[bool] = []  # arguments of on_close
        self.scopes: list[RequestScope] = []
        self.clients: list[object] = []  # client addresses in ASGI scopes, with their scheme
        self.schemes: list[str] = []
        self.feed: trio.MemorySendChannel[bytes] | None = None
        self.body: ChannelBody | None = None

    def watch(self, incoming: IncomingRequest) -> RequestScope:
        scope, asgi = incoming.scope, incoming.asgi
        self.scopes.append(scope)
        self.clients.append(asgi["client"])
        self.schemes.append(asgi["scheme"])
        scope.on_close(self.closed.append)
        scope.nursery.start_soon(self._run_watched)
        return scope

    async def _run_watched(self) -> None:
        self.begun.set()
        try:
            await trio.sleep_forever()
        finally:
            self.ended.append(trio.current_time())

    def stream(self, capacity: float = 64) -> ChannelBody:
        self.feed, receive = trio.open_memory_channel[bytes](capacity)
        self.body = ChannelBody(receive)
        return self.body


async def whole(witness: Witness, incoming: IncomingRequest) -> Response:
    witness.watch(incoming)
    return Response(200, HTML, b"whole")


async def size(witness: Witness, incoming: IncomingRequest) -> Response:
    scope = witness.watch(incoming)
    try:
        body = await incoming.read(ignore_arrived)
    except GatewayError as error:
        return Response(error.info.status, JSON_HEADERS, b'{"error": "too large or invalid"}')
    return Response(200, JSON_HEADERS, msgspec.json.encode({"size": len(body), "id": scope.id}))


async def hang(witness: Witness, incoming: IncomingRequest) -> Response:
    witness.watch(incoming)
    await trio.sleep_forever()


async def stubborn(witness: Witness, incoming: IncomingRequest) -> Response:
    incoming.scope.admitted = "slot" in incoming.query
    with trio.CancelScope(shield=True):
        await witness.released.wait()
    return Response(200, HTML, b"whole")


async def stream(witness: Witness, incoming: IncomingRequest) -> Response:
    witness.watch(incoming)
    body = witness.stream()
    await witness.feed.send(b"first;")
    return Response(200, HTML, body)


async def flood(witness: Witness, incoming: IncomingRequest) -> Response:
    scope = witness.watch(incoming)
    body = witness.stream(2)
    scope.nursery.start_soon(send_without_end, witness.feed)
    return Response(200, HTML, body)


async def pump_stream(witness: Witness, incoming: IncomingRequest) -> Response:
    scope = witness.watch(incoming)
    body = witness.stream()
    scope.nursery.start_soon(pump, witness, witness.feed)
    return Response(200, HTML, body)


async def crash(witness: Witness, incoming: IncomingRequest) -> Response:
    raise_in(witness.watch(incoming).nursery)
    await trio.sleep_forever()


async def crash_slowly(witness: Witness, incoming: IncomingRequest) -> Response:
    nursery = witness.watch(incoming).nursery
    nursery.start_soon(leave_slowly)
    raise_in(nursery)
    await trio.sleep_forever()


async def crash_in_stream(witness: Witness, incoming: IncomingRequest) -> Response:
    scope = witness.watch(incoming)
    body = witness.stream()
    await witness.feed.send(b"first;")
    scope.nursery.start_soon(crash_with, witness.feed, witness.crash)
    return Response(200, HTML, body)


async def missing(incoming: IncomingRequest) -> Response:
    return Response(404, HTML, b"<p>%b</p>" % (b"missing " * 30))


async def no_view() -> QuartTrio:
    """Return an app without views for websockets."""
    app = QuartTrio(__name__)
    configure(app)
    return app


HANDLERS = (whole, size, hang, stubborn, stream, flood, pump_stream, crash, crash_slowly, crash_in_stream)


def make_app(witness: Witness, max_body: int = 1000) -> App:
    routes = RouteTable()
    for handler in HANDLERS:
        path = "/" + handler.__name__.replace("_", "-")
        routes.add(path, partial(handler, witness), (*READING, "POST", "DELETE"))
    return App(max_body, routes=routes, unknown=missing, websocket_app=no_view)


async def send_without_end(feed: trio.MemorySendChannel[bytes]) -> None:
    while True:
        await feed.send(b"x" * 65536)


async def pump(witness: Witness, feed: trio.MemorySendChannel[bytes]) -> None:
    """Stream until the drain, and then send a last piece."""
    scope = trio.CancelScope()
    with witness.lifecycle.track_pump(scope), scope:
        await feed.send(b"first;")
        await trio.sleep_forever()
    await feed.send(b"shutting down;")
    feed.close()


def raise_in(nursery: trio.Nursery) -> None:
    async def fail() -> None:
        raise RuntimeError("a task of the request failed")

    nursery.start_soon(fail)


async def leave_slowly() -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.05)


async def crash_with(feed: trio.MemorySendChannel[bytes], when: trio.Event) -> None:
    with feed:
        await when.wait()
        raise RuntimeError("the producer failed")


class Server:
    def __init__(self, port: int, witness: Witness | None = None) -> None:
        """Describe a server. ``witness`` is that of a server in this process."""
        self.port = port
        if witness is not None:
            self.witness = witness
            self.lifecycle = witness.lifecycle
        self.over = trio.Event()

    @contextlib.asynccontextmanager
    async def connect(self, small: bool = False) -> AsyncIterator["Client"]:
        """Connect a client. With ``small``, its receive buffer is tiny, so that it stalls early."""
        with trio.socket.socket() as sock:
            if small:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await sock.connect(("127.0.0.1", self.port))
            yield Client(sock)

    async def get(self, path: str) -> bytes:
        async with self.connect() as client:
            await client.send(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            return await client.read_rest()


@contextlib.asynccontextmanager
async def serving(
    max_body: int = 1000, sock: socket.socket | None = None, app: ASGIFramework | None = None, **options: object
) -> AsyncIterator[Server]:
    """Serve ``app``, or that of ``make_app``, on a free port. The end of the block cancels it."""
    witness = Witness()
    sock = sock or bind("127.0.0.1", 0)
    server = Server(sock.getsockname()[1], witness)
    ready = trio.Event()

    async def run() -> None:
        await serve(
            app or make_app(witness, max_body),
            [sock],
            **{"state": witness.lifecycle, "ready": ready.set, "signals": False, **options},
        )
        server.over.set()

    with trio.fail_after(4 * PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await ready.wait()
            yield server
            nursery.cancel_scope.cancel()


class Client:
    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.sock = sock
        self.buffer = b""

    async def send(self, data: str | bytes) -> None:
        data = data.encode() if isinstance(data, str) else data
        while data:
            data = data[await self.sock.send(data) :]

    async def get(self, path: str) -> None:
        await self.send(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")

    async def until(self, mark: bytes) -> bytes:
        """Return the received data up to and including ``mark``."""
        with trio.fail_after(PATIENCE):
            while mark not in self.buffer:
                data = await self.sock.recv(65536)
                assert data, f"the connection ended before {mark!r}: {self.buffer!r}"
                self.buffer += data
        found, _, self.buffer = self.buffer.partition(mark)
        return found + mark

    async def read_rest(self) -> bytes:
        """Return all data until the server closes the connection, by FIN or RST."""
        with trio.fail_after(PATIENCE), contextlib.suppress(ConnectionResetError):
            while data := await self.sock.recv(65536):
                self.buffer += data
        found, self.buffer = self.buffer, b""
        return found

    def leave(self, how: str = "fin") -> None:
        if how == "rst":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


async def eventually(condition) -> None:
    """Wait until ``condition()`` is true, up to a deadline."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.002)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise ``Late`` if the block takes longer. Use it in tests with ``retried_when_late``."""
    begun = trio.current_time()
    yield
    if (took := trio.current_time() - begun) >= seconds:
        raise Late(f"it took {took:.3f} s")


async def eventually_refused(server: Server) -> None:
    """Wait until the server refuses new connections, up to a deadline."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                async with server.connect():
                    pass
            except (ConnectionRefusedError, ConnectionResetError):
                return  # reset: it was in the queue of the closed listener
            await trio.sleep(0.01)
