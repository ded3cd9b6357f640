"""One stream of an HTTP/2 connection, with Hypercorn's events and its buffer."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio
from hypercorn.protocol.events import Body, EndBody, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import BufferCompleteError

from gateway.serving.http_stream import HttpStream

HIGH_WATER: Final = 32 * 1024
"""Bytes waiting on one stream before its writer waits, too: two frames."""
LOW_WATER: Final = HIGH_WATER // 2


class SendBuffer:
    """The bytes waiting on one stream, for Hypercorn's sending task.

    A writer waits for room. With Hypercorn's own buffer it also continues while the client's window is closed, so that
    the buffer of a client that does not read grows without limit. A fork of Hypercorn fixed that:
    https://github.com/davidbrochart/anycorn/pull/61."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.is_closed = False
        """The response or its stream has ended: nothing more is accepted."""
        self._room = trio.Event()
        self._empty = trio.Event()

    @property
    def complete(self) -> bool:
        return self.is_closed and not self._data

    @property
    def has_data(self) -> bool:
        return bool(self._data)

    async def push(self, data: bytes) -> None:
        """Add bytes, and wait for room. Raises ``BufferCompleteError``."""
        if self.is_closed:
            raise BufferCompleteError
        self._data += data
        if self._empty.is_set():
            self._empty = trio.Event()
        if len(self._data) >= HIGH_WATER:
            if self._room.is_set():
                self._room = trio.Event()
            await self._room.wait()

    async def pop(self, max_bytes: int) -> bytes:
        """Return at most ``max_bytes`` bytes and remove them."""
        data = bytes(self._data[:max_bytes])
        del self._data[:max_bytes]
        if len(self._data) < LOW_WATER:
            self._room.set()
        if not self._data:
            self._empty.set()
        return data

    async def drain(self) -> None:
        """Wait until everything is sent."""
        await self._empty.wait()

    def set_complete(self) -> None:
        """Accept nothing more; the waiting bytes are still sent."""
        self.is_closed = True

    async def close(self) -> None:
        """Accept nothing more, and drop the waiting bytes."""
        self.is_closed = True
        self._data.clear()
        self._empty.set()
        self._room.set()


class Http2Stream(Protocol):
    """One stream of a connection: a request, or a websocket (``gateway.websockets``).

    ``is_immediate``: its response rejects the client, and is short."""

    @property
    def is_immediate(self) -> bool: ...

    async def handle(self, event: StreamEvent) -> None:
        """Handle what the client has sent, or the end of the stream."""


class Http2Request(HttpStream):
    """One request, to which Hypercorn passes the events after the head."""

    idle = False  # a connection with such a stream is busy

    async def handle(self, event: StreamEvent) -> None:
        if isinstance(event, Body):
            self.take_body(event.data)
        elif isinstance(event, EndBody):
            self.end_body()
        elif isinstance(event, StreamClosed):
            self.close()


class EventSender:
    """A ``ResponseSender`` that sends Hypercorn's events."""

    def __init__(self, stream_id: int, send: Callable[[StreamEvent], Awaitable[None]]) -> None:
        self._id = stream_id
        self._send = send

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        await self._send(Response(stream_id=self._id, headers=headers, status_code=status))

    async def send_body(self, data: bytes) -> None:
        await self._send(Body(stream_id=self._id, data=data))

    async def end(self) -> None:
        await self._send(EndBody(stream_id=self._id))

    async def close(self) -> None:
        await self._send(StreamClosed(stream_id=self._id))
