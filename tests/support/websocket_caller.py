"""A scripted websocket client in the test's process, on trio."""

import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import attrs
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, TextMessage
from wsproto.utilities import LocalProtocolError

from gateway.http.close_codes import RegisteredCodes
from gateway.http.headers import Headers


@attrs.define(eq=False)
class Caller:
    """A websocket client.

    ``status``, ``headers`` and, after a refusal, ``body`` are those of the handshake's response. ``closed`` is the
    server's close, 1006 for an end without one.
    """

    stream: trio.SocketStream
    status: int = 0
    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    closed: tuple[int, str] | None = None
    pings: int = 0
    _codes: RegisteredCodes = attrs.field(factory=RegisteredCodes)
    _frames: Connection = attrs.field(
        default=attrs.Factory(lambda self: Connection(ConnectionType.CLIENT, [self._codes]), takes_self=True)
    )
    _parts: list[Any] = attrs.field(factory=list)
    _sending: trio.Lock = attrs.field(factory=trio.Lock)
    """Held to send: ``receive`` answers pings and closes while another task sends."""

    async def _shake_hands(self, path: str, headers: Headers) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", "host: 127.0.0.1", "connection: Upgrade", "upgrade: websocket",
                 "sec-websocket-version: 13", f"sec-websocket-key: {key}"]  # fmt: skip
        lines += [f"{name}: {value}" for name, value in headers]
        await self.stream.send_all("\r\n".join([*lines, "", ""]).encode())
        data = b""
        while b"\r\n\r\n" not in data:
            piece = await self.stream.receive_some()
            assert piece, data
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        if self.status == 101:
            self._frames.receive_data(rest)
            return
        self.body = rest
        while len(self.body) < int(self.headers.get("content-length", "0")):
            self.body += await self.stream.receive_some()

    @property
    def error(self) -> dict[str, Any]:
        """The error of a refused handshake."""
        return dict(json.loads(self.body)["error"])

    async def send(self, *values: Any) -> None:
        """Send messages: bytes as binary, text unchanged, other values as JSON."""
        for value in values:
            if isinstance(value, bytes):
                message: Message[Any] = BytesMessage(data=value)
            else:
                message = TextMessage(data=value if isinstance(value, str) else json.dumps(value))
            await self._send(message)

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        await self._send(CloseConnection(code=code, reason=reason))
        await self.rest()

    async def _send(self, event: Event) -> None:
        async with self._sending:
            await self.stream.send_all(self._frames.send(event))

    @property
    def code(self) -> int | None:
        """The code of the server's close, or ``None``."""
        return None if self.closed is None else self.closed[0]

    async def receive(self) -> Any:
        """Return the next message, or ``None`` once the server has closed."""
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
                    case CloseConnection():
                        event = self._codes.original_of(event)
                        self.closed = (int(event.code), event.reason or "")
                        with contextlib.suppress(LocalProtocolError, trio.BrokenResourceError):
                            await self._send(event.response())
                        return None
            data = await self.stream.receive_some()
            if not data:
                self.closed = (1006, "")
                return None
            with contextlib.suppress(LocalProtocolError):
                self._frames.receive_data(data)
        return None

    async def event(self) -> dict[str, Any]:
        """Return the next message as decoded JSON. Fails if there is none."""
        message = await self.receive()
        assert message is not None, self.closed
        return dict(json.loads(message))

    async def rest(self) -> list[Any]:
        """Return all messages until the server's close."""
        found = []
        while (message := await self.receive()) is not None:
            found.append(message)
        return found


@contextlib.asynccontextmanager
async def calling(url: str, path: str, headers: Headers = ()) -> AsyncIterator[Caller]:
    """Request a websocket at ``path``, and disconnect at the end of the block."""
    stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
    async with stream:
        caller = Caller(stream)
        await caller._shake_hands(path, headers)
        yield caller
