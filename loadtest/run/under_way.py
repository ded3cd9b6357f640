"""The public view of a run: its figures while it runs, and the receivers of its records."""

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeAlias

import attrs
import trio

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Tally
from loadtest.plan.masked_urls import mask_url
from loadtest.plan.scenario import Scenario
from loadtest.plan.shares import format_start
from loadtest.run.overhead import Overhead

if TYPE_CHECKING:
    from loadtest.figures.run_figures import RunFigures


@attrs.frozen
class UnfinishedAnswers:
    """Figures of answers under way: seconds to the first byte and to the first token, for those that have them, and
    the number of events."""

    ttfb: Sequence[float] = ()
    ttft: Sequence[float] = ()
    events: int = 0


class RecordSink(Protocol):
    """A receiver of all records, including those of the warm-up.

    ``missed`` are the missed objectives. ``body`` is the received answer, and may be empty unless ``reads_bodies``. It
    must not wait.
    """

    @property
    def reads_bodies(self) -> bool: ...

    def add(self, record: ExchangeRecord, missed: Sequence[str], body: bytes) -> None: ...


class LoadUnderWay:
    """A run as its observers see it: its figures so far, and methods to end it.

    Arrivals between the trio times ``begin`` and ``end`` count; ``in_judging`` is the number of answers that wait for
    their verdict.
    """

    def __init__(self, scenario: Scenario, target: str, begin: float | None = None) -> None:
        self.scenario = scenario
        self.target = target
        self.url = mask_url(scenario.targets[target])
        self.interrupted = False
        self.stopped = ""
        self.begin = trio.current_time() + scenario.warmup if begin is None else begin
        self.end = self.begin + scenario.seconds

    if TYPE_CHECKING:  # attributes in one subclass, properties in another

        @property
        def figures(self) -> RunFigures: ...
        @property
        def in_flight(self) -> int: ...
        @property
        def in_judging(self) -> int: ...
        @property
        def begun_share(self) -> float:
            """The begun share of the planned count, or 0 without a count."""
            ...

    @property
    def progress(self) -> float:
        """The finished share of the load, 0 to 1."""
        if math.isinf(self.end):
            return min(1.0, self.begun_share)
        whole = self.end - self.begin + self.scenario.warmup
        return min(1.0, max(self.begun_share, 1 - (self.end - trio.current_time()) / whole))

    @property
    def measured_seconds(self) -> float:
        """Seconds of measured arrivals so far."""
        return max(0.0, min(trio.current_time(), self.end) - self.begin)

    @property
    def warming_up(self) -> bool:
        return trio.current_time() < self.begin

    def unfinished(self) -> UnfinishedAnswers:
        """Return the figures of answers under way. Takes milliseconds for thousands of them."""
        return UnfinishedAnswers()

    def stop(self, reason: str = "") -> None:
        """End the run immediately: requests under way count as interrupted. An empty ``reason`` means Ctrl-C."""
        raise NotImplementedError

    def finish(self, reason: str) -> None:
        """Begin no more requests. Those under way have the grace period to end."""
        raise NotImplementedError

    async def run(self) -> RunResult:
        """Run the whole load. Returns a result even if the run ended early."""
        raise NotImplementedError

    def result(self, started: datetime, overhead: Overhead) -> RunResult:
        """Return the result of the finished run."""
        figures, scenario = self.figures, self.scenario
        parts = figures.requests
        seconds = max(0.0, self.end - self.begin)
        if scenario.count is not None and not scenario.is_open_loop:
            seconds = min(seconds, figures.last)  # the clients continue until the last of them has its answer
        return RunResult(
            target=self.target,
            url=self.url,
            started=started.isoformat(timespec="seconds"),
            scenario=scenario.describe(),
            seconds=seconds,
            elapsed=figures.last,
            interrupted=self.interrupted,
            stopped=self.stopped,
            tally=figures.total,
            requests={request.name: parts.get(request.name, Tally()) for request in scenario.requests},
            turns=figures.conversations,
            steps=figures.steps,
            unbegun=figures.unbegun,
            cut_off=figures.cut_off,
            retry_waits=figures.retry_waits,
            probes=figures.probes,
            timeline=figures.timeline,
            overhead=overhead,
        )


Watching: TypeAlias = Callable[[LoadUnderWay], Awaitable[None]]
"""A task that watches a load, and may end it. It is cancelled at the end."""


async def watch_nothing(running: LoadUnderWay) -> None:
    """Watch nothing."""


class Runner(Protocol):
    """Loads the target with this name once, in one or several processes."""

    async def __call__(self, scenario: Scenario, target: str, watch: Watching = watch_nothing) -> RunResult: ...


class StartTimePassed(Exception):
    """The start time of a load has passed."""


def start_time(start_at: float) -> float:
    """Return the trio time of a start. Raises ``StartTimePassed`` if it has passed."""
    ahead = start_at - time.time()
    if ahead < 0:
        late = f"the start time {format_start(start_at)} was {-ahead:.3g} s ago"
        raise StartTimePassed(f"--start-at: {late}; give all parts a later time, at which each is ready")
    return trio.current_time() + ahead
