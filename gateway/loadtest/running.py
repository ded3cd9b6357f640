"""One run: the load of a scenario on one target, from the first arrival to the last verdict."""

import random
import ssl
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

import attrs
import trio

from gateway.loadtest import bodies, wire
from gateway.loadtest.arrivals import RateStep, arrivals, evenly, paced, poisson
from gateway.loadtest.bodies import Bodies
from gateway.loadtest.client import LoadTarget, Manner, Problem, TimedExchange
from gateway.loadtest.histogram import Histogram
from gateway.loadtest.judging import Judging, ReceivedAnswer, StreamVerdict
from gateway.loadtest.load_request import LoadRequest
from gateway.loadtest.overhead import Lag, Overhead, SelfTest
from gateway.loadtest.report import RunResult
from gateway.loadtest.scenario import Scenario, secrets, shown
from gateway.loadtest.tally import End, Tally, ended
from gateway.loadtest.timeline import LoadTimeline
from gateway.loadtest.wire import ServerAddress, WireError

LOOK = 0.1  # seconds between two looks at how many are under way
SECRET = 8  # characters from which on a word of a header or a URL may be a credential: Bearer is none
AFTER_ERROR = 0.1  # seconds that a client of a closed loop waits before it tries again


class Unreachable(Exception):
    """The name of a target has no address."""


class RequestTemplate:
    """One kind of request, ready to be sent."""

    def __init__(
        self, request: LoadRequest, url: str, server: ServerAddress, headers: tuple[tuple[str, str], ...]
    ) -> None:
        self.request = request
        self.bodies = Bodies.of(request)
        parts = urlsplit(bodies.address(url, request))
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        self.head = wire.request(server, path, headers)

    def wire(self, number: int, chance: random.Random) -> bytes:
        return wire.framed(self.head, self.bodies.next(number, chance))

    def answer(self, body: bytes) -> ReceivedAnswer:
        """For the judge. What usage an answer must have is not known where ``extra`` says so."""
        wanted = self.request.stream and self.request.usage
        usage = None if "stream_options" in self.request.extra else wanted
        return ReceivedAnswer(self.request.api, self.request.stream, usage, body)


class ActiveRun:
    """A run under way; all of it may be looked at while it goes on.

    ``key`` is the target's. ``progress`` is 0 to 1."""

    def __init__(self, scenario: Scenario, target: str, server: ServerAddress, key: str | None, judge: Judging) -> None:
        self.scenario = scenario
        self.target = target
        self.url = shown(scenario.targets[target])
        self.tally = Tally()
        self.requests = {request.name: Tally() for request in scenario.requests}
        self.lag = Lag()
        self.late = Histogram()
        self.under_way: set[TimedExchange] = set()  # those that count
        self.in_flight = 0
        self.interrupted = False
        self.judging = 0  # answers that wait for their verdict
        self._judge = judge
        values = [key or "", *(value for _, value in scenario.headers), *secrets(scenario.targets[target])]
        words = {word for value in values for word in value.split() if len(word) >= SECRET}
        self._secrets = sorted(words, key=len, reverse=True)
        self._templates = [
            RequestTemplate(
                request, scenario.targets[target], server, bodies.headers(request.api, key, scenario.headers)
            )
            for request in scenario.requests
        ]
        self._weights = [request.weight for request in scenario.requests]
        self._chance = random.Random(f"{scenario.seed} requests")
        self._server = LoadTarget(
            server,
            ssl.create_default_context() if server.secure else None,
            timeout=scenario.timeout,
            keep=scenario.connections == "keep",
        )
        self._number = 0
        self._scope = trio.CancelScope()
        self._settling: trio.Nursery
        self.begin = trio.current_time() + scenario.warmup
        self.end = self.begin + scenario.seconds
        self._last = self.begin
        self.timeline = LoadTimeline(self.begin)

    @property
    def progress(self) -> float:
        whole = self.end - self.begin + self.scenario.warmup
        return min(1.0, max(0.0, 1 - (self.end - trio.current_time()) / whole))

    @property
    def warming_up(self) -> bool:
        return trio.current_time() < self.begin

    @property
    def measured(self) -> float:
        """Seconds of arrivals that are measured, so far."""
        return max(0.0, min(trio.current_time(), self.end) - self.begin)

    def stop(self) -> None:
        """End it at once: what is under way counts as interrupted."""
        self.interrupted = True
        self.end = min(self.end, trio.current_time())
        self._scope.cancel()

    async def run(self, self_test: SelfTest | None = None) -> RunResult:
        """All of it. The result is also that of a run that was stopped."""
        started = datetime.now(UTC)
        cpu, since = time.process_time(), time.perf_counter()
        async with trio.open_nursery() as watching:
            watching.start_soon(self.lag.watch)
            watching.start_soon(self._watch)
            async with trio.open_nursery() as self._settling:
                with self._scope:
                    await (self._open_loop() if self.scenario.open_loop else self._closed_loop())
                cpu = (time.process_time() - cpu) / (time.perf_counter() - since)
                await self._server.idle.aclose()
            watching.cancel_scope.cancel()
        return RunResult(
            target=self.target,
            url=self.url,
            started=started.isoformat(timespec="seconds"),
            scenario=self.scenario.described(),
            seconds=max(0.0, self.end - self.begin),
            elapsed=max(0.0, self._last - self.begin),
            interrupted=self.interrupted,
            tally=self.tally,
            requests=self.requests,
            timeline=self.timeline.dump(),
            overhead=Overhead(self.lag.histogram, self.late, cpu, self_test),
        )

    # Arrivals

    async def _open_loop(self) -> None:
        steps = self.scenario.steps
        if self.scenario.warmup:
            steps = (RateStep(steps[0].rate, self.scenario.warmup), *steps)
        chance = random.Random(f"{self.scenario.seed} arrivals")
        distances = poisson(chance) if self.scenario.spacing == "poisson" else evenly()
        async with trio.open_nursery() as nursery:
            await paced(
                arrivals(steps, distances),
                self.begin - self.scenario.warmup,
                lambda intended: nursery.start_soon(self._exchange, intended),
            )
            nursery.cancel_scope.deadline = self.end + self.scenario.grace

    async def _closed_loop(self) -> None:
        """The clients come in one after the other during the warm-up."""
        apart = self.scenario.warmup / self.scenario.concurrency
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = self.end + self.scenario.grace
            for number in range(self.scenario.concurrency):
                nursery.start_soon(self._client, self.begin - self.scenario.warmup + number * apart)

    async def _client(self, start: float) -> None:
        await trio.sleep_until(start)
        while (now := trio.current_time()) < self.end:
            exchange = await self._exchange(now)
            await trio.sleep(max(exchange.request.think, AFTER_ERROR if exchange.problem else 0.0))

    # One exchange

    async def _exchange(self, intended: float) -> TimedExchange:
        template = self._chance.choices(self._templates, self._weights)[0]
        self._number += 1
        data = template.wire(self._number, self._chance)
        exchange = TimedExchange(template.request, _manner(template.request, self._chance), intended)
        if counts := intended >= self.begin:
            self.late.add(exchange.began - intended)
            self.timeline.begun(intended)
            self.under_way.add(exchange)
        self.in_flight += 1
        try:
            await exchange.run(self._server, data)
        except trio.Cancelled:
            if not self.interrupted:
                exchange.fail("unfinished", f"no end {self.scenario.grace:g} s after the last arrival")
            raise
        finally:
            self.in_flight -= 1
            if counts:
                self.under_way.remove(exchange)
                self._last = max(self._last, exchange.ended)
                self._settling.start_soon(self._settle, exchange, template)
        return exchange

    async def _settle(self, exchange: TimedExchange, template: RequestTemplate) -> None:
        """Count it, once it is judged; the client does not wait for that."""
        judged: StreamVerdict | None = None
        if exchange.complete:
            self.judging += 1
            judged = await self._judge(template.answer(b"".join(exchange.body)))
            self.judging -= 1
        end: End
        end, problem = ended(exchange, judged)
        problem = problem and self._masked(problem)
        self.tally.add(exchange, end, problem)
        self.requests[template.request.name].add(exchange, end, problem)
        self.timeline.ended(exchange, end)

    def _masked(self, problem: Problem) -> Problem:
        """Servers like to repeat the key that they refuse, and the path that they do not know."""
        kind, detail = problem.kind, problem.detail
        for secret in self._secrets:
            kind, detail = kind.replace(secret, "***"), detail.replace(secret, "***")
        for secret in self._secrets:  # of one that is cut off where the detail ends, what is left
            left = next((n for n in range(len(secret) - 1, SECRET - 1, -1) if detail.endswith(secret[:n])), 0)
            detail = f"{detail[:-left]}***" if left else detail
        return attrs.evolve(problem, kind=kind, detail=detail)

    async def _watch(self) -> None:
        while True:
            self.timeline.note(trio.current_time(), self.in_flight, self.lag.worst())
            await trio.sleep(LOOK)


def _manner(request: LoadRequest, chance: random.Random) -> Manner:
    draw = chance.random()
    if draw < request.cancels:
        return "cancels"
    return "reads slowly" if draw < request.cancels + request.slows else "reads"


async def address_of(scenario: Scenario, target: str) -> ServerAddress:
    """The address of a target. Raises ``Unreachable``."""
    try:
        return await ServerAddress.find(scenario.targets[target])
    except WireError as error:
        raise Unreachable(error.detail) from error
