"""A WebSocket (RFC 6455) that times its messages by the read that completed them.

wsproto does the handshake and the frames. No extensions are offered, because decompression costs CPU time.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.utilities import RemoteProtocolError

from loadtest.wire.address import ServerAddress
from loadtest.wire.answers import Fields, WireError
from loadtest.wire.transport import TimedTransport

LARGEST: Final = 16 * 2**20  # characters of a message
BESIDE: Final = 100  # approximate bytes of a message besides its text
IDLE_BYTES: Final = 16 * 1024  # bytes in a row without any part of a message, which are thousands of frames
PONGS: Final = 100  # pongs waiting to be sent
REFUSED: Final = 64 * 1024  # bytes of a refusal's body to keep

TimedText: TypeAlias = tuple[str, float]
"""A message, and the time when its last byte arrived."""


class HandshakeRefused(WireError):
    """The server answered the handshake like any other request, with this ``status`` and ``body``."""

    def __init__(self, status: int, headers: Fields, body: bytes) -> None:
        super().__init__("not http", f"the server returned status {status} to the WebSocket handshake")
        self.status = status
        self.headers = headers
        self.body = body


class TimedWebSocket:
    """An open WebSocket, for one receiving task.

    ``first`` is the time of the first byte of the handshake's answer, on trio's clock. ``reads`` and ``received``
    (bytes) count everything received.
    """

    def __init__(self, transport: TimedTransport, address: ServerAddress, path: str, headers: Fields) -> None:
        self._transport = transport
        self._frames = WSConnection(ConnectionType.CLIENT)
        self._hello = self._frames.send(
            Request(host=address.authority, target=path, extra_headers=_encode_headers(headers))
        )
        self._refusal: RejectConnection | None = None
        self._body = b""
        self._parts: list[str] = []
        self._size = 0
        self._messages: deque[TimedText] = deque()
        self._waiting = 0  # characters in ``_messages``
        self._idle_bytes = 0  # since the last part of a message
        self._pongs = 0  # not sent yet
        self._fault: WireError | None = None
        self._news = trio.Event()
        self.accepted = False
        self.headers: Fields = ()  # of the handshake's answer
        self.first = 0.0
        self.reads = self.received = 0
        self.closed: tuple[int, str] | None = None  # code and reason of the server's close
        transport.listen(self._receive, self._connection_broke)

    @classmethod
    async def open(
        cls, transport: TimedTransport, address: ServerAddress, path: str, headers: Fields
    ) -> "TimedWebSocket":
        """Open a WebSocket at ``path``.

        Raises ``WireError``, including ``HandshakeRefused``, and closes the transport then.
        """
        self = cls(transport, address, path, headers)
        try:
            await transport.send((self._hello,))
            while not self.accepted:
                await self._wait_for_data()
        except BaseException:
            self.close()
            raise
        return self

    async def send(self, text: str) -> None:
        """Send a message. Raises nothing: ``receive`` reports a broken connection."""
        await self._transport.send((self._frames.send(TextMessage(data=text)),))

    async def receive(self) -> TimedText:
        """Return the next message. Raises ``WireError``; ``closed`` is set if the server closed the WebSocket."""
        while not self._messages:
            await self._wait_for_data()
        found = self._messages.popleft()
        self._waiting -= len(found[0]) + BESIDE
        return found

    @property
    def is_usable(self) -> bool:
        """True if another request can be sent: no unrequested message has arrived."""
        return self._fault is None and not self._messages

    def close(self) -> None:
        """Close immediately."""
        self._fault = self._fault or WireError("closed", "we closed it")
        self._transport.close()

    async def _wait_for_data(self) -> None:
        """Wait for data. Raises ``WireError`` if the connection has ended."""
        if self._fault is not None:
            raise self._fault
        self._news = trio.Event()
        await self._news.wait()

    # Incoming data

    def _receive(self, data: bytes, at: float) -> None:
        self.first = self.first or at
        self.reads += 1
        self.received += len(data)
        if self._fault is not None:
            return
        try:
            if not data:
                raise self._end_error()
            for start in range(0, len(data), IDLE_BYTES):
                self._receive_piece(data[start : start + IDLE_BYTES], at)
        except RemoteProtocolError as error:
            self._fail(WireError("not http", f"the server violates the WebSocket protocol: {error}"))
        except WireError as error:
            self._fail(error)
        self._news.set()

    def _receive_piece(self, piece: bytes, at: float) -> None:
        self._idle_bytes += len(piece) if self.accepted else 0
        self._frames.receive_data(piece)
        for event in self._frames.events():
            self._handle_event(event, at)
        if self._idle_bytes > IDLE_BYTES:
            raise WireError("not http", f"more than {IDLE_BYTES // 1024} KiB of frames without a message")

    def _handle_event(self, event: Event, at: float) -> None:
        match event:
            case Message():
                self._receive_message(event, at)
            case AcceptConnection():
                self.accepted = True
                self.headers = _decode_headers(event.extra_headers)
            case Ping():
                self._send_pong(event)
            case CloseConnection() if self._frames.state is ConnectionState.OPEN:  # wsproto would close it
                raise WireError("not http", f"the server violates the WebSocket protocol: {event.reason}")
            case CloseConnection():
                self.closed = int(event.code), event.reason or ""
                raise WireError("closed", f"with code {int(event.code)} {event.reason or ''}".strip())
            case RejectConnection():
                self._refusal = event
                if not event.has_body:
                    raise self._refusal_error(event)
            case RejectData():
                self._body += event.data
                if self._refusal is not None and (event.body_finished or len(self._body) > REFUSED):
                    raise self._refusal_error(self._refusal)

    def _send_pong(self, ping: Ping) -> None:
        """Send a pong, unless the server does not read the earlier ones."""
        if self._pongs < PONGS:
            self._pongs += 1
            trio.lowlevel.spawn_system_task(self._write_pong, self._frames.send(ping.response()))

    async def _write_pong(self, data: bytes) -> None:
        await self._transport.send((data,))
        self._pongs -= 1

    def _receive_message(self, event: "Message[Any]", at: float) -> None:
        if not isinstance(event, TextMessage):
            raise WireError("not http", "the server sent a binary message, which no API uses")
        if event.data:
            self._idle_bytes = 0
        self._parts.append(event.data)
        self._size += len(event.data) + 1  # an empty part takes memory, too
        if self._size + self._waiting > LARGEST:
            raise WireError("too large", f"the unread messages have more than {LARGEST} characters")
        if event.message_finished:
            self._messages.append((text := "".join(self._parts), at))
            self._waiting += len(text) + BESIDE
            self._parts, self._size = [], 0

    def _end_error(self) -> WireError:
        if self._refusal is not None:
            return self._refusal_error(self._refusal)
        return WireError("closed", "without a word" if self.accepted else "before its response to the handshake")

    def _refusal_error(self, event: RejectConnection) -> HandshakeRefused:
        return HandshakeRefused(event.status_code, _decode_headers(event.headers), self._body)

    def _connection_broke(self, error: OSError, at: float) -> None:
        self._fail(WireError("reset", error.strerror or str(error)))
        self._news.set()

    def _fail(self, error: WireError) -> None:
        self._fault = self._fault or error


def _encode_headers(headers: Fields) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _decode_headers(headers: Iterable[tuple[bytes, bytes]]) -> Fields:
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
