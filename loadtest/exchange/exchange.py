"""One exchange: a request, and its answer with a time on everything.

While it runs, an answer is cut into events and little more: each has its time, and the first with content, the API's
end and what may be an error are looked at. What else they say is read after the end (``content``), not here: it takes
longer than all the rest, and would be added to the times of other streams.

Over a WebSocket (OpenAI's WebSocket mode of Responses) one message asks, and each event of the answer is a message.
"""

import math
import sys
from array import array
from functools import cache
from typing import TYPE_CHECKING, Final

import attrs
import msgspec
import trio

from loadtest.exchange.content import LONGEST, NOTHING, PIECE, AnswerContent, error_message, read_event, read_whole
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

OK: Final = 200
LINGER: Final = 0.2  # seconds that HTTP's end may take behind the API's: longer ones are no longer waited for
MOST: Final = 64 * 2**20  # bytes of an answer; all of it is kept until it is judged
EVENTS: Final = 300_000  # of an answer: more take the judge longer than it has
LOOK: Final = 0.05  # seconds between two reads of a client that reads slowly
SHORT: Final = 64 * 1024  # bytes of a whole answer that is looked at here, and of an error that are waited for


class LoadTarget:
    """What all exchanges with one target share. An exchange has ``timeout`` seconds from its begin, and ``deadline``
    seconds from its time in the plan. ``resend``: a request that met a connection already closed goes out once more."""

    def __init__(
        self, connections: Connections, *, timeout: float, deadline: float = math.inf, resend: bool = True
    ) -> None:
        self.connections = connections
        self.timeout = timeout
        self.deadline = deadline
        self.resend = resend
        self.sockets = SpokenWebSockets(connections)

    def close(self) -> None:
        """Close what waits for a next request."""
        self.sockets.close()
        self.connections.close()


@attrs.define(eq=False, repr=False)  # slots: thousands of these lie in the caches beside each other
class TimedExchange:
    """One exchange while it runs and after it; times are trio's. Takes its own answer.

    ``planned`` is when it was to start, ``began`` when it did, after it had ``queued`` so many seconds for others of
    ours; ``sent`` is when the request was out, ``ended`` when nothing more was read. ``body`` is what came of the
    answer. ``complete``: it was read to its end and its status is 200. ``left``: the client went away before the end,
    as it was meant to. ``left_open``: the answer ended by its API and not by HTTP. ``heard`` is when the last
    event came, or the begin.

    ``contents`` are the times of the events that carried content: the first while it runs, all once it has been
    ``read``, as ``first_output``, ``tokens`` and ``finish``."""

    request: LoadRequest
    manner: Manner
    planned: float
    queued: float = 0.0
    began: float = attrs.field(init=False, factory=trio.current_time)
    connected: float | None = attrs.field(init=False, default=None)  # how long connecting took
    sent: float | None = attrs.field(init=False, default=None)
    first_byte: float | None = attrs.field(init=False, default=None)
    first_event: float | None = attrs.field(init=False, default=None)
    contents: list[float] = attrs.field(init=False, factory=list)
    first_output: float | None = attrs.field(init=False, default=None)
    end_event: float | None = attrs.field(init=False, default=None)
    heard: float = attrs.field(init=False)
    ended: float = attrs.field(init=False, default=0.0)
    status: int = attrs.field(init=False, default=0)
    headers: "Mapping[str, str]" = attrs.field(init=False, factory=dict)
    reads: int = attrs.field(init=False, default=0)
    received: int = attrs.field(init=False, default=0)
    tokens: AnswerTokens = attrs.field(init=False, factory=AnswerTokens)
    finish: str = attrs.field(init=False, default="")
    failed: bool = attrs.field(init=False, default=False)  # the answer says that it is none
    problem: Problem | None = attrs.field(init=False, default=None)
    complete: bool = attrs.field(init=False, default=False)
    left: bool = attrs.field(init=False, default=False)
    left_open: bool = attrs.field(init=False, default=False)
    resent: bool = attrs.field(init=False, default=False)
    version: str = attrs.field(init=False, default="")
    phase: Phase = attrs.field(init=False, default="connect")
    _body: bytearray = attrs.field(init=False, factory=bytearray)
    _times: "array[float]" = attrs.field(init=False, factory=lambda: array("d"))  # of each event
    _splitter: EventSplitter | None = attrs.field(init=False, default=None)
    _marks: tuple[bytes, ...] = attrs.field(init=False)
    _leaves: float = attrs.field(init=False)  # after so many seconds
    _tokens_seen: int = attrs.field(init=False)  # or events with content
    _fault: WireError | None = attrs.field(init=False, default=None)
    _said: trio.Event = attrs.field(init=False, factory=trio.Event)  # the answer is over by its API
    _over: trio.Event = attrs.field(init=False, factory=trio.Event)  # or by HTTP, too
    _scope: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    _sending: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)

    def __attrs_post_init__(self) -> None:
        self.heard = self.began
        self._marks = marks_of(self.request.api)
        cancel = self.request.cancel if self.manner == "cancels" else None
        leaving = math.inf if cancel is None else cancel.after
        self._leaves, self._tokens_seen = (
            (math.inf, leaving.count) if isinstance(leaving, TokensSeen) else (leaving, sys.maxsize)
        )

    @property
    def body(self) -> bytes:
        return bytes(self._body)

    @property
    def events(self) -> int:
        """How many have come."""
        return len(self._times)

    @property
    def is_too_large(self) -> bool:
        """More came than anybody is to read."""
        return self.problem is not None and self.problem.kind == "too large"

    async def run(self, server: LoadTarget, request: OutgoingRequest) -> None:
        """Send the request and read its answer to the end. Never raises but when it is cancelled; ``ended`` is set in
        any case."""
        timeout, expires = self.began + server.timeout, self.planned + server.deadline
        leaves = self.began + self._leaves
        self._scope.deadline = min(timeout, expires, leaves)
        try:
            with self._scope:
                await self._run(server, request)
            if not self._scope.cancelled_caught:
                self.complete = self.problem is None and not self.left
            elif self.problem is None and leaves < min(timeout, expires):
                self.left = True
            elif self.problem is None and expires < timeout:
                self.fail("expired", f"no end {server.deadline:g} s after its time in the plan")
            elif self.problem is None:
                self.fail("timeout", f"no end after {server.timeout:g} s")
        except WireError as error:
            self.fail(error.fault, error.detail)
        finally:
            self.ended = self.ended or trio.current_time()
            self._fault = None  # its traceback refers to this

    def give_up(self, kind: str, detail: str) -> None:
        """End it at once, as an error."""
        self.fail(kind, detail)
        self._scope.cancel()

    def fail(self, kind: str, detail: str = "") -> None:
        """It is an error, in the present phase."""
        self.problem = Problem(kind, self.phase, detail)

    def read(self, reading: AnswerContent) -> None:
        """Take over what its answer says, now that this has been read."""
        times = self._times
        if self.request.stream:
            self.first_event = self._time_of(reading.first)
            self.contents = [times[number] for number in reading.contents if number < len(times)]
            self.first_output = self._time_of(reading.output)
            self.end_event = self._time_of(reading.end)
        self.tokens = reading.tokens
        self.finish = reading.finish

    def _time_of(self, event: int | None) -> float | None:
        """``None`` also for one that was too large to wait for."""
        return self._times[event] if event is not None and event < len(self._times) else None

    async def _run(self, server: LoadTarget, request: OutgoingRequest) -> None:
        if self.request.websocket:
            await self._talk(server, request)
            return
        connection = await self._connection(server)
        reused = connection.used
        try:
            await self._exchange(server, connection, request)
        except WireError:
            if not (server.resend and reused and connection.unread):
                raise
            # The server had closed the idle connection when the request went out: every client sends it again.
            self.resent, self._fault = True, None
        if self.resent:
            connection = await self._connected(server)
            await self._exchange(server, connection, request)

    async def _talk(self, server: LoadTarget, request: OutgoingRequest) -> None:
        self.phase = "connect"
        try:
            await server.sockets.ask(request, self)
        except HandshakeRefused as error:
            if error.status == OK:  # which is no error, and no WebSocket either
                raise
            self.status, self._body = error.status, bytearray(error.body)
        if self._fault is not None:
            raise self._fault
        self._has_ended()

    async def _connection(self, server: LoadTarget) -> Channel:
        kept = server.connections.kept() if self.manner != "reads slowly" else None
        return kept if kept is not None else await self._connected(server)

    async def _connected(self, server: LoadTarget) -> Channel:
        self.phase = "connect"
        since = trio.current_time()
        connection = await server.connections.new("slowly" if self.manner == "reads slowly" else "as it comes")
        self.connected = trio.current_time() - since
        return connection

    async def _exchange(self, server: LoadTarget, connection: Channel, request: OutgoingRequest) -> None:
        self.phase = "send"
        self._said, self._over, self._sending = trio.Event(), trio.Event(), trio.CancelScope()
        self.ended = 0.0
        try:
            with self._sending:
                await connection.ask(request, self)
            self.has_sent()
            await self._until_said(connection)
            if self._fault is not None:
                raise self._fault
        finally:
            self.reads += connection.reads
            self.received += connection.received
            server.connections.finished(connection)
        self._has_ended()

    @property
    def has_heard_the_end(self) -> bool:
        return self._said.is_set()

    def sends(self) -> None:
        self.phase = "send"

    def has_sent(self) -> None:
        self.sent = trio.current_time()
        if self.phase == "send":
            self.phase = "first byte"

    async def _until_said(self, connection: Channel) -> None:
        """Wait until the answer is over, by HTTP or, a moment longer, by its API."""
        if self.manner == "reads slowly" and self.request.slow is not None:
            await self._read_slowly(connection, self.request.slow.rate)
        await self._said.wait()
        if not self._over.is_set() and not self.left:
            with trio.move_on_after(LINGER):
                await self._over.wait()
            self.left_open = self.status == OK and not self._over.is_set()

    async def _read_slowly(self, connection: Channel, rate: float) -> None:
        since = trio.current_time()
        while not self._said.is_set():
            with trio.move_on_after(LOOK):
                await self._said.wait()
            if connection.received <= rate * (trio.current_time() - since):
                connection.resume()

    def _has_ended(self) -> None:
        if self.status != OK:
            self.phase = "first byte"
            self.fail(f"status {self.status}", error_message(self.body))
        elif not self.request.stream and len(self._body) <= SHORT:
            self.failed = read_whole(self.request.api, self.body).error is not None

    # The answer as it comes: these are called by the task that reads

    def take_head(self, head: ResponseHead, first: float) -> None:
        self.first_byte = first
        self.status, self.headers, self.version = head.status, head.headers, head.version
        self.phase = "first token"
        if self.request.stream and head.status == OK:
            self._splitter = wire_of(self.request.api).framing.splitter(LONGEST)

    def take_content(self, data: bytes, at: float) -> None:
        body, splitter = self._body, self._splitter
        if self._fault is not None:
            return
        if len(body) + len(data) > MOST:
            self.take_fault(WireError("too large", f"the answer is larger than {MOST // 2**20} MiB"), at)
            return
        self.heard = at
        if splitter is None:
            self._take_whole(data)
            return
        body += data
        try:
            for start in range(0, len(data), PIECE):  # longer is what was compressed: it may be millions of events
                self._take_events(splitter.feed(data[start : start + PIECE]), at)
        except EventTooComplex:
            self.take_fault(WireError("too large", f"it has an event {TOO_MANY_ELEMENTS}"), at)
        except FramingError:
            self.take_fault(WireError("too large", f"one event is larger than {LONGEST // 2**20} MiB"), at)
        except WireError as error:
            self.take_fault(error, at)

    def _take_whole(self, data: bytes) -> None:
        """Take what is no stream: of an error no more than anybody is shown."""
        if self.status == OK or len(self._body) <= SHORT:
            self._body += data
            if self.status != OK and len(self._body) > SHORT:
                self._said.set()

    def _take_events(self, events: "Sequence[bytes]", at: float) -> None:
        """Raises ``WireError``."""
        times = self._times
        if len(times) + len(events) > EVENTS:
            raise WireError("too large", f"the answer has more than {EVENTS} events")
        for raw in events:
            times.append(at)
            if not self.contents or self._tokens_seen < sys.maxsize or self._is_marked(raw):
                self._look(raw, at)

    def take_end(self, at: float) -> None:
        self.ended = at  # and not when this task has its turn, behind all that ended with it
        self._over.set()
        self._said.set()
        self._sending.cancel()

    def take_fault(self, error: WireError, at: float) -> None:
        self._fault = self._fault or error
        self.take_end(at)

    def _is_marked(self, raw: bytes) -> bool:
        for mark in self._marks:  # noqa: SIM110  # a generator would take longer than this
            if mark in raw:
                return True
        return False

    def _look(self, raw: bytes, at: float) -> None:
        """Look at an event that may be the first with content, the last, or an error."""
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
            self.left = True
            self._said.set()
        self.failed = self.failed or said.error is not None
        if said.last:
            self.end_event = at
            self._said.set()


@cache
def marks_of(api: LoadApi) -> tuple[bytes, ...]:
    """Words of which one stands in every event that ends an answer, well or not; they may stand in others too."""
    words = wire_of(api).words
    names = words.ends | words.error_names | words.error_types
    return (DONE, *([b'"error"'] if words.error_member else []), *(name.encode() for name in sorted(names)))


ASKED: Final = b'{"type":"response.create",'
FAILED: Final = frozenset(("error", "response.failed"))  # kinds of events behind which nothing comes


class SpokenWebSockets:
    """The open sockets of a load to one server, kept for the next request where its ``connections`` are."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._idle: list[TimedWebSocket] = []

    async def ask(self, request: OutgoingRequest, taker: TimedExchange) -> None:
        """Send a request and hand on its answer, until its end. Raises ``WireError``."""
        socket = self._taken() or await self._opened(request, taker)
        whole = False
        before = socket.reads, socket.received
        try:
            taker.sends()
            await socket.send((ASKED + request.body.lstrip()[1:]).decode())
            taker.has_sent()
            await self._heard(socket, taker)
            whole = taker.has_heard_the_end
        finally:
            taker.reads += socket.reads - before[0]
            taker.received += socket.received - before[1]
            if whole and self._connections.keeps:
                self._idle.append(socket)
            else:
                socket.close()

    async def _heard(self, socket: TimedWebSocket, taker: TimedExchange) -> None:
        headed, at = False, trio.current_time()
        while not taker.has_heard_the_end:
            text, at = await socket.receive()
            if not headed:
                headed = True
                taker.take_head(ResponseHead(OK, dict(socket.headers), "websocket"), at)
            kind = _kind(text)
            taker.take_content(_as_sent_event(kind, text), at)
            if kind in FAILED:
                break
        taker.take_end(at)

    def _taken(self) -> TimedWebSocket | None:
        while self._idle:
            socket = self._idle.pop()
            if socket.usable:
                return socket
            socket.close()
        return None

    async def _opened(self, request: OutgoingRequest, taker: TimedExchange) -> TimedWebSocket:
        since = trio.current_time()
        headers = tuple(pair for pair in request.headers if pair[0] != "content-type")
        transport = await self._connections.transport()
        socket = await TimedWebSocket.open(transport, self._connections.address, request.path, headers)
        taker.connected = trio.current_time() - since
        return socket

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


def _as_sent_event(kind: str, text: str) -> bytes:
    """The event as a stream of server-sent events would have it, for those who read and judge those."""
    lines = text if "\n" not in text and "\r" not in text else " ".join(text.split())
    return f"event: {kind}\ndata: {lines}\n\n".encode()


class _TypedEvent(msgspec.Struct):
    type: str


_typed = msgspec.json.Decoder(_TypedEvent)  # the rest is passed over: what a message holds may be much


def _kind(text: str) -> str:
    try:
        kind = _typed.decode(text).type
    except NOT_JSON:
        return "message"
    return kind if kind.isprintable() else "message"
