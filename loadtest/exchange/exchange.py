"""One exchange: a request and its answer, with the times of all steps.

During the exchange, the answer is only cut into events with their times. Only the first event with content, the end
event and possible errors are parsed. ``content`` reads the rest afterwards, because parsing takes long and would delay
the clocks of other streams.
"""

import math
from array import array
from functools import cache
from typing import TYPE_CHECKING, Final

import attrs
import trio

from loadtest.exchange.content import (
    LONGEST,
    PIECE,
    AnswerContent,
    EventReader,
    error_message,
    has_content,
    has_output,
)
from loadtest.exchange.plain_text import plain_text
from loadtest.exchange.record import AnswerTokens, End, ExchangeRecord, Phase, Problem
from loadtest.plan.plan import Leaving
from loadtest.wire.answers import OutgoingRequest, ResponseHead, WireError
from loadtest.wire.connection import TimedConnection
from loadtest.wire.connections import Connections
from providers.apis import CODECS
from streams.events import Api
from streams.framing import EventSplitter, EventTooComplex, FramingError
from streams.sse import DONE
from streams.structure import TOO_MANY_ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadtest.exchange.judging import StreamVerdict
    from loadtest.requests.sources import PreparedRequest

HTTP_OK: Final = 200
HTTP_END_WAIT: Final = 0.2  # seconds to wait for the end of HTTP after the end event
MAX_ANSWER: Final = 64 * 2**20  # bytes of an answer, all kept until it is judged
MAX_EVENTS: Final = 300_000  # events of an answer; judging more takes too long
ERROR_BODY: Final = 64 * 1024  # bytes of the longest error body that is read
SHORT: Final = 100  # characters of short texts
ROUTE: Final = "x-trigate-"
REQUEST_IDS: Final = ("x-trigate-request-id", "x-request-id", "request-id", "x-amzn-requestid")


@attrs.define(eq=False, repr=False)
class TimedExchange:
    """One exchange, during it and afterwards. Its times are trio's. It receives its own answer.

    ``planned`` is the planned begin and ``began`` the real one. ``leaving`` describes an early disconnect of the
    client. ``sent`` is the time when the request was written, ``ended`` when reading stopped. ``body`` is the received
    answer.

    ``complete`` means status 200 and read to the end. ``client_left`` means that the client disconnected early, as
    planned. ``left_open`` means that the end event arrived but HTTP did not end.

    ``contents`` are the times of the events with generated content. During the exchange it has only the first;
    ``apply_reading`` adds the others, and sets ``first_output``, ``tokens`` and ``finish``.
    """

    api: Api
    streamed: bool
    planned: float
    leaving: Leaving | None = None
    began: float = attrs.field(init=False, factory=trio.current_time)
    connected: float | None = attrs.field(init=False, default=None)  # seconds to connect
    sent: float | None = attrs.field(init=False, default=None)
    first_byte: float | None = attrs.field(init=False, default=None)
    first_event: float | None = attrs.field(init=False, default=None)
    contents: list[float] = attrs.field(init=False, factory=list)
    first_output: float | None = attrs.field(init=False, default=None)
    end_event: float | None = attrs.field(init=False, default=None)
    ended: float = attrs.field(init=False, default=0.0)
    status: int = attrs.field(init=False, default=0)
    headers: "Mapping[str, str]" = attrs.field(init=False, factory=dict)
    reads: int = attrs.field(init=False, default=0)
    received: int = attrs.field(init=False, default=0)
    tokens: AnswerTokens = attrs.field(init=False, factory=AnswerTokens)
    finish: str = attrs.field(init=False, default="")
    problem: Problem | None = attrs.field(init=False, default=None)
    complete: bool = attrs.field(init=False, default=False)
    client_left: bool = attrs.field(init=False, default=False)
    left_open: bool = attrs.field(init=False, default=False)
    resent: bool = attrs.field(init=False, default=False)
    phase: Phase = attrs.field(init=False, default="connect")
    _body: bytearray = attrs.field(init=False, factory=bytearray)
    _times: "array[float]" = attrs.field(init=False, factory=lambda: array("d"))  # of each event
    _splitter: EventSplitter | None = attrs.field(init=False, default=None)
    _reader: EventReader | None = attrs.field(init=False, default=None)
    _marks: tuple[bytes, ...] = attrs.field(init=False)
    _fault: WireError | None = attrs.field(init=False, default=None)
    _answer_ended: trio.Event = attrs.field(init=False, factory=trio.Event)  # the end event arrived
    _response_ended: trio.Event = attrs.field(init=False, factory=trio.Event)  # or HTTP ended
    _sending: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)

    def __attrs_post_init__(self) -> None:
        self._marks = end_marks_of(self.api)

    @property
    def body(self) -> bytes:
        return bytes(self._body)

    @property
    def events(self) -> int:
        """The number of events received."""
        return len(self._times)

    @property
    def is_readable(self) -> bool:
        """True if the answer can be read, at least in part."""
        too_large = self.problem is not None and self.problem.kind == "too large"
        return self.complete or (bool(self._body) and self.status == HTTP_OK and not too_large)

    async def run(self, connections: Connections, request: OutgoingRequest, timeout: float) -> None:
        """Send the request and read its answer to the end, for at most ``timeout`` seconds.

        Only a cancellation raises; ``ended`` is always set.
        """
        leaves = self.began + (math.inf if self.leaving is None else self.leaving.seconds)
        expires = self.began + timeout
        scope = trio.CancelScope(deadline=min(expires, leaves))
        try:
            with scope:
                await self._send_and_read(connections, request)
            if not scope.cancelled_caught:
                self.complete = self.problem is None and not self.client_left
            elif self.problem is None and leaves < expires:
                self.client_left = True
            elif self.problem is None:
                self.fail("timeout", f"not finished after {timeout:g} s")
        except WireError as error:
            self.fail(error.fault, error.detail)
        finally:
            self.ended = self.ended or trio.current_time()
            self._fault = None  # its traceback refers to this object

    def fail(self, kind: str, detail: str = "") -> None:
        """Record an error in the present phase."""
        self.problem = Problem(kind, self.phase, detail)

    def apply_reading(self, reading: AnswerContent) -> None:
        """Set the times, tokens and finish reason according to the parsed answer."""
        if self.streamed:
            times = self._times
            self.first_event = self._time_of(reading.first)
            self.contents = [times[number] for number in reading.contents if number < len(times)]
            self.first_output = self._time_of(reading.output)
            self.end_event = self._time_of(reading.end)
        self.tokens = reading.tokens
        self.finish = reading.finish

    def _time_of(self, event: int | None) -> float | None:
        """Return the time of an event, or ``None`` if it never arrived."""
        return self._times[event] if event is not None and event < len(self._times) else None

    async def _send_and_read(self, connections: Connections, request: OutgoingRequest) -> None:
        if (idle := connections.take_idle()) is not None:
            try:
                await self._send_and_receive(connections, idle, request)
                return
            except WireError:
                if not idle.unread:
                    raise
                # The server closed the idle connection before it read the request. Every client sends it again.
                self.resent, self._fault = True, None
        await self._send_and_receive(connections, await self._connect(connections), request)

    async def _connect(self, connections: Connections) -> TimedConnection:
        self.phase = "connect"
        since = trio.current_time()
        connection = await connections.open()
        self.connected = trio.current_time() - since
        return connection

    async def _send_and_receive(
        self, connections: Connections, connection: TimedConnection, request: OutgoingRequest
    ) -> None:
        self.phase = "send"
        self._answer_ended, self._response_ended, self._sending = trio.Event(), trio.Event(), trio.CancelScope()
        self.ended = 0.0
        try:
            with self._sending:
                await connection.ask(request, self)
            self.sent = trio.current_time()
            if self.phase == "send":
                self.phase = "first byte"
            await self._wait_for_end()
            if self._fault is not None:
                raise self._fault
        finally:
            self.reads += connection.reads
            self.received += connection.received
            connections.release(connection)
        if self.status != HTTP_OK:
            self.phase = "first byte"
            self.fail(f"status {self.status}", error_message(self.body))

    async def _wait_for_end(self) -> None:
        """Wait for the end event of the answer, and a moment longer for the end of HTTP."""
        await self._answer_ended.wait()
        if not self._response_ended.is_set() and not self.client_left:
            with trio.move_on_after(HTTP_END_WAIT):
                await self._response_ended.wait()
            self.left_open = self.status == HTTP_OK and not self._response_ended.is_set()

    # Callbacks of the task that reads the answer

    def take_head(self, head: ResponseHead, first: float) -> None:
        self.first_byte = first
        self.status, self.headers = head.status, head.headers
        self.phase = "first token"
        if self.streamed and head.status == HTTP_OK:
            self._splitter = CODECS[self.api].wire.framing.splitter(LONGEST)
            self._reader = EventReader(self.api)

    def take_content(self, data: bytes, at: float) -> None:
        body, splitter = self._body, self._splitter
        if self._fault is not None:
            return
        if len(body) + len(data) > MAX_ANSWER:
            self.take_fault(WireError("too large", f"the answer is larger than {MAX_ANSWER // 2**20} MiB"), at)
            return
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
        """Add a part of an answer that is not a stream. Error bodies are cut to ``ERROR_BODY``."""
        if self.status == HTTP_OK or len(self._body) <= ERROR_BODY:
            self._body += data
            if self.status != HTTP_OK and len(self._body) > ERROR_BODY:
                self._answer_ended.set()

    def _record_events(self, events: "Sequence[bytes]", at: float) -> None:
        """Record the arrival of events. Raises ``WireError``."""
        times = self._times
        if len(times) + len(events) > MAX_EVENTS:
            raise WireError("too large", f"the answer has more than {MAX_EVENTS} events")
        for raw in events:
            times.append(at)
            if not self.contents or self.leaving is not None or self._has_end_mark(raw):
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
        """Parse an event that may be the first with content, or the end event."""
        assert self._reader is not None
        found, is_end = self._reader.read(raw)
        if self.first_event is None and (found or is_end):
            self.first_event = at
        if has_content(found):
            self.contents.append(at)
            self.phase = "stream"
            if self.first_output is None and has_output(found):
                self.first_output = at
        if self.leaving is not None and len(self.contents) >= self.leaving.tokens:
            self.client_left = True
            self._answer_ended.set()
        if is_end:
            self.end_event = at
            self._answer_ended.set()


@cache
def end_marks_of(api: Api) -> tuple[bytes, ...]:
    """Return words that mark the end of an answer: each event that ends one has at least one of them."""
    return (DONE, *(name.encode() for name in sorted(CODECS[api].wire.words.ends)))


def end_of(exchange: TimedExchange, judged: "StreamVerdict | None") -> tuple[End, Problem | None]:
    """Return the kind of end of the exchange, and its problem. ``judged`` is the verdict on a complete answer."""
    if exchange.problem is not None:
        return ("unfinished" if exchange.problem.kind == "unfinished" else "error"), exchange.problem
    if exchange.client_left:
        return "cancelled", None
    if judged is None:
        return "interrupted", None
    kind, detail = _fault_of(exchange, judged)
    return ("error", Problem(kind, exchange.phase, detail)) if kind else ("whole", None)


def _fault_of(exchange: TimedExchange, judged: "StreamVerdict") -> tuple[str, str]:
    """Return the kind and the text of the fault in a complete answer, two empty strings if there is none."""
    reading = judged.reading
    if judged.outcome == "too large":
        return "too large", judged.found
    if judged.outcome == "failed":
        return f"error event: {reading.error or 'error'}", reading.message
    if exchange.streamed and not reading.has_content:
        shown = f": {text}" if (text := error_message(exchange.body)) else ""
        return "no stream", f"the HTTP response ended normally, but without an answer{shown}"
    if judged.outcome == "cut":
        return "cut", "the HTTP response ended normally, but before the end of the answer"
    if judged.rule:
        return f"grammar: {judged.rule}", judged.found
    if not reading.contents and not reading.finish:
        return "empty answer", "the answer has neither content nor a finish reason"
    return "", ""


def record_of(
    exchange: TimedExchange,
    number: int,
    request: "PreparedRequest",
    begin: float,
    end: End,
    problem: Problem | None,
    waived: "Sequence[str]" = (),
) -> ExchangeRecord:
    """Return the record of a finished exchange. Its times count from ``begin``, a trio time."""

    def since(at: float | None) -> float | None:
        return None if at is None else at - begin

    headers = exchange.headers
    return ExchangeRecord(
        number=number,
        api=exchange.api,
        streamed=exchange.streamed,
        leaves=exchange.leaving is not None,
        planned=exchange.planned - begin,
        began=exchange.began - begin,
        connected=exchange.connected,
        sent=since(exchange.sent),
        first_byte=since(exchange.first_byte),
        first_event=since(exchange.first_event),
        contents=tuple(at - begin for at in exchange.contents),
        first_output=since(exchange.first_output),
        end_event=since(exchange.end_event),
        ended=exchange.ended - begin,
        status=exchange.status,
        end=end,
        problem=problem
        and attrs.evolve(problem, kind=plain_text(problem.kind, SHORT), detail=plain_text(problem.detail)),
        tokens=exchange.tokens,
        asked_input=request.asked_input,
        finish=plain_text(exchange.finish, SHORT),
        request_id=plain_text(next((headers[name] for name in REQUEST_IDS if name in headers), ""), SHORT),
        route=tuple((name, plain_text(value, SHORT)) for name, value in headers.items() if name.startswith(ROUTE)),
        resent=exchange.resent,
        reads=exchange.reads,
        received=exchange.received,
        waived=tuple(waived),
        left_open=exchange.left_open,
    )
