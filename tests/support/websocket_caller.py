"""A scripted websocket client in the test's process, on trio."""

import base64
import contextlib
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import attrs
import trio
from wsproto.connection import ConnectionType
from wsproto.events import CloseConnection

from gateway.http.headers import Headers
from tests.support.websocket_end import WebSocketEnd


@attrs.define(eq=False)
class Caller(WebSocketEnd):
    """A websocket client. ``status``, ``headers`` and, after a refusal, ``body`` are the handshake's response."""

    side = ConnectionType.CLIENT

    status: int = 0
    headers: dict[str, str] = attrs.field(factory=dict)
    body: bytes = b""

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

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        await self._send(CloseConnection(code=code, reason=reason))
        await self.read_rest()


@contextlib.asynccontextmanager
async def calling(url: str, path: str, headers: Headers = ()) -> AsyncIterator[Caller]:
    """Request a websocket at ``path``, and disconnect at the end of the block."""
    stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
    async with stream:
        caller = Caller(stream)
        await caller._shake_hands(path, headers)
        yield caller
