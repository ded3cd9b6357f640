"""One exchange: a request and its answer, with the times of all steps.

During the exchange, the answer is only cut into events with their times. Only the first event with content, the end
event and possible errors are parsed. ``content`` reads the rest afterwards, because parsing takes long and would delay
the clocks of other streams.
"""

import math
from array import array
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

import trio

from loadtest.exchange.content import LONGEST, AnswerContent, EventReader, error_message, has_content, has_output
from loadtest.exchange.judging import StreamVerdict
from loadtest.exchange.record import End, ExchangeRecord, Phase, Problem
from loadtest.masking import SecretWords, plain_text
from loadtest.plan.plan import Leaving
from loadtest.wire.answers import OutgoingRequest, ResponseHead, WireError
from loadtest.wire.connection import TimedConnection
from loadtest.wire.connections import Connections
from providers.apis import CODECS
from streams.events import Api
from streams.framing import EventSplitter, EventTooComplex, FramingError
from streams.sse import DONE
from streams.structure import TOO_MANY_ELEMENTS

HTTP_OK: Final = 200
HTTP_END_WAIT: Final = 0.2  # seconds to wait for the end of HTTP after the end event
MAX_ANSWER: Final = 64 * 2**20  # bytes of an answer, all kept until it is judged
MAX_EVENTS: Final = 300_000  # events of an answer; judging more takes too long
ERROR_BODY: Final = 64 * 1024  # bytes of the longest error body that is read
SHORT: Final = 100  # characters of short texts
ROUTE: Final = "x-trigate-"
REQUEST_IDS: Final = ("x-trigate-request-id", "x-request-id", "request-id", "x-amzn-requestid")


class TimedExchange:
    """One exchange, which receives its own answer and writes its ``record``.

    ``planned`` is the planned begin, and ``origin`` the trio time from which the record counts. ``leaving`` describes
    an early disconnect of the client. ``body`` is the received answer, and ``complete`` means status 200 and read to
    the end. ``client_left`` means that the client disconnected early, as planned.

    During the exchange, the record's ``contents`` have only the first event with content. ``apply_reading`` adds the
    others, and sets ``first_output``, ``tokens`` and ``finish``.
    """

    def __init__(
        self, api: Api, streamed: bool, planned: float, leaving: Leaving | None = None, origin: float = 0.0
    ) -> None:
        self._origin = origin
        self.record = ExchangeRecord(api=api, streamed=streamed, planned=planned, began=self._now())
        self.headers: Mapping[str, str] = {}
        self.phase: Phase = "connect"
        self.complete = self.client_left = False
        self._leaving = leaving
        self._body = bytearray()
        self._times = array("d")  # of each event
        self._splitter: EventSplitter | None = None
        self._reader: EventReader | None = None
        self._marks = end_marks_of(api)
        self._fault: WireError | None = None
        self._answer_ended = trio.Event()  # the end event arrived
        self._response_ended = trio.Event()  # or HTTP ended
        self._sending = trio.CancelScope()

    def _now(self) -> float:
        return trio.current_time() - self._origin

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
        problem = self.record.problem
        too_large = problem is not None and problem.kind == "too large"
        return self.complete or (bool(self._body) and self.record.status == HTTP_OK and not too_large)

    async def run(self, connections: Connections, request: OutgoingRequest, timeout: float) -> None:
        """Send the request and read its answer to the end, for at most ``timeout`` seconds.

        Only a cancellation raises; ``ended`` is always set.
        """
        record, began = self.record, self.record.began + self._origin
        leaves = began + (math.inf if self._leaving is None else self._leaving.seconds)
        scope = trio.CancelScope(deadline=min(began + timeout, leaves))
        try:
            with scope:
                await self._send_and_read(connections, request)
            if not scope.cancelled_caught:
                self.complete = record.problem is None and not self.client_left
            elif record.problem is None and leaves < began + timeout:
                self.client_left = True
            elif record.problem is None:
                self.fail("timeout", f"not finished after {timeout:g} s")
        except WireError as error:
            self.fail(error.fault, error.detail)
        finally:
            record.ended = record.ended or self._now()
            self._fault = None  # its traceback refers to this object

    def fail(self, kind: str, detail: str = "") -> None:
        """Record an error in the present phase."""
        self.record.problem = Problem(kind, self.phase, detail)

    def apply_reading(self, reading: AnswerContent) -> None:
        """Set the times, tokens and finish reason according to the parsed answer."""
        record, times = self.record, self._times
        if record.streamed:

            def time_of(event: int | None) -> float | None:
                return times[event] if event is not None and event < len(times) else None

            record.first_event = time_of(reading.first)
            record.contents = [times[number] for number in reading.contents if number < len(times)]
            record.first_output = time_of(reading.output)
            record.end_event = time_of(reading.end)
        record.tokens, record.finish = reading.tokens, reading.finish

    async def _send_and_read(self, connections: Connections, request: OutgoingRequest) -> None:
        if (idle := connections.take_idle()) is not None:
            try:
                await self._send_and_receive(connections, idle, request)
                return
            except WireError:
                if not idle.unread:
                    raise
                # The server closed the idle connection before it read the request. Every client sends it again.
                self.record.resent, self._fault = True, None
        self.phase = "connect"
        since = trio.current_time()
        connection = await connections.open()
        self.record.connected = trio.current_time() - since
        await self._send_and_receive(connections, connection, request)

    async def _send_and_receive(
        self, connections: Connections, connection: TimedConnection, request: OutgoingRequest
    ) -> None:
        record, self.phase = self.record, "send"
        self._answer_ended, self._response_ended, self._sending = trio.Event(), trio.Event(), trio.CancelScope()
        record.ended = 0.0
        try:
            with self._sending:
                await connection.ask(request, self)
            record.sent = self._now()
            if self.phase == "send":
                self.phase = "first byte"
            await self._wait_for_end()
            if self._fault is not None:
                raise self._fault
        finally:
            record.received += connection.received
            connections.release(connection)
        if record.status != HTTP_OK:
            self.phase = "first byte"
            self.fail(f"status {record.status}", error_message(self.body))

    async def _wait_for_end(self) -> None:
        """Wait for the end event of the answer, and a moment longer for the end of HTTP."""
        await self._answer_ended.wait()
        if not self._response_ended.is_set() and not self.client_left:
            with trio.move_on_after(HTTP_END_WAIT):
                await self._response_ended.wait()
            self.record.left_open = self.record.status == HTTP_OK and not self._response_ended.is_set()

    # Callbacks of the task that reads the answer

    def take_head(self, head: ResponseHead, first: float) -> None:
        record = self.record
        record.first_byte, record.status, self.headers = first - self._origin, head.status, head.headers
        self.phase = "first token"
        if record.streamed and head.status == HTTP_OK:
            self._splitter = CODECS[record.api].wire.framing.splitter(LONGEST)
            self._reader = EventReader(record.api)

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
            self._record_events(splitter.feed(data), at - self._origin)
        except EventTooComplex:
            self.take_fault(WireError("too large", f"it has an event {TOO_MANY_ELEMENTS}"), at)
        except FramingError:
            self.take_fault(WireError("too large", f"one event is larger than {LONGEST // 2**20} MiB"), at)
        except WireError as error:
            self.take_fault(error, at)

    def _add_to_body(self, data: bytes) -> None:
        """Add a part of an answer that is not a stream. Error bodies are cut to ``ERROR_BODY``."""
        is_error = self.record.status != HTTP_OK
        if not is_error or len(self._body) <= ERROR_BODY:
            self._body += data
            if is_error and len(self._body) > ERROR_BODY:
                self._answer_ended.set()

    def _record_events(self, events: Sequence[bytes], at: float) -> None:
        """Record the arrival of events. Raises ``WireError``."""
        times, record = self._times, self.record
        if len(times) + len(events) > MAX_EVENTS:
            raise WireError("too large", f"the answer has more than {MAX_EVENTS} events")
        for raw in events:
            times.append(at)
            if not record.contents or self._leaving is not None or self._has_end_mark(raw):
                self._inspect_event(raw, at)

    def take_end(self, at: float) -> None:
        self.record.ended = at - self._origin  # the task may run later, after others that ended simultaneously
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
        record = self.record
        found, is_end = self._reader.read(raw)
        if record.first_event is None and (found or is_end):
            record.first_event = at
        if has_content(found):
            record.contents.append(at)
            self.phase = "stream"
            if record.first_output is None and has_output(found):
                record.first_output = at
        if self._leaving is not None and len(record.contents) >= self._leaving.tokens:
            self.client_left = True
            self._answer_ended.set()
        if is_end:
            record.end_event = at
            self._answer_ended.set()


@cache
def end_marks_of(api: Api) -> tuple[bytes, ...]:
    """Return words that mark the end of an answer: each event that ends one has at least one of them."""
    return (DONE, *(name.encode() for name in sorted(CODECS[api].wire.words.ends)))


def settle(exchange: TimedExchange, judged: StreamVerdict | None, secrets: SecretWords) -> ExchangeRecord:
    """Return the final record of an exchange. ``judged`` is the verdict on its answer, if that was readable.

    Credentials are masked in all texts from the server.
    """
    if judged is not None:
        exchange.apply_reading(judged.reading)

    def masked_line(text: str) -> str:
        return secrets.mask(plain_text(text, SHORT))

    record, headers = exchange.record, exchange.headers
    end, problem = _end_of(exchange, judged if exchange.complete else None)
    record.end, record.waived = end, judged.waived if judged is not None else ()
    record.problem = problem and Problem(
        masked_line(problem.kind), problem.phase, secrets.mask(plain_text(problem.detail))
    )
    record.finish = masked_line(record.finish)
    record.request_id = masked_line(next((headers[name] for name in REQUEST_IDS if name in headers), ""))
    record.route = tuple(
        (masked_line(name), masked_line(value)) for name, value in headers.items() if name.startswith(ROUTE)
    )
    return record


def _end_of(exchange: TimedExchange, judged: StreamVerdict | None) -> tuple[End, Problem | None]:
    """Return the kind of end of the exchange, and its problem. ``judged`` is the verdict on a complete answer."""
    if (problem := exchange.record.problem) is not None:
        return ("unfinished" if problem.kind == "unfinished" else "error"), problem
    if exchange.client_left:
        return "cancelled", None
    if judged is None:
        return "interrupted", None
    kind, detail = _fault_of(exchange, judged)
    return ("error", Problem(kind, exchange.phase, detail)) if kind else ("whole", None)


def _fault_of(exchange: TimedExchange, judged: StreamVerdict) -> tuple[str, str]:
    """Return the kind and the text of the fault in a complete answer, two empty strings if there is none."""
    reading = judged.reading
    if judged.outcome == "too large":
        return "too large", judged.found
    if judged.outcome == "failed":
        return f"error event: {reading.error or 'error'}", reading.message
    if exchange.record.streamed and not reading.has_content:
        shown = f": {text}" if (text := error_message(exchange.body)) else ""
        return "no stream", f"the HTTP response ended normally, but without an answer{shown}"
    if judged.outcome == "cut":
        return "cut", "the HTTP response ended normally, but before the end of the answer"
    if judged.rule:
        return f"grammar: {judged.rule}", judged.found
    if not reading.contents and not reading.finish:
        return "empty answer", "the answer has neither content nor a finish reason"
    return "", ""
