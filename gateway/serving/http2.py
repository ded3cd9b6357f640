"""Client connections over HTTP/2. Every private or subclassed piece of Hypercorn's HTTP/2 lives here."""

import contextlib
from typing import Final

import hypercorn.protocol.h2
import trio
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamReset
from h2.events import Event as H2Event
from h2.exceptions import ProtocolError
from hypercorn.events import Closed, Event, Updated
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import StreamClosed

WRITE_TIMEOUT: Final = 30.0


class StreamBuffer(hypercorn.protocol.h2.StreamBuffer):
    """What waits to be sent on one HTTP/2 stream."""

    async def pop(self, max_length: int) -> bytes:
        """Makes room known when there is room. Hypercorn does it too when the client's window lets little or nothing
        pass, and the buffer of a client that does not read grows without end."""
        data = bytes(self.buffer[:max_length])
        del self.buffer[:max_length]
        if len(self.buffer) < hypercorn.protocol.h2.BUFFER_LOW_WATER:
            await self._paused.set()
        if not self.buffer:
            await self._is_empty.set()
        return data


class H2Protocol(hypercorn.protocol.h2.H2Protocol):
    """One HTTP/2 connection."""

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        if isinstance(event, Closed):
            # Whoever waits for room in a buffer must learn that there will never be any.
            for buffer in tuple(self.stream_buffers.values()):
                await buffer.close()

    async def stream_send(self, event: StreamEvent) -> None:
        # A client may keep its window shut for ever, which TCP_USER_TIMEOUT does not see.
        with trio.move_on_after(getattr(self.config, "write_timeout", WRITE_TIMEOUT)) as limit:
            if isinstance(event, StreamClosed):
                await self._reset_unfinished(event.stream_id)
            await super().stream_send(event)
        if limit.cancelled_caught:
            await self._reset(event.stream_id, ErrorCodes.CANCEL)
            await self._close_stream(event.stream_id)

    async def _reset_unfinished(self, stream_id: int) -> None:
        """Hypercorn leaves the client waiting when the app ends without the end of its answer."""
        buffer = self.stream_buffers.get(stream_id)
        if buffer is None or buffer._complete:
            return
        if buffer.buffer:
            await buffer.drain()
        await self._reset(stream_id, ErrorCodes.INTERNAL_ERROR)

    async def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        with contextlib.suppress(ProtocolError):  # it has closed by itself
            self.connection.reset_stream(stream_id, code)
        await self._drop(stream_id)
        await self._flush()

    async def _drop(self, stream_id: int) -> None:
        """Let go of what waits to be sent on a stream that was reset, and of whoever waits for that."""
        if (buffer := self.stream_buffers.get(stream_id)) is not None:
            await buffer.close()
        await self._window_updated(stream_id)  # wakes the sending task, which drops the stream

    async def _handle_events(self, events: list[H2Event]) -> None:
        for event in events:
            if isinstance(event, DataReceived) and event.stream_id not in self.streams:
                await self._skip(event)
            elif isinstance(event, RequestReceived) and not _is_readable(event):
                await self._reset(_id(event), ErrorCodes.PROTOCOL_ERROR)  # Hypercorn raises and loses the connection
            else:
                await super()._handle_events([event])
            if isinstance(event, StreamReset):
                await self._drop(event.stream_id or 0)
                if self.idle:  # Hypercorn re-arms the idle timer only after a whole answer
                    await self.send(Updated(idle=True))
        await self._flush()

    async def _skip(self, event: DataReceived) -> None:
        """Body that comes after its answer: Hypercorn raises ``KeyError`` and loses the connection."""
        stream_id = _id(event)
        with contextlib.suppress(ProtocolError):
            self.connection.acknowledge_received_data(event.flow_controlled_length or 0, stream_id)
            if stream_id not in self.stream_buffers:  # our side has ended: RFC 9113, section 8.1
                self.connection.reset_stream(stream_id, ErrorCodes.NO_ERROR)


def _id(event: RequestReceived | DataReceived) -> int:
    assert event.stream_id is not None
    return event.stream_id


def _is_readable(event: RequestReceived) -> bool:
    """Whether Hypercorn finds what it looks for: a CONNECT to another host (RFC 9113, section 8.5) has no path."""
    line = {name: value for name, value in event.headers or () if name in (b":method", b":path")}
    return len(line) == 2 and all(value.isascii() for value in line.values())
