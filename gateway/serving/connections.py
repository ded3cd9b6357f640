"""Client connections: HTTP/1.1 and HTTP/2. Every private or subclassed piece of Hypercorn's connections lives here."""

import contextlib
import logging
import math
import sys
from collections.abc import Callable
from typing import Any, Final, cast

import hypercorn.protocol
import hypercorn.protocol.h2
import hypercorn.protocol.h11
import hypercorn.protocol.http_stream
import hypercorn.trio.run
import hypercorn.trio.tcp_server
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Body, EndBody, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.http_stream import ASGIHTTPState
from hypercorn.typing import ASGISendEvent
from hypercorn.utils import suppress_body

from gateway.http.sockets import Data, receive, send
from gateway.serving.frames import PING_SECONDS
from gateway.serving.http2 import WRITE_TIMEOUT
from gateway.serving.idle import Idle
from gateway.serving.refusals import error_answer, full
from gateway.serving.scope import LEFT, ON_LEAVING

log = logging.getLogger("trigate.connections")
_hypercorn = logging.getLogger("trigate.hypercorn")
_hypercorn.setLevel("WARNING")  # its one line of start-up is the command line's business

TURN_AWAY_SECONDS: Final = 1.0
MAX_RECV: Final = 64 * 1024


class Traffic:
    """What a process has open."""

    def __init__(self) -> None:
        self.connections: set[TCPServer] = set()
        self.in_flight = 0
        """Requests whose answers have not ended."""
        self.most_connections = 0
        """One more is answered 503 and closed; 0 is no limit."""
        self.largest_message = 16 * 2**20
        """Bytes of a message on a websocket; a larger one closes it (1009)."""

    def cut_connections(self) -> None:
        """Close every connection's socket: also a write that is blocked, and shielded, ends at once."""
        for connection in tuple(self.connections):
            connection.cut()


_UNMANAGED: Final = Traffic()  # of a bare `hypercorn -k trio`, which has no drain


class ServerConfig(Config):
    """Hypercorn's settings; they also carry the process's ``traffic`` to every connection."""

    traffic = _UNMANAGED
    write_timeout = WRITE_TIMEOUT

    errorlog = _hypercorn
    accesslog = None  # the ledger writes one line per exchange
    include_server_header = False
    keep_alive_max_requests = sys.maxsize
    h11_max_incomplete_size = 64 * 1024
    websocket_ping_interval = PING_SECONDS
    # Without a bound, because the queue's reader is always at it (a body that is too large is dropped there), and a
    # bounded one deadlocks with an app that has ended early: nobody takes the messages, the connection is never closed.
    max_app_queue_size = math.inf  # type: ignore[assignment]


class AtOnce(Event):
    """Bytes that are written without giving other tasks a turn. Hypercorn takes a lock, a scope and two turns of trio's
    loop for a write, which its HTTP/2 relies on: a client must not have an answer before its stream is wound up."""

    __slots__ = ("data", "head")

    def __init__(self, data: bytes, head: bytes = b"") -> None:
        """``head`` goes before ``data``, which is not copied behind it."""
        self.data = data
        self.head = head


class TCPServer(hypercorn.trio.tcp_server.TCPServer):
    """A connection that can be cut from outside, and whose failure is its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._idle = Idle(self.config.keep_alive_timeout, self.context, self.cut)
        self.idle_task = self._idle  # type: ignore[assignment]
        self._socket = _socket_of(self.stream)
        self._rest: Data = b""  # of what was taken to be written

    async def run(self) -> None:
        traffic: Traffic = getattr(self.config, "traffic", _UNMANAGED)
        try:
            if 0 < traffic.most_connections <= len(traffic.connections):
                await self._turn_away()
            else:
                traffic.connections.add(self)
                await super().run()
        except* Exception:
            # An exception here would end the whole server, with every stream in it. Hypercorn lets several through
            # that a client can bring about; those that are known are dealt with below.
            log.exception("a connection failed and was closed")
        finally:
            traffic.connections.discard(self)
            self._idle.close()
            self.__dict__.pop("protocol", None)  # which refers to this: a cycle for the collector otherwise

    async def _turn_away(self) -> None:
        """One too many. The close waits a moment for the client's own: one with bytes unread would be a reset, and the
        answer lost."""
        with trio.move_on_after(TURN_AWAY_SECONDS), contextlib.suppress(trio.BrokenResourceError):
            await self.stream.receive_some()
            await self.stream.send_all(full())
            await self.stream.send_eof()
            while await self.stream.receive_some():
                pass
        await trio.aclose_forcefully(self.stream)

    async def _read_data(self) -> None:
        try:
            while data := await self._idle.wait(self._receive):
                await self.protocol.handle(RawData(data=data))
                del data  # which would stay until the next, mostly for as long as a request takes
        finally:
            self._idle.close()
        if data is None:
            with trio.CancelScope(shield=True):
                await self._initiate_server_close()
        else:
            await self.protocol.handle(Closed())

    async def _receive(self) -> bytes:
        try:
            if self._socket is not None:
                return await receive(self._socket, MAX_RECV)
            return bytes(await self.stream.receive_some(MAX_RECV))
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    def write_now(self, data: Data, head: bytes = b"") -> bool:
        """Take ``head`` and ``data`` to be written, unless something else waits for that. What the kernel does not take
        of it waits from now on."""
        taken = self._write(data, head)
        if taken and self._rest:
            self._task_group.spawn(self.protocol_send, AtOnce(b""))
        return taken

    def _write(self, data: Data, head: bytes) -> bool:
        """The same, but that who calls it sees to the rest."""
        if self._socket is None or self._rest or self.send_lock.locked():
            return False
        self._rest = send(self._socket, data, head)
        return True

    async def protocol_send(self, event: Event) -> None:
        if type(event) is AtOnce:
            if event.data and self._write(event.data, event.head):
                event = AtOnce(b"")
            data, self._rest = b"".join((self._rest, event.head, event.data)) if event.data else self._rest, b""
            if data:
                await super().protocol_send(RawData(data=data))  # type: ignore[arg-type]  # trio takes a view, too
        else:
            await super().protocol_send(event)

    def cut(self) -> None:
        """Close the socket, synchronously, whatever is going on."""
        getattr(self.stream, "transport_stream", self.stream).socket.close()


def _socket_of(stream: trio.abc.Stream) -> trio.socket.SocketType | None:
    """``None`` for TLS, which has its own way."""
    return stream.socket if isinstance(stream, trio.SocketStream) else None


class HTTPStream(hypercorn.protocol.http_stream.HTTPStream):
    """One request and its response, for HTTP/1.1 and HTTP/2."""

    _running = False
    _streams = False  # pieces of a body can go out as they come
    _leaving: Callable[[], object] | None = None

    @property
    def _traffic(self) -> Traffic:
        return getattr(self.config, "traffic", _UNMANAGED)

    async def handle(self, event: StreamEvent) -> None:
        if isinstance(event, Request):
            self._running = True
            self._traffic.in_flight += 1
        elif isinstance(event, StreamClosed) and not self.closed:
            self.scope[LEFT] = self.state is not ASGIHTTPState.CLOSED  # type: ignore[typeddict-unknown-key]
            if self._leaving is not None:
                self._leaving()
        await super().handle(event)
        if isinstance(event, Request):
            self.scope["extensions"][ON_LEAVING] = self._on_leaving  # type: ignore[assignment]

    def _on_leaving(self, leaving: Callable[[], object]) -> None:
        """An ``OnLeaving``."""
        self._leaving = leaving
        if self.closed:
            leaving()

    async def app_send(self, message: ASGISendEvent | None) -> None:
        if message is None:  # the app and all its tasks have ended
            self._settle()
            self.scope["extensions"].clear()  # which refer to this: a cycle for the collector otherwise
            self._leaving = None
        if self._streams and message is not None and message.get("more_body"):  # by far the most frequent
            if data := message.get("body"):
                await self.give(cast("bytes", data))
            return
        await super().app_send(message)
        if message is not None and message["type"] == "http.response.start":
            self._streams = not suppress_body(self.scope["method"], message["status"])

    async def give(self, data: bytes) -> None:
        """A piece of the body."""
        await self.send(Body(stream_id=self.stream_id, data=data))

    async def _send_closed(self) -> None:
        """As Hypercorn's, but for the log of its own."""
        await self.send(EndBody(stream_id=self.stream_id))
        self.state = ASGIHTTPState.CLOSED
        self._settle()  # before the client, who has it all, can ask again on this connection
        await self.send(StreamClosed(stream_id=self.stream_id))

    def _settle(self) -> None:
        if self._running:
            self._running = False
            self._traffic.in_flight -= 1

    async def _send_error_response(self, status_code: int) -> None:
        """Hypercorn's has no body."""
        headers, body = error_answer(status_code)
        await self.send(Response(stream_id=self.stream_id, headers=headers, status_code=status_code))
        await self.send(Body(stream_id=self.stream_id, data=body))
        await self.send(EndBody(stream_id=self.stream_id))
        self.state = ASGIHTTPState.CLOSED
