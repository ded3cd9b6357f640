"""One exchange: a request and its answer, with the times of all steps.

During the exchange, the answer is only cut into events with their times. Only events that may be the end are parsed.
``content`` reads the rest afterwards, because parsing takes long and would delay the clocks of other streams.
"""

import math
from array import array
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final

import attrs
import trio

from loadtest.exchange.content import LONGEST, AnswerContent, EventReader, error_message, has_content
from loadtest.exchange.record import End, ExchangeRecord, Phase, Problem
from loadtest.masking import SecretWords, plain_text
from loadtest.plan.plan import Leaving
from loadtest.wire.connecting import WireError
from loadtest.wire.connection import Connections, TimedConnection
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
REQUEST_IDS: Final = ("x-trigate-request-id", "x-request-id", "request-id", "x-amzn-requestid")


class TimedExchange:
    """One exchange, which receives its own answer and writes its ``record``.

    ``planned`` is the planned begin, and ``origin`` the trio time from which the record counts. ``leaving`` describes
    an early disconnect of the client. ``body`` is the received answer, and ``complete`` means status 200 and read to
    the end. ``client_left`` means that the client disconnected early, as planned.

    ``apply_content`` sets everything in the record that depends on the content of the answer.
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
        self._seen = 0  # events with content, if the client leaves
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
    def is_readable(self) -> bool:
        """True if the answer can be read, at least in part."""
        problem = self.record.problem
        too_large = problem is not None and problem.kind == "too large"
        return self.complete or (bool(self._body) and self.record.status == HTTP_OK and not too_large)

    async def run(self, connections: Connections, request: bytes, timeout: float) -> None:
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

    def apply_content(self, content: AnswerContent) -> None:
        """Set the times, tokens and finish reason according to the parsed answer."""
        record, times = self.record, self._times
        if record.streamed:

            def time_of(event: int | None) -> float | None:
                return times[event] if event is not None and event < len(times) else None

            record.first_event = time_of(content.first)
            record.contents = [times[number] for number in content.contents if number < len(times)]
            record.end_event = time_of(content.end)
        record.tokens, record.finish, record.waived = content.tokens, content.finish, content.waived

    async def _send_and_read(self, connections: Connections, request: bytes) -> None:
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

    async def _send_and_receive(self, connections: Connections, connection: TimedConnection, request: bytes) -> None:
        record, self.phase = self.record, "send"
        self._answer_ended, self._response_ended, self._sending = trio.Event(), trio.Event(), trio.CancelScope()
        record.ended = 0.0
        try:
            with self._sending:
                await connection.ask(request, self)
            record.sent = self._now()
            if self.phase == "send":
                self.phase = "first byte"
            await self._answer_ended.wait()
            if not self._response_ended.is_set() and not self.client_left:
                with trio.move_on_after(HTTP_END_WAIT):
                    await self._response_ended.wait()
            if self._fault is not None:
                raise self._fault
        finally:
            connections.release(connection)
        if record.status != HTTP_OK:
            self.phase = "first byte"
            self.fail(f"status {record.status}", error_message(self.body))

    # Callbacks of the task that reads the answer

    def take_head(self, status: int, headers: Mapping[str, str], first: float) -> None:
        record = self.record
        record.first_byte, record.status, self.headers = first - self._origin, status, headers
        self.phase = "first token"
        if record.streamed and status == HTTP_OK:
            self._splitter = CODECS[record.api].wire.framing.splitter(LONGEST)
            self._reader = EventReader(record.api)

    def take_content(self, data: bytes, at: float) -> None:
        body, splitter = self._body, self._splitter
        if self._fault is not None:
            return
        if len(body) + len(data) > MAX_ANSWER:
            self.take_end(at, WireError("too large", f"the answer is larger than {MAX_ANSWER // 2**20} MiB"))
            return
        if splitter is None:
            self._add_to_body(data)
            return
        body += data
        try:
            self._record_events(splitter.feed(data), at - self._origin)
        except EventTooComplex:
            self.take_end(at, WireError("too large", f"it has an event {TOO_MANY_ELEMENTS}"))
        except FramingError:
            self.take_end(at, WireError("too large", f"one event is larger than {LONGEST // 2**20} MiB"))
        except WireError as error:
            self.take_end(at, error)

    def _add_to_body(self, data: bytes) -> None:
        """Add a part of an answer that is not a stream. Error bodies are cut to ``ERROR_BODY``."""
        is_error = self.record.status != HTTP_OK
        if not is_error or len(self._body) <= ERROR_BODY:
            self._body += data
            if is_error and len(self._body) > ERROR_BODY:
                self._answer_ended.set()

    def _record_events(self, events: Sequence[bytes], at: float) -> None:
        """Record the arrival of events. Raises ``WireError``."""
        times = self._times
        if len(times) + len(events) > MAX_EVENTS:
            raise WireError("too large", f"the answer has more than {MAX_EVENTS} events")
        for raw in events:
            times.append(at)
            if self._leaving is not None or any(map(raw.__contains__, self._marks)):
                self._inspect_event(raw)

    def take_end(self, at: float, fault: WireError | None = None) -> None:
        self._fault = self._fault or fault
        self.record.ended = at - self._origin  # the task may run later, after others that ended simultaneously
        self._response_ended.set()
        self._answer_ended.set()
        self._sending.cancel()

    def _inspect_event(self, raw: bytes) -> None:
        """End the answer if this is its end event, or if the client has seen enough tokens."""
        assert self._reader is not None
        found, is_end = self._reader.read(raw)
        self._seen += has_content(found)
        self.client_left = self.client_left or (self._leaving is not None and self._seen >= self._leaving.tokens)
        if is_end or self.client_left:
            self._answer_ended.set()


@cache
def end_marks_of(api: Api) -> tuple[bytes, ...]:
    """Return words that mark the end of an answer: each event that ends one has at least one of them."""
    return (DONE, *(name.encode() for name in sorted(CODECS[api].wire.words.ends)))


def settle(exchange: TimedExchange, judged: AnswerContent | None, secrets: SecretWords) -> ExchangeRecord:
    """Return the final record of an exchange. ``judged`` is its answer, if that was readable.

    Credentials are masked in all texts from the server.
    """
    if judged is not None:
        exchange.apply_content(judged)

    def masked_line(text: str) -> str:
        return secrets.mask(plain_text(text, SHORT))

    record, headers = exchange.record, exchange.headers
    record.end, problem = _end_of(exchange, judged)
    record.problem = problem and Problem(
        masked_line(problem.kind), problem.phase, secrets.mask(plain_text(problem.detail))
    )
    record.finish = masked_line(record.finish)
    record.request_id = masked_line(next((headers[name] for name in REQUEST_IDS if name in headers), ""))
    return record


def _end_of(exchange: TimedExchange, judged: AnswerContent | None) -> tuple[End, Problem | None]:
    """Return the kind of end of the exchange, and its problem."""
    record, problem = exchange.record, exchange.record.problem
    if problem is not None:
        has_begun = record.contents or problem.kind == "too large"
        phase: Phase = "stream" if problem.phase == "first token" and has_begun else problem.phase
        return ("unfinished" if problem.kind == "unfinished" else "error"), attrs.evolve(problem, phase=phase)
    if exchange.client_left:
        return "cancelled", None
    if judged is None or not exchange.complete:
        return "interrupted", None
    phase = "stream" if record.contents else "first token"
    return ("error", Problem(judged.fault, phase, judged.detail)) if judged.fault else ("whole", None)
