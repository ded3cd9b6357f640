"""A client's connection over HTTP/2: Hypercorn's protocol, with our requests, buffers and time limits."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import trio
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamReset
from h2.events import Event as Http2Event
from h2.exceptions import ProtocolError
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.h2 import BufferCompleteError, H2Protocol
from hypercorn.typing import ConnectionState
from hypercorn.utils import filter_pseudo_headers
from priority.priority import DuplicateStreamError

from gateway.serving.connections import ClientConnection, ConnectionContext
from gateway.serving.frames import WebSocketStream
from gateway.serving.http_stream import HttpStream

HIGH_WATER: Final = 32 * 1024
"""Bytes that wait on one stream before its writer waits, too: two frames."""
LOW_WATER: Final = HIGH_WATER // 2


class SendBuffer:
    """The bytes that wait to be sent on one stream, as Hypercorn's sending task takes them.

    A writer that waits for room goes on when there is room. With Hypercorn's own buffer it also goes on when the
    client's window lets little or nothing pass, and what waits for a client that does not read grows without end. A
    fork of Hypercorn has mended that: https://github.com/davidbrochart/anycorn/pull/61."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.is_closed = False
        """Nothing more is taken: the answer has ended, or its stream."""
        self._room = trio.Event()
        self._empty = trio.Event()

    @property
    def complete(self) -> bool:
        return self.is_closed and not self._data

    @property
    def has_data(self) -> bool:
        return bool(self._data)

    async def push(self, data: bytes) -> None:
        """Add to what waits, and wait for room. Raises ``BufferCompleteError``."""
        if self.is_closed:
            raise BufferCompleteError
        self._data += data
        if self._empty.is_set():
            self._empty = trio.Event()
        if len(self._data) >= HIGH_WATER:
            if self._room.is_set():
                self._room = trio.Event()
            await self._room.wait()

    async def pop(self, most: int) -> bytes:
        """Take ``most`` bytes or fewer."""
        data = bytes(self._data[:most])
        del self._data[:most]
        if len(self._data) < LOW_WATER:
            self._room.set()
        if not self._data:
            self._empty.set()
        return data

    async def drain(self) -> None:
        """Wait until all is taken."""
        await self._empty.wait()

    def set_complete(self) -> None:
        """Take nothing more; what waits is still sent."""
        self.is_closed = True

    async def close(self) -> None:
        """Take nothing more, and drop what waits."""
        self.is_closed = True
        self._data.clear()
        self._empty.set()
        self._room.set()


class Http2(H2Protocol):
    """One HTTP/2 connection."""

    def __init__(self, connection: ConnectionContext, send: Callable[[Event], Awaitable[None]]) -> None:
        server = connection.server
        super().__init__(
            server.app, server.config, server.worker, connection.tasks, ConnectionState({}), connection.is_secure,
            connection.client, connection.local, send,
        )  # fmt: skip
        self._context = connection
        self._write_timeout = server.config.write_timeout
        self._buffers = cast("dict[int, SendBuffer]", self.stream_buffers)

    # Replaces Hypercorn's, which hands all events of a read on at once. Two kinds would cost the whole connection: a
    # body behind its answer (https://github.com/pgjones/hypercorn/issues/329), and a request without a path. A reset is
    # not seen as idleness, and writers that wait for room are not woken when the connection ends.
    async def handle(self, event: Event) -> None:
        if not isinstance(event, RawData):
            await super().handle(event)
            if isinstance(event, Closed):
                for buffer in tuple(self._buffers.values()):
                    await buffer.close()
            return
        try:
            events = self.connection.receive_data(event.data)
        except ProtocolError:
            await self._flush()
            await self.send(Closed())
            return
        for http2_event in events:
            await self._handle_event(http2_event)
        await self._flush()

    async def _handle_event(self, event: Http2Event) -> None:
        if isinstance(event, DataReceived) and event.stream_id not in self.streams:
            await self._skip(event)
        elif isinstance(event, RequestReceived) and not _is_readable(event):
            await self._reset(_id(event), ErrorCodes.PROTOCOL_ERROR)  # Hypercorn raises and loses the connection
        else:
            await self._handle_events([event])
        if isinstance(event, StreamReset):
            await self._drop(event.stream_id or 0)
        if isinstance(event, StreamReset | RequestReceived) and self.idle:
            # Hypercorn starts the idle timer again only after a whole answer.
            await self.send(Updated(idle=True))

    # Replaces Hypercorn's: its streams and buffers are named there, and there is no setting for others.
    async def _create_stream(self, request: RequestReceived) -> None:
        stream_id, line = _id(request), dict(request.headers or ())
        method, target = line[b":method"].decode("ascii").upper(), line[b":path"]
        headers = filter_pseudo_headers(list(request.headers or ()))
        self._buffers[stream_id] = SendBuffer()
        try:
            self.priority.insert_stream(stream_id)
        except DuplicateStreamError:  # its PRIORITY frame came first
            pass
        else:
            self.priority.block(stream_id)
        if method == "CONNECT":
            websocket = WebSocketStream(self._context, stream_id, self._send_in_time)
            self.streams[stream_id] = cast("Any", websocket)
            await websocket.begin("2", target, headers)
        else:
            stream = HttpStream(self._context, stream_id, self._send_in_time)
            self.streams[stream_id] = cast("Any", stream)
            await stream.begin(method, "2", target, headers)

    async def _send_in_time(self, event: StreamEvent) -> None:
        """Send what a stream says, unless the client keeps its window shut for ever, which TCP_USER_TIMEOUT does not
        see."""
        with trio.move_on_after(self._write_timeout) as limit:
            if isinstance(event, StreamClosed):
                await self._reset_unfinished(event.stream_id)
            await self.stream_send(event)
        if limit.cancelled_caught:
            await self._reset(event.stream_id, ErrorCodes.CANCEL)
            await self._close_stream(event.stream_id)

    async def _reset_unfinished(self, stream_id: int) -> None:
        """Reset the stream of an answer without its end. Hypercorn leaves the client waiting for that."""
        buffer = self._buffers.get(stream_id)
        if buffer is None or buffer.is_closed:
            return
        if buffer.has_data:
            await buffer.drain()
        await self._reset(stream_id, ErrorCodes.INTERNAL_ERROR)

    async def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        with contextlib.suppress(ProtocolError):  # it has closed by itself
            self.connection.reset_stream(stream_id, code)
        await self._drop(stream_id)
        await self._flush()

    async def _drop(self, stream_id: int) -> None:
        """Let go of what waits to be sent on a stream that was reset, and of whoever waits for that."""
        if (buffer := self._buffers.get(stream_id)) is not None:
            await buffer.close()
        await self._window_updated(stream_id)  # wakes the sending task, which drops the stream

    async def _skip(self, event: DataReceived) -> None:
        """Drop a piece of body that comes after its answer. Hypercorn raises ``KeyError`` and loses the connection."""
        stream_id = _id(event)
        with contextlib.suppress(ProtocolError):
            self.connection.acknowledge_received_data(event.flow_controlled_length or 0, stream_id)
            if stream_id not in self._buffers:  # our side has ended: RFC 9113, section 8.1
                self.connection.reset_stream(stream_id, ErrorCodes.NO_ERROR)


async def speak_http2(context: ConnectionContext, connection: ClientConnection) -> None:
    """Let a connection speak HTTP/2 from here on."""
    connection.protocol = protocol = Http2(context, connection.send)
    await protocol.initiate()


def _id(event: RequestReceived | DataReceived) -> int:
    assert event.stream_id is not None
    return event.stream_id


def _is_readable(event: RequestReceived) -> bool:
    """Return false for a request without what Hypercorn looks for: a CONNECT to another host (RFC 9113, section 8.5)
    has no path."""
    line = {name: value for name, value in event.headers or () if name in (b":method", b":path")}
    return len(line) == 2 and all(value.isascii() for value in line.values())
