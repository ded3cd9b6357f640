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
from wsproto.connection import ConnectionType

from tests.support.websocket_end import WebSocketEnd

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@attrs.define(eq=False)
class Peer(WebSocketEnd):
    """The server's side of one websocket. ``head`` is the client's handshake."""

    side = ConnectionType.SERVER

    head: bytes = b""

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

    async def close(self, code: int | None, reason: str | None = None) -> None:
        """Close with any code, and wait for the client's end."""
        payload = b"" if code is None else code.to_bytes(2) + (reason or "").encode()
        await self.stream.send_all(bytes((0x88, len(payload))) + payload)
        await self.read_rest()


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
