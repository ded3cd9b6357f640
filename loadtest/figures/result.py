"""The figures of a run under way, and its result."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.histogram import Histogram
from loadtest.figures.tally import Tally
from loadtest.figures.timeline import LoadTimeline


class RunFigures:
    """The figures of a run. Exchanges of the warm-up are not in the ``tally``.

    ``late`` is how late requests began, ``lag`` the lateness of the event loop, and ``last`` the time of the last end.
    """

    def __init__(self) -> None:
        self.tally = Tally()
        self.timeline = LoadTimeline()
        self.late = Histogram()
        self.lag = Histogram()
        self.last = 0.0

    def record_begin(self, planned: float, late: float) -> None:
        """Count the begin of an exchange that the loader started ``late`` seconds too late."""
        if planned >= 0:
            self.timeline.record_begin(planned)
            self.late.add(late)

    def add(self, record: ExchangeRecord, missed: Sequence[str] = ()) -> None:
        """Add an exchange that ended and ``missed`` these objectives."""
        self.timeline.record_tokens(record)
        if record.is_counted:
            self.last = max(self.last, record.ended)
            self.tally.add(record, missed)
            self.timeline.record_end(record)


@attrs.frozen
class Overhead:
    """The load tester's own figures: the ``lag`` of its event loop, how ``late`` requests began, and the part of a core
    that it used."""

    lag: Histogram = attrs.field(factory=Histogram)
    late: Histogram = attrs.field(factory=Histogram)
    cpu: float = 0.0

    def dump(self) -> dict[str, Any]:
        return {"lag": self.lag.dump(), "late": self.late.dump(), "cpu": self.cpu}


@attrs.frozen(kw_only=True)
class RunResult:
    """The result of a load on one target. ``seconds`` is the duration of the measured arrivals, ``elapsed`` the time
    until the last end.

    ``stopped`` is the reason for an early end, or "". ``is_refused``: the server rejected or refused every request.
    ``search`` has the steps of a search, whose last run this is. ``remarks`` are notes that do not follow from the
    figures.
    """

    target: str
    url: str
    started: str
    plan: Mapping[str, Any]
    seconds: float
    elapsed: float
    tally: Tally
    timeline: LoadTimeline
    overhead: Overhead = attrs.field(factory=Overhead)
    interrupted: bool = False
    stopped: str = ""
    is_refused: bool = False
    search: Mapping[str, Any] | None = None
    remarks: Sequence[str] = ()

    @property
    def name(self) -> str:
        return self.target or self.url

    @property
    def rate(self) -> float:
        """Requests started per second."""
        return self.tally.counts["started"] / self.seconds if self.seconds else 0.0

    @property
    def completed_rate(self) -> float:
        """Whole answers per second, from the begin to the last arrival."""
        return self.timeline.rate("whole", self.seconds)

    @property
    def tokens_per_second(self) -> float:
        """Output tokens of whole answers per second, until the last end."""
        return self.tally.tokens / self.elapsed if self.elapsed else 0.0

    @property
    def steady_tokens_per_second(self) -> float:
        """Output tokens per second from the begin to the last arrival, whenever their answers began."""
        return self.timeline.rate("tokens", self.seconds)

    def dump(self) -> dict[str, Any]:
        """Return the result as JSON values. Times are in seconds."""
        return {
            "target": self.target,
            "url": self.url,
            "started": self.started,
            "plan": self.plan,
            "seconds": self.seconds,
            "elapsed": self.elapsed,
            "interrupted": self.interrupted,
            "stopped": self.stopped,
            "rate": self.rate,
            "completed": self.completed_rate,
            "throughput": self.tokens_per_second,
            "steady_throughput": self.steady_tokens_per_second,
            "search": self.search,
            "total": self.tally.dump(),
            "timeline": self.timeline.dump(),
            "loader": self.overhead.dump(),
        }


def join_rounds(rounds: Sequence[RunResult]) -> RunResult:
    """Return the rounds of one target as one result. Their seconds follow each other."""
    tally, timeline = Tally(), LoadTimeline()
    lag, late = Histogram(), Histogram()
    for one in rounds:
        tally.merge(one.tally)
        timeline.seconds += one.timeline.seconds[: max(1, int(one.seconds))]
        lag.merge(one.overhead.lag)
        late.merge(one.overhead.late)
    return attrs.evolve(
        rounds[0],
        seconds=sum(one.seconds for one in rounds),
        elapsed=sum(one.elapsed for one in rounds),
        tally=tally,
        timeline=timeline,
        overhead=Overhead(lag, late, max(one.overhead.cpu for one in rounds)),
        interrupted=any(one.interrupted for one in rounds),
        stopped=next(filter(None, (one.stopped for one in rounds)), ""),
        is_refused=any(one.is_refused for one in rounds),
    )
