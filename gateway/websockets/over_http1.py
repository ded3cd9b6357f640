"""A websocket on an HTTP/1.1 connection (RFC 6455). Imported for the first one."""

import h11
from hypercorn.protocol.events import Body, Data, EndBody, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.typing import H11SendableEvent

from gateway.serving.connections import ClientConnection, ConnectionContext
from gateway.serving.hypercorn_settings import SETTINGS
from gateway.serving.request_reader import RequestReader
from gateway.websockets.stream import WebSocketStream

STREAM_ID = 1
"""The only stream of an HTTP/1.1 connection."""


class WebSocketOverHttp1:
    """An HTTP/1.1 connection after a websocket handshake, which the app accepts or rejects."""

    def __init__(self, context: ConnectionContext, connection: ClientConnection, reader: RequestReader) -> None:
        """Take over the connection. ``reader`` has read the request, and writes the response to it."""
        self._context = context
        self._connection = connection
        self._reader = reader
        self._stream = WebSocketStream(context, STREAM_ID, self._on_event, connection.has_hung_up)

    async def begin(self, request: h11.Request) -> None:
        """Handle the handshake. A client that sends more before the response is rejected."""
        if self._reader.trailing_data[0]:
            await self._stream.refuse()
        else:
            await self._stream.begin(request.http_version.decode(), request.target, self._reader.headers)

    async def receive(self, data: bytes) -> None:
        await self._stream.handle(Data(stream_id=STREAM_ID, data=data))

    async def leave(self) -> None:
        await self._stream.handle(StreamClosed(stream_id=STREAM_ID))

    def farewell(self) -> bytes:
        return b""

    async def _on_event(self, event: StreamEvent) -> None:
        if isinstance(event, Data):
            await self._connection.send(event.data)
        elif isinstance(event, Response):
            headers = [*event.headers, *SETTINGS.response_headers("h11")]
            kind = h11.InformationalResponse if event.status_code < 200 else h11.Response
            await self._write(kind(status_code=event.status_code, headers=headers))
        elif isinstance(event, Body):
            await self._write(h11.Data(data=event.data))
        elif isinstance(event, EndBody):
            await self._write(h11.EndOfMessage())
        elif isinstance(event, StreamClosed):
            await self._stream.handle(event)
            await self._connection.close()

    async def _write(self, event: H11SendableEvent) -> None:
        try:
            data = self._reader.send(event)
        except h11.LocalProtocolError:
            if self._reader.their_state is not h11.ERROR:
                raise
            return
        if data:
            await self._connection.write(data)
