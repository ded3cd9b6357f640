"""One run: the load of a plan on one target, from the first arrival to the last verdict."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Final

import trio

from loadtest.exchange.exchange import TimedExchange, settle
from loadtest.exchange.judging import AnswerJudge, ReceivedAnswer
from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.result import RunResult
from loadtest.masking import SecretWords, url_secrets
from loadtest.plan.limits import missed_by
from loadtest.plan.plan import LoadPlan, arrival_times
from loadtest.requests import FileBodies, MadePrompts, request_head, request_path
from loadtest.wire.connecting import ServerAddress
from loadtest.wire.connection import Connections
from streams.garbage import collect_when_idle

TICK: Final = 0.02  # seconds between two checks of the requests under way and the event loop's lag
SPARE: Final = 256 * 2**20  # bytes of garbage to allow, because a collection pauses all streams
AFTER_ERROR: Final = 0.1  # seconds that a client of a closed loop waits after an error
MANY: Final = 20  # refusals without any other answer: the load is then pointless
FEW: Final = 5  # requests without a connection and no others: nothing listens at the address
REFUSALS: Final = (400, 401, 403, 404)
UNREACHED: Final = ("refused", "unreachable")


class ActiveRun:
    """A run that can be observed and ended while it runs.

    Its figures are added to ``result``. Arrivals between the trio times ``begin`` and ``end`` count. ``key`` is the key
    of the target. ``log`` receives each record, the missed objectives, the target, and the begin in Unix seconds; it
    must not wait.
    """

    def __init__(
        self,
        plan: LoadPlan,
        result: RunResult,
        address: ServerAddress,
        key: str | None,
        judge: AnswerJudge,
        log: Callable[[ExchangeRecord, Sequence[str], str, float], None] | None = None,
    ) -> None:
        url = plan.targets[result.target]
        self.plan = plan
        self.result = result
        result.begin_round()
        self.in_flight = 0
        self._left = plan.count  # requests left in a closed loop
        self._judge = judge
        self._log = log
        self._secrets = SecretWords.from_values((key or "", *url_secrets(url)))
        paths = {stream: request_path(url, plan.api, plan.model, stream=stream) for stream in (True, False)}
        self._heads = {stream: request_head(url, plan.api, path, key) for stream, path in paths.items()}
        self._source = FileBodies(plan) if plan.requests else MadePrompts(plan)
        self._connections = Connections(address)
        self._ended = 0
        self._unconnected = self._refused = True  # all answers so far
        self._scope, self._arriving = trio.CancelScope(), trio.CancelScope()
        self._exchanging: trio.CancelScope | None = None
        self._settling: trio.Nursery
        # at the end, because a large file of bodies takes long to read
        self.begin = trio.current_time() + plan.warmup
        self.end = self.begin + plan.seconds
        self._begin_unix = time.time() + plan.warmup

    @property
    def measured_seconds(self) -> float:
        """Seconds of measured arrivals so far."""
        return max(0.0, min(trio.current_time(), self.end) - self.begin)

    def stop(self, reason: str = "") -> None:
        """End the run immediately: requests under way count as interrupted. An empty ``reason`` means Ctrl-C."""
        result = self.result
        result.interrupted, result.stopped = result.interrupted or not reason, result.stopped or reason
        self.end = min(self.end, trio.current_time())
        self._scope.cancel()

    def finish(self) -> None:
        """Begin no more requests. Those under way have the grace period to end."""
        self.end = min(self.end, trio.current_time())
        self._arriving.cancel()
        if self._exchanging is not None:
            self._exchanging.deadline = self.end + self.plan.grace

    async def run(self) -> RunResult:
        """Run the whole load. Returns a result even if the run was stopped."""
        result = self.result
        cpu, since = time.process_time(), time.perf_counter()
        async with trio.open_nursery() as watching:
            watching.start_soon(self._observe)
            watching.start_soon(collect_when_idle, self, SPARE)
            async with trio.open_nursery() as self._settling:
                try:
                    with self._scope:
                        await (self._run_closed_loop() if self.plan.rate is None else self._run_open_loop())
                    elapsed = max(0.1, time.perf_counter() - since)
                    result.cpu = max(result.cpu, (time.process_time() - cpu) / elapsed)
                finally:
                    self._connections.close()
            watching.cancel_scope.cancel()
        seconds = max(0.0, self.end - self.begin)
        if self.plan.count is not None and self.plan.rate is None:
            # The clients continue until the last of them has its answer.
            seconds = min(seconds, result.round_elapsed)
        result.end_round(seconds)
        result.is_refused = result.is_refused or bool(result.stopped) or (self._unconnected and self._ended > 0)
        return result

    # Arrivals

    async def _run_open_loop(self) -> None:
        """Start each request at its planned time. A late loader catches up without pauses, and skips no arrival."""
        plan, planned, rng = self.plan, self.begin, random.Random(f"{self.plan.seed} requests")
        async with trio.open_nursery() as nursery:
            self._exchanging = nursery.cancel_scope
            with self._arriving:
                for number, at in enumerate(arrival_times(plan), self.result.begun):
                    request, draw = self._prepare(number, rng), rng.random()  # early, so that it delays nothing
                    planned = self.begin - plan.warmup + at
                    await trio.sleep_until(planned)
                    nursery.start_soon(self._run_exchange, number, planned, request, draw)
                if plan.count is not None and plan.rate is not None:
                    self.end = min(self.end, planned + 1 / plan.rate)  # the next one would begin there
            nursery.cancel_scope.deadline = self.end + plan.grace

    async def _run_closed_loop(self) -> None:
        """Start the clients one after another during the warm-up."""
        apart = self.plan.warmup / self.plan.concurrency
        async with trio.open_nursery() as nursery:
            self._exchanging = nursery.cancel_scope
            nursery.cancel_scope.deadline = self.end + self.plan.grace
            for client in range(self.plan.concurrency):
                start = self.begin - self.plan.warmup + client * apart
                nursery.start_soon(self._run_client, client, start)
                await trio.lowlevel.checkpoint()  # lets reads run before the next client

    async def _run_client(self, client: int, start: float) -> None:
        await trio.sleep_until(start)
        rng = random.Random(f"{self.plan.seed} client {client}")
        while True:
            number = self.result.begun
            request, draw = self._prepare(number, rng), rng.random()
            if not self._may_begin(now := trio.current_time()):  # the time to prepare it does not count
                break
            exchange = await self._run_exchange(number, now, request, draw)
            await trio.sleep(AFTER_ERROR if exchange.record.problem else 0.0)

    def _may_begin(self, now: float) -> bool:
        """Return whether a client may send another request. If so, it is subtracted from the count."""
        if now >= self.end or self._left == 0:
            return False
        if now >= self.begin and self._left is not None:
            self._left -= 1
            if not self._left and self._exchanging is not None:
                self._exchanging.deadline = now + self.plan.grace
        return True

    # One exchange

    def _prepare(self, number: int, rng: random.Random) -> tuple[bool, bytes]:
        """Return whether the next request is a stream, and its bytes with their head."""
        request = self._source.prepare(number, rng)
        return request.stream, b"%b%d\r\n\r\n%b" % (self._heads[request.stream], len(request.body), request.body)

    async def _run_exchange(
        self, number: int, planned: float, request: tuple[bool, bytes], draw: float
    ) -> TimedExchange:
        """Send a request and return the finished exchange. The random ``draw`` selects the clients that leave."""
        plan, leave = self.plan, self.plan.leave
        stream, outgoing = request
        leaving = leave if leave is not None and draw < leave.share else None
        exchange = TimedExchange(plan.api, stream, planned - self.begin, leaving, self.begin)
        record = exchange.record
        record.number = number
        self.result.record_begin(record.planned)
        self.in_flight += 1
        try:
            await exchange.run(self._connections, outgoing, plan.timeout)
        except trio.Cancelled:
            if not (self._scope.cancel_called or record.problem):
                exchange.fail("unfinished", f"not finished {plan.grace:g} s after the last arrival")
            raise
        finally:
            self.in_flight -= 1
            self._settling.start_soon(self._judge_and_count, exchange)
        return exchange

    async def _judge_and_count(self, exchange: TimedExchange) -> None:
        """Judge and count an exchange. Its client does not wait for that."""
        judged = None
        if exchange.is_readable:
            kind = exchange.record
            judged = await self._judge(ReceivedAnswer(kind.api, kind.streamed, exchange.body, exchange.complete))
        record = settle(exchange, judged, self._secrets)
        missed = missed_by(record, self.plan.slo)
        self.result.add(record, missed)
        if self._log is not None:
            self._log(record, missed, self.result.target, self._begin_unix)
        self._stop_if_refused(record)

    def _stop_if_refused(self, record: ExchangeRecord) -> None:
        """End the load if no request gets a connection, or if the server rejects all of them."""
        problem = record.problem
        if record.end == "interrupted" or self.result.stopped:
            return
        self._ended += 1
        self._unconnected &= problem is not None and problem.phase == "connect" and problem.kind in UNREACHED
        self._refused &= record.status in REFUSALS
        text = f"{problem.kind}: {problem.detail}" if problem is not None else ""
        if self._unconnected and self._ended == FEW:
            self.stop(f"none of the first {FEW} requests got a connection: {text}")
        elif self._refused and self._ended == MANY:
            self.stop(f"the server rejected all of the first {MANY} requests: {text}")

    async def _observe(self) -> None:
        """Record the requests under way, and the lag. A late check also counts for those that it delayed."""
        due = trio.current_time() + TICK
        while True:
            await trio.sleep_until(due)
            now = trio.current_time()
            self.result.timeline.record_state(now - self.begin, self.in_flight, now - due)
            while due <= now:
                self.result.lag.add(now - due)
                due += TICK
