"""A client that speaks HTTP/2, for tests of the server."""

from collections.abc import Iterable

import h2.config
import h2.connection
import h2.events
import trio
from h2.settings import SettingCodes

from tests.support.asgi_app import PATIENCE, Client


class Http2Client:
    """An HTTP/2 client with prior knowledge."""

    def __init__(self, client: Client, window: int | None = None) -> None:
        """Begin a connection. ``window`` limits the bytes of each response."""
        self.client = client
        self.connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        if window is not None:
            self.connection.local_settings[SettingCodes.INITIAL_WINDOW_SIZE] = window
            self.connection.local_settings.acknowledge()
        self.connection.initiate_connection()
        self.seen: list[h2.events.Event] = []

    async def flush(self) -> None:
        await self.client.send(self.connection.data_to_send())

    async def ask(
        self, path: str, method: str = "GET", end: bool = True, headers: Iterable[tuple[str, str]] = ()
    ) -> int:
        stream = self.connection.get_next_available_stream_id()
        line = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "x")]
        self.connection.send_headers(stream, [*line, *headers], end_stream=end)
        await self.flush()
        return stream

    async def open_websocket(
        self, path: str, headers: Iterable[tuple[str, str]] = (), *, end: bool = False, protocol: str = "websocket"
    ) -> int:
        """Request a websocket (RFC 8441), and return its stream."""
        self.connection.remote_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        self.connection.remote_settings.acknowledge()
        own = ((":protocol", protocol), ("sec-websocket-version", "13"))
        return await self.ask(path, "CONNECT", end=end, headers=(*own, *headers))

    async def send_data(self, stream: int, data: bytes) -> None:
        """Send ``data`` as the windows allow."""
        while data:
            room = self.connection.local_flow_control_window(stream)
            if size := min(room, self.connection.max_outbound_frame_size, len(data)):
                self.connection.send_data(stream, data[:size])
                data = data[size:]
                await self.flush()
            else:
                await self.read()

    async def read(self) -> None:
        """Read once, and add the events to ``seen``."""
        data = await self.client.sock.recv(65536)
        assert data, "the connection ended"
        self.seen += self.connection.receive_data(data)
        await self.flush()

    async def until(self, kind: type, stream: int) -> h2.events.Event:
        with trio.fail_after(PATIENCE):
            while True:
                for event in self.seen:
                    if isinstance(event, kind) and event.stream_id == stream:
                        return event
                await self.read()

    def data(self, stream: int) -> bytes:
        return b"".join(e.data for e in self.seen if isinstance(e, h2.events.DataReceived) and e.stream_id == stream)
