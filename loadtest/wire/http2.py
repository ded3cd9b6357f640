"""HTTP/2 (RFC 9113): many exchanges at a time on one connection, with the time of each read.

h2 reads and writes the frames. The windows are large, so that the client's flow control does not slow the server. An
event costs about four times more than with HTTP/1.1.
"""

import contextlib
from collections.abc import Mapping
from typing import Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import trio

from loadtest.wire.address import ServerAddress
from loadtest.wire.answers import (
    AnswerTaker,
    Decompressor,
    Fault,
    OutgoingRequest,
    ResponseHead,
    WireError,
    decompressor_for,
)
from loadtest.wire.transport import TimedTransport

WINDOW: Final = 2**24  # bytes that a stream may send before an acknowledgement
CONNECTION_WINDOW: Final = 2**30
SHOWN: Final = 40  # characters of a wrong status to show
IDLE_BYTES: Final = 128 * 1024  # bytes in a row without any part of an answer
SETTINGS_AT: Final = 3  # position of the type of the first frame, which must be SETTINGS (RFC 9113, section 3.4)
NOT_H2: Final = "the server does not support HTTP/2"
LEAVING: Final = "the server closes the connection (GOAWAY)"
_HOP_BY_HOP: Final = frozenset(("connection", "host", "keep-alive", "transfer-encoding", "upgrade"))


class OpenUntilClosed(h2.connection.H2ConnectionStateMachine):
    """A state machine that keeps streams open after GOAWAY.

    For h2, GOAWAY ends all streams. By RFC 9113, section 6.8, those up to the last one that it lists continue
    (python-hyper/h2#1181). nginx sends it with every thousandth request.
    """

    def process_input(self, input_: h2.connection.ConnectionInputs) -> list[h2.events.Event]:
        return [] if input_ is h2.connection.ConnectionInputs.RECV_GOAWAY else super().process_input(input_)


class SharedConnection:
    """One connection with up to ``most`` simultaneous exchanges, or as many as the server allows."""

    def __init__(self, transport: TimedTransport, address: ServerAddress, most: int) -> None:
        self._transport = transport
        self._address = address
        self._most = most
        self._frames = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
        self._frames.state_machine = OpenUntilClosed()
        self._open: dict[int, Http2Stream] = {}
        self._reserved = 0  # streams that were handed out and have not begun
        self._ready = trio.Event()  # the server has sent its settings
        self._room = trio.Event()  # the server may accept more data
        self._fault: WireError | None = None
        self._leaving = False  # the server accepts no new streams
        self._flushed = trio.Event()
        self._flushed.set()
        self._unsent = b""  # frames from h2 that are not sent yet
        self._first = b""  # bytes received
        self._idle_bytes = 0  # received since the last part of an answer or our last frame
        self.answered = False  # at least one exchange

    @classmethod
    async def open(cls, transport: TimedTransport, address: ServerAddress, most: int) -> "SharedConnection":
        """Open a connection over ``transport``. Raises ``WireError`` and closes the transport then."""
        self = cls(transport, address, most)
        try:
            await self._start_connection()
        except BaseException:
            self.close()
            raise
        return self

    async def _start_connection(self) -> None:
        if self._address.secure and self._transport.protocol != "h2":
            raise WireError("tls", f"{NOT_H2}: it agreed on {self._transport.protocol or 'nothing'}")
        self._frames.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
            },
        )
        self._frames.initiate_connection()
        self._frames.increment_flow_control_window(CONNECTION_WINDOW)
        self._transport.listen(self._receive, self._connection_broke)
        await self.flush()
        await self._ready.wait()
        if self._fault is not None:
            raise self._fault

    @property
    def is_idle(self) -> bool:
        return not self._open and not self._reserved

    @property
    def is_useless(self) -> bool:
        """True if no stream is open and none can begin."""
        return self.is_idle and not self._has_room

    @property
    def _has_room(self) -> bool:
        most = min(self._most, self._frames.remote_settings.max_concurrent_streams)
        return self._fault is None and not self._leaving and len(self._open) + self._reserved < most

    def stream(self) -> "Http2Stream | None":
        """Reserve a stream for one exchange, or return ``None`` if there is no room."""
        if not self._has_room:
            return None
        self._reserved += 1
        return Http2Stream(self)

    def refusal(self) -> WireError:
        """Return the reason why a new connection accepts no stream."""
        return self._fault or WireError("closed", LEAVING if self._leaving else "the server allows no streams")

    def close(self) -> None:
        self._fail(WireError("closed", "we closed it"), trio.current_time())

    # Outgoing data

    async def begin(self, stream: "Http2Stream", request: OutgoingRequest) -> None:
        """Send a request on a new stream. Raises nothing: the taker receives the fault."""
        self._reserved -= 1
        number = stream.number = self._frames.get_next_available_stream_id()
        try:
            self._frames.send_headers(number, _request_fields(self._address, request), end_stream=not request.body)
        except h2.exceptions.ProtocolError as error:
            stream.unread = True
            stream.end(WireError("closed", f"the server accepts no more streams: {error}"), trio.current_time())
            return
        self._open[number] = stream
        stream.unsent = bool(request.body)
        await self.flush()
        rest = memoryview(request.body)
        while rest and number in self._open:
            room = min(self._frames.local_flow_control_window(number), self._frames.max_outbound_frame_size)
            if room <= 0:
                if self._room.is_set():
                    self._room = trio.Event()
                await self._room.wait()
                continue
            self._frames.send_data(number, rest[:room].tobytes(), end_stream=len(rest) <= room)
            rest = rest[room:]
            stream.unsent = bool(rest)
            self._idle_bytes = 0  # the next data may be a window update
            await self.flush()

    def give_up(self, stream: "Http2Stream") -> None:
        """Cancel the stream, because no one waits for its answer."""
        if not stream.number:
            self._reserved -= 1
        elif self._open.pop(stream.number, None) is not None and self._fault is None:
            self._reset(stream.number)
            self._flush_soon()

    def _reset(self, number: int) -> None:
        with contextlib.suppress(h2.exceptions.ProtocolError):  # the server has already reset it
            self._frames.reset_stream(number, h2.errors.ErrorCodes.CANCEL)

    async def flush(self) -> None:
        """Wait until all frames are sent.

        A cancellation here does not stop the sending, because the frames may belong to other streams.
        """
        self._flush_soon()
        await self._flushed.wait()

    def _flush_soon(self) -> None:
        if self._flushed.is_set():
            self._flushed = trio.Event()
            trio.lowlevel.spawn_system_task(self._flush_all)

    async def _flush_all(self) -> None:
        try:
            while data := self._outgoing_bytes():
                await self._transport.send((data,))
        finally:
            self._flushed.set()

    def _outgoing_bytes(self) -> bytes:
        data = self._unsent + self._frames.data_to_send()
        self._unsent = b""
        return data

    # Incoming data

    def _receive(self, data: bytes, at: float) -> None:
        if self._fault is not None:
            return
        if len(self._first) <= SETTINGS_AT:
            self._first += data[: SETTINGS_AT + 1]
        if not data or self._first[SETTINGS_AT : SETTINGS_AT + 1] not in (b"", _SETTINGS):
            self._fail(self._protocol_error("closed", "in the middle of its answer"), at)
            return
        self._unsent = self._outgoing_bytes()  # h2 would drop it on GOAWAY
        try:
            events = self._frames.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self._fail(self._protocol_error("not http", _error_text(error)), at)
            return
        for stream in {
            number: self._open[number] for event in events if (number := _stream_number(event)) in self._open
        }.values():
            stream.reads += 1
        self._idle_bytes = 0 if any(map(_belongs_to_answer, events)) else self._idle_bytes + len(data)
        for event in events:
            self._handle_event(event, at)
        if self._idle_bytes > IDLE_BYTES:
            self._fail(WireError("not http", f"more than {IDLE_BYTES // 1024} KiB of frames without a response"), at)
        self._flush_soon()

    def _protocol_error(self, fault: Fault, detail: str) -> WireError:
        return WireError(fault, detail) if self._ready.is_set() else WireError("not http", NOT_H2)

    def _handle_event(self, event: h2.events.Event, at: float) -> None:
        stream = self._open.get(_stream_number(event))
        match event:
            case h2.events.RemoteSettingsChanged():
                self._ready.set()
                self._room.set()
            case h2.events.WindowUpdated():
                self._room.set()
            case h2.events.ConnectionTerminated():
                self._handle_goaway(event, at)
            case h2.events.DataReceived():
                self._frames.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if stream is not None:
                    stream.take_data(event.data, at)
            case h2.events.ResponseReceived() if stream is not None:
                self.answered = True
                stream.take_head({_decode_text(name): _decode_text(value) for name, value in event.headers}, at)
            case h2.events.StreamEnded() if stream is not None:
                del self._open[event.stream_id]
                if stream.unsent:  # it would otherwise stay half open and count against the limit of streams
                    self._reset(event.stream_id)
                stream.end(None, at)
            case h2.events.StreamReset() if stream is not None:
                del self._open[event.stream_id]
                stream.unread = event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
                stream.end(WireError("reset", f"the server reset the stream: {_error_code_name(event.error_code)}"), at)
                self._room.set()

    def _handle_goaway(self, event: h2.events.ConnectionTerminated, at: float) -> None:
        """Handle GOAWAY: the server did not process the streams after the last one that it lists."""
        self._leaving = True
        for number in [number for number in self._open if number > (event.last_stream_id or 0)]:
            stream = self._open.pop(number)
            stream.unread = True
            stream.end(WireError("closed", f"{LEAVING}: {_error_code_name(event.error_code)}"), at)
        self._room.set()

    def _connection_broke(self, error: OSError, at: float) -> None:
        self._fail(WireError("reset", error.strerror or str(error)), at)

    def _fail(self, error: WireError, at: float) -> None:
        self._fault = self._fault or error
        streams, self._open = self._open, {}
        for stream in streams.values():
            stream.end(error, at)
        self._ready.set()
        self._room.set()
        self._transport.close()  # reading would otherwise continue


class Http2Stream:
    """One exchange on a shared connection.

    ``reads`` counts reads with a part of it, ``received`` the bytes of its content.
    """

    is_paced = False

    def __init__(self, connection: SharedConnection) -> None:
        self._connection = connection
        self._taker: AnswerTaker | None = None
        self._unpack: Decompressor | None = None
        self.number = 0
        self.used = connection.answered
        self.unread = False  # the server stated that it did not process the request
        self.unsent = False  # a part of the request is not sent yet
        self.reads = self.received = 0

    async def ask(self, request: OutgoingRequest, taker: AnswerTaker) -> None:
        """Send a request, as ``TimedConnection.ask`` does."""
        self._taker = taker
        await self._connection.begin(self, request)

    def resume(self) -> None:
        pass

    def close(self) -> None:
        """Stop, without another call of the taker."""
        self._taker = None
        self._connection.give_up(self)

    def take_head(self, headers: Mapping[str, str], at: float) -> None:
        try:
            head = ResponseHead(_parse_status(headers[":status"]), headers, "2")
            self._unpack = decompressor_for(head)
        except WireError as error:
            self.end(error, at)
            return
        if self._taker is not None:
            self._taker.take_head(head, at)

    def take_data(self, data: bytes, at: float) -> None:
        self.received += len(data)
        if self._taker is None or not data:
            return
        try:
            self._taker.take_content(data if self._unpack is None else self._unpack.feed(data), at)
        except WireError as error:
            self.end(error, at)

    def end(self, fault: WireError | None, at: float) -> None:
        taker, self._taker = self._taker, None
        if taker is None:
            return
        if fault is None:
            taker.take_end(at)
        else:
            taker.take_fault(fault, at)


_SETTINGS: Final = b"\x04"
_OF_ANSWERS: Final = (
    h2.events.ResponseReceived,
    h2.events.DataReceived,
    h2.events.TrailersReceived,
    h2.events.StreamEnded,
    h2.events.StreamReset,
)


def _belongs_to_answer(event: h2.events.Event) -> bool:
    return isinstance(event, _OF_ANSWERS) and not (isinstance(event, h2.events.DataReceived) and not event.data)


def _error_text(error: h2.exceptions.ProtocolError) -> str:
    """Return the text of an error. For a missing stream, h2 reports only its number."""
    if isinstance(error, h2.exceptions.NoSuchStreamError):
        return f"a frame of the unknown stream {error.stream_id}"
    return str(error)


def _stream_number(event: h2.events.Event) -> int:
    return getattr(event, "stream_id", 0) or 0


def _parse_status(said: str) -> int:
    """Parse a status, which h2 does not check. Raises ``WireError``."""
    if not (len(said) == 3 and said.isascii() and said.isdigit()):
        raise WireError("not http", f"its status is {said[:SHOWN]!r}")
    return int(said)


def _error_code_name(code: object) -> str:
    return code.name if isinstance(code, h2.errors.ErrorCodes) else str(code)


def _request_fields(address: ServerAddress, request: OutgoingRequest) -> list[tuple[str, str]]:
    own = [
        (":method", request.method),
        (":scheme", "https" if address.secure else "http"),
        (":authority", address.authority),
        (":path", request.path),
        ("accept-encoding", "identity"),
        ("content-length", str(len(request.body))),
    ]
    return own + [(name.lower(), value) for name, value in request.headers if name.lower() not in _HOP_BY_HOP]


def _decode_text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
