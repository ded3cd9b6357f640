"""A run as others see it: what may be looked at while it goes on, who takes its records."""

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
from loadtest.plan.masked_urls import shown
from loadtest.plan.scenario import Scenario
from loadtest.plan.shares import spelled_start
from loadtest.run.overhead import Overhead

if TYPE_CHECKING:
    from loadtest.figures.run_figures import RunFigures


@attrs.frozen
class UnfinishedAnswers:
    """What is known of answers under way that count: seconds to the first byte and to the first token of those of
    which one has come, and how many events have."""

    ttfb: Sequence[float] = ()
    ttft: Sequence[float] = ()
    events: int = 0


class RecordSink(Protocol):
    """Takes every record as it comes, those of the warm-up too. ``missed`` are the objectives that it did not meet,
    ``body`` what came of its answer, which may be left out where nobody ``reads_bodies``. Never waits."""

    @property
    def reads_bodies(self) -> bool: ...

    def add(self, record: ExchangeRecord, missed: Sequence[str], body: bytes) -> None: ...


class LoadUnderWay:
    """A run as others see it while it goes on. Arrivals between the trio times ``begin`` and ``end`` count; ``judging``
    is the number of answers that wait for their verdict."""

    def __init__(self, scenario: Scenario, target: str, begin: float | None = None) -> None:
        self.scenario = scenario
        self.target = target
        self.url = shown(scenario.targets[target])
        self.interrupted = False
        self.stopped = ""
        self.begin = trio.current_time() + scenario.warmup if begin is None else begin
        self.end = self.begin + scenario.seconds

    if TYPE_CHECKING:  # attributes of one kind of run, properties of another

        @property
        def figures(self) -> RunFigures: ...
        @property
        def in_flight(self) -> int: ...
        @property
        def judging(self) -> int: ...
        @property
        def begun_share(self) -> float:
            """The share of the planned count that has begun, 0 to 1; 0 without a count."""
            ...

    @property
    def progress(self) -> float:
        """The part of the load that is over, 0 to 1."""
        if math.isinf(self.end):
            return min(1.0, self.begun_share)
        whole = self.end - self.begin + self.scenario.warmup
        return min(1.0, max(self.begun_share, 1 - (self.end - trio.current_time()) / whole))

    @property
    def measured(self) -> float:
        """Seconds of arrivals that count, so far."""
        return max(0.0, min(trio.current_time(), self.end) - self.begin)

    @property
    def warming_up(self) -> bool:
        return trio.current_time() < self.begin

    def unfinished(self) -> UnfinishedAnswers:
        """Return what is known of answers under way. Takes milliseconds where there are thousands."""
        return UnfinishedAnswers()

    def stop(self, reason: str = "") -> None:
        """End it immediately: what is under way counts as interrupted. Without a ``reason`` it was Ctrl-C."""
        raise NotImplementedError

    def finish(self, reason: str) -> None:
        """Begin no more; what is under way has the grace to end."""
        raise NotImplementedError

    async def run(self) -> RunResult:
        """Make all of the load. The result is also that of a run that was ended early."""
        raise NotImplementedError

    def result(self, started: datetime, overhead: Overhead) -> RunResult:
        """Return the result of the run, which has ended."""
        figures, scenario = self.figures, self.scenario
        parts = figures.requests
        seconds = max(0.0, self.end - self.begin)
        if scenario.count is not None and not scenario.open_loop:
            seconds = min(seconds, figures.last)  # its clients go on asking until the last of them is answered
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
"""What looks at a load while it goes on, and may end it; it is cancelled at the end."""


async def unwatched(running: LoadUnderWay) -> None:
    """Nobody looks."""


class Runner(Protocol):
    """Loads the target of that name once, as the scenario says, in however many processes."""

    async def __call__(self, scenario: Scenario, target: str, watch: Watching = unwatched) -> RunResult: ...


class TooLate(Exception):
    """The start of a load has passed."""


def start_time(start_at: float) -> float:
    """Return the trio time of a start. Raises ``TooLate`` if it has passed."""
    ahead = start_at - time.time()
    if ahead < 0:
        late = f"the load was to start at {spelled_start(start_at)}, {-ahead:.3g} s ago"
        raise TooLate(f"--start-at: {late}; give all parts a later time, when each of them is ready")
    return trio.current_time() + ahead
