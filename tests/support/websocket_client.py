"""A scripted websocket client on a real socket."""

import base64
import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.utilities import LocalProtocolError

from tests.support.harness import Gateway, Wire, eventually

TERMINAL = ("response.completed", "response.incomplete", "response.failed", "error")


def handshake(path: str = "/v1/responses", headers: Mapping[str, str] | None = None) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    fields = {
        "host": "gateway", "connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
        "sec-websocket-key": key, **(headers or {}),
    }  # fmt: skip
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()


@attrs.define(eq=False)
class Client:
    """A websocket client.

    ``code`` is that of the server's close, ``None`` before it; ``pings`` counts those of the server.
    """

    wire: Wire
    head: str = ""
    code: int | None = None
    reason: str | None = None
    pings: int = 0
    _frames: list[str] = attrs.field(factory=list)
    _partial: str = ""
    _proto: Connection = attrs.field(factory=lambda: Connection(ConnectionType.CLIENT))

    @classmethod
    def connect(cls, port: int, headers: Mapping[str, str] | None = None) -> "Client":
        """Open a websocket. Fails for any response but an upgrade."""
        client = cls(Wire.connect(port))
        client.wire.send(handshake(headers=headers))
        head, _, rest = client.wire.read_until(b"\r\n\r\n").partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head + rest
        client.head = head.decode().lower()
        client._receive_data(rest)
        return client

    def send(self, value: Any) -> None:
        """Send a frame: text unchanged, bytes as binary, other values as JSON."""
        if isinstance(value, bytes):
            message = BytesMessage(data=value)
        else:
            message = TextMessage(data=value if isinstance(value, str) else json.dumps(value))
        self.wire.send(self._proto.send(message))

    def send_part(self, text: str) -> None:
        """Send a frame that is not the last of its message."""
        self.wire.send(self._proto.send(TextMessage(data=text, message_finished=False)))

    def create(self, model: str, input: Any = "hi", **more: Any) -> None:
        self.send({"type": "response.create", "model": model, "input": input, **more})

    def ping(self) -> None:
        self.wire.send(self._proto.send(Ping()))

    def frames(self) -> Iterator[dict[str, Any]]:
        """Yield frame by frame, until the server's close."""
        while True:
            while self._frames:
                yield json.loads(self._frames.pop(0))
            if self.code is not None:
                return
            data = self.wire.sock.recv(65536)
            assert data, "the server closed the connection without a close frame"
            self._receive_data(data)

    def next(self) -> dict[str, Any]:
        return next(self.frames())

    def until(self, done: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Return the frames up to the first for which ``done`` is true."""
        seen = []
        for frame in self.frames():
            seen.append(frame)
            if done(frame):
                return seen
        raise AssertionError(f"closed with {self.code} ({self.reason}) behind {[frame['type'] for frame in seen]}")

    def answer(self) -> list[dict[str, Any]]:
        """Return all frames of one answer."""
        return self.until(lambda frame: frame["type"] in TERMINAL)

    def ask(self, model: str, input: Any = "hi", **more: Any) -> list[dict[str, Any]]:
        self.create(model, input, **more)
        return self.answer()

    def read_close_code(self) -> int:
        """Return the code of the server's close, after which nothing else may arrive."""
        assert list(self.frames()) == []
        assert self.code is not None
        return self.code

    def close(self) -> None:
        self.wire.send(self._proto.send(CloseConnection(code=1000)))

    def _receive_data(self, data: bytes) -> None:
        self._proto.receive_data(data)
        for event in self._proto.events():
            match event:
                case TextMessage():
                    self._partial += event.data
                    if event.message_finished:
                        self._frames.append(self._partial)
                        self._partial = ""
                case CloseConnection():
                    self.code, self.reason = int(event.code), event.reason
                    with contextlib.suppress(OSError, LocalProtocolError):
                        self.wire.send(self._proto.send(event.response()))
                case Ping():
                    self.pings += 1
                    with contextlib.suppress(LocalProtocolError):  # the client is closing
                        self.wire.send(self._proto.send(event.response()))
                case Pong():
                    self._frames.append('{"type": "pong"}')
                case _:
                    raise AssertionError(f"unexpected: {event}")

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.wire.sock.close()


def lines(gateway: Gateway, client: Client, count: int) -> list[dict[str, Any]]:
    """Return the ledger's lines of all exchanges on the connection, once there are ``count``."""
    id = next(line for line in client.head.split("\r\n") if line.startswith("x-request-id")).split(": ")[1]

    def own_lines() -> list[dict[str, Any]]:
        own = [json.loads(line) for line in list(gateway.log) if f'"request_id":"{id}-' in line]
        return own if len(own) >= count else []

    seen = eventually(own_lines, what=f"{count} lines of {id}")
    assert len(seen) == count
    return list(seen)
