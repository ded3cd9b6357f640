"""One HTTP/1.1 connection to a provider, for httpcore2's pool.

httpcore2's own has a lock, a scope or a generator around every step, and takes each chunk of a body through h11's
state machine: more than half the cost of a streamed event. Here h11 reads the head of an answer, and nothing else.
"""

import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from enum import Enum, auto
from typing import Final

import h11
import httpcore2
import trio

from gateway.framing import Chunked, Framing, Sized, UntilClosed

READ: Final = 64 * 1024  # bytes of one read
MAX_HEAD: Final = 100 * 1024

# What h11 must have seen before it reads an answer. Only its method matters, to which answers have a body.
_ASKED = h11.Request(method="POST", target="/", headers=[("host", "-"), ("content-length", "0")])


class _State(Enum):
    NEW = auto()
    ACTIVE = auto()
    IDLE = auto()
    CLOSED = auto()


class Body:
    """The body of an answer, as it comes. One task at a time may use it."""

    def __init__(
        self, connection: "Connection", stream: httpcore2.AsyncNetworkStream, framing: Framing, first: bytes
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._framing = framing
        self._first = first

    async def read(self) -> bytes:
        """The next piece, ``b""`` at the end. Raises httpcore2's errors."""
        framing = self._framing
        data, self._first = self._first, b""
        while not framing.over:
            if data or (data := await self._stream.read(READ)):
                try:
                    piece = framing.feed(data)
                except ValueError as error:
                    raise httpcore2.RemoteProtocolError(error) from error
                if piece:
                    return piece
                data = b""
            else:
                framing.close()
                if not framing.over:
                    raise httpcore2.RemoteProtocolError("the connection ended before the body did")
        return b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self.read():
            yield piece

    async def aclose(self) -> None:
        """Give the connection back, or close it unless it stands right behind a whole body."""
        framing = self._framing
        await self._connection.release(whole=framing.over and not framing.extra and not self._first)


class Connection(httpcore2.AsyncConnectionInterface):
    """A connection that is made for its first request and takes one after the other. ``roots``: TLS.

    A request that fails or is cancelled closes it. ``extensions["body"]`` of a response is its ``Body``."""

    def __init__(
        self,
        origin: httpcore2.Origin,
        backend: httpcore2.AsyncNetworkBackend,
        roots: ssl.SSLContext | None,
        idle_seconds: float,
    ) -> None:
        self._origin = origin
        self._backend = backend
        self._roots = roots
        self._idle_seconds = idle_seconds
        self._stream: httpcore2.AsyncNetworkStream | None = None
        self._state = _State.NEW
        self._expires = 0.0
        self._reusable = False

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        if self._state not in (_State.NEW, _State.IDLE):
            raise httpcore2.ConnectionNotAvailable
        self._state = _State.ACTIVE
        try:
            if self._stream is None:
                self._stream = await self._connect(request)
                if (connected := request.extensions.get("connected")) is not None:
                    connected()
            return await self._ask(self._stream, request)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.aclose()
            raise

    async def _connect(self, request: httpcore2.Request) -> httpcore2.AsyncNetworkStream:
        timeout = request.extensions["timeout"]["connect"]
        host = self._origin.host.decode("ascii")
        stream = await self._backend.connect_tcp(host, self._origin.port, timeout)
        if self._roots is None:
            return stream
        self._roots.set_alpn_protocols(["http/1.1"])
        return await stream.start_tls(self._roots, host, timeout)

    async def _ask(self, stream: httpcore2.AsyncNetworkStream, request: httpcore2.Request) -> httpcore2.Response:
        head = [b"%b %b HTTP/1.1\r\n" % (request.method, request.url.target)]
        head += [b"%b: %b\r\n" % pair for pair in request.headers]
        body = [part async for part in request.stream]  # type: ignore[union-attr]
        with contextlib.suppress(httpcore2.WriteError):  # the provider may have said why before it closed
            await stream.write(b"".join([*head, b"\r\n", *body]))
        wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        wire.send(_ASKED)
        wire.send(h11.EndOfMessage())
        answer = await self._head(wire, stream)
        self._reusable = wire.our_state is h11.DONE  # neither HTTP/1.0 nor `connection: close`
        whole = Body(self, stream, _framing(answer), wire.trailing_data[0])
        extensions = {"network_stream": stream, "body": whole}
        return httpcore2.Response(answer.status_code, headers=answer.headers, content=whole, extensions=extensions)

    async def _head(self, wire: h11.Connection, stream: httpcore2.AsyncNetworkStream) -> h11.Response:
        while True:
            try:
                event = wire.next_event()
            except h11.RemoteProtocolError as error:
                raise httpcore2.RemoteProtocolError(error) from error
            if isinstance(event, h11.Response):
                return event
            if event is h11.NEED_DATA:
                wire.receive_data(await stream.read(READ))

    async def release(self, whole: bool) -> None:
        """The answer has been read: ``whole``, so that the next can follow, or as far as anyone cared to."""
        if self._state is not _State.ACTIVE:
            return
        if whole and self._reusable:
            self._state = _State.IDLE
            self._expires = time.monotonic() + self._idle_seconds
        else:
            await self.aclose()

    async def aclose(self) -> None:
        self._state = _State.CLOSED
        if self._stream is not None:
            await self._stream.aclose()

    # What the pool asks

    def can_handle_request(self, origin: httpcore2.Origin) -> bool:
        return origin == self._origin

    def is_connected(self) -> bool:
        return self._stream is not None and self._state is not _State.CLOSED

    def is_available(self) -> bool:
        return self._state is _State.IDLE

    def is_idle(self) -> bool:
        return self._state is _State.IDLE

    def is_closed(self) -> bool:
        return self._state is _State.CLOSED

    def has_expired(self) -> bool:
        """Whether nothing may be sent on it any more. An idle connection that can be read has been closed."""
        if self._state is not _State.IDLE or self._stream is None:
            return False
        return time.monotonic() > self._expires or bool(self._stream.get_extra_info("is_readable"))

    def info(self) -> str:
        return f"{self._origin}, HTTP/1.1, {self._state.name}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.info()}>"


def _framing(answer: h11.Response) -> Framing:
    """RFC 9112, section 6.3. h11 has refused what contradicts itself."""
    headers: dict[bytes, bytes] = dict(answer.headers)
    if answer.status_code in (204, 304):
        return Sized(0)
    if b"transfer-encoding" in headers:
        return Chunked()
    if b"content-length" in headers:
        return Sized(int(headers[b"content-length"]))
    return UntilClosed()
