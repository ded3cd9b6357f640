"""A run as others see it: what may be looked at while it goes on, who takes its records."""

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias

import attrs
import trio

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.result import RunResult
from loadtest.figures.run_figures import RunFigures
from loadtest.figures.tally import Tally
from loadtest.plan.scenario import Scenario
from loadtest.plan.shares import spelled_start
from loadtest.run.overhead import Overhead


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


class LoadUnderWay(Protocol):
    """A run as it may be looked at while it goes on. ``begin`` and ``end`` are trio times between which arrivals count,
    ``progress`` is 0 to 1, ``measured`` seconds of arrivals so far; ``judging`` are answers that wait for their
    verdict."""

    scenario: Scenario
    target: str
    url: str
    begin: float
    end: float
    interrupted: bool
    stopped: str

    @property
    def figures(self) -> RunFigures: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def judging(self) -> int: ...
    @property
    def progress(self) -> float: ...
    @property
    def measured(self) -> float: ...
    @property
    def warming_up(self) -> bool: ...

    def unfinished(self) -> UnfinishedAnswers:
        """Found anew at each call, in milliseconds where thousands are under way."""
        ...

    def stop(self, reason: str = "") -> None:
        """End it at once: what is under way counts as interrupted. Without a ``reason`` it was Ctrl-C."""
        ...

    def finish(self, reason: str) -> None:
        """Begin no more; what is under way has the grace to end."""
        ...


Watching: TypeAlias = Callable[[LoadUnderWay], Awaitable[None]]
"""What looks at a load while it goes on, and may end it; it is cancelled at the end."""


async def unwatched(running: LoadUnderWay) -> None:
    """Nobody looks."""


class StartableLoad(LoadUnderWay, Protocol):
    """A run that may be begun, and looked at from then on."""

    async def run(self) -> RunResult:
        """All of it. The result is also that of a run that was ended early."""
        ...


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


def result_of(run: LoadUnderWay, started: datetime, overhead: Overhead) -> RunResult:
    """The result of a run that has ended."""
    figures = run.figures
    parts = figures.requests
    seconds = max(0.0, run.end - run.begin)
    if run.scenario.count is not None and not run.scenario.open_loop:
        seconds = min(seconds, figures.last)  # its clients go on asking until the last of them is answered
    return RunResult(
        target=run.target,
        url=run.url,
        started=started.isoformat(timespec="seconds"),
        scenario=run.scenario.described(),
        seconds=seconds,
        elapsed=figures.last,
        interrupted=run.interrupted,
        stopped=run.stopped,
        tally=figures.total,
        requests={request.name: parts.get(request.name, Tally()) for request in run.scenario.requests},
        turns=figures.conversations,
        steps=figures.steps,
        unbegun=figures.unbegun,
        cut_off=figures.cut_off,
        retry_waits=figures.retry_waits,
        probes=figures.probes,
        timeline=figures.timeline,
        overhead=overhead,
    )
