"""One websocket as ASGI messages, for HTTP/1.1 and HTTP/2 (RFC 6455, RFC 8441)."""

import math
from collections.abc import Awaitable, Callable, Iterable
from enum import Enum, auto
from typing import Any, Final, cast

import trio
from hypercorn.protocol.events import Body, Data, EndBody, EndData, Event, Response, StreamClosed
from hypercorn.protocol.ws_stream import FrameTooLargeError, Handshake, WebsocketBuffer
from hypercorn.utils import UnexpectedMessageError, build_and_validate_headers, suppress_body
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, TextMessage
from wsproto.events import Event as Frame
from wsproto.frame_protocol import CloseReason
from wsproto.handshake import WEBSOCKET_VERSION
from wsproto.utilities import LocalProtocolError

from gateway.http.offload import LARGE
from gateway.serving.asgi_extensions import ON_ARRIVING, TAKE_MESSAGES, AsgiMessage, AsgiScope, MessageTaker
from gateway.serving.connections import ConnectionContext
from gateway.serving.refusals import error_response
from gateway.websockets.frames import TOO_MANY, FrameRate, RegisteredCodes, make_large_frame, size_of

CLOSE_SECONDS: Final = 1.0  # for a client to answer a close

CHECK_SECONDS: Final = 0.05
"""Seconds between checks for a disconnect while a message waits for its taker."""


class WebSocketState(Enum):
    """The stages of a websocket."""

    HANDSHAKE = auto()
    CONNECTED = auto()
    CLOSING = auto()
    """The server has sent its close; the client's has not arrived."""
    REFUSING = auto()
    """The app sends an HTTP response instead of a websocket; its head is sent."""
    REFUSED = auto()
    """That response, or an error, is sent completely."""


_INVALID_HANDSHAKE: Final = "the WebSocket handshake is invalid: send a sec-websocket-key, and the version 13"

_ACCEPTED: Final = (WebSocketState.CONNECTED, WebSocketState.CLOSING)


def _ignore_size(size: int) -> None:
    """Ignore the size of an arriving message."""


def _return_false() -> bool:
    return False


class MessageBuffer(WebsocketBuffer):
    """The parts of an arriving message. Hypercorn's buffer counts the characters of text, not its bytes."""

    def extend(self, event: Message[Any]) -> None:
        """Add a part. Raises ``FrameTooLargeError``."""
        super().extend(event)
        self.length += size_of(event.data) - len(event.data)
        if self.length > self.max_length:
            raise FrameTooLargeError


class WebSocketStream:
    """One websocket.

    ``has_hung_up`` returns whether the client has disconnected, although its earlier bytes are not handled yet.
    ``take_unread`` returns the bytes that have arrived since."""

    scope: AsgiScope
    _handshake: Handshake
    _frames: Connection
    _rate: FrameRate

    def __init__(
        self,
        connection: ConnectionContext,
        stream_id: int,
        send: Callable[[Event], Awaitable[None]],
        has_hung_up: Callable[[], bool] = _return_false,
        take_unread: Callable[[], bytes] = bytes,
    ) -> None:
        self._connection = connection
        self._id = stream_id
        self._send = send
        self._has_hung_up = has_hung_up
        self._take_unread = take_unread
        self._state = WebSocketState.HANDSHAKE
        self._over = trio.Event()  # the client has disconnected, or the app has ended
        self._message = MessageBuffer(connection.server.registry.largest_message)
        self._arriving: Callable[[int], object] = _ignore_size
        self._taker: MessageTaker | None = None
        self._codes = RegisteredCodes()
        self._refusal: Any = None  # the app's "websocket.http.response.start"
        self._put: Callable[[Any], object] | None = None

    @property
    def idle(self) -> bool:
        """True if the app sends nothing more. For Hypercorn's HTTP/2, a connection with only such streams is idle."""
        return self._state in (WebSocketState.CLOSING, WebSocketState.REFUSED)

    @property
    def is_immediate(self) -> bool:
        """True if the handshake is rejected: its response is dropped if it cannot be sent immediately."""
        return self._state not in _ACCEPTED

    async def begin(self, version: str, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Start the app for a handshake, or reject an invalid one."""
        server, headers = self._connection.server, list(headers)
        try:
            self._handshake = Handshake(headers, version)
        except UnicodeDecodeError:  # it would end the connection, over HTTP/2 with all streams
            await self.refuse()
            return
        scheme = "wss" if self._connection.is_secure else "ws"
        asgi, offered = {"spec_version": "2.3", "version": "3.0"}, self._handshake.subprotocols or []
        self.scope = self._connection.scope(
            version, target, headers, type="websocket", asgi=asgi, scheme=scheme, subprotocols=offered
        )
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions["websocket.http.response"] = {}
        extensions[ON_ARRIVING], extensions[TAKE_MESSAGES] = self._on_arriving, self._take_messages
        if not self._handshake.is_valid():
            await self._refuse_handshake()
            return
        self._put = self._connection.tasks.start_app(server.app, self.scope, self.app_send).put
        self._put({"type": "websocket.connect"})

    # From the client

    async def handle(self, event: Event) -> None:
        """Handle the events after the handshake."""
        if self._over.is_set():
            return
        if isinstance(event, StreamClosed):
            await self._leave()
        elif isinstance(event, Body | Data) and self._state in _ACCEPTED:
            self._frames.receive_data(event.data)
            await self._handle_frames()
        elif isinstance(event, Body | Data) and self._state is WebSocketState.HANDSHAKE:
            # Bytes after an upgrade that is not accepted yet: the app must not respond at the same time.
            await self._leave()
            await self.refuse()

    async def end(self) -> None:
        """Handle the end of the client's stream without a close frame."""
        if self._over.is_set():
            return
        if self._state is WebSocketState.HANDSHAKE:
            await self._leave()
            await self.refuse()
        elif self._state in _ACCEPTED:
            await self._leave()
            await self._end_stream()

    async def _leave(self) -> None:
        """Notify the app that the client has left."""
        is_normal = self._state in (WebSocketState.CLOSING, WebSocketState.REFUSED)
        code = CloseReason.NORMAL_CLOSURE if is_normal else CloseReason.ABNORMAL_CLOSURE
        self._over.set()
        self._message.clear()  # Quart's tracebacks may keep this object until a full garbage collection
        if self._put is not None:
            self._put({"type": "websocket.disconnect", "code": code.value})

    async def _end_stream(self) -> None:
        """End this side of the stream, after everything sent so far."""
        await self._send(EndData(stream_id=self._id))
        await self._send(StreamClosed(stream_id=self._id))

    async def _handle_frames(self) -> None:
        for frame in self._frames.events():
            if self._over.is_set():
                return
            if self._rate.count(frame):
                await self._rate.end_turn()
                if self._rate.is_exceeded(trio.current_time()):
                    await self._close_for_client(CloseReason.POLICY_VIOLATION, TOO_MANY)
            if isinstance(frame, Message):
                await self._receive(frame)
            elif isinstance(frame, Ping):
                await self._send_frame(frame.response())
            elif isinstance(frame, CloseConnection):
                await self._answer_close(frame)
                await self._end_stream()

    async def _answer_close(self, frame: CloseConnection) -> None:
        """Report the client's close to the taker, and answer it."""
        close = self._codes.original_of(frame)
        is_own = self._frames.state is ConnectionState.OPEN  # the library's, for an invalid frame
        if self._taker is not None:
            code, reason = (CloseReason.ABNORMAL_CLOSURE, "") if is_own else (close.code, close.reason or "")
            self._taker.note_close(int(code), reason)
        await self._send_frame(close.response())

    def _on_arriving(self, arriving: Callable[[int], object]) -> None:
        self._arriving = arriving

    def _take_messages(self, taker: MessageTaker) -> None:
        self._taker = taker

    async def _receive(self, frame: Message[Any]) -> None:
        if self._state is not WebSocketState.CONNECTED or self._put is None:
            return
        try:
            self._message.extend(frame)
        except FrameTooLargeError:
            reason = f"the message is larger than the limit of {self._message.max_length} bytes"
            await self._close_for_client(CloseReason.MESSAGE_TOO_BIG, reason)
            return
        if frame.message_finished:
            self._arriving(0)
            message = self._message.to_message()
            self._message.clear()
            if self._taker is None:
                self._put(message)
            else:
                text = message["text"]
                await self._pass_on(self._taker, bytes(message["bytes"] or b"") if text is None else text)
        else:
            self._arriving(self._message.length)

    async def _pass_on(self, taker: MessageTaker, message: str | bytes) -> None:
        """Pass ``message`` to ``taker``. A client that disconnects while it waits ends the websocket."""
        while not self._over.is_set():
            with trio.move_on_after(CHECK_SECONDS) as wait:
                await taker.take(message)
            if not wait.cancelled_caught:
                return
            if self._has_hung_up():
                await self._answer_waiting_close()
                await self._leave()
                await self._end_stream()

    async def _answer_waiting_close(self) -> None:
        """Answer the close of a client that has disconnected, if it follows the message that waits."""
        self._frames.receive_data(self._take_unread())
        for frame in self._frames.events():
            if isinstance(frame, CloseConnection):
                await self._answer_close(frame)
                return
            if self._rate.count(frame):
                await self._rate.end_turn()

    async def _close_for_client(self, code: CloseReason, reason: str) -> None:
        """Close, because the client exceeds a limit."""
        if self._state is WebSocketState.CONNECTED and self._put is not None:
            self._message.clear()
            self._state = WebSocketState.CLOSING
            await self._send_frame(CloseConnection(code, reason))
            self._put({"type": "websocket.disconnect", "code": code.value})

    # From the app

    async def app_send(self, message: AsgiMessage | None) -> None:
        """Send a message of the app; ``None`` after the app and all its tasks have ended."""
        if self._over.is_set():
            return
        if message is None:
            await self._end_app()
        elif self._state is not WebSocketState.CLOSING:  # otherwise the app does not know yet that it is closing
            kind = cast("str", message["type"])
            if (handler := _HANDLERS.get((self._state, kind))) is None:
                raise UnexpectedMessageError(self._state, kind)
            await handler(self, message)

    async def _end_app(self) -> None:
        if self._state is WebSocketState.CLOSING:
            # RFC 6455, section 7.1.1: the client's close comes first. Closing with unread bytes would be a reset, which
            # may lose the last message.
            with trio.move_on_after(CLOSE_SECONDS):
                await self._over.wait()
            if self._over.is_set():
                return
        elif self._state is WebSocketState.HANDSHAKE:
            await self._refuse(500)
        elif self._state is WebSocketState.CONNECTED:
            await self._send_frame(CloseConnection(CloseReason.INTERNAL_ERROR))
        await self._send(StreamClosed(stream_id=self._id))

    async def _accept(self, message: Any) -> None:
        self._handshake.extensions = None  # no compression: 64 KiB could decompress to 64 MiB before any limit applies
        self._state = WebSocketState.CONNECTED
        accepted = self._handshake.accept(message.get("subprotocol"), message.get("headers", []))
        status, headers, _ = accepted
        self._frames = Connection(ConnectionType.SERVER, [self._codes])
        self._rate = FrameRate(trio.current_time())
        await self._send(Response(stream_id=self._id, status_code=status, headers=headers))
        self._connection.tasks.spawn(self._send_pings)

    async def _send_message(self, message: Any) -> None:
        data, text = message.get("bytes"), message.get("text")
        content = text if data is None else data
        if len(content) > LARGE:
            framed = await make_large_frame(content, masked=False)
            if self._frames.state is ConnectionState.OPEN:
                await self._send(Data(stream_id=self._id, data=framed))
            return
        await self._send_frame(TextMessage(data=content) if data is None else BytesMessage(data=content))

    async def _close(self, message: Any) -> None:
        self._state = WebSocketState.CLOSING
        self._message.clear()
        code, reason = int(message.get("code", CloseReason.NORMAL_CLOSURE)), message.get("reason")
        if code == CloseReason.NO_STATUS_RCVD:  # a close without a code has no reason
            code, reason = CloseReason.NO_STATUS_RCVD, None
        await self._send_frame(CloseConnection(code=code, reason=reason))
        await self._send(EndData(stream_id=self._id))

    async def _send_frame(self, frame: Frame) -> None:
        try:
            data = self._frames.send(frame)
        except LocalProtocolError:  # closing, so nothing more can be sent
            return
        await self._send(Data(stream_id=self._id, data=data))

    async def _send_pings(self) -> None:
        while not self._over.is_set():
            with trio.move_on_after(self._connection.server.config.websocket_ping_interval or math.inf):
                await self._over.wait()
            if not self._over.is_set():
                await self._send_frame(Ping())

    # Refused handshakes

    async def refuse(self) -> None:
        """Respond to a handshake that cannot be accepted, and end the connection."""
        await self._refuse(400)
        await self._send(StreamClosed(stream_id=self._id))

    async def _refuse_handshake(self) -> None:
        """Respond to an invalid handshake with the version to use (RFC 6455, section 4.4)."""
        headers, body = error_response(400, _INVALID_HANDSHAKE)
        await self._send_error(400, [*headers, (b"sec-websocket-version", WEBSOCKET_VERSION)], body)
        await self._send(StreamClosed(stream_id=self._id))

    async def _forbid(self, _: Any) -> None:
        await self._refuse(403)

    async def _refuse(self, status: int) -> None:
        await self._send_error(status, *error_response(status))

    async def _send_error(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self._state = WebSocketState.REFUSED
        await self._send(Response(stream_id=self._id, status_code=status, headers=headers))
        await self._send(Body(stream_id=self._id, data=body))
        await self._send(EndBody(stream_id=self._id))

    async def _start_refusal(self, message: Any) -> None:
        self._refusal = message

    async def _send_refusal(self, message: Any) -> None:
        status = int(self._refusal["status"])
        if self._state is WebSocketState.HANDSHAKE:
            headers = build_and_validate_headers(self._refusal["headers"])
            await self._send(Response(stream_id=self._id, status_code=status, headers=headers))
            self._state = WebSocketState.REFUSING
        if not suppress_body("GET", status):
            await self._send(Body(stream_id=self._id, data=bytes(message.get("body", b""))))
        if not message.get("more_body", False):
            self._state = WebSocketState.REFUSED
            await self._send(EndBody(stream_id=self._id))


_HANDLERS: Final[dict[tuple[WebSocketState, str], Callable[[WebSocketStream, Any], Awaitable[None]]]] = {
    (WebSocketState.HANDSHAKE, "websocket.accept"): WebSocketStream._accept,
    (WebSocketState.HANDSHAKE, "websocket.close"): WebSocketStream._forbid,
    (WebSocketState.HANDSHAKE, "websocket.http.response.start"): WebSocketStream._start_refusal,
    (WebSocketState.HANDSHAKE, "websocket.http.response.body"): WebSocketStream._send_refusal,
    (WebSocketState.REFUSING, "websocket.http.response.body"): WebSocketStream._send_refusal,
    (WebSocketState.CONNECTED, "websocket.send"): WebSocketStream._send_message,
    (WebSocketState.CONNECTED, "websocket.close"): WebSocketStream._close,
}
