"""The frames of a websocket. Every private or subclassed piece of Hypercorn's websockets lives here."""

import math
from typing import Any, Final

import hypercorn.protocol.ws_stream
import trio
from hypercorn.protocol.events import Body, Data, EndBody, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError
from hypercorn.typing import ASGISendEvent, WebsocketAcceptEvent
from wsproto.events import CloseConnection, Message, Ping
from wsproto.frame_protocol import CloseReason

from gateway.serving.refusals import error_answer

PING_SECONDS: Final = 15.0  # between two pings: balancers drop a connection that is silent for a minute
CLOSE_SECONDS: Final = 1.0  # that a client gets to answer our close


class WSStream(hypercorn.protocol.ws_stream.WSStream):
    """A websocket."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._over = trio.Event()

    async def handle(self, event: StreamEvent) -> None:
        if isinstance(event, Body | Data) and not self.handshake.accepted:
            await self._refuse_early()
        else:
            await super().handle(event)
        if isinstance(event, StreamClosed):
            self._over.set()

    async def app_send(self, message: ASGISendEvent | None) -> None:
        if self.state is ASGIWebsocketState.CLOSED and not self.closed:
            if message is not None:  # the app has not heard yet that its message was too large
                return
            # RFC 6455, section 7.1.1: the client's close comes first. With something unread the end would be a reset,
            # which may cost the client what it was told last.
            with trio.move_on_after(CLOSE_SECONDS):
                await self._over.wait()
        await super().app_send(message)

    async def _accept(self, message: WebsocketAcceptEvent) -> None:
        self.handshake.extensions = None  # no compression: 64 KiB could blow up to 64 MiB before any limit is seen
        await super()._accept(message)

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if isinstance(event, Message):
                await self._receive(event)
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):  # the client's, or what is to be said about a frame that is none
                await self._send_wsproto_event(event.response())
                await self.send(StreamClosed(stream_id=self.stream_id))

    async def _receive(self, event: Message[Any]) -> None:
        """Hypercorn goes on with a message that is too large, and the app never hears of it."""
        if self.state is not ASGIWebsocketState.CONNECTED:
            return
        assert self.app_put is not None
        try:
            self.buffer.extend(event)
        except FrameTooLargeError:
            self.buffer.clear()
            self.state = ASGIWebsocketState.CLOSED
            reason = f"a message is larger than the limit of {self.buffer.max_length} bytes"
            await self._send_wsproto_event(CloseConnection(CloseReason.MESSAGE_TOO_BIG, reason))
            await self.app_put({"type": "websocket.disconnect", "code": CloseReason.MESSAGE_TOO_BIG.value})
            return
        if event.message_finished:
            await self.app_put(self.buffer.to_message())
            self.buffer.clear()

    async def _send_pings(self) -> None:
        """Hypercorn's holds the connection's end up for a whole interval."""
        while not self.closed:
            with trio.move_on_after(self.config.websocket_ping_interval or math.inf):
                await self._over.wait()
            if not self.closed:
                await self._send_wsproto_event(Ping())

    async def _send_error_response(self, status_code: int) -> None:
        """Hypercorn's has no body."""
        headers, body = error_answer(status_code)
        await self.send(Response(stream_id=self.stream_id, status_code=status_code, headers=headers))
        await self.send(Body(stream_id=self.stream_id, data=body))
        await self.send(EndBody(stream_id=self.stream_id))

    async def _refuse_early(self) -> None:
        """Bytes behind an upgrade that is not accepted yet. Hypercorn answers while the app may be answering too, which
        fails, here or in the app, and does not close the connection."""
        if self.closed or self.state is not ASGIWebsocketState.HANDSHAKE:
            return
        self.closed = True
        await self._send_error_response(400)
        if self.app_put is not None:
            await self.app_put({"type": "websocket.disconnect", "code": 1006})
        await self.send(StreamClosed(stream_id=self.stream_id))
