"""One run: the load of a scenario on one target, from the first arrival to the last verdict."""

import math
import random
import ssl
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs
import trio

from loadtest.exchange.ending import LONGEST, end_of, record_of, retry_after
from loadtest.exchange.exchange import HTTP_OK, LoadTarget, TimedExchange
from loadtest.exchange.judging import AnswerJudge, ReceivedAnswer, StreamVerdict
from loadtest.exchange.masking import SecretWords
from loadtest.exchange.record import Manner
from loadtest.figures.histogram import Histogram
from loadtest.figures.result import RunResult
from loadtest.figures.run_figures import RunFigures
from loadtest.figures.tally import EXACT
from loadtest.plan.arrivals import ClientStep, RateStep, next_turn_of, start_on_time
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.objectives import by_request, missed_by, read_all
from loadtest.plan.scenario import Scenario, has_fixed_end, starts
from loadtest.plan.shares import PlanShare
from loadtest.requests import bodies
from loadtest.requests.bodies import RequestTemplate
from loadtest.requests.made_requests import Probes
from loadtest.requests.mix import source_of
from loadtest.requests.sources import LoadSession, PlaceInPlan, PreparedRequest, setting_of
from loadtest.run.overhead import Lag, Overhead, SelfTest
from loadtest.run.under_way import LoadUnderWay, RecordSink, UnfinishedAnswers, start_time
from loadtest.wire.address import ServerAddress
from loadtest.wire.answers import WireError
from loadtest.wire.connections import ConnectionRules, Connections
from streams.garbage import collect_when_idle

LOOK: Final = 0.1  # seconds between two looks at how many are under way
SPARE: Final = 256 * 2**20  # bytes for which nothing is collected: that would be a gap in all streams
AFTER_ERROR: Final = 0.1  # seconds that a client of a closed loop waits before it tries again


class Unreachable(Exception):
    """The name of a target has no address."""


def _for_the_judge(request: LoadRequest, body: bytes, complete: bool) -> ReceivedAnswer:
    """What usage an answer must have is not known where ``extra`` says so."""
    wanted = None if "stream_options" in request.extra else request.stream and request.usage
    return ReceivedAnswer(request.api, request.stream, wanted, body, complete)


@attrs.frozen
class SessionArrival:
    """A session of the plan, with its ``first`` request made, and what its client's manner is drawn from (0 to 1)."""

    number: int
    session: LoadSession
    first: PreparedRequest
    manner: float

    @classmethod
    def of(cls, number: int, session: LoadSession, manner: float) -> "SessionArrival":
        first = session.turn(None)
        assert first is not None
        return cls(number, session, first, manner)


class ActiveRun(LoadUnderWay):
    """A run under way in this process, or the ``share`` of one; all of it may be looked at while it goes on.

    ``key`` is the target's. ``begin`` is the trio time at which it begins to count; without it, the start of the plan
    says so, else the warm-up begins now. Raises ``TooLate``."""

    figures: RunFigures
    in_flight: int
    judging: int

    def __init__(
        self,
        scenario: Scenario,
        target: str,
        server: ServerAddress,
        key: str | None,
        judge: AnswerJudge,
        *,
        share: PlanShare | None = None,
        sinks: Sequence[RecordSink] = (),
        begin: float | None = None,
        self_test: SelfTest | None = None,
    ) -> None:
        share = scenario.part if share is None else share
        if begin is None and scenario.start_at is not None:
            begin = start_time(scenario.start_at) + scenario.warmup
        super().__init__(scenario, target, begin)
        self.figures = RunFigures()
        self._lag = Lag()
        self.figures.lag = self._lag.histogram
        self.in_flight = 0
        self.judging = 0
        self._under_way: dict[TimedExchange, PlaceInPlan] = {}
        self._cap = _cap(scenario, share)
        self._left = scenario.count and share.count(scenario.count)  # sessions of a closed loop
        self._sessions = 0  # that count
        kinds = tuple(request.name for request in scenario.requests)
        self._objectives = by_request(read_all(scenario.slo), target, tuple(scenario.targets), kinds)
        self._judge = judge
        self._share = share
        self._sinks = sinks
        self._self_test = self_test
        self._secrets = SecretWords.of(scenario, target, key)
        self._key = key
        self._plays_out = has_fixed_end(scenario)
        self._templates: dict[tuple[str, str, str, bool], RequestTemplate] = {}
        self._source = source_of(scenario.requests, setting_of(scenario, target))
        tls = ssl.create_default_context() if server.secure else None
        rules = ConnectionRules(
            scenario.connections == "keep",
            scenario.dns_ttl,
            scenario.http,
            scenario.streams_per_connection,
        )
        deadline = math.inf if scenario.deadline is None else scenario.deadline
        self._server = LoadTarget(
            Connections(server, tls, rules), timeout=scenario.timeout, deadline=deadline, resend=scenario.resend
        )
        self._waiting, self._scope = trio.CancelScope(), trio.CancelScope()
        self._arriving = trio.CancelScope()
        self._ending: trio.CancelScope | None = None  # of all exchanges
        self._settling: trio.Nursery

    @property
    def _start(self) -> float:
        return self.begin - self.scenario.warmup

    @property
    def begun_share(self) -> float:
        return self._sessions / self._share.count(self.scenario.count) if self.scenario.count else 0.0

    def unfinished(self) -> UnfinishedAnswers:
        found = [exchange for exchange in self._under_way if exchange.planned >= self.begin]
        return UnfinishedAnswers(
            [one.first_byte - one.planned for one in found if one.first_byte is not None and one.status == HTTP_OK],
            [one.contents[0] - one.planned for one in found if one.contents],
            sum(one.events for one in found),
        )

    def stop(self, reason: str = "") -> None:
        self.interrupted = self.interrupted or not reason
        self.stopped = self.stopped or reason
        self.end = min(self.end, trio.current_time())
        self._waiting.cancel()
        self._scope.cancel()

    def finish(self, reason: str) -> None:
        self.stopped = self.stopped or reason
        self.end = min(self.end, trio.current_time())
        self._waiting.cancel()
        self._arriving.cancel()
        if self._ending is not None:
            self._ending.deadline = self.end + self.scenario.grace

    def take(self) -> RunFigures:
        """The figures since the last call, which are no longer here then: for whoever puts shares together."""
        found, self.figures = self.figures, RunFigures()
        self.figures.lag = self._lag.histogram = Histogram()
        return found

    async def run(self) -> RunResult:
        """All of it. The result is also that of a run that was stopped."""
        started = datetime.now(UTC) + timedelta(seconds=max(0.0, self._start - trio.current_time()))
        with self._waiting:
            await trio.sleep_until(self._start)
        cpu, since = time.process_time(), time.perf_counter()
        async with trio.open_nursery() as watching:
            watching.start_soon(self._lag.watch)
            watching.start_soon(self._watch)
            watching.start_soon(collect_when_idle, self, SPARE)
            if self.scenario.probe and not self._share.index:
                watching.start_soon(self._probing)
            async with trio.open_nursery() as self._settling:
                try:
                    with self._scope:
                        await (self._open_loop() if self.scenario.open_loop else self._closed_loop())
                    cpu = (time.process_time() - cpu) / max(LOOK, time.perf_counter() - since)
                finally:
                    self._server.close()
            watching.cancel_scope.cancel()
        return self.result(started, Overhead(self.figures.lag, self.figures.late, cpu, self._self_test))

    # Arrivals

    async def _open_loop(self) -> None:
        drawn = random.Random(f"{self.scenario.seed} requests")
        numbers = iter(range(10**12))

        last = self.begin

        def prepare(planned: float) -> Callable[[], None]:
            number = next(numbers)
            session, manner = self._source.session(number, drawn), drawn.random()
            arrival = SessionArrival.of(number, session, manner) if self._share.has(number) else None

            def start() -> None:
                nonlocal last
                last = planned
                self._sessions += planned >= self.begin
                if arrival is not None:
                    nursery.start_soon(self._arrived, arrival, planned)

            return start

        async with trio.open_nursery() as nursery:
            self._ending = nursery.cancel_scope
            with self._arriving:
                await start_on_time(starts(self.scenario), self.begin - self.scenario.warmup, prepare)
            nursery.cancel_scope.deadline = max(self.end, last) + self.scenario.grace

    async def _closed_loop(self) -> None:
        """The clients come in one after the other during the warm-up."""
        apart = self.scenario.warmup / self.scenario.concurrency
        async with trio.open_nursery() as nursery:
            self._ending = nursery.cancel_scope
            nursery.cancel_scope.deadline = self.end + self.scenario.grace
            for client in filter(self._share.has, range(self.scenario.concurrency)):
                nursery.start_soon(self._client, client, self.begin - self.scenario.warmup + client * apart)
                await trio.lowlevel.checkpoint()  # what has come is read before the next begins

    def _may_begin(self, now: float) -> bool:
        """Whether a client may ask again; a session of the count is taken with that."""
        if now >= self.end or self._left == 0:
            return False
        if now >= self.begin:
            self._sessions += 1
            if self._left is not None:
                self._left -= 1
                if not self._left and self._ending is not None:
                    self._ending.deadline = now + self.scenario.grace
        return True

    async def _client(self, client: int, start: float) -> None:
        await trio.sleep_until(start)
        chance = random.Random(f"{self.scenario.seed} client {client}")
        number = client
        while await self._has_turn(client):
            arrival = SessionArrival.of(number, self._source.session(number, chance), chance.random())
            if not self._may_begin(now := trio.current_time()):  # what it took to make is nobody's time
                break
            exchange = await self._session(arrival, now)
            number += self.scenario.concurrency
            asked = self._asked_to_wait(exchange)
            think = exchange.request.think_before(chance)
            await trio.sleep(max(think, AFTER_ERROR if exchange.problem else 0.0, asked))

    async def _has_turn(self, client: int) -> bool:
        """Wait until a step has this client among its own; false if none will."""
        if not self.scenario.client_steps:
            return True
        at = next_turn_of(self.scenario.client_steps, client, trio.current_time() - self.begin)
        if at is not None:
            await trio.sleep_until(self.begin + at)
        return at is not None

    def _asked_to_wait(self, exchange: TimedExchange) -> float:
        """How long the server wants this client to wait, if it is one that does."""
        asked = retry_after(exchange.status, exchange.headers) if self.scenario.respect_retry_after else None
        if asked is None:
            return 0.0
        self.figures.retry_waits.add(min(asked, LONGEST))
        return min(asked, LONGEST)

    # One session, one exchange

    async def _arrived(self, arrival: SessionArrival, planned: float) -> None:
        """A session of an open loop, in its turn where there is a cap. Its time goes on while it waits for that."""
        if self._cap is None:
            await self._session(arrival, planned)
            return
        since, queued = trio.current_time(), 0.0
        with trio.CancelScope(deadline=planned + self._server.deadline) as scope:
            try:
                queued = await _turn(self._cap)
            except trio.Cancelled:
                expired = trio.current_time() >= scope.deadline
                self._unsent(arrival, planned, trio.current_time() - since, expired)
                raise
        if not scope.cancelled_caught:
            try:
                await self._session(arrival, planned, queued)
            finally:
                self._cap.release()

    def _unsent(self, arrival: SessionArrival, planned: float, queued: float, expired: bool) -> None:
        """Count a session that ends before its turn."""
        prepared = arrival.first
        self._leave(prepared, planned, arrival.session.unbegun, expired)
        exchange = TimedExchange(prepared.request, _manner(prepared.request, arrival.manner), planned, queued)
        exchange.ended, exchange.phase = exchange.began, "turn"
        if expired:
            exchange.fail("expired", f"not sent {self._server.deadline:g} s after its time in the plan")
        elif not (self.interrupted or self.stopped):
            exchange.fail("unfinished", f"not sent {self.scenario.grace:g} s after the last arrival")
        self.figures.record_begin(planned - self.begin, 0.0)
        place = self._place(arrival.number, 1, planned, prepared)
        self._settling.start_soon(self._settle, exchange, place)

    async def _session(self, arrival: SessionArrival, planned: float, queued: float = 0.0) -> TimedExchange:
        """Turn by turn; the last exchange of it, which has ``queued`` so many seconds for its turn. No turn begins
        behind the end of the load, unless the plan ends of itself."""
        session, prepared, turn, failed = arrival.session, arrival.first, 1, False
        if session.unbegun:
            self.figures.conversing.add(prepared.request.name)
        left = 0
        try:
            while True:
                left = session.unbegun
                place = self._place(arrival.number, turn, planned, prepared)
                exchange, whole = await self._exchange(place, planned, prepared, arrival.manner, queued)
                following = session.turn(exchange.body) if whole else None
                if following is None:
                    failed = True
                    return exchange
                prepared, turn, planned = following, turn + 1, trio.current_time() + following.think
                queued = 0.0
                if planned >= self.end and (self.stopped or not self._plays_out):
                    return exchange
                await trio.sleep_until(planned)
        finally:
            self._leave(prepared, planned, left, failed)

    def _leave(self, prepared: PreparedRequest, planned: float, left: int, failed: bool) -> None:
        """The end of a session, of which so many turns are ``left``."""
        if left:
            self.figures.conversing.add(prepared.request.name)
        if planned >= self.begin:
            self.figures.count_skipped_turns(left, failed)

    def _place(self, number: int, turn: int, planned: float, prepared: PreparedRequest) -> PlaceInPlan:
        asked = prepared.asked_input, prepared.asked_output, prepared.characters
        return PlaceInPlan(number, turn, self._step(planned), *asked)

    async def _exchange(
        self, place: PlaceInPlan, planned: float, prepared: PreparedRequest, manner: float, queued: float
    ) -> tuple[TimedExchange, bool]:
        """The exchange after its end, and whether it seems to be whole: the verdict comes later."""
        request = self._template(prepared.request).outgoing(prepared)
        exchange = TimedExchange(prepared.request, _manner(prepared.request, manner), planned, queued)
        self.figures.record_begin(planned - self.begin, max(0.0, exchange.began - planned - queued))
        self._under_way[exchange] = place
        self.in_flight += 1
        try:
            await exchange.run(self._server, request)
        except trio.Cancelled:
            if not (self._scope.cancel_called or exchange.problem):
                exchange.fail("unfinished", f"no end {self.scenario.grace:g} s after the last arrival")
            raise
        finally:
            self.in_flight -= 1
            del self._under_way[exchange]
            self._settling.start_soon(self._settle, exchange, place, prepared.learn)
        return exchange, exchange.complete and not exchange.failed

    def _template(self, request: LoadRequest) -> RequestTemplate:
        """Bodies in one file may be of several APIs, and recordings of several models."""
        kind = request.name, request.api, request.model, request.stream
        if kind not in self._templates:
            headers = bodies.headers(request.api, self._key, self.scenario.headers)
            url = self.scenario.targets[self.target]
            self._templates[kind] = RequestTemplate(request, url, headers)
        return self._templates[kind]

    async def _settle(
        self, exchange: TimedExchange, place: PlaceInPlan, learn: Callable[[int], None] | None = None
    ) -> None:
        """Count it, once it is read and judged; the client does not wait for that."""
        body = exchange.body
        readable = exchange.complete or (body and exchange.status == HTTP_OK and not exchange.is_too_large)
        judged = await self._judged(exchange, body) if readable else None
        if learn is not None and exchange.tokens.input:
            learn(exchange.tokens.input)
        end, problem = end_of(exchange, judged if exchange.complete else None)
        waived = judged.waived if judged else ()
        record = self._secrets.mask_record(record_of(exchange, place, self.begin, end, problem, waived))
        missed = missed_by(record, self._objectives.get(record.request, ()))
        if exchange.request.exact and record.short:
            missed = (*missed, EXACT)
        self.figures.add(record, missed)
        for sink in self._sinks:
            sink.add(record, missed, body)

    async def _probing(self) -> None:
        """Probe until cancelled. Those that are under way then count no more than the load's own."""
        probes = Probes(self.scenario.requests[0], setting_of(self.scenario, self.target))
        planned = self.begin
        async with trio.open_nursery() as nursery:
            while planned < self.end:
                await trio.sleep_until(planned)
                nursery.start_soon(self._probe, probes.next(), planned)
                planned += 1 / self.scenario.probe

    async def _probe(self, prepared: PreparedRequest, planned: float) -> None:
        exchange, judged = TimedExchange(prepared.request, "reads", planned), None
        try:
            await exchange.run(self._server, self._template(prepared.request).outgoing(prepared))
            judged = await self._judged(exchange, exchange.body) if exchange.complete else None
        except trio.Cancelled:
            exchange.fail("unfinished", "no end when the load was over")
            raise
        finally:
            self._probed(exchange, prepared, judged)

    def _probed(self, exchange: TimedExchange, prepared: PreparedRequest, judged: StreamVerdict | None) -> None:
        place = PlaceInPlan(0, asked_input=prepared.asked_input, asked_output=prepared.asked_output)
        end, problem = end_of(exchange, judged)
        self.figures.probes.add(self._secrets.mask_record(record_of(exchange, place, self.begin, end, problem)))

    async def _judged(self, exchange: TimedExchange, body: bytes) -> StreamVerdict:
        self.judging += 1
        judged = await self._judge(_for_the_judge(exchange.request, body, exchange.complete))
        self.judging -= 1
        exchange.read(judged.reading)
        return judged

    def _step(self, planned: float) -> int:
        """The number of the step in which ``planned`` lies."""
        since = planned - self.begin
        steps: Sequence[RateStep | ClientStep] = self.scenario.steps or self.scenario.client_steps
        for number, step in enumerate(steps):
            since -= step.seconds
            if since < 0:
                return number
        return max(0, len(steps) - 1)

    async def _watch(self) -> None:
        while True:
            now = trio.current_time()
            self.figures.timeline.note(now - self.begin, self.in_flight, self._lag.worst())
            if self.scenario.idle is not None:
                self._end_silent(now, self.scenario.idle)
            await trio.sleep(LOOK)

    def _end_silent(self, now: float, idle: float) -> None:
        """End the exchanges of which nothing has been heard for so long: looking now and then costs less than a
        deadline that moves with every event."""
        for exchange in self._under_way:
            if now - exchange.heard > idle and exchange.problem is None:
                exchange.give_up("stalled", f"no event for {idle:g} s")


def _cap(scenario: Scenario, share: PlanShare) -> trio.CapacityLimiter | None:
    """Turns for so many sessions of an open loop at once, if there is a limit."""
    if not (scenario.open_loop and scenario.concurrency):
        return None
    return trio.CapacityLimiter(max(1, share.count(scenario.concurrency)))


async def _turn(cap: trio.CapacityLimiter) -> float:
    """Take a turn; the seconds that it had to wait for that."""
    since = trio.current_time()
    try:
        cap.acquire_nowait()
    except trio.WouldBlock:
        await cap.acquire()
        return trio.current_time() - since
    return 0.0


def _manner(request: LoadRequest, draw: float) -> Manner:
    if draw < request.cancels:
        return "cancels"
    return "reads slowly" if draw < request.cancels + request.slows else "reads"


async def address_of(scenario: Scenario, target: str) -> ServerAddress:
    """The address of a target. Raises ``Unreachable``."""
    try:
        return await ServerAddress.resolve(scenario.targets[target])
    except WireError as error:
        raise Unreachable(error.detail) from error
