"""A WebSocket whose messages come with the time of the read that completed them (RFC 6455).

The library does the handshake and the frames. No extensions are offered: what is compressed takes the loader's time.
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
BESIDE: Final = 100  # bytes that a message takes beside its text, about
IDLE_BYTES: Final = 16 * 1024  # that may come in a row and bring nothing of any message: thousands of frames
PONGS: Final = 100  # that may wait to be sent
REFUSED: Final = 64 * 1024  # bytes of a refusal's body that are kept

TimedText: TypeAlias = tuple[str, float]
"""A message, and when its last byte came."""


class HandshakeRefused(WireError):
    """The server answered the handshake like any other request, with this ``status`` and ``body``."""

    def __init__(self, status: int, headers: Fields, body: bytes) -> None:
        super().__init__("not http", f"the server answered {status} to the handshake of a WebSocket")
        self.status = status
        self.headers = headers
        self.body = body


class TimedWebSocket:
    """An open WebSocket, for one task that receives. ``first``: when the first byte of the handshake's answer came, on
    trio's clock. ``reads`` and ``received`` (bytes) count all that came."""

    def __init__(self, transport: TimedTransport, address: ServerAddress, path: str, headers: Fields) -> None:
        self._transport = transport
        self._frames = WSConnection(ConnectionType.CLIENT)
        self._hello = self._frames.send(Request(host=address.named, target=path, extra_headers=_raw(headers)))
        self._refusal: RejectConnection | None = None
        self._body = b""
        self._parts: list[str] = []
        self._size = 0
        self._messages: deque[TimedText] = deque()
        self._waiting = 0  # characters of them
        self._idle_bytes = 0  # since something of a message came
        self._pongs = 0  # that are not sent yet
        self._fault: WireError | None = None
        self._news = trio.Event()
        self.accepted = False
        self.headers: Fields = ()  # of the handshake's answer
        self.first = 0.0
        self.reads = self.received = 0
        self.closed: tuple[int, str] | None = None  # the server's close: its code and reason
        transport.listen(self._take, self._broke)

    @classmethod
    async def open(
        cls, transport: TimedTransport, address: ServerAddress, path: str, headers: Fields
    ) -> "TimedWebSocket":
        """Ask for a WebSocket at ``path``, and wait until it is open. Raises ``WireError``, ``HandshakeRefused`` among
        them; the transport is closed then."""
        self = cls(transport, address, path, headers)
        try:
            await transport.send((self._hello,))
            while not self.accepted:
                await self._something()
        except BaseException:
            self.close()
            raise
        return self

    async def send(self, text: str) -> None:
        """Send a message. Raises nothing: where the connection is broken, ``receive`` says so."""
        await self._transport.send((self._frames.send(TextMessage(data=text)),))

    async def receive(self) -> TimedText:
        """The next message. Raises ``WireError``; ``closed`` says more where the server has closed it."""
        while not self._messages:
            await self._something()
        found = self._messages.popleft()
        self._waiting -= len(found[0]) + BESIDE
        return found

    @property
    def usable(self) -> bool:
        """Another request can be sent: nothing has come that nobody waited for."""
        return self._fault is None and not self._messages

    def close(self) -> None:
        """Close at once, without a farewell."""
        self._fault = self._fault or WireError("closed", "we closed it")
        self._transport.close()

    async def _something(self) -> None:
        """Wait until something has come. Raises ``WireError`` if nothing more will."""
        if self._fault is not None:
            raise self._fault
        self._news = trio.Event()
        await self._news.wait()

    # What comes

    def _take(self, data: bytes, at: float) -> None:
        self.first = self.first or at
        self.reads += 1
        self.received += len(data)
        if self._fault is not None:
            return
        try:
            if not data:
                raise self._ended()
            for start in range(0, len(data), IDLE_BYTES):
                self._take_piece(data[start : start + IDLE_BYTES], at)
        except RemoteProtocolError as error:
            self._fail(WireError("not http", f"what the server says is no WebSocket: {error}"))
        except WireError as error:
            self._fail(error)
        self._news.set()

    def _take_piece(self, piece: bytes, at: float) -> None:
        self._idle_bytes += len(piece) if self.accepted else 0
        self._frames.receive_data(piece)
        for event in self._frames.events():
            self._happened(event, at)
        if self._idle_bytes > IDLE_BYTES:
            raise WireError("not http", f"more than {IDLE_BYTES // 1024} KiB of frames in a row are no message")

    def _happened(self, event: Event, at: float) -> None:
        match event:
            case Message():
                self._take_message(event, at)
            case AcceptConnection():
                self.accepted = True
                self.headers = _text(event.extra_headers)
            case Ping():
                self._answer(event)
            case CloseConnection() if self._frames.state is ConnectionState.OPEN:  # the library would close it
                raise WireError("not http", f"what the server says is no WebSocket: {event.reason}")
            case CloseConnection():
                self.closed = int(event.code), event.reason or ""
                raise WireError("closed", f"with code {int(event.code)} {event.reason or ''}".strip())
            case RejectConnection():
                self._refusal = event
                if not event.has_body:
                    raise self._refused(event)
            case RejectData():
                self._body += event.data
                if self._refusal is not None and (event.body_finished or len(self._body) > REFUSED):
                    raise self._refused(self._refusal)

    def _answer(self, ping: Ping) -> None:
        """One that a server sends without reading the answers to those before gets none."""
        if self._pongs < PONGS:
            self._pongs += 1
            trio.lowlevel.spawn_system_task(self._pong, self._frames.send(ping.response()))

    async def _pong(self, data: bytes) -> None:
        await self._transport.send((data,))
        self._pongs -= 1

    def _take_message(self, event: "Message[Any]", at: float) -> None:
        if not isinstance(event, TextMessage):
            raise WireError("not http", "the server sent a binary message, which no API has")
        if event.data:
            self._idle_bytes = 0
        self._parts.append(event.data)
        self._size += len(event.data) + 1  # an empty part takes room, too
        if self._size + self._waiting > LARGEST:
            raise WireError("too large", f"what was sent and not read has more than {LARGEST} characters")
        if event.message_finished:
            self._messages.append((text := "".join(self._parts), at))
            self._waiting += len(text) + BESIDE
            self._parts, self._size = [], 0

    def _ended(self) -> WireError:
        if self._refusal is not None:
            return self._refused(self._refusal)
        return WireError("closed", "without a word" if self.accepted else "before its answer to the handshake")

    def _refused(self, event: RejectConnection) -> HandshakeRefused:
        return HandshakeRefused(event.status_code, _text(event.headers), self._body)

    def _broke(self, error: OSError, at: float) -> None:
        self._fail(WireError("reset", error.strerror or str(error)))
        self._news.set()

    def _fail(self, error: WireError) -> None:
        self._fault = self._fault or error


def _raw(headers: Fields) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _text(headers: Iterable[tuple[bytes, bytes]]) -> Fields:
    return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
