"""A client's HTTP/1.1 connection. h11 reads requests, except plain ones. ``heads`` writes responses, except a 100 and
the handshake of a websocket."""

import logging
from collections.abc import Mapping
from enum import Enum, auto
from functools import cache, partial
from typing import Final

import h11
import trio

from gateway.http.late_imports import load_module
from gateway.http.turns import TINY, TURN, take_turn
from gateway.serving.asgi_extensions import OnReading
from gateway.serving.connections import ClientConnection, ConnectionContext
from gateway.serving.heads import UNKNOWN, RequestLine, ResponseWriter
from gateway.serving.http_stream import Backlog, HttpStream
from gateway.serving.plain_request import PlainReader, PlainRequest
from gateway.serving.refusals import error_response
from gateway.serving.request_reader import PREFACE, RequestReader, is_preface


def asks_for_websocket(method: bytes, headers: Mapping[bytes, bytes]) -> bool:
    """Return whether the request is a websocket handshake, valid or not."""
    tokens = headers.get(b"connection", b"").lower().split(b",")
    upgrade = headers.get(b"upgrade", b"").strip().lower()
    return method.upper() == b"GET" and upgrade == b"websocket" and any(t.strip() == b"upgrade" for t in tokens)


CHECK_SECONDS: Final = 0.05
"""Seconds between checks for a disconnect while no task reads the body."""
MAX_PIPELINED: Final = 64 * 1024  # bytes of a pipelined request that are read during the previous one
SKIP_BYTES: Final = 64 * 2**20  # the limit of the rest of a body that is read after an early response
SKIP_SECONDS: Final = 5.0
LARGE: Final = 16 * 1024  # bytes that are not copied after a head

# The states in which h11 has the whole request. A request for another protocol waits for its response; after one with
# `connection: close` no other counts.
_WHOLE: Final = (h11.DONE, h11.MUST_CLOSE, h11.MIGHT_SWITCH_PROTOCOL)  # type: ignore[attr-defined]


_PLAIN_LINES: Final = {method: RequestLine(method, b"1.1", closes=False) for method in (b"GET", b"POST")}

_TLS_HANDSHAKE: Final = b"\x16\x03"
log = logging.getLogger("trigate.connections")


@cache
def _warn_of_tls(port: int | None) -> None:
    """Log once for each port that a client has used TLS there. Its own error does not show the reason."""
    place = "a socket" if port is None else f"port {port}"
    log.warning("a client used TLS at %s without it: write http:// in the client, or set `tls` of the listener", place)


async def open_http2(context: ConnectionContext, connection: ClientConnection) -> None:
    """Set HTTP/2 as the protocol of ``connection``. The first one waits while a thread imports it."""
    await (await load_module("gateway.serving.http2")).speak_http2(context, connection)


class ReadState(Enum):
    """The stages of reading a connection."""

    READING = auto()
    SKIPPING = auto()
    """The response was early: the rest of its request's body is dropped."""
    BROKEN = auto()
    """The request's body is not HTTP. Its rest is dropped, and the connection closes after the response."""
    ENDED = auto()
    """The connection is closed, or speaks another protocol from now on."""


class Http1:
    """One HTTP/1.1 connection.

    During a response, up to ``MAX_PIPELINED`` bytes of the next request are read into h11's buffer, so that a
    disconnect is noticed. Closing the connection instead would break fast keep-alive clients, whose next request
    arrives before the last one has ended."""

    def __init__(self, context: ConnectionContext, connection: ClientConnection) -> None:
        self._context = context
        self._connection = connection
        self.reader: PlainReader | RequestReader = PlainReader()
        self._state = ReadState.READING
        self._reading = trio.Lock()  # the reader and `_take_up` must not interleave
        self._room = trio.Event()  # for more of a pipelined request
        self._skipped = 0
        self._tiny_chunks = 0
        self._all_skipped = trio.Event()
        self._has_begun = False
        self._stream: HttpStream | None = None
        self._line = UNKNOWN
        self._response: ResponseWriter | None = None  # to the open request
        self._head = b""  # waits for the first bytes of the body: one write instead of two

    def _request_reader(self) -> RequestReader:
        """Return the reader of a request in any form."""
        return RequestReader(h11.SERVER, max_incomplete_event_size=self._context.server.config.h11_max_incomplete_size)

    def farewell(self) -> bytes:
        return b""

    async def leave(self) -> None:
        # Nothing that waits may outlive the connection.
        self._state = ReadState.ENDED
        self._room.set()
        self._all_skipped.set()
        self._close_stream()

    # Requests

    async def receive(self, data: bytes) -> None:
        if self._state is ReadState.BROKEN:
            return
        reader = self.reader if self._state is ReadState.READING else None
        if isinstance(reader, PlainReader) and (request := reader.read(data)) is not None:
            self._begin_plain(request)
            return
        try:
            self._reading.acquire_nowait()  # `acquire` yields to other tasks, as the read has just done
        except trio.WouldBlock:
            await self._reading.acquire()
        try:
            if self.reader.their_state is h11.IDLE and isinstance(self.reader, PlainReader):
                self.reader = self._request_reader()  # not before the wait, during which a request may end
            self.reader.receive_data(data)
            await self._handle_events()
            self._await_head()
        finally:
            self._reading.release()
        if self._kept_bytes() > MAX_PIPELINED and self._state is not ReadState.ENDED:
            self._room = trio.Event()
            await self._room.wait()

    def _kept_bytes(self) -> int:
        """Return the number of bytes of the next request that wait for the end of this one."""
        return len(self.reader.trailing_data[0]) if self.reader.their_state in _WHOLE else 0

    async def _read_pipelined(self) -> None:
        async with self._reading:
            await self._handle_events()
            self._await_head()

    def _await_head(self) -> None:
        """Limit the wait for the rest of a head that the client has started."""
        if self._stream is None and self._state is ReadState.READING and self.reader.trailing_data[0]:
            self._connection.await_head()

    async def _handle_events(self) -> None:
        while self._state is ReadState.READING:  # the response may come before the end of the body
            try:
                event = self.reader.next_event()
            except h11.RemoteProtocolError as error:
                await self._end_invalid(error.error_status_hint)
                return
            if isinstance(event, h11.Request):
                await self._begin(event)
            elif self._stream is None or event is h11.NEED_DATA:
                return
            elif isinstance(event, h11.Data):
                self._stream.take_body(event.data)
                if self._stream.backlog.is_full:
                    await self._wait_for(self._stream.backlog)
                if len(event.data) < TINY:
                    await self._count_tiny_chunk()
            elif isinstance(event, h11.EndOfMessage):
                self._stream.end_body()
                return  # perhaps the next request, which waits for the response
            else:  # the client closed its side
                return
        if self._state is ReadState.SKIPPING:
            await self._skip()

    async def _end_invalid(self, status: int) -> None:
        """End the connection, because the client sent no HTTP. If that is the body of an open request, the app responds
        to it; ``status`` is that of the response to others."""
        if self._stream is not None and self._response is None:
            self._state = ReadState.BROKEN
            self._stream.break_body()
            return
        if self._response is None:
            if self.reader.trailing_data[0].startswith(_TLS_HANDSHAKE):
                _warn_of_tls(self._context.local and self._context.local[1])
            await self._refuse(status)
        await self._connection.close()

    async def _count_tiny_chunk(self) -> None:
        """Count a tiny chunk, and let other tasks run after some: a read may contain ten thousand of them."""
        self._tiny_chunks += 1
        if self._tiny_chunks % TURN == 0:
            await take_turn()

    async def _wait_for(self, backlog: Backlog) -> None:
        """Wait until the app has read more of the body, or the client has disconnected."""
        while backlog.is_full and self._state is ReadState.READING:
            await backlog.wait(CHECK_SECONDS)
            if backlog.is_full and self._connection.has_hung_up():
                await self._connection.close()

    async def _begin(self, request: h11.Request) -> None:
        reader = self.reader
        assert isinstance(reader, RequestReader), "it has read the request"
        if is_preface(request) and not self._has_begun:
            await (self._speak_http2() if self._context.listener.http2 else self._refuse_http2())
            return
        self._connection.set_idle(False)
        if b"upgrade" in reader.fields and asks_for_websocket(request.method, reader.fields):
            await self._speak_websocket(request, reader)
            return
        # Other upgrades are ignored (RFC 9110, section 7.8), including h2c, cleartext HTTP/2.
        line = RequestLine.of(request.method, request.http_version, reader.headers)
        on_reading = partial(self._send_continue, reader) if reader.they_are_waiting_for_100_continue else None
        self._begin_stream(line, request.target, reader.headers, on_reading)

    def _begin_plain(self, request: PlainRequest) -> None:
        self._connection.set_idle(False)
        stream = self._begin_stream(_PLAIN_LINES[request.method], request.target, request.headers)
        if not request.missing:
            stream.take_whole_body(request.body)
        elif request.body:
            stream.take_body(request.body)

    def _begin_stream(
        self,
        line: RequestLine,
        target: bytes,
        headers: list[tuple[bytes, bytes]],
        on_reading: OnReading | None = None,
    ) -> HttpStream:
        self._has_begun = True
        self._line = line
        self._stream = stream = HttpStream(self._context, self, self._write_now)
        stream.begin(*line.names, target, headers, on_reading)
        return stream

    async def _speak_http2(self) -> None:
        self._state = ReadState.ENDED
        await open_http2(self._context, self._connection)
        await self._connection.protocol.receive(PREFACE + self.reader.trailing_data[0])

    async def _refuse_http2(self) -> None:
        await self._refuse(505)
        await self._connection.close()

    async def _speak_websocket(self, request: h11.Request, reader: RequestReader) -> None:
        self._state = ReadState.ENDED
        websockets = await load_module("gateway.websockets.over_http1")
        self._connection.protocol = protocol = websockets.WebSocketOverHttp1(self._context, self._connection, reader)
        await protocol.begin(request)

    async def _send_continue(self, reader: RequestReader) -> None:
        """Ask a client that waits for 100 (Continue) to send its body, after its head was accepted."""
        if reader.they_are_waiting_for_100_continue and self._response is None:
            await self._connection.write(reader.send(h11.InformationalResponse(status_code=100, headers=[])))

    # Responses (``ResponseSender``)

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        if self._response is not None:
            return  # nothing of the app follows the server's own error
        # After a 413 the rest of the body is dropped. While the process stops, the next request belongs elsewhere.
        is_last = status == 413 or self._state is ReadState.BROKEN
        if is_last or self._context.server.registry.draining:
            headers = [*headers, (b"connection", b"close")]
        self._response = ResponseWriter(self._line, status, headers)
        self._head = self._response.head

    async def send_body(self, data: bytes) -> None:
        assert self._response is not None, "the server takes no body before its response"
        framed = self._response.frame(data)
        head, self._head = self._head, b""
        if len(framed) > LARGE:
            await self._connection.write(framed, head)
        else:
            await self._connection.write(head + framed)

    def _write_now(self, data: bytes) -> bool:
        """Send a piece without waiting (``WriteNow``). The head may still be waiting before it."""
        response = self._response
        if response is None or not response.chunks or self._head:
            return False
        return self._connection.write_now(response.frame(data))

    async def end(self) -> None:
        assert self._response is not None, "the server ends no body before its response"
        last, self._head = self._head + self._response.end(), b""
        if last:
            await self._connection.write(last)

    async def _refuse(self, status: int) -> None:
        """Respond to a request that cannot be read."""
        headers, body = error_response(status)
        await self.start(status, headers)
        await self.send_body(body)
        await self.end()

    # The end of a request

    async def close(self) -> None:
        has_response = self._response is not None and self._response.ended
        if not has_response or self.reader.their_state is not h11.SEND_BODY or self._state is ReadState.ENDED:
            await self._begin_next()
            return
        # The response came before the whole body. Closing now would reset the connection, and the client might lose the
        # response: read on for a while.
        self._state, self._skipped, self._all_skipped = ReadState.SKIPPING, 0, trio.Event()
        self._close_stream()
        self._context.tasks.spawn(self._wait_for_rest)

    async def _begin_next(self) -> None:
        self._close_stream()
        response, reader = self._response, self.reader
        lasts = response is not None and response.ended and not response.closes and reader.their_state in _WHOLE
        self._room.set()
        if not lasts or self._context.server.terminated.is_set():
            if response is not None and response.would_seem_whole:
                self._connection.reset()
            await self._connection.close()
            return
        arrived, _ = reader.trailing_data
        self.reader = PlainReader()
        self._line, self._response = UNKNOWN, None
        self._connection.set_idle(True)
        if arrived:
            self.reader = self._request_reader()
            self.reader.receive_data(arrived)
            self._context.tasks.spawn(self._read_pipelined)

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    async def _wait_for_rest(self) -> None:
        with trio.move_on_after(SKIP_SECONDS):
            await self._all_skipped.wait()
        if self._state is ReadState.SKIPPING:
            self._state = ReadState.READING
            await self._begin_next()

    async def _skip(self) -> None:
        """Drop the rest of a request's body."""
        while not self._all_skipped.is_set():
            try:
                event = self.reader.next_event()
            except h11.RemoteProtocolError:
                event = None
            if event is h11.NEED_DATA:
                return
            self._skipped += len(event.data) if isinstance(event, h11.Data) else 0
            if not isinstance(event, h11.Data) or self._skipped > SKIP_BYTES:
                self._all_skipped.set()
            elif len(event.data) < TINY:
                await self._count_tiny_chunk()
