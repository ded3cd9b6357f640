"""Client connections over HTTP/1.1. Every private or subclassed piece of Hypercorn's HTTP/1.1 lives here.

h11 reads requests. Answers are written past it (``heads.py``), but for a 100 and the handshake of a websocket.
"""

from typing import Any, Final, cast

import h11
import hypercorn.protocol.h11
import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, Data, EndBody, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import H11WSConnection
from hypercorn.typing import H11SendableEvent

from gateway.serving.connections import AtOnce, HTTPStream, TCPServer
from gateway.serving.heads import UNKNOWN, Answer, Asked
from gateway.serving.refusals import error_answer
from gateway.serving.scope import WRITE_NOW

KEPT: Final = 64 * 1024  # bytes of a pipelined request that are read while another is being answered
SKIP_BYTES: Final = 64 * 2**20  # how much of a body, and for how long, is read behind an answer that came early
SKIP_SECONDS: Final = 5.0
MAX_TARGET: Final = 8192  # bytes of a path with its query; RFC 9112, section 3, asks for 8000 at least

LARGE: Final = 16 * 1024  # bytes that are not copied behind a head

STREAM_ID: Final = hypercorn.protocol.h11.STREAM_ID

# What h11 says of a request that is whole. One that asks for another protocol waits to be told that it gets none, and
# behind one with `connection: close` no other counts.
_WHOLE: Final = (h11.DONE, h11.MUST_CLOSE, h11.MIGHT_SWITCH_PROTOCOL)  # type: ignore[attr-defined]


def _is_preface(request: h11.Request) -> bool:
    """The first line of HTTP/2 by prior knowledge (RFC 9113, section 3.4)."""
    return (request.method, request.target, request.http_version) == (b"PRI", b"*", b"2.0")


class H11Connection(h11.Connection):
    """HTTP/1.1 that refuses what h11 lets pass, and does not stop reading for a pipelined request."""

    def receive_data(self, data: bytes) -> None:
        """Without an empty line before a request, which some clients send behind the last one's body (RFC 9112, section
        2.2)."""
        if self.their_state is h11.IDLE and data[:2] == b"\r\n" and not self.trailing_data[0]:
            data = data[2:]
        if data:
            super().receive_data(data)

    def next_event(self) -> Any:
        if self.their_state is h11.MUST_CLOSE:
            return h11.NEED_DATA  # RFC 9112, section 9.6; h11 would take what comes for a mistake
        event = super().next_event()
        if event is h11.PAUSED:
            return h11.NEED_DATA  # whoever stops reading does not see the client leave
        if isinstance(event, h11.Request):
            names = {name for name, _ in event.headers}
            # RFC 9112, section 6.1: a sign of request smuggling, to be refused before anything else sees it.
            if b"content-length" in names and b"transfer-encoding" in names:
                raise h11.RemoteProtocolError("content-length together with transfer-encoding")
            if len(event.target) > MAX_TARGET:  # h11's bound on the head is about what is still incomplete
                raise h11.RemoteProtocolError("the target is too long", error_status_hint=414)
            if not event.http_version.startswith(b"1.") and not _is_preface(event):
                raise h11.RemoteProtocolError("not a version that h11 speaks", error_status_hint=505)
        return event


class H11Protocol(hypercorn.protocol.h11.H11Protocol):
    """One HTTP/1.1 connection.

    While a request is answered up to ``KEPT`` bytes of the next are read and kept in h11's buffer, so that a disconnect
    is seen also behind a pipelined request. Closing instead would break quick keep-alive clients, whose next request
    arrives before the last one is wound up.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connection = self._reader()
        self._reading = trio.Lock()  # the reader and `_take_up` must not interleave
        self._asked = UNKNOWN
        self._answer: Answer | None = None  # to the request that is open
        self._head = b""  # waits for the first bytes of the body, which always follow: one write instead of two
        self._server: TCPServer = cast("Any", self.send).__self__
        self._skipping: trio.Event | None = None
        self._skipped = 0
        self._closed = False

    def _reader(self, left: bytes = b"") -> h11.Connection:
        """For the next request, of which ``left`` has come."""
        connection = H11Connection(h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size)
        connection.receive_data(left)
        return connection

    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._received(event.data)
        else:
            await super().handle(event)
            # Nothing that waits for more to come, or for room, may outlive the connection.
            self._closed = True
            await self.can_read.set()
            if self._skipping is not None:
                self._skipping.set()

    # Requests

    async def _received(self, data: bytes) -> None:
        async with self._reading:
            self.connection.receive_data(data)
            await self._handle_events()
        if self._kept() > KEPT and not self._closed:
            await self.can_read.clear()
            await self.can_read.wait()

    def _kept(self) -> int:
        """How many bytes of the next request are waiting for the end of this one."""
        return len(self.connection.trailing_data[0]) if self.connection.their_state in _WHOLE else 0

    async def _take_up(self) -> None:
        async with self._reading:
            await self._handle_events()

    async def _handle_events(self) -> None:
        while self._skipping is None:  # the answer may come between two pieces of its request's body
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                if self._answer is None:
                    await self._send_error_response(error.error_status_hint)
                await self.send(Closed())
                return
            if isinstance(event, h11.Request):
                self._asked = Asked.of(event.method, event.http_version, event.headers)
                await self.send(Updated(idle=False))
                await self._check_protocol(event)
                await self._create_stream(event)
            elif self.stream is None or event is h11.NEED_DATA:
                return
            elif isinstance(event, h11.Data):
                await self.stream.handle(Body(stream_id=STREAM_ID, data=event.data))
            elif isinstance(event, h11.EndOfMessage):
                await self.stream.handle(EndBody(stream_id=STREAM_ID))
            elif isinstance(event, Data):  # of a websocket
                await self.stream.handle(event)
            else:  # the client has ended the connection
                return
        self._skip(self._skipping)

    async def _check_protocol(self, event: h11.Request) -> None:
        """HTTP/2 by prior knowledge is taken; an ``upgrade: h2c`` is ignored, as a server may (RFC 9110, 7.8)."""
        if _is_preface(event) and not self.keep_alive_requests:
            # The preface stopped the idle timer, and HTTP/2 starts it again only after a first request.
            await self.send(Updated(idle=True))
            await super()._check_protocol(event)

    async def _create_stream(self, request: h11.Request) -> None:
        headers = list(request.headers)
        if any(name == b"upgrade" for name, _ in headers):
            await super()._create_stream(request)
        else:
            self.stream = HTTPStream(
                self.app, self.config, self.context, self.task_group, self.ssl, self.client, self.server,
                self.stream_send, STREAM_ID,
            )  # fmt: skip
            version, method = request.http_version.decode(), request.method.decode().upper()
            asked = Request(STREAM_ID, headers, version, method, request.target, self.connection_state)
            await self.stream.handle(asked)
            self.keep_alive_requests += 1
            await self.context.mark_request()
        if isinstance(self.stream, HTTPStream):
            self.stream.give = self._give  # type: ignore[method-assign]
            # The app has been started, but has not run yet.
            self.stream.scope["extensions"][WRITE_NOW] = self._write_now  # type: ignore[assignment]

    # Answers

    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(self.connection, H11WSConnection):
            await super().stream_send(event)
        elif isinstance(event, Response) and self._answer is None:
            self._begin(self._asked, event.status_code, event.headers)
        elif isinstance(event, Body):
            await self._give(event.data)
        elif isinstance(event, EndBody):
            await self._end()
        elif isinstance(event, StreamClosed):
            await self._maybe_recycle()
        # Hints before the answer (103) are for HTTP/2, and behind an error of ours nothing of the app's goes out.

    def _begin(self, asked: Asked, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        if status == 413:  # what is still to come of the body is not wanted
            headers = [*headers, (b"connection", b"close")]
        self._answer = Answer(asked, status, headers)
        self._head = self._answer.head

    async def _give(self, data: bytes) -> None:
        """A piece of the body."""
        assert self._answer is not None, "the server takes no body before its response"
        framed = self._answer.frame(data)
        head, self._head = self._head, b""
        await self.send(AtOnce(framed, head) if len(framed) > LARGE else AtOnce(head + framed))

    def _write_now(self, data: bytes) -> bool:
        """A ``WriteNow``: the same without waiting. What goes before the body's first piece may be waiting still."""
        answer = self._answer
        return answer is not None and answer.chunks and not self._head and self._server.write_now(answer.frame(data))

    async def _end(self) -> None:
        assert self._answer is not None, "the server ends no body before its response"
        last, self._head = self._head + self._answer.end(), b""
        if last:
            await self.send(AtOnce(last))

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        """What h11 writes itself: a 100, and the answer to a websocket's handshake."""
        try:
            data = self.connection.send(event)
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return
        if data:
            await self.send(AtOnce(data))

    async def _send_error_response(self, status_code: int) -> None:
        """Hypercorn's has no body."""
        headers, body = error_answer(status_code)
        self._begin(self._asked, status_code, headers)
        await self._give(body)
        await self._end()

    # The end of a request

    async def _maybe_recycle(self) -> None:
        if not (self._answered and self.connection.their_state is h11.SEND_BODY):
            await self._recycle()
            return
        # Answered before the whole body came. Closing now would reset the connection, and the client, still sending,
        # might lose the answer: read on for a while.
        self._skipping, self._skipped = trio.Event(), 0
        await self._close_stream()
        self.task_group.spawn(self._wait_for_rest, self._skipping)

    @property
    def _answered(self) -> bool:
        return self._answer is not None and self._answer.ended

    async def _recycle(self) -> None:
        await self._close_stream()
        answer, connection = self._answer, self.connection
        lasts = answer is not None and answer.ended and not answer.closes and connection.their_state in _WHOLE
        await self.can_read.set()
        if not lasts or self.context.terminated.is_set():
            await self.send(Closed())
            return
        left, _ = connection.trailing_data
        self.connection = self._reader(left)
        self._asked, self._answer = UNKNOWN, None
        await self.send(Updated(idle=True))
        if left:
            self.task_group.spawn(self._take_up)

    async def _wait_for_rest(self, over: trio.Event) -> None:
        with trio.move_on_after(SKIP_SECONDS):
            await over.wait()
        self._skipping = None
        await self._recycle()

    def _skip(self, over: trio.Event) -> None:
        """Drop what is left of a request's body."""
        while not over.is_set():
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError:
                event = None
            if event is h11.NEED_DATA:
                return
            self._skipped += len(event.data) if isinstance(event, h11.Data) else 0
            if not isinstance(event, h11.Data) or self._skipped > SKIP_BYTES:
                over.set()
