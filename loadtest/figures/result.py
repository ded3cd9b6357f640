"""The result of a run, which grows while the run is under way, and notes that readers need to judge its figures."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import format_duration
from loadtest.figures.tally import Tally
from loadtest.figures.timeline import LoadTimeline

LATE: Final = 0.010
BUSY: Final = 0.9
"""A note warns above this lag (p99, seconds) or CPU share, because the loader itself may be the limit."""


@attrs.define
class Overhead:
    """The load tester's own figures: the ``lag`` of its event loop, how ``late`` requests began, and the part of a core
    that it used."""

    lag: Histogram = attrs.field(factory=Histogram)
    late: Histogram = attrs.field(factory=Histogram)
    cpu: float = 0.0

    def dump(self) -> dict[str, Any]:
        return {"lag": self.lag.dump(), "late": self.late.dump(), "cpu": self.cpu}


@attrs.define(kw_only=True)
class RunResult:
    """The result of a load on one target. Exchanges of the warm-up are not in the ``tally``.

    ``seconds`` is the duration of the measured arrivals, ``elapsed`` the time until the last end. ``stopped`` is the
    reason for an early end, or "". ``is_refused``: the server rejected or refused every request. ``search`` has the
    steps of a search, whose last run this is. ``remarks`` are notes that do not follow from the figures.
    """

    target: str
    url: str
    plan: Mapping[str, Any]
    started: str = ""
    seconds: float = 0.0
    elapsed: float = 0.0
    tally: Tally = attrs.field(factory=Tally)
    timeline: LoadTimeline = attrs.field(factory=LoadTimeline)
    overhead: Overhead = attrs.field(factory=Overhead)
    interrupted: bool = False
    stopped: str = ""
    is_refused: bool = False
    search: Mapping[str, Any] | None = None
    remarks: Sequence[str] = ()

    def record_begin(self, planned: float, late: float) -> None:
        """Count the begin of an exchange that the loader started ``late`` seconds too late."""
        if planned >= 0:
            self.timeline.span_at(planned).started += 1
            self.overhead.late.add(late)

    def add(self, record: ExchangeRecord, missed: Sequence[str] = ()) -> None:
        """Add an exchange that ended and ``missed`` these objectives."""
        self.timeline.record_tokens(record)
        if record.is_counted:
            self.elapsed = max(self.elapsed, record.ended)
            self.tally.add(record, missed)
            self.timeline.record_end(record)

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

    def dump(self) -> dict[str, Any]:
        """Return the result as JSON values. Times are in seconds."""
        return {
            **{name: getattr(self, name) for name in ("target", "url", "started", "plan", "seconds", "elapsed",
                                                      "interrupted", "stopped", "rate", "search")},
            "completed": self.completed_rate,
            "throughput": self.tokens_per_second,
            "total": self.tally.dump(),
            "timeline": self.timeline.dump(),
            "loader": self.overhead.dump(),
        }  # fmt: skip


def join_rounds(rounds: Sequence[RunResult]) -> RunResult:
    """Return the rounds of one target as one result. Their seconds follow each other."""
    first = rounds[0]
    joined = RunResult(target=first.target, url=first.url, plan=first.plan, started=first.started)
    for one in rounds:
        joined.tally.merge(one.tally)
        joined.timeline.append(one.timeline, int(joined.seconds), one.seconds)
        joined.overhead.lag.merge(one.overhead.lag)
        joined.overhead.late.merge(one.overhead.late)
        joined.overhead.cpu = max(joined.overhead.cpu, one.overhead.cpu)
        joined.seconds += one.seconds
        joined.elapsed += one.elapsed
        joined.interrupted = joined.interrupted or one.interrupted
        joined.stopped = joined.stopped or one.stopped
        joined.is_refused = joined.is_refused or one.is_refused
    return joined


def loader_is_the_limit(overhead: Overhead) -> bool:
    """Return whether the slowness of the load tester may explain a failure."""
    return overhead.cpu > BUSY or overhead.late.percentile(50) > LATE


def notes(run: RunResult) -> Sequence[str]:
    """Return all notes and remarks on a run."""
    found = [*run.remarks]
    lag, late = (values.percentile(99) for values in (run.overhead.lag, run.overhead.late))
    if max(lag, late) > LATE:
        found.append(
            f"The loader was late: its event loop by {format_duration(lag)} (p99), requests by {format_duration(late)} "
            "(p99). Up to that much of the latencies may be the loader's."
        )
    if run.overhead.cpu > BUSY:
        found.append(
            f"The loader used {100 * run.overhead.cpu:.0f} % of its core, so it may be the limit, not the server. "
            "Start it twice with half the load."
        )
    return found
