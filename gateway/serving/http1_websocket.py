"""A client's HTTP/1.1 connection from the request for a websocket on (RFC 6455, section 4)."""

import h11
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Body, Data, EndBody, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.typing import H11SendableEvent

from gateway.serving.connections import ClientConnection, ConnectionContext
from gateway.serving.frames import WebSocketStream
from gateway.serving.http_stream import STREAM_ID


def asks_for_websocket(request: h11.Request) -> bool:
    """Return true for a handshake, valid or not."""
    headers = dict(request.headers)
    tokens = headers.get(b"connection", b"").lower().split(b",")
    upgrade = headers.get(b"upgrade", b"").strip().lower()
    return request.method.upper() == b"GET" and upgrade == b"websocket" and any(t.strip() == b"upgrade" for t in tokens)


class WebSocketOverHttp1:
    """An HTTP/1.1 connection that has become a websocket, or ends with the refusal of one."""

    def __init__(self, context: ConnectionContext, connection: ClientConnection, reader: h11.Connection) -> None:
        """``reader`` has read the request, and writes the answer to it."""
        self._context = context
        self._connection = connection
        self._reader = reader
        self._stream = WebSocketStream(context, STREAM_ID, self._on_event)

    async def begin(self, request: h11.Request) -> None:
        """Take up the request. A client that has sent more already, before it can know the answer, is refused."""
        if self._reader.trailing_data[0]:
            await self._stream.refuse()
        else:
            await self._stream.begin(request.http_version.decode(), request.target, list(request.headers))

    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._stream.handle(Data(stream_id=STREAM_ID, data=event.data))
        elif isinstance(event, Closed):
            await self._stream.handle(StreamClosed(stream_id=STREAM_ID))

    async def _on_event(self, event: StreamEvent) -> None:
        if isinstance(event, Data):
            await self._connection.send(RawData(data=event.data))
        elif isinstance(event, Response):
            await self._answer(event)
        elif isinstance(event, Body):
            await self._write(h11.Data(data=event.data))
        elif isinstance(event, EndBody):
            await self._write(h11.EndOfMessage())
        elif isinstance(event, StreamClosed):
            await self._stream.handle(event)
            await self._connection.close()

    async def _answer(self, event: Response) -> None:
        headers = [*event.headers, *self._context.server.config.response_headers("h11")]
        kind = h11.InformationalResponse if event.status_code < 200 else h11.Response
        await self._write(kind(status_code=event.status_code, headers=headers))

    async def _write(self, event: H11SendableEvent) -> None:
        try:
            data = self._reader.send(event)
        except h11.LocalProtocolError:
            if self._reader.their_state is not h11.ERROR:
                raise
            return
        if data:
            await self._connection.write(data)
