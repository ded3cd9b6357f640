"""One exchange: a request and its answer, with the times of all steps.

During the exchange, the answer is only cut into events with their times. Only the first event with content, the end
event and possible errors are parsed. ``content`` reads the rest afterwards, because parsing takes long and would delay
the clocks of other streams.

Over a WebSocket (OpenAI's WebSocket mode of Responses), the request is one message and each event is a message.
"""

import math
import sys
from array import array
from functools import cache
from typing import TYPE_CHECKING, Final

import attrs
import msgspec
import trio

from loadtest.exchange.content import (
    LONGEST,
    NOTHING,
    PIECE,
    AnswerContent,
    error_message,
    read_event,
    read_whole_answer,
)
from loadtest.exchange.record import AnswerTokens, Manner, Phase, Problem
from loadtest.plan.load_endpoints import LoadApi, wire_of
from loadtest.plan.load_request import LoadRequest, TokensSeen
from loadtest.wire.answers import OutgoingRequest, ResponseHead, WireError
from loadtest.wire.connections import Channel, Connections
from loadtest.wire.websocket import HandshakeRefused, TimedWebSocket
from streams.framing import EventSplitter, EventTooComplex, FramingError
from streams.sse import DONE
from streams.structure import TOO_MANY_ELEMENTS
from streams.surrogates import NOT_JSON

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HTTP_OK: Final = 200
HTTP_END_WAIT: Final = 0.2  # seconds to wait for the end of HTTP after the end event
MAX_ANSWER: Final = 64 * 2**20  # bytes of an answer, all kept until it is judged
MAX_EVENTS: Final = 300_000  # events of an answer; judging more takes too long
SLOW_READ_INTERVAL: Final = 0.05  # seconds between two reads of a client that reads slowly
SHORT: Final = 64 * 1024  # bytes: the largest whole answer parsed here, and the longest error body read


class LoadTarget:
    """The state shared by all exchanges with one target.

    An exchange has ``timeout`` seconds from its begin, and ``deadline`` seconds from its planned time. If ``resend`` is
    set, a request on a connection that the server had already closed is sent once more.
    """

    def __init__(
        self, connections: Connections, *, timeout: float, deadline: float = math.inf, resend: bool = True
    ) -> None:
        self.connections = connections
        self.timeout = timeout
        self.deadline = deadline
        self.resend = resend
        self.sockets = WebSocketPool(connections)

    def close(self) -> None:
        """Close the idle connections."""
        self.sockets.close()
        self.connections.close()


@attrs.define(eq=False, repr=False)  # slots, because the caches hold thousands of them
class TimedExchange:
    """One exchange, during it and afterwards. Its times are trio's. It receives its own answer.

    ``planned`` is the planned begin and ``began`` the real one, after ``queued`` seconds of waiting for other requests.
    ``sent`` is the time when the request was written, ``ended`` when reading stopped. ``body`` is the received answer.

    ``complete`` means status 200 and read to the end. ``client_left`` means that the client disconnected early, as
    planned. ``left_open`` means that the end event arrived but HTTP did not end. ``last_event_at`` is the time of the
    last event, or of the begin.

    ``contents`` are the times of the events with generated content. During the exchange it has only the first;
    ``apply_reading`` adds the others, and sets ``first_output``, ``tokens`` and ``finish``.
    """

    request: LoadRequest
    manner: Manner
    planned: float
    queued: float = 0.0
    began: float = attrs.field(init=False, factory=trio.current_time)
    connected: float | None = attrs.field(init=False, default=None)  # seconds to connect
    sent: float | None = attrs.field(init=False, default=None)
    first_byte: float | None = attrs.field(init=False, default=None)
    first_event: float | None = attrs.field(init=False, default=None)
    contents: list[float] = attrs.field(init=False, factory=list)
    first_output: float | None = attrs.field(init=False, default=None)
    end_event: float | None = attrs.field(init=False, default=None)
    last_event_at: float = attrs.field(init=False)
    ended: float = attrs.field(init=False, default=0.0)
    status: int = attrs.field(init=False, default=0)
    headers: "Mapping[str, str]" = attrs.field(init=False, factory=dict)
    reads: int = attrs.field(init=False, default=0)
    received: int = attrs.field(init=False, default=0)
    tokens: AnswerTokens = attrs.field(init=False, factory=AnswerTokens)
    finish: str = attrs.field(init=False, default="")
    has_error: bool = attrs.field(init=False, default=False)  # the answer is an error
    problem: Problem | None = attrs.field(init=False, default=None)
    complete: bool = attrs.field(init=False, default=False)
    client_left: bool = attrs.field(init=False, default=False)
    left_open: bool = attrs.field(init=False, default=False)
    resent: bool = attrs.field(init=False, default=False)
    version: str = attrs.field(init=False, default="")
    phase: Phase = attrs.field(init=False, default="connect")
    _body: bytearray = attrs.field(init=False, factory=bytearray)
    _times: "array[float]" = attrs.field(init=False, factory=lambda: array("d"))  # of each event
    _splitter: EventSplitter | None = attrs.field(init=False, default=None)
    _marks: tuple[bytes, ...] = attrs.field(init=False)
    _leaves_after: float = attrs.field(init=False)  # seconds after the begin
    _tokens_seen: int = attrs.field(init=False)  # or events with content
    _fault: WireError | None = attrs.field(init=False, default=None)
    _answer_ended: trio.Event = attrs.field(init=False, factory=trio.Event)  # the end event arrived
    _response_ended: trio.Event = attrs.field(init=False, factory=trio.Event)  # or HTTP ended
    _scope: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    _sending: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)

    def __attrs_post_init__(self) -> None:
        self.last_event_at = self.began
        self._marks = end_marks_of(self.request.api)
        cancel = self.request.cancel if self.manner == "cancels" else None
        leaving = math.inf if cancel is None else cancel.after
        self._leaves_after, self._tokens_seen = (
            (math.inf, leaving.count) if isinstance(leaving, TokensSeen) else (leaving, sys.maxsize)
        )

    @property
    def body(self) -> bytes:
        return bytes(self._body)

    @property
    def events(self) -> int:
        """The number of events received."""
        return len(self._times)

    @property
    def is_too_large(self) -> bool:
        """True if the answer exceeded a size limit."""
        return self.problem is not None and self.problem.kind == "too large"

    async def run(self, server: LoadTarget, request: OutgoingRequest) -> None:
        """Send the request and read its answer to the end. Only a cancellation raises; ``ended`` is always set."""
        timeout, expires = self.began + server.timeout, self.planned + server.deadline
        leaves = self.began + self._leaves_after
        self._scope.deadline = min(timeout, expires, leaves)
        try:
            with self._scope:
                await self._send_and_read(server, request)
            if not self._scope.cancelled_caught:
                self.complete = self.problem is None and not self.client_left
            elif self.problem is None and leaves < min(timeout, expires):
                self.client_left = True
            elif self.problem is None and expires < timeout:
                self.fail("expired", f"not finished {server.deadline:g} s after its planned start")
            elif self.problem is None:
                self.fail("timeout", f"not finished after {server.timeout:g} s")
        except WireError as error:
            self.fail(error.fault, error.detail)
        finally:
            self.ended = self.ended or trio.current_time()
            self._fault = None  # its traceback refers to this object

    def give_up(self, kind: str, detail: str) -> None:
        """End the exchange immediately with an error."""
        self.fail(kind, detail)
        self._scope.cancel()

    def fail(self, kind: str, detail: str = "") -> None:
        """Record an error in the present phase."""
        self.problem = Problem(kind, self.phase, detail)

    def apply_reading(self, reading: AnswerContent) -> None:
        """Set the times, tokens and finish reason according to the parsed answer."""
        times = self._times
        if self.request.stream:
            self.first_event = self._time_of(reading.first)
            self.contents = [times[number] for number in reading.contents if number < len(times)]
            self.first_output = self._time_of(reading.output)
            self.end_event = self._time_of(reading.end)
        self.tokens = reading.tokens
        self.finish = reading.finish

    def _time_of(self, event: int | None) -> float | None:
        """Return the time of an event, or ``None`` if it never arrived."""
        return self._times[event] if event is not None and event < len(self._times) else None

    async def _send_and_read(self, server: LoadTarget, request: OutgoingRequest) -> None:
        if self.request.websocket:
            await self._run_over_websocket(server, request)
            return
        kept = server.connections.idle_channel() if self.manner != "reads slowly" else None
        connection = kept if kept is not None else await self._connect(server)
        reused = connection.used
        try:
            await self._send_and_receive(server, connection, request)
        except WireError:
            if not (server.resend and reused and connection.unread):
                raise
            # The server closed the idle connection before it read the request. Every client resends such a request.
            self.resent, self._fault = True, None
        if self.resent:
            connection = await self._connect(server)
            await self._send_and_receive(server, connection, request)

    async def _run_over_websocket(self, server: LoadTarget, request: OutgoingRequest) -> None:
        self.phase = "connect"
        try:
            await server.sockets.exchange(request, self)
        except HandshakeRefused as error:
            if error.status == HTTP_OK:  # neither an error nor a WebSocket
                raise
            self.status, self._body = error.status, bytearray(error.body)
        if self._fault is not None:
            raise self._fault
        self._check_status()

    async def _connect(self, server: LoadTarget) -> Channel:
        self.phase = "connect"
        since = trio.current_time()
        connection = await server.connections.open_channel("slowly" if self.manner == "reads slowly" else "as it comes")
        self.connected = trio.current_time() - since
        return connection

    async def _send_and_receive(self, server: LoadTarget, connection: Channel, request: OutgoingRequest) -> None:
        self.phase = "send"
        self._answer_ended, self._response_ended, self._sending = trio.Event(), trio.Event(), trio.CancelScope()
        self.ended = 0.0
        try:
            with self._sending:
                await connection.ask(request, self)
            self.note_sent()
            await self._wait_for_end(connection)
            if self._fault is not None:
                raise self._fault
        finally:
            self.reads += connection.reads
            self.received += connection.received
            server.connections.release(connection)
        self._check_status()

    @property
    def is_answer_over(self) -> bool:
        return self._answer_ended.is_set()

    def note_sending(self) -> None:
        self.phase = "send"

    def note_sent(self) -> None:
        self.sent = trio.current_time()
        if self.phase == "send":
            self.phase = "first byte"

    async def _wait_for_end(self, connection: Channel) -> None:
        """Wait for the end event of the answer, and a moment longer for the end of HTTP."""
        if self.manner == "reads slowly" and self.request.slow is not None:
            await self._read_slowly(connection, self.request.slow.rate)
        await self._answer_ended.wait()
        if not self._response_ended.is_set() and not self.client_left:
            with trio.move_on_after(HTTP_END_WAIT):
                await self._response_ended.wait()
            self.left_open = self.status == HTTP_OK and not self._response_ended.is_set()

    async def _read_slowly(self, connection: Channel, rate: float) -> None:
        since = trio.current_time()
        while not self._answer_ended.is_set():
            with trio.move_on_after(SLOW_READ_INTERVAL):
                await self._answer_ended.wait()
            if connection.received <= rate * (trio.current_time() - since):
                connection.resume()

    def _check_status(self) -> None:
        if self.status != HTTP_OK:
            self.phase = "first byte"
            self.fail(f"status {self.status}", error_message(self.body))
        elif not self.request.stream and len(self._body) <= SHORT:
            self.has_error = read_whole_answer(self.request.api, self.body).error is not None

    # Callbacks of the task that reads the answer

    def take_head(self, head: ResponseHead, first: float) -> None:
        self.first_byte = first
        self.status, self.headers, self.version = head.status, head.headers, head.version
        self.phase = "first token"
        if self.request.stream and head.status == HTTP_OK:
            self._splitter = wire_of(self.request.api).framing.splitter(LONGEST)

    def take_content(self, data: bytes, at: float) -> None:
        body, splitter = self._body, self._splitter
        if self._fault is not None:
            return
        if len(body) + len(data) > MAX_ANSWER:
            self.take_fault(WireError("too large", f"the answer is larger than {MAX_ANSWER // 2**20} MiB"), at)
            return
        self.last_event_at = at
        if splitter is None:
            self._add_to_body(data)
            return
        body += data
        try:
            for start in range(0, len(data), PIECE):  # a compressed piece may expand to millions of events
                self._record_events(splitter.feed(data[start : start + PIECE]), at)
        except EventTooComplex:
            self.take_fault(WireError("too large", f"it has an event {TOO_MANY_ELEMENTS}"), at)
        except FramingError:
            self.take_fault(WireError("too large", f"one event is larger than {LONGEST // 2**20} MiB"), at)
        except WireError as error:
            self.take_fault(error, at)

    def _add_to_body(self, data: bytes) -> None:
        """Add a part of an answer that is not a stream. Error bodies are cut to ``SHORT``."""
        if self.status == HTTP_OK or len(self._body) <= SHORT:
            self._body += data
            if self.status != HTTP_OK and len(self._body) > SHORT:
                self._answer_ended.set()

    def _record_events(self, events: "Sequence[bytes]", at: float) -> None:
        """Record the arrival of events. Raises ``WireError``."""
        times = self._times
        if len(times) + len(events) > MAX_EVENTS:
            raise WireError("too large", f"the answer has more than {MAX_EVENTS} events")
        for raw in events:
            times.append(at)
            if not self.contents or self._tokens_seen < sys.maxsize or self._has_end_mark(raw):
                self._inspect_event(raw, at)

    def take_end(self, at: float) -> None:
        self.ended = at  # the task itself may run later, after others that ended simultaneously
        self._response_ended.set()
        self._answer_ended.set()
        self._sending.cancel()

    def take_fault(self, error: WireError, at: float) -> None:
        self._fault = self._fault or error
        self.take_end(at)

    def _has_end_mark(self, raw: bytes) -> bool:
        for mark in self._marks:  # noqa: SIM110  # faster than a generator
            if mark in raw:
                return True
        return False

    def _inspect_event(self, raw: bytes, at: float) -> None:
        """Parse an event that may be the first with content, the end event, or an error."""
        said = read_event(self.request.api, raw)
        if said is NOTHING:
            return
        if self.first_event is None:
            self.first_event = at
        if said.content:
            self.contents.append(at)
            self.phase = "stream"
            if self.first_output is None and not said.reasoning:
                self.first_output = at
        if len(self.contents) >= self._tokens_seen:
            self.client_left = True
            self._answer_ended.set()
        self.has_error = self.has_error or said.error is not None
        if said.last:
            self.end_event = at
            self._answer_ended.set()


@cache
def end_marks_of(api: LoadApi) -> tuple[bytes, ...]:
    """Return words that mark the end of an answer: each event that ends one has at least one of them."""
    words = wire_of(api).words
    names = words.ends | words.error_names | words.error_types
    return (DONE, *([b'"error"'] if words.error_member else []), *(name.encode() for name in sorted(names)))


CREATE_PREFIX: Final = b'{"type":"response.create",'
FAILED: Final = frozenset(("error", "response.failed"))  # types of events that end a stream


class WebSocketPool:
    """The WebSockets of a load to one server. Idle ones are kept if ``connections`` are kept."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._idle: list[TimedWebSocket] = []

    async def exchange(self, request: OutgoingRequest, taker: TimedExchange) -> None:
        """Send a request and pass its answer to ``taker``, until its end. Raises ``WireError``."""
        socket = self._reusable_socket() or await self._open_socket(request, taker)
        whole = False
        before = socket.reads, socket.received
        try:
            taker.note_sending()
            await socket.send((CREATE_PREFIX + request.body.lstrip()[1:]).decode())
            taker.note_sent()
            await self._receive_answer(socket, taker)
            whole = taker.is_answer_over
        finally:
            taker.reads += socket.reads - before[0]
            taker.received += socket.received - before[1]
            if whole and self._connections.keeps:
                self._idle.append(socket)
            else:
                socket.close()

    async def _receive_answer(self, socket: TimedWebSocket, taker: TimedExchange) -> None:
        headed, at = False, trio.current_time()
        while not taker.is_answer_over:
            text, at = await socket.receive()
            if not headed:
                headed = True
                taker.take_head(ResponseHead(HTTP_OK, dict(socket.headers), "websocket"), at)
            kind = _event_type(text)
            taker.take_content(_as_sent_event(kind, text), at)
            if kind in FAILED:
                break
        taker.take_end(at)

    def _reusable_socket(self) -> TimedWebSocket | None:
        while self._idle:
            socket = self._idle.pop()
            if socket.is_usable:
                return socket
            socket.close()
        return None

    async def _open_socket(self, request: OutgoingRequest, taker: TimedExchange) -> TimedWebSocket:
        since = trio.current_time()
        headers = tuple(pair for pair in request.headers if pair[0] != "content-type")
        transport = await self._connections.new_transport()
        socket = await TimedWebSocket.open(transport, self._connections.address, request.path, headers)
        taker.connected = trio.current_time() - since
        return socket

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


def _as_sent_event(kind: str, text: str) -> bytes:
    """Return the message as a server-sent event, for the readers and the judge of such events."""
    lines = text if "\n" not in text and "\r" not in text else " ".join(text.split())
    return f"event: {kind}\ndata: {lines}\n\n".encode()


class _TypedEvent(msgspec.Struct):
    type: str


_typed = msgspec.json.Decoder(_TypedEvent)  # skips the rest, which may be large


def _event_type(text: str) -> str:
    try:
        kind = _typed.decode(text).type
    except NOT_JSON:
        return "message"
    return kind if kind.isprintable() else "message"
