"""One end of a websocket in the test's process, on trio: the members that the scripted client and server share."""

import contextlib
import json
from typing import Any, ClassVar

import attrs
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, Pong, TextMessage
from wsproto.utilities import LocalProtocolError

from gateway.websockets.frames import RegisteredCodes


@attrs.define(eq=False)
class WebSocketEnd:
    """An end of a websocket. ``closed`` is the other end's close: code and reason, 1006 for an end without one."""

    side: ClassVar[ConnectionType]

    stream: trio.abc.Stream
    closed: tuple[int, str] | None = None
    gone: trio.Event = attrs.field(factory=trio.Event)
    pongs: list[bytes] = attrs.field(factory=list)
    pings: int = 0
    _codes: RegisteredCodes = attrs.field(factory=RegisteredCodes)
    _frames: Connection = attrs.field(
        default=attrs.Factory(lambda self: Connection(self.side, [self._codes]), takes_self=True)
    )
    _parts: list[Any] = attrs.field(factory=list)
    _sending: trio.Lock = attrs.field(factory=trio.Lock)
    """Held to send: ``receive`` answers pings and closes while another task sends."""

    def frame(self, value: Any) -> bytes:
        """Return ``value`` as a frame: bytes as binary, text unchanged, other values as JSON."""
        if isinstance(value, bytes):
            return self._frames.send(BytesMessage(data=value))
        return self._frames.send(TextMessage(data=value if isinstance(value, str) else json.dumps(value)))

    async def send(self, *values: Any) -> None:
        async with self._sending:
            await self.stream.send_all(b"".join(map(self.frame, values)))

    async def _send(self, event: Event) -> None:
        async with self._sending:
            await self.stream.send_all(self._frames.send(event))

    async def ping(self, payload: bytes = b"") -> None:
        await self._send(Ping(payload=payload))

    @property
    def code(self) -> int | None:
        """The code of the other end's close, or ``None``."""
        return None if self.closed is None else self.closed[0]

    async def receive(self) -> Any:
        """Return the next message, or ``None`` once the other end has closed or disappeared."""
        while self.closed is None:
            for event in self._frames.events():
                match event:
                    case Message():
                        self._parts.append(event.data)
                        if event.message_finished:
                            parts, self._parts = self._parts, []
                            return "".join(parts) if isinstance(parts[0], str) else b"".join(parts)
                    case Ping():
                        self.pings += 1
                        await self._send(event.response())
                    case Pong():
                        self.pongs.append(bytes(event.payload))
                    case CloseConnection():
                        event = self._codes.original_of(event)
                        self._end(int(event.code), event.reason or "")
                        with contextlib.suppress(LocalProtocolError, trio.BrokenResourceError):
                            await self._send(event.response())
                        return None
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                data = b""
            if data:
                with contextlib.suppress(LocalProtocolError):
                    self._frames.receive_data(bytes(data))
            else:
                self._end(1006, "")
        return None

    def _end(self, code: int, reason: str) -> None:
        self.closed = (code, reason)
        self.gone.set()

    async def event(self) -> dict[str, Any]:
        """Return the next message as decoded JSON. Fails if there is none."""
        message = await self.receive()
        assert message is not None, self.closed
        return dict(json.loads(message))

    async def read_rest(self) -> list[Any]:
        """Return all messages until the other end's close."""
        found = []
        while (message := await self.receive()) is not None:
            found.append(message)
        return found
