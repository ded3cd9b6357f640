"""A scripted websocket server on a real socket in the test's process."""

import base64
import contextlib
import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import attrs
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage
from wsproto.utilities import LocalProtocolError

from gateway.http.close_codes import RegisteredCodes

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@attrs.define(eq=False)
class Peer:
    """The server's side of one websocket.

    ``head`` is its handshake, ``closed`` the client's close: code and reason, 1006 for an end without one.
    """

    stream: trio.abc.Stream
    head: bytes = b""
    closed: tuple[int, str] | None = None
    gone: trio.Event = attrs.field(factory=trio.Event)
    pongs: list[bytes] = attrs.field(factory=list)
    pings: int = 0
    _codes: RegisteredCodes = attrs.field(factory=RegisteredCodes)
    _frames: Connection = attrs.field(
        default=attrs.Factory(lambda self: Connection(ConnectionType.SERVER, [self._codes]), takes_self=True)
    )
    _parts: list[Any] = attrs.field(factory=list)

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines) if name}

    @property
    def target(self) -> str:
        return self.head.split()[1].decode()

    async def accept(self, subprotocol: str | None = None, behind: bytes = b"") -> None:
        """Answer the handshake with a 101. ``behind`` is sent in the same write."""
        key = self.headers["sec-websocket-key"].encode()
        token = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest()).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "upgrade: websocket", "connection: Upgrade",
                 f"sec-websocket-accept: {token}"]  # fmt: skip
        lines += [f"sec-websocket-protocol: {subprotocol}"] if subprotocol else []
        await self.stream.send_all("\r\n".join([*lines, "", ""]).encode() + behind)

    async def refuse(self, status: int, body: dict[str, Any], headers: tuple[tuple[str, str], ...] = ()) -> None:
        content = json.dumps(body).encode()
        fields = (("content-type", "application/json"), ("content-length", str(len(content))), *headers)
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        await self.stream.send_all(f"HTTP/1.1 {status} No\r\n{lines}\r\n".encode() + content)

    def frame(self, value: Any) -> bytes:
        """Return ``value`` as a frame: bytes as binary, text unchanged, other values as JSON."""
        if isinstance(value, bytes):
            return self._frames.send(BytesMessage(data=value))
        return self._frames.send(TextMessage(data=value if isinstance(value, str) else json.dumps(value)))

    async def send(self, *values: Any) -> None:
        await self.stream.send_all(b"".join(map(self.frame, values)))

    async def ping(self, payload: bytes = b"") -> None:
        await self.stream.send_all(self._frames.send(Ping(payload=payload)))

    async def close(self, code: int | None, reason: str | None = None) -> None:
        """Close with any code, and wait for the client's end."""
        payload = b"" if code is None else code.to_bytes(2) + (reason or "").encode()
        await self.stream.send_all(bytes((0x88, len(payload))) + payload)
        await self.rest()

    @property
    def code(self) -> int | None:
        """The code of the client's close, or ``None``."""
        return None if self.closed is None else self.closed[0]

    async def receive(self) -> Any:
        """Return the next message, or ``None`` once the client has closed or disappeared."""
        while True:
            for event in self._frames.events():
                match event:
                    case Message():
                        self._parts.append(event.data)
                        if event.message_finished:
                            parts, self._parts = self._parts, []
                            return parts[0][:0].join(parts) if isinstance(parts[0], str) else b"".join(parts)
                    case Ping():
                        self.pings += 1
                        await self.stream.send_all(self._frames.send(event.response()))
                    case Pong():
                        self.pongs.append(bytes(event.payload))
                    case CloseConnection():
                        event = self._codes.original_of(event)
                        self.closed = (int(event.code), event.reason or "")
                        self.gone.set()
                        with contextlib.suppress(LocalProtocolError, trio.BrokenResourceError):
                            await self.stream.send_all(self._frames.send(event.response()))
                        return None
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                data = b""
            if not data:
                self.closed = self.closed or (1006, "")
                self.gone.set()
                return None
            with contextlib.suppress(LocalProtocolError):
                self._frames.receive_data(data)

    async def event(self) -> dict[str, Any]:
        """Return the next message as decoded JSON. Fails if there is none."""
        message = await self.receive()
        assert message is not None, self.closed
        return dict(json.loads(message))

    async def rest(self) -> list[Any]:
        """Return all messages until the client's end."""
        found = []
        while (message := await self.receive()) is not None:
            found.append(message)
        return found


Talk = Callable[[Peer], Awaitable[None]]


@attrs.define(eq=False)
class WebSocketServer:
    """A server whose behaviour is ``talk``. ``peers`` are its connections in order."""

    talk: Talk
    peers: list[Peer] = attrs.field(factory=list)
    port: int = 0
    tls: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    async def _serve(self, socket: trio.SocketStream) -> None:
        stream: trio.abc.Stream = socket
        if self.tls is not None:
            stream = trio.SSLStream(socket, self.tls, server_side=True, https_compatible=True)
        peer = Peer(stream)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                data = b""
                while b"\r\n\r\n" not in data:
                    if not (piece := await stream.receive_some()):
                        return
                    data += piece
                peer.head, _, rest = data.partition(b"\r\n\r\n")
                peer._frames.receive_data(rest)
                self.peers.append(peer)
                await self.talk(peer)
        peer.gone.set()


@contextlib.asynccontextmanager
async def websocket_server(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[WebSocketServer]:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = WebSocketServer(talk, port=listener.socket.getsockname()[1], tls=tls)
        await nursery.start(trio.serve_listeners, server._serve, [listener])
        yield server
        nursery.cancel_scope.cancel()
