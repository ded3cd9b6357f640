"""The result of a run, which grows while the run is under way, and notes that readers need to judge its figures."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

import attrs

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import format_duration
from loadtest.figures.tally import Tally
from loadtest.figures.timeline import LoadTimeline

LATE: Final = 0.010
BUSY: Final = 0.9
"""A note warns above this lag (p99, seconds) or CPU share, because the loader itself may be the limit."""


Purpose: TypeAlias = Literal["climb", "again", "narrow", "confirm"]
Verdict: TypeAlias = Literal["held", "seems to hold", "failed", "the loader was too slow"]
"""The result of a step. ``held`` is certain, or the step has no percentile or share to be certain of."""


@attrs.frozen
class SearchStep:
    """A tried rate and its result. ``why`` is the reason of a failure, or the certainty so far."""

    rate: float
    purpose: Purpose
    verdict: Verdict
    why: str = ""
    started: int = 0
    goodput: float | None = None
    ttft_p50: float = 0.0
    ttft_p99: float = 0.0

    @property
    def holds(self) -> bool:
        return self.verdict in ("held", "seems to hold")


@attrs.frozen
class FoundRate:
    """The end of a search. ``rate`` is 0 if none holds; ``failed`` is the lowest rate that failed, if any. ``rule`` is
    the condition of the search."""

    rate: float
    answer: str
    failed: float | None = None
    rule: str = ""
    steps: Sequence[SearchStep] = ()


@attrs.define(kw_only=True)
class RunResult:
    """The result of a load on one target, in one round or several. Exchanges of the warm-up are not in the ``tally``.

    ``plan`` has JSON values. ``seconds`` is the duration of the measured arrivals, ``round_elapsed`` the time until the
    last end of this round, and ``elapsed_before`` that of earlier ones. ``rounds`` has the measures of each round, if
    there are several. ``stopped`` is the reason for an early end, or "". ``is_refused``: the server rejected or refused
    every request. ``search`` is the search whose last run this is. ``begun`` counts all requests, also of the warm-up.
    ``ends`` are the times of the whole answers of this round, ``completed`` counts those until the last arrival of each
    round.

    ``lag`` is that of the loader's event loop, and ``cpu`` the part of a core that it used.
    """

    target: str
    url: str
    plan: Mapping[str, Any]
    started: str = ""
    seconds: float = 0.0
    tally: Tally = attrs.field(factory=Tally)
    rounds: list[Tally] = attrs.field(factory=list)
    timeline: LoadTimeline = attrs.field()
    lag: Histogram = attrs.field(factory=Histogram)
    cpu: float = 0.0
    interrupted: bool = False
    stopped: str = ""
    is_refused: bool = False
    search: FoundRate | None = None
    begun: int = 0
    completed: int = 0
    ends: list[float] = attrs.field(factory=list)
    elapsed_before: float = 0.0
    round_elapsed: float = 0.0

    @timeline.default
    def _new_timeline(self) -> LoadTimeline:
        return LoadTimeline(self.plan["seconds"])

    def begin_round(self) -> None:
        """Begin the first round, or one whose seconds follow those of the earlier ones."""
        self.started = self.started or datetime.now(UTC).isoformat(timespec="seconds")
        if self.plan["rounds"] > 1:
            self.rounds.append(Tally())
        self.timeline.begin = int(self.seconds)
        self.ends.clear()
        self.elapsed_before, self.round_elapsed = self.whole_seconds, 0.0

    def end_round(self, seconds: float) -> None:
        """Add the duration of the arrivals of this round, and its whole answers until the last arrival."""
        self.seconds += seconds
        self.completed += sum(end <= seconds for end in self.ends)

    def record_begin(self, planned: float) -> None:
        """Count the begin of an exchange."""
        self.begun += 1
        if planned >= 0:
            self.timeline.span_at(planned).started += 1

    def add(self, record: ExchangeRecord, missed: Sequence[str] = ()) -> None:
        """Add an exchange that ended and ``missed`` these objectives."""
        self.timeline.record_tokens(record)
        if record.is_counted:
            self.round_elapsed = max(self.round_elapsed, record.ended)
            for tally in (self.tally, *self.rounds[-1:]):
                tally.add(record, missed)
            self.timeline.record_end(record)
            if record.end == "whole":
                self.ends.append(record.ended)

    @property
    def whole_seconds(self) -> float:
        """The seconds of all rounds, each until its last end."""
        return self.elapsed_before + self.round_elapsed

    @property
    def name(self) -> str:
        return self.target or self.url

    @property
    def late(self) -> Histogram:
        """The lateness of the loader's requests."""
        return self.tally.measures["late"]

    @property
    def rate(self) -> float:
        """Requests started per second."""
        return self.tally.counts["started"] / self.seconds if self.seconds else 0.0

    @property
    def completed_rate(self) -> float:
        """Whole answers per second, from the begin to the last arrival."""
        return self.completed / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Output tokens of whole answers per second, until the last end."""
        return self.tally.tokens / self.whole_seconds if self.whole_seconds else 0.0

    def dump(self) -> dict[str, Any]:
        """Return the result as JSON values. Times are in seconds."""
        return {
            **{name: getattr(self, name) for name in ("target", "url", "started", "seconds", "interrupted",
                                                      "stopped", "rate", "plan")},
            "elapsed": self.whole_seconds,
            "search": self.search and attrs.asdict(self.search),
            "completed": self.completed_rate,
            "throughput": self.tokens_per_second,
            "total": self.tally.dump(),
            "timeline": self.timeline.dump(),
            "loader": {"lag": self.lag.dump(), "late": self.late.dump(), "cpu": self.cpu},
            "notes": list(notes(self)),
        }  # fmt: skip


def loader_is_the_limit(run: RunResult) -> bool:
    """Return whether the slowness of the load tester may explain a failure."""
    return run.cpu > BUSY or run.late.percentile(50) > LATE


def notes(run: RunResult) -> Sequence[str]:
    """Return all notes on a run."""
    found = []
    lag, late = (values.percentile(99) for values in (run.lag, run.late))
    if max(lag, late) > LATE:
        found.append(
            f"The loader was late: its event loop by {format_duration(lag)} (p99), requests by {format_duration(late)} "
            "(p99). Up to that much of the latencies may be the loader's."
        )
    if run.cpu > BUSY:
        found.append(
            f"The loader used {100 * run.cpu:.0f} % of its core, so it may be the limit, not the server. "
            "Start it twice with half the load."
        )
    return found
