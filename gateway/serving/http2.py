"""A client's HTTP/2 connection: Hypercorn's protocol with this server's requests, buffers and time limits."""

import contextlib
import logging
import re
from collections.abc import Callable, Iterable
from functools import partial
from types import NoneType
from typing import Any, Final, TypeAlias, cast

import trio
from h2.errors import ErrorCodes
from h2.events import DataReceived, PriorityUpdated, RequestReceived, StreamReset
from h2.events import Event as Http2Event
from h2.exceptions import InvalidBodyLengthError, ProtocolError
from h2.settings import SettingCodes
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import filter_pseudo_headers
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, SettingsFrame

from gateway.http.late_imports import load_module
from gateway.http.turns import take_turn
from gateway.serving.connections import ClientConnection, ConnectionContext
from gateway.serving.frame_limits import SECONDS, FrameCounter, FrameLimit
from gateway.serving.http2_streams import HIGH_WATER, EventSender, Http2Request, Http2Stream, SendBuffer
from gateway.serving.hypercorn_settings import SETTINGS
from gateway.serving.request_reader import MAX_LINES

log = logging.getLogger("trigate.connections")

FAREWELL_SECONDS: Final = 1.0
"""Seconds in which a client's bytes are dropped before its connection is closed; closing immediately would be a reset,
which loses the frame with the reason."""

IMMEDIATE_SECONDS: Final = 5.0
"""The longest wait of an immediate response, which usually fits into the client's window."""
MAX_UNREAD: Final = 8
"""Immediate responses of a connection that may wait at the same time; the streams of more are reset."""

MAX_ABANDONED: Final = 8
"""Requests of a connection, without a slot, that may still run after their streams were reset."""
ABANDONED_SECONDS: Final = 1.0
"""The longest wait for their end, until which nothing more is read from the client."""

Receive: TypeAlias = Callable[[Frame], tuple[list[Frame], list[Http2Event]]]
"""Handles a received frame, and returns the frames to send and the events."""

HEADER_TABLE: Final = 4096
"""The most bytes of the table with which the headers of responses are compressed (RFC 7541, section 4.2): the default.
A client may permit 4 GiB, which its responses would fill."""

ALL_STREAMS: Final = 2**31 - 1
"""The last stream of a GOAWAY that rejects none."""

MORE_WINDOW: Final = 16 * 2**20
"""Bytes by which the connection's window exceeds a stream's. All streams together leave less unread (7 MiB), and h2
returns the window in halves: a body or a websocket that is not read delays no other stream."""


class CompressionError(ProtocolError):
    """A head that cannot be decompressed, so that no later one can be, either (RFC 9113, section 4.3)."""

    error_code = ErrorCodes.COMPRESSION_ERROR


class Http2(H2Protocol):
    """One HTTP/2 connection."""

    def __init__(self, connection: ConnectionContext, client: ClientConnection) -> None:
        server = connection.server
        super().__init__(
            cast("Any", server.app), SETTINGS, WorkerContext(None), cast("Any", connection.tasks),
            ConnectionState({}), connection.is_secure, connection.client, connection.local, self._pass_to_connection,
        )  # fmt: skip
        self._client = client
        self._context = connection
        self._write_timeout = server.config.write_timeout
        self._counter = FrameCounter()
        self._abandoned = 0  # requests whose streams were reset, and whose apps still run
        self._abandoned_ended = trio.Event()  # one of them has ended
        self._unread: set[int] = set()  # streams whose immediate responses wait for the client's window
        self._has_announced_goaway = self._has_sent_goaway = False
        self._buffers = cast("dict[int, SendBuffer]", self.stream_buffers)
        handlers = self.connection._frame_dispatch_table
        self._receive_goaway_with_error = handlers[GoAwayFrame]
        handlers[GoAwayFrame] = self._receive_goaway
        for kind in (HeadersFrame, DataFrame):
            handlers[kind] = partial(self._reset_malformed, handlers[kind])
        handlers[SettingsFrame] = partial(_receive_settings, handlers[SettingsFrame])

    async def begin(self) -> None:
        """Send the settings. The client's bytes may follow."""
        await self.initiate()
        self.connection.increment_flow_control_window(MORE_WINDOW)
        await self._flush()
        # At one stream too many, h2 would end the connection with all its streams. A client may open any number before
        # it has the settings; ``_create_stream`` rejects the last ones.
        self.connection.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = ALL_STREAMS
        self.connection.local_settings.acknowledge()

    # h2 ends the connection with all its streams (https://github.com/python-hyper/h2/issues/1181). The AWS SDK for
    # JavaScript sends GOAWAY with every stream of events, as soon as it has the head of the response.
    def _receive_goaway(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Http2Event]]:
        """Let the open streams continue, unless the client reports an error: after GOAWAY without one it closes the
        connection itself, once it has read them (RFC 9113, section 6.8)."""
        return ([], []) if frame.error_code == ErrorCodes.NO_ERROR else self._receive_goaway_with_error(frame)

    # h2 ends the connection, which may be a proxy's with the requests of many users.
    def _reset_malformed(self, receive: Receive, frame: Frame) -> tuple[list[Frame], list[Http2Event]]:
        """Receive a frame; of a malformed request, reset the stream (RFC 9113, section 8.1.1). The others continue."""
        try:
            return receive(frame)
        except ProtocolError as error:
            stream = self.connection.streams.get(frame.stream_id)
            is_of_stream = type(error) in (ProtocolError, InvalidBodyLengthError)
            has_cause = type(error.__cause__) not in (NoneType, ValueError)
            if is_of_stream and has_cause and isinstance(frame, HeadersFrame):
                raise CompressionError(str(error)) from error
            if not is_of_stream or has_cause or stream is None or stream.closed:
                raise
        self.connection.reset_stream(frame.stream_id, ErrorCodes.PROTOCOL_ERROR)
        if isinstance(frame, DataFrame):
            self.connection.acknowledge_received_data(frame.flow_controlled_length, frame.stream_id)
        return [], [StreamReset(stream_id=frame.stream_id, error_code=ErrorCodes.PROTOCOL_ERROR, remote_reset=False)]

    async def leave(self) -> None:
        await self.handle(Closed())
        for buffer in tuple(self._buffers.values()):  # wakes writers that wait for room
            await buffer.close()

    # Hypercorn handles all events of a read together. Two kinds would end the whole connection: a body after its
    # response (https://github.com/pgjones/hypercorn/issues/329), and a request without a path. Also, a reset does not
    # count as idleness there.
    async def receive(self, data: bytes) -> None:
        if self.closed or not await self._is_within_limits(self._counter.receive(data, trio.current_time())):
            return
        start = 0
        for end in self._counter.cuts:
            await self._receive(data[start:end])
            await take_turn()
            start = end
        await self._receive(data[start:] if start else data)

    def farewell(self) -> bytes:
        """Return a GOAWAY, unless one was sent: the client may send a request that it does not list again (RFC 9113,
        section 6.8)."""
        if not self._has_sent_goaway:
            with contextlib.suppress(ProtocolError):  # already closed
                self.connection.close_connection()
        return self.connection.data_to_send()

    async def _receive(self, data: bytes) -> None:
        """Handle the frames in ``data``, unless earlier ones have ended the connection."""
        if self.closed:
            return
        try:
            events = self.connection.receive_data(data)
        except ProtocolError:
            await self._flush()
            await self.send(Closed())
            return
        await self._handle_all(events)
        await self._flush()

    async def _handle_all(self, events: Iterable[Http2Event]) -> None:
        for event in events:
            if self.closed:  # by an earlier event
                return
            await self._handle_event(event)
            if isinstance(event, RequestReceived):  # a read may contain a hundred; let other streams continue
                await trio.lowlevel.checkpoint()

    async def _is_within_limits(self, exceeded: FrameLimit | None) -> bool:
        """Return true unless a frame limit was ``exceeded``, which ends the connection."""
        if exceeded is None:
            return True
        if not self.closed:
            name, max_frames = exceeded.name, exceeded.max_frames
            log.warning(
                "closed the connection of %s: more than %d %s frames in %d s", self.client, max_frames, name, SECONDS
            )
            with contextlib.suppress(ProtocolError):  # the client has also closed it
                self.connection.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
            await self.leave()
            self.task_group.spawn(self._flush)
            self.task_group.spawn(self._drop_until_closed)
        return False

    async def _drop_until_closed(self) -> None:
        await trio.sleep(FAREWELL_SECONDS)
        await self.send(Closed())

    # Replaces Hypercorn's, whose tree clients can fill with streams that they never open. Priorities may be ignored
    # (RFC 9113, section 5.3.2).
    async def _priority_updated(self, event: PriorityUpdated) -> None:
        pass

    async def _handle_event(self, event: Http2Event) -> None:
        reset = self.streams.get(event.stream_id) if isinstance(event, StreamReset) else None
        if isinstance(event, DataReceived) and event.stream_id not in self.streams:
            await self._skip(event)
        elif isinstance(event, DataReceived) and (stream := self._paced_stream(event.stream_id)) is not None:
            await self._defer_window(event, stream)
        elif isinstance(event, RequestReceived) and not _is_readable(event):
            # Hypercorn raises and loses the connection.
            await self._reset_for_client_error(_id(event), ErrorCodes.PROTOCOL_ERROR)
        else:
            await self._handle_events([event])
        if isinstance(event, StreamReset):
            self._count_abandoned(reset)
            await self._drop(event.stream_id or 0)
            if not event.remote_reset:
                await self._is_within_limits(self._counter.count_provoked_reset(trio.current_time()))
        if isinstance(event, StreamReset | RequestReceived) and self.idle:
            # Hypercorn restarts the idle timer only after a whole response.
            await self.send(Updated(idle=True))

    def _paced_stream(self, stream_id: int | None) -> Http2Stream | None:
        """Return the stream if it returns the client's window itself."""
        stream = cast("Any", self.streams.get(stream_id or 0))
        is_paced = not isinstance(stream, Http2Request) or stream.backlog.is_paced  # as each websocket
        return stream if is_paced else None

    async def _defer_window(self, event: DataReceived, stream: Http2Stream) -> None:
        """Return the client's window when the app has taken the data. Hypercorn returns it immediately, so that a
        slowly read body would fill the app's queue."""
        stream_id, data = _id(event), event.data or b""
        if isinstance(stream, Http2Request):
            stream.backlog.on_taken = partial(self._return_window, stream_id)
        self._return_window(stream_id, (event.flow_controlled_length or 0) - len(data))
        await stream.handle(Body(stream_id=stream_id, data=data))

    def _return_window(self, stream_id: int, size: int) -> None:
        if size > 0:
            with contextlib.suppress(ProtocolError):  # the stream or the connection has ended
                self.connection.acknowledge_received_data(size, stream_id)
                self.task_group.spawn(self._flush)

    # Replaces Hypercorn's, which has its own streams and buffers and no setting for others.
    async def _create_stream(self, request: RequestReceived) -> None:
        stream_id, line = _id(request), dict(request.headers or ())
        method, target = line[b":method"].decode("ascii").upper(), line[b":path"]
        websockets = await load_module("gateway.websockets.over_http2") if method == "CONNECT" else None
        if not self._has_room() or not await self._wait_for_abandoned():
            await self._reset_for_client_error(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        await self._announce_goaway()
        headers = filter_pseudo_headers(list(request.headers or ()))
        self._buffers[stream_id] = SendBuffer()
        self.priority.insert_stream(stream_id)
        self.priority.block(stream_id)
        if websockets is not None:
            websocket = websockets.QueuedWebSocket(
                self._context, stream_id, self._send_in_time, partial(self._return_window, stream_id)
            )
            self.streams[stream_id] = cast("Any", websocket)
            websocket.begin(target, headers)
        else:
            stream = Http2Request(self._context, EventSender(stream_id, self._send_in_time))
            self.streams[stream_id] = cast("Any", stream)
            is_waiting = line.get(b"expect", b"").lower() == b"100-continue" and request.stream_ended is None
            stream.begin(
                method, "2", target, headers, partial(self._send_continue, stream_id, stream) if is_waiting else None
            )

    async def _send_continue(self, stream_id: int, stream: Http2Request) -> None:
        """Ask a client that waits for 100 (Continue) to send its body."""
        if stream_id in self.streams and not stream.has_response:
            with contextlib.suppress(ProtocolError):  # the client has reset the stream
                self.connection.send_headers(stream_id, [(b":status", b"100")])
            await self._flush()

    def _has_room(self) -> bool:
        """Return whether the client may open another stream. Some of ``streams`` have ended for it."""
        most = self.config.h2_max_concurrent_streams
        if len(self.streams) < most:
            return True
        known = self.connection.streams
        return sum(number in known and known[number].open for number in self.streams) < most

    def _count_abandoned(self, stream: object) -> None:
        """Count the request of a reset stream as abandoned until its app ends.

        A request with a slot may continue for its provider's response (``on_disconnect: finish``).
        """
        if isinstance(stream, Http2Request) and stream.is_running and not stream.was_left_with_slot:
            self._abandoned += 1
            stream.on_end = self._end_abandoned

    def _end_abandoned(self) -> None:
        self._abandoned -= 1
        self._abandoned_ended.set()

    async def _wait_for_abandoned(self) -> bool:
        """Wait until few abandoned requests run, and return whether that took a short time.

        A client may open a stream in the place of one that it has reset. Without this limit, any number of requests
        would run at the same time (CVE-2023-44487)."""
        with trio.move_on_after(ABANDONED_SECONDS):
            while self._abandoned > MAX_ABANDONED:
                self._abandoned_ended = trio.Event()
                await self._abandoned_ended.wait()
        return self._abandoned <= MAX_ABANDONED

    async def _send_in_time(self, event: StreamEvent) -> None:
        """Send a stream's event, unless the client never opens its window, which TCP_USER_TIMEOUT does not notice. A
        response to a rejected request does not wait for it."""
        stream_id = event.stream_id
        stream = cast("Http2Stream | None", self.streams.get(stream_id))
        is_immediate = stream is not None and stream.is_immediate
        if isinstance(event, Body):
            if is_immediate and not self._fits_window(stream_id, len(event.data)) and not self._may_wait(stream_id):
                await self._reset_for_client_error(stream_id, ErrorCodes.ENHANCE_YOUR_CALM)
                await self._close_unread_stream(stream_id)
                return
            self._counter.count_sent(len(event.data))
        with trio.move_on_after(IMMEDIATE_SECONDS if is_immediate else self._write_timeout) as limit:
            if isinstance(event, StreamClosed):
                await self._reset_unfinished(stream_id)
            await self.stream_send(event)
        if limit.cancelled_caught:
            await self._reset(stream_id, ErrorCodes.CANCEL)
            await self._close_unread_stream(stream_id)

    def _fits_window(self, stream_id: int, size: int) -> bool:
        """Return whether ``size`` bytes fit into the client's window, or exceed any window.

        A list or a page may exceed it: its client has a moment to read."""
        try:
            return size > HIGH_WATER or size <= self.connection.local_flow_control_window(stream_id)
        except ProtocolError:  # the stream has ended, as its next send will notice
            return True

    def _may_wait(self, stream_id: int) -> bool:
        """Return whether an immediate response may wait for the client's window, because few others do."""
        self._unread &= self.streams.keys()
        if len(self._unread) < MAX_UNREAD:
            self._unread.add(stream_id)
        return stream_id in self._unread

    # Hypercorn's own goodbye may come between the last data and the end of a response, which is then lost. So its
    # context never reports that the server stops.
    async def _send_data(self, stream_id: int) -> None:
        await super()._send_data(stream_id)
        if self._context.server.registry.draining:
            await self._send_goaway()

    async def _pass_to_connection(self, event: Event) -> None:
        """Pass ``event`` to the connection, which ends an idle one while the process stops."""
        if isinstance(event, RawData):
            await self._client.send(event.data)
        elif isinstance(event, Closed):
            await self._client.close()
        elif isinstance(event, Updated) and event.idle and self._context.server.registry.draining:
            await self._send_goaway()
        elif isinstance(event, Updated):
            self._client.set_idle(event.idle)

    async def _announce_goaway(self) -> None:
        """Ask a client that opens another stream during the drain to open more on other connections.

        Its connection, such as a proxy's with the requests of many users, may have open streams until the drain ends,
        which would cut them. The announcement rejects no stream (RFC 9113, section 6.8). h2 would close the connection.
        A connection without other streams gets no announcement, because some clients lose their streams with it
        (https://github.com/python-hyper/h2/issues/1181)."""
        if self.streams and not self._has_announced_goaway and self._context.server.terminated.is_set():
            self._has_announced_goaway = True
            await self._client.send(GoAwayFrame(0, last_stream_id=ALL_STREAMS).serialize())

    async def _send_goaway(self) -> None:
        """Send GOAWAY once all responses are sent, so that the client's next request uses another connection (RFC 9113,
        section 6.8)."""
        if self._has_sent_goaway or self._buffers or not self.idle:
            return
        self._has_sent_goaway = True
        with contextlib.suppress(ProtocolError):  # already closed
            self.connection.close_connection()
        await self._flush()
        self._client.set_idle(True)

    async def _close_unread_stream(self, stream_id: int) -> None:
        """Close the stream of a response that the client did not read in time."""
        await self._close_stream(stream_id)
        if self.idle:
            await self.send(Updated(idle=True))

    async def _reset_unfinished(self, stream_id: int) -> None:
        """Reset the stream of an incomplete response. Hypercorn leaves the client waiting."""
        buffer = self._buffers.get(stream_id)
        if buffer is None or buffer.is_closed:
            return
        if buffer.has_data:
            await buffer.drain()
        await self._reset(stream_id, ErrorCodes.INTERNAL_ERROR)

    async def _reset(self, stream_id: int, code: ErrorCodes) -> None:
        with contextlib.suppress(ProtocolError):  # already closed
            self.connection.reset_stream(stream_id, code)
        await self._drop(stream_id)
        await self._flush()

    async def _reset_for_client_error(self, stream_id: int, code: ErrorCodes) -> None:
        await self._reset(stream_id, code)
        await self._is_within_limits(self._counter.count_provoked_reset(trio.current_time()))

    async def _drop(self, stream_id: int) -> None:
        """Drop the waiting bytes of a reset stream, and wake their writer."""
        if (buffer := self._buffers.get(stream_id)) is not None:
            await buffer.close()
        await self._window_updated(stream_id)  # wakes the sending task, which drops the stream

    async def _skip(self, event: DataReceived) -> None:
        """Drop a piece of a request body that arrives after the response.

        Hypercorn raises ``KeyError`` and loses the connection."""
        stream_id = _id(event)
        with contextlib.suppress(ProtocolError):
            self.connection.acknowledge_received_data(event.flow_controlled_length or 0, stream_id)
            if stream_id not in self._buffers:  # this side has ended: RFC 9113, section 8.1
                self.connection.reset_stream(stream_id, ErrorCodes.NO_ERROR)


async def speak_http2(context: ConnectionContext, connection: ClientConnection) -> None:
    """Set HTTP/2 as the protocol of ``connection``, and send its first frames."""
    connection.protocol = protocol = Http2(context, connection)
    await protocol.begin()


def _receive_settings(receive: Receive, frame: SettingsFrame) -> tuple[list[Frame], list[Http2Event]]:
    """Receive the client's settings, with a header table of at most ``HEADER_TABLE`` bytes."""
    if frame.settings.get(SettingsFrame.HEADER_TABLE_SIZE, 0) > HEADER_TABLE:
        frame.settings[SettingsFrame.HEADER_TABLE_SIZE] = HEADER_TABLE
    return receive(frame)


def _id(event: RequestReceived | DataReceived) -> int:
    assert event.stream_id is not None
    return event.stream_id


_VISIBLE: Final = re.compile(rb"[!-~]+")
"""The characters of a path (RFC 3986, section 2). h11 accepts no others either."""


def _is_readable(event: RequestReceived) -> bool:
    """Return whether the request has what Hypercorn needs, and no more than ``MAX_LINES`` headers. A CONNECT is a
    websocket's: one to another host (RFC 9113, section 8.5) has no path, others have another protocol (RFC 8441)."""
    headers = event.headers or ()
    if headers[MAX_LINES:]:
        return False
    line = {name: value for name, value in headers if name in (b":method", b":path", b":protocol")}
    is_known = line.get(b":method") != b"CONNECT" or line.get(b":protocol") == b"websocket"
    return is_known and {b":method", b":path"} <= line.keys() and all(map(_VISIBLE.fullmatch, line.values()))
