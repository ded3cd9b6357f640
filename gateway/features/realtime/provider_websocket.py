"""The client side of a websocket to a provider, on an upgraded connection (RFC 6455). The library parses the frames;
this module adds timeouts and the limit of a message."""

import base64
import contextlib
import hashlib
import secrets
from typing import Any, Final, TypeAlias

import attrs
import trio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, TextMessage
from wsproto.events import Event as Frame
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError

from gateway.http.offload import LARGE
from gateway.upstream.errors import UpstreamError
from gateway.upstream.http11 import pieces_of
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from gateway.websockets.frames import TOO_MANY, FrameRate, RegisteredCodes, make_large_frame, size_of

FAREWELL_SECONDS: Final = 0.5
"""Seconds for the provider to answer a close before the connection ends. Closing with unread bytes is a reset, which
may discard the frame with the reason."""

NOT_ACCEPTED: Final = "the provider's 101 response does not match the WebSocket handshake"
TOO_LARGE: Final = "a message larger than the limit of {} bytes"
INVALID: Final = "an invalid WebSocket frame"

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3

Piece: TypeAlias = str | bytes
"""A whole message, text or binary."""


class WebSocketEnded(Exception):
    """The provider closed the websocket with ``code`` and ``reason``, or failed (1006).

    A failure without a ``reason`` is a lost connection, any other something that cannot be received."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


def handshake(request: UpstreamRequest, subprotocols: tuple[str, ...] = ()) -> UpstreamRequest:
    """Return ``request`` as the handshake of a websocket.

    It offers no extensions: compressed messages cannot be bounded before they are decompressed, and would hardly shrink
    audio."""
    key = base64.b64encode(secrets.token_bytes(16)).decode("ascii")
    offered = (("sec-websocket-protocol", ", ".join(subprotocols)),) if subprotocols else ()
    own = (("sec-websocket-version", "13"), ("sec-websocket-key", key), *offered)
    rest = tuple(pair for pair in request.headers if not pair[0].lower().startswith("sec-websocket-"))
    return attrs.evolve(request, method="GET", body=b"", upgrade="websocket", headers=(*rest, *own))


def accept_upgrade(request: UpstreamRequest, response: UpstreamResponse, most: int) -> "UpstreamWebSocket":
    """Return the websocket that a 101 response to the handshake ``request`` opened, for messages of up to ``most``
    bytes.

    Raises ``UpstreamError``; the caller still closes the response."""
    key = dict(request.headers)["sec-websocket-key"].encode("ascii")
    accepted = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode("ascii")
    if response.header("sec-websocket-accept") != accepted or response.header("sec-websocket-extensions"):
        raise UpstreamError("upstream", NOT_ACCEPTED, cause="cut")
    return UpstreamWebSocket(response, most)


def close_frame(code: int, reason: str) -> CloseConnection:
    """Return the frame that closes with ``code``. 1005 means no code, and so no reason."""
    if code == CloseReason.NO_STATUS_RCVD:
        return CloseConnection(CloseReason.NO_STATUS_RCVD)
    return CloseConnection(code, reason or None)


class UpstreamWebSocket(trio.abc.AsyncResource):
    """An open websocket. One task receives, any task may send. Its holder closes it."""

    def __init__(self, response: UpstreamResponse, most: int) -> None:
        self._response = response
        self._most = most
        self._codes = RegisteredCodes()
        self._frames = Connection(ConnectionType.CLIENT, [self._codes])
        self._rate = FrameRate(trio.current_time())
        self._others_due = False  # other tasks should run before the next frame
        self._sending = trio.Lock()
        self._waiting_pong = b""  # the answer to a ping that arrived during another write
        self._parts: list[Piece] = []
        self._size = 0

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the provider chose."""
        return self._response.header("sec-websocket-protocol")

    async def receive(self) -> Piece:
        """Return the next message. Raises ``WebSocketEnded``. Answers pings."""
        while True:
            if self._others_due:
                await self._let_others_run()
            for frame in self._frames.events():
                self._others_due = self._rate.count(frame)
                if isinstance(frame, Message):
                    if (message := await self._take(frame)) is not None:
                        return message
                elif isinstance(frame, Ping):
                    await self._answer(frame)
                elif isinstance(frame, CloseConnection):
                    if self._frames.state is ConnectionState.OPEN:  # it is the library's, for an invalid frame
                        raise await self._fail(CloseReason(frame.code), INVALID)
                    close = self._codes.original_of(frame)
                    await self._send(close.response())
                    raise WebSocketEnded(int(close.code), close.reason or "")
                if self._others_due:
                    break
            else:
                self._frames.receive_data(await self._read())

    async def _let_others_run(self) -> None:
        """Let other tasks run. Raises ``WebSocketEnded`` if the provider sends too many small frames."""
        await self._rate.end_turn()
        self._others_due = False
        if self._rate.is_exceeded(trio.current_time()):
            raise await self._fail(CloseReason.POLICY_VIOLATION, TOO_MANY)

    async def _fail(self, code: CloseReason, reason: str) -> WebSocketEnded:
        """Close with ``code``, because of what the provider sent, and return the exception to raise."""
        await self._send(CloseConnection(code, reason))
        return WebSocketEnded(CloseReason.ABNORMAL_CLOSURE, f"the provider sent {reason}")

    async def _read(self) -> bytes:
        """Return the next bytes. Raises ``WebSocketEnded`` at the end."""
        try:
            data = await self._response.receive()
        except UpstreamError:
            data = b""
        if not data:
            raise WebSocketEnded(CloseReason.ABNORMAL_CLOSURE)
        return data

    async def _take(self, frame: Message[Any]) -> Piece | None:
        """Return the message that ``frame`` completes, or ``None``."""
        self._size += size_of(frame.data)
        if self._size > self._most:
            raise await self._fail(CloseReason.MESSAGE_TOO_BIG, TOO_LARGE.format(self._most))
        self._parts.append(frame.data)
        if not frame.message_finished:
            return None
        parts, self._parts, self._size = self._parts, [], 0
        if isinstance(frame, TextMessage):
            return "".join(part for part in parts if isinstance(part, str))
        return b"".join(part for part in parts if not isinstance(part, str))

    async def _answer(self, ping: Ping) -> None:
        """Answer a ping, after a running write if there is one: the reader must not wait for it."""
        with contextlib.suppress(LocalProtocolError):
            pong = self._frames.send(ping.response())
            if self._sending.locked():
                self._waiting_pong = pong  # the last one answers all (RFC 6455, section 5.5.3)
            else:
                await self._write(pong)

    async def send(self, message: Piece) -> None:
        """Send a message, as text or binary by its type.

        Waits for a provider that does not read. The next ``receive`` reports a provider that vanished."""
        if len(message) > LARGE:
            framed = await make_large_frame(message, masked=True)
            if self._frames.state is ConnectionState.OPEN:
                await self._write(framed)
            return
        await self._send(TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message))

    async def ping(self) -> None:
        """Send a ping, unless a write is running."""
        if not self._sending.locked():
            await self._send(Ping())

    async def _send(self, frame: Frame) -> None:
        with contextlib.suppress(LocalProtocolError):  # closing, so nothing more can be sent
            await self._write(self._frames.send(frame))

    async def _write(self, data: bytes) -> None:
        async with self._sending:
            for piece in pieces_of(data):
                await self._response.write(piece)
            while self._waiting_pong:
                owed, self._waiting_pong = self._waiting_pong, b""
                await self._response.write(owed)

    async def close(self, code: int, reason: str) -> None:
        """Close with ``code``, one that may be sent (1005: none), and end the connection.

        Waits a moment for the provider's close. Cannot be cancelled."""
        with trio.CancelScope(shield=True):
            with trio.move_on_after(FAREWELL_SECONDS), contextlib.suppress(WebSocketEnded, LocalProtocolError):
                await self._send(close_frame(code, reason))
                while True:
                    await self.receive()
            await self.aclose()

    async def aclose(self) -> None:
        """End the connection immediately. Cannot be cancelled."""
        await self._response.aclose()
