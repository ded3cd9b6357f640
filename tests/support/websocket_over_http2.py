"""A websocket client on a stream of an HTTP/2 connection (RFC 8441)."""

import contextlib
from collections.abc import AsyncIterator

import h2.events
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import Event, TextMessage

from gateway.http.headers import Headers
from tests.support.asgi_app import Client
from tests.support.http2_client import Http2Client


@contextlib.asynccontextmanager
async def http2_client(url: str) -> AsyncIterator[Http2Client]:
    """Connect to the server at ``url``, and disconnect at the end of the block."""
    with trio.socket.socket() as sock:
        await sock.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        yield Http2Client(Client(sock))


class Http2WebSocket:
    """A client's websocket on ``stream`` of ``peer``."""

    def __init__(self, peer: Http2Client, stream: int) -> None:
        self.peer = peer
        self.stream = stream
        self._frames = Connection(ConnectionType.CLIENT)
        self._read = 0

    @classmethod
    async def open(cls, peer: Http2Client, path: str, headers: Headers = ()) -> "Http2WebSocket":
        """Open a websocket. Fails if it is refused."""
        stream = await peer.open_websocket(path, headers)
        head = await peer.until(h2.events.ResponseReceived, stream)
        assert dict(head.headers)[":status"] == "200"
        return cls(peer, stream)

    def frame(self, frame: Event) -> bytes:
        return self._frames.send(frame)

    async def send(self, frame: Event | str) -> None:
        await self.peer.send_data(self.stream, self.frame(TextMessage(data=frame) if isinstance(frame, str) else frame))

    async def receive(self) -> Event:
        """Return the next frame."""
        while True:
            for frame in self._frames.events():
                return frame
            data = self.peer.data(self.stream)
            if data[self._read :]:
                self._frames.receive_data(data[self._read :])
                self._read = len(data)
            else:
                await self.peer.read()

    async def fill(self, message: Event) -> None:
        """Send ``message`` again and again until the stream's window stays closed."""
        data = b""
        while True:
            data = data or self.frame(message)
            if size := min(self.peer.connection.local_flow_control_window(self.stream), 16_384, len(data)):
                self.peer.connection.send_data(self.stream, data[:size])
                data = data[size:]
                await self.peer.flush()
                continue
            with trio.move_on_after(0.5) as silence:
                await self.peer.read()
            if silence.cancelled_caught:
                return
