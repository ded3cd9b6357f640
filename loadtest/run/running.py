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

from loadtest.exchange.ending import LONGEST, end_of, parse_retry_after, record_of
from loadtest.exchange.exchange import HTTP_OK, LoadTarget, TimedExchange
from loadtest.exchange.judging import AnswerJudge, ReceivedAnswer, StreamVerdict
from loadtest.exchange.masking import SecretWords
from loadtest.exchange.record import Manner
from loadtest.figures.histogram import Histogram
from loadtest.figures.result import RunResult
from loadtest.figures.run_figures import RunFigures
from loadtest.figures.tally import EXACT
from loadtest.plan.arrivals import ClientStep, RateStep, next_active_time, start_on_time
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.objectives import missed_by, objectives_by_request, parse_all_objectives
from loadtest.plan.scenario import Scenario, arrival_times, has_fixed_end
from loadtest.plan.shares import PlanShare
from loadtest.requests import bodies
from loadtest.requests.bodies import RequestTemplate
from loadtest.requests.made_requests import Probes
from loadtest.requests.mix import source_of
from loadtest.requests.sources import LoadSession, PlanPosition, PreparedRequest, setting_of
from loadtest.run.overhead import Lag, Overhead, SelfTest
from loadtest.run.under_way import LoadUnderWay, RecordSink, UnfinishedAnswers, start_time
from loadtest.wire.address import ServerAddress
from loadtest.wire.answers import WireError
from loadtest.wire.connections import ConnectionRules, Connections
from streams.garbage import collect_when_idle

SAMPLE_INTERVAL: Final = 0.1  # seconds between two samples of the requests under way
SPARE: Final = 256 * 2**20  # bytes of garbage to allow, because a collection pauses all streams
AFTER_ERROR: Final = 0.1  # seconds that a client of a closed loop waits after an error


class Unreachable(Exception):
    """The name of a target cannot be resolved."""


def _answer_to_judge(request: LoadRequest, body: bytes, complete: bool) -> ReceivedAnswer:
    """Return the answer to judge. The expected usage is unknown if ``extra`` sets it."""
    wanted = None if "stream_options" in request.extra else request.stream and request.usage
    return ReceivedAnswer(request.api, request.stream, wanted, body, complete)


@attrs.frozen
class SessionArrival:
    """A planned session with its ``first`` request.

    The random number ``manner`` (0 to 1) selects the client's behaviour.
    """

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
    """A run in this process, or the ``share`` of one, that can be observed while it runs.

    ``key`` is the key of the target. ``begin`` is the trio time at which the measurement begins. By default it follows
    from the plan's start, or the warm-up begins now. Raises ``StartTimePassed``.
    """

    figures: RunFigures
    in_flight: int
    in_judging: int

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
        self.in_judging = 0
        self._under_way: dict[TimedExchange, PlanPosition] = {}
        self._cap = _session_limiter(scenario, share)
        self._left = scenario.count and share.count(scenario.count)  # sessions left in a closed loop
        self._sessions = 0  # after the warm-up
        kinds = tuple(request.name for request in scenario.requests)
        self._objectives = objectives_by_request(
            parse_all_objectives(scenario.slo), target, tuple(scenario.targets), kinds
        )
        self._judge = judge
        self._share = share
        self._sinks = sinks
        self._self_test = self_test
        self._secrets = SecretWords.of_load(scenario, target, key)
        self._key = key
        self._has_fixed_end = has_fixed_end(scenario)
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

    def take_figures(self) -> RunFigures:
        """Return the figures since the last call, and reset them. For processes whose figures are merged."""
        found, self.figures = self.figures, RunFigures()
        self.figures.lag = self._lag.histogram = Histogram()
        return found

    async def run(self) -> RunResult:
        """Run the whole load. Returns a result even if the run was stopped."""
        started = datetime.now(UTC) + timedelta(seconds=max(0.0, self._start - trio.current_time()))
        with self._waiting:
            await trio.sleep_until(self._start)
        cpu, since = time.process_time(), time.perf_counter()
        async with trio.open_nursery() as watching:
            watching.start_soon(self._lag.watch)
            watching.start_soon(self._watch_timeouts)
            watching.start_soon(collect_when_idle, self, SPARE)
            if self.scenario.probe and not self._share.index:
                watching.start_soon(self._send_probes)
            async with trio.open_nursery() as self._settling:
                try:
                    with self._scope:
                        await (self._run_open_loop() if self.scenario.is_open_loop else self._run_closed_loop())
                    cpu = (time.process_time() - cpu) / max(SAMPLE_INTERVAL, time.perf_counter() - since)
                finally:
                    self._server.close()
            watching.cancel_scope.cancel()
        return self.result(started, Overhead(self.figures.lag, self.figures.late, cpu, self._self_test))

    # Arrivals

    async def _run_open_loop(self) -> None:
        drawn = random.Random(f"{self.scenario.seed} requests")
        numbers = iter(range(10**12))

        last = self.begin

        def prepare(planned: float) -> Callable[[], None]:
            number = next(numbers)
            session, manner = self._source.session(number, drawn), drawn.random()
            arrival = SessionArrival.of(number, session, manner) if self._share.contains(number) else None

            def start() -> None:
                nonlocal last
                last = planned
                self._sessions += planned >= self.begin
                if arrival is not None:
                    nursery.start_soon(self._run_arrival, arrival, planned)

            return start

        async with trio.open_nursery() as nursery:
            self._ending = nursery.cancel_scope
            with self._arriving:
                await start_on_time(arrival_times(self.scenario), self.begin - self.scenario.warmup, prepare)
            nursery.cancel_scope.deadline = max(self.end, last) + self.scenario.grace

    async def _run_closed_loop(self) -> None:
        """Start the clients one after another during the warm-up."""
        apart = self.scenario.warmup / self.scenario.concurrency
        async with trio.open_nursery() as nursery:
            self._ending = nursery.cancel_scope
            nursery.cancel_scope.deadline = self.end + self.scenario.grace
            for client in filter(self._share.contains, range(self.scenario.concurrency)):
                nursery.start_soon(self._run_client, client, self.begin - self.scenario.warmup + client * apart)
                await trio.lowlevel.checkpoint()  # lets reads run before the next client

    def _claim_session(self, now: float) -> bool:
        """Return whether a client may send another request. If so, a session is subtracted from the count."""
        if now >= self.end or self._left == 0:
            return False
        if now >= self.begin:
            self._sessions += 1
            if self._left is not None:
                self._left -= 1
                if not self._left and self._ending is not None:
                    self._ending.deadline = now + self.scenario.grace
        return True

    async def _run_client(self, client: int, start: float) -> None:
        await trio.sleep_until(start)
        rng = random.Random(f"{self.scenario.seed} client {client}")
        number = client
        while await self._wait_for_step(client):
            arrival = SessionArrival.of(number, self._source.session(number, rng), rng.random())
            if not self._claim_session(now := trio.current_time()):  # the time to prepare it does not count
                break
            exchange = await self._run_session(arrival, now)
            number += self.scenario.concurrency
            asked = self._requested_wait(exchange)
            think = exchange.request.draw_think_time(rng)
            await trio.sleep(max(think, AFTER_ERROR if exchange.problem else 0.0, asked))

    async def _wait_for_step(self, client: int) -> bool:
        """Wait until a step includes this client. Return whether one does."""
        if not self.scenario.client_steps:
            return True
        at = next_active_time(self.scenario.client_steps, client, trio.current_time() - self.begin)
        if at is not None:
            await trio.sleep_until(self.begin + at)
        return at is not None

    def _requested_wait(self, exchange: TimedExchange) -> float:
        """Return the seconds that the server asks this client to wait, if the client respects that."""
        asked = parse_retry_after(exchange.status, exchange.headers) if self.scenario.respect_retry_after else None
        if asked is None:
            return 0.0
        self.figures.retry_waits.add(min(asked, LONGEST))
        return min(asked, LONGEST)

    # One session, one exchange

    async def _run_arrival(self, arrival: SessionArrival, planned: float) -> None:
        """Run a session of an open loop. With a cap, it waits for its turn, and the waiting counts."""
        if self._cap is None:
            await self._run_session(arrival, planned)
            return
        since, queued = trio.current_time(), 0.0
        with trio.CancelScope(deadline=planned + self._server.deadline) as scope:
            try:
                queued = await _acquire_turn(self._cap)
            except trio.Cancelled:
                expired = trio.current_time() >= scope.deadline
                self._count_unsent(arrival, planned, trio.current_time() - since, expired)
                raise
        if not scope.cancelled_caught:
            try:
                await self._run_session(arrival, planned, queued)
            finally:
                self._cap.release()

    def _count_unsent(self, arrival: SessionArrival, planned: float, queued: float, expired: bool) -> None:
        """Count a session that ended before its turn."""
        prepared = arrival.first
        self._end_session(prepared, planned, arrival.session.unbegun, expired)
        exchange = TimedExchange(prepared.request, _choose_manner(prepared.request, arrival.manner), planned, queued)
        exchange.ended, exchange.phase = exchange.began, "turn"
        if expired:
            exchange.fail("expired", f"not sent {self._server.deadline:g} s after its planned start")
        elif not (self.interrupted or self.stopped):
            exchange.fail("unfinished", f"not sent {self.scenario.grace:g} s after the last arrival")
        self.figures.record_begin(planned - self.begin, 0.0)
        position = self._make_position(arrival.number, 1, planned, prepared)
        self._settling.start_soon(self._judge_and_count, exchange, position)

    async def _run_session(self, arrival: SessionArrival, planned: float, queued: float = 0.0) -> TimedExchange:
        """Run a session turn by turn and return its last exchange. It waited ``queued`` seconds for its turn.

        No turn begins after the end of the load, unless the plan has a fixed end.
        """
        session, prepared, turn, failed = arrival.session, arrival.first, 1, False
        if session.unbegun:
            self.figures.conversing.add(prepared.request.name)
        left = 0
        try:
            while True:
                left = session.unbegun
                position = self._make_position(arrival.number, turn, planned, prepared)
                exchange, whole = await self._run_exchange(position, planned, prepared, arrival.manner, queued)
                following = session.turn(exchange.body) if whole else None
                if following is None:
                    failed = True
                    return exchange
                prepared, turn, planned = following, turn + 1, trio.current_time() + following.think
                queued = 0.0
                if planned >= self.end and (self.stopped or not self._has_fixed_end):
                    return exchange
                await trio.sleep_until(planned)
        finally:
            self._end_session(prepared, planned, left, failed)

    def _end_session(self, prepared: PreparedRequest, planned: float, left: int, failed: bool) -> None:
        """Count the end of a session with ``left`` skipped turns."""
        if left:
            self.figures.conversing.add(prepared.request.name)
        if planned >= self.begin:
            self.figures.count_skipped_turns(left, failed)

    def _make_position(self, number: int, turn: int, planned: float, prepared: PreparedRequest) -> PlanPosition:
        asked = prepared.asked_input, prepared.asked_output, prepared.characters
        return PlanPosition(number, turn, self._step_at(planned), *asked)

    async def _run_exchange(
        self, position: PlanPosition, planned: float, prepared: PreparedRequest, manner: float, queued: float
    ) -> tuple[TimedExchange, bool]:
        """Return the finished exchange, and whether it seems whole. The verdict follows later."""
        request = self._template_for(prepared.request).outgoing(prepared)
        exchange = TimedExchange(prepared.request, _choose_manner(prepared.request, manner), planned, queued)
        self.figures.record_begin(planned - self.begin, max(0.0, exchange.began - planned - queued))
        self._under_way[exchange] = position
        self.in_flight += 1
        try:
            await exchange.run(self._server, request)
        except trio.Cancelled:
            if not (self._scope.cancel_called or exchange.problem):
                exchange.fail("unfinished", f"not finished {self.scenario.grace:g} s after the last arrival")
            raise
        finally:
            self.in_flight -= 1
            del self._under_way[exchange]
            self._settling.start_soon(self._judge_and_count, exchange, position, prepared.learn)
        return exchange, exchange.complete and not exchange.has_error

    def _template_for(self, request: LoadRequest) -> RequestTemplate:
        """Return the template of a kind. One file may have requests of several APIs and models."""
        kind = request.name, request.api, request.model, request.stream
        if kind not in self._templates:
            headers = bodies.request_headers(request.api, self._key, self.scenario.headers)
            url = self.scenario.targets[self.target]
            self._templates[kind] = RequestTemplate(request, url, headers)
        return self._templates[kind]

    async def _judge_and_count(
        self, exchange: TimedExchange, position: PlanPosition, learn: Callable[[int], None] | None = None
    ) -> None:
        """Judge and count an exchange. Its client does not wait for that."""
        body = exchange.body
        readable = exchange.complete or (body and exchange.status == HTTP_OK and not exchange.is_too_large)
        judged = await self._judge_answer(exchange, body) if readable else None
        if learn is not None and exchange.tokens.input:
            learn(exchange.tokens.input)
        end, problem = end_of(exchange, judged if exchange.complete else None)
        waived = judged.waived if judged else ()
        record = self._secrets.mask_record(record_of(exchange, position, self.begin, end, problem, waived))
        missed = missed_by(record, self._objectives.get(record.request, ()))
        if exchange.request.exact and record.is_short:
            missed = (*missed, EXACT)
        self.figures.add(record, missed)
        for sink in self._sinks:
            sink.add(record, missed, body)

    async def _send_probes(self) -> None:
        """Send probes until cancelled."""
        probes = Probes(self.scenario.requests[0], setting_of(self.scenario, self.target))
        planned = self.begin
        async with trio.open_nursery() as nursery:
            while planned < self.end:
                await trio.sleep_until(planned)
                nursery.start_soon(self._send_probe, probes.next_probe(), planned)
                planned += 1 / self.scenario.probe

    async def _send_probe(self, prepared: PreparedRequest, planned: float) -> None:
        exchange, judged = TimedExchange(prepared.request, "reads", planned), None
        try:
            await exchange.run(self._server, self._template_for(prepared.request).outgoing(prepared))
            judged = await self._judge_answer(exchange, exchange.body) if exchange.complete else None
        except trio.Cancelled:
            exchange.fail("unfinished", "not finished at the end of the load")
            raise
        finally:
            self._count_probe(exchange, prepared, judged)

    def _count_probe(self, exchange: TimedExchange, prepared: PreparedRequest, judged: StreamVerdict | None) -> None:
        position = PlanPosition(0, asked_input=prepared.asked_input, asked_output=prepared.asked_output)
        end, problem = end_of(exchange, judged)
        self.figures.probes.add(self._secrets.mask_record(record_of(exchange, position, self.begin, end, problem)))

    async def _judge_answer(self, exchange: TimedExchange, body: bytes) -> StreamVerdict:
        self.in_judging += 1
        judged = await self._judge(_answer_to_judge(exchange.request, body, exchange.complete))
        self.in_judging -= 1
        exchange.apply_reading(judged.reading)
        return judged

    def _step_at(self, planned: float) -> int:
        """Return the number of the step that includes ``planned``."""
        since = planned - self.begin
        steps: Sequence[RateStep | ClientStep] = self.scenario.steps or self.scenario.client_steps
        for number, step in enumerate(steps):
            since -= step.seconds
            if since < 0:
                return number
        return max(0, len(steps) - 1)

    async def _watch_timeouts(self) -> None:
        while True:
            now = trio.current_time()
            self.figures.timeline.record_state(now - self.begin, self.in_flight, self._lag.take_worst())
            if self.scenario.idle is not None:
                self._end_stalled(now, self.scenario.idle)
            await trio.sleep(SAMPLE_INTERVAL)

    def _end_stalled(self, now: float, idle: float) -> None:
        """End the exchanges without an event for ``idle`` seconds.

        A periodic check costs less than a deadline that moves with every event.
        """
        for exchange in self._under_way:
            if now - exchange.last_event_at > idle and exchange.problem is None:
                exchange.give_up("stalled", f"no event for {idle:g} s")


def _session_limiter(scenario: Scenario, share: PlanShare) -> trio.CapacityLimiter | None:
    """Return the limit of simultaneous sessions of an open loop, if there is one."""
    if not (scenario.is_open_loop and scenario.concurrency):
        return None
    return trio.CapacityLimiter(max(1, share.count(scenario.concurrency)))


async def _acquire_turn(cap: trio.CapacityLimiter) -> float:
    """Wait for a turn, and return the seconds waited."""
    since = trio.current_time()
    try:
        cap.acquire_nowait()
    except trio.WouldBlock:
        await cap.acquire()
        return trio.current_time() - since
    return 0.0


def _choose_manner(request: LoadRequest, draw: float) -> Manner:
    if draw < request.cancel_share:
        return "cancels"
    return "reads slowly" if draw < request.cancel_share + request.slow_share else "reads"


async def address_of(scenario: Scenario, target: str) -> ServerAddress:
    """Return the address of a target. Raises ``Unreachable``."""
    try:
        return await ServerAddress.resolve(scenario.targets[target])
    except WireError as error:
        raise Unreachable(error.detail) from error
