"""A websocket on one stream of an HTTP/2 connection (RFC 8441), with a task and a queue of its own.

The connection's reader never waits for it: a provider or a client that does not read delays this stream alone."""

from collections.abc import Awaitable, Callable, Iterable

import trio
from hypercorn.protocol.events import Body, Data, EndBody, Event, StreamClosed

from gateway.serving.connections import ConnectionContext
from gateway.websockets.stream import WebSocketStream


class QueuedWebSocket:
    """One websocket over HTTP/2.

    ``on_taken`` is called with the number of bytes that were handled: only then the client may send as many again, so
    that its window bounds the queue."""

    def __init__(
        self,
        connection: ConnectionContext,
        stream_id: int,
        send: Callable[[Event], Awaitable[None]],
        on_taken: Callable[[int], object],
    ) -> None:
        self._connection = connection
        self._id = stream_id
        self._websocket = WebSocketStream(connection, stream_id, send, lambda: self._has_ended, self._take_unread)
        self._on_taken = on_taken
        self._waiting = bytearray()
        self._has_ended = False  # the client has ended its side of the stream
        self._is_closed = False
        self._changed = trio.Event()

    @property
    def idle(self) -> bool:
        """True if the app sends nothing more."""
        return self._websocket.idle

    @property
    def is_immediate(self) -> bool:
        """True if the handshake is rejected."""
        return self._websocket.is_immediate

    def begin(self, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Start the task, which handles the handshake and everything after it."""
        self._connection.tasks.spawn(lambda: self._run(target, headers))

    async def handle(self, event: Event) -> None:
        """Add the client's bytes or their end to the queue; the end of the stream counts immediately."""
        if isinstance(event, Body):
            self._waiting += event.data
        elif isinstance(event, EndBody):
            self._has_ended = True
        elif isinstance(event, StreamClosed):
            self._is_closed = True
            await self._websocket.handle(event)
        self._changed.set()

    def _take_waiting(self) -> bytes:
        data, self._waiting = bytes(self._waiting), bytearray()
        return data

    def _take_unread(self) -> bytes:
        """Return the waiting bytes, which count as handled."""
        data = self._take_waiting()
        self._on_taken(len(data))
        return data

    async def _run(self, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        if self._has_ended and not self._is_closed:
            await self._websocket.refuse()
        elif not self._is_closed:  # the client may have reset the stream before this task ran
            await self._websocket.begin("2", target, headers)
        while not self._is_closed:
            if data := self._take_waiting():
                await self._websocket.handle(Data(stream_id=self._id, data=data))
                self._on_taken(len(data))
            elif self._has_ended:
                await self._websocket.end()
                return
            else:
                self._changed = trio.Event()
                await self._changed.wait()
        self._on_taken(len(self._waiting))
        self._waiting.clear()
