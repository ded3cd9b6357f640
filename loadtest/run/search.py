"""The search for the highest load that a server sustains: chooses the next load from the results so far.

Rates or numbers of clients double until one fails or the greatest allowed load holds. Then the interval is halved
until its bounds differ by 5 %. The candidate runs again for twice as long, and is lowered if it fails. The search is a
function of the tried loads, so that no state can contradict the report.

Sources: MLPerf's inference rules (binary search, then steps down), vllm-project/guidellm#1086 (the request),
linera-io/linera-protocol#6767 (confirmation by a second measurement).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from loadtest.figures.measures import format_duration, format_number
from loadtest.plan.requested_loads import LoadUnit, SearchBounds

LOWEST: Final = 1 / 16
"""The smallest load to try, relative to the first, if none holds."""

Purpose: TypeAlias = Literal["climb", "narrow", "confirm", "again"]
"""The purpose of a trial: find a load that fails, narrow the bounds, confirm the result, or repeat a contradictory
trial."""

Verdict: TypeAlias = Literal["held", "seems to hold", "seems to fail", "failed", "loader"]
"""The result of a trial, certain (with 95 % confidence) or likely. ``loader``: the load tester itself was too slow."""

HOLDS: Final[tuple[Verdict, ...]] = ("held", "seems to hold")
FAILS: Final[tuple[Verdict, ...]] = ("failed", "seems to fail")


@attrs.frozen
class Trial:
    """A load to try."""

    load: float
    purpose: Purpose


@attrs.frozen
class TriedLoad:
    """The result of a load. ``overlap`` means that requests overlapped, so a lower load may do better."""

    load: float
    purpose: Purpose
    verdict: Verdict
    overlap: bool = True

    @property
    def holds(self) -> bool:
        return self.verdict in HOLDS


Outcome: TypeAlias = Literal["found", "at least", "undecided", "none", "interrupted"]
"""The outcome of a search: a result, the greatest allowed load, a result with too few values, no load that holds,
or an interruption."""


@attrs.frozen
class FoundLoad:
    """The end of a search. ``load`` is 0 if none holds; ``above`` is the lowest load that failed, if any."""

    outcome: Outcome
    load: float
    above: float | None = None


def next_trial(bounds: SearchBounds, tried: Sequence[TriedLoad]) -> Trial | FoundLoad:
    """Return the next load to try, or the end of the search."""
    if not tried:
        return Trial(bounds.first, "climb")
    if (again := _contradictory_load(tried)) is not None:
        return Trial(again, "again")
    last = {one.load: one for one in tried}
    failing = [load for load, one in last.items() if not one.holds]
    high = min(failing, default=None)
    low = max((load for load in last if high is None or load < high), default=None)
    if low is None:
        return _try_lower(bounds, tried)
    if high is None:
        if bounds.most is None or low < bounds.most:
            return Trial(_limit_load(2 * low, bounds), "climb")
        return _confirm_load(last[low], bounds, None, tried)
    if last[high].verdict != "loader" and not bounds.are_near(low, high):
        return Trial(bounds.middle_load(low, high), "narrow")
    if _needs_repeat(high, tried):
        return Trial(high, "again")
    return _confirm_load(last[low], bounds, last[high], tried)


def _limit_load(load: float, bounds: SearchBounds) -> float:
    return load if bounds.most is None else min(load, bounds.most)


def _confirm_load(
    low: TriedLoad, bounds: SearchBounds, high: TriedLoad | None, tried: Sequence[TriedLoad]
) -> Trial | FoundLoad:
    if low.purpose != "confirm":
        return Trial(low.load, "confirm")
    limited = high is None or high.verdict == "loader"
    outcome: Outcome = "at least" if limited else "found"
    outcome = "undecided" if low.verdict == "seems to hold" else outcome
    return FoundLoad(outcome, low.load, None if high is None else high.load)


def _try_lower(bounds: SearchBounds, tried: Sequence[TriedLoad]) -> Trial | FoundLoad:
    """Return the next step if no load holds. The first load gets a second trial, because a fresh server is slow."""
    lowest = min(tried, key=lambda one: one.load)
    if len(tried) == 1 and lowest.verdict != "loader":
        return Trial(lowest.load, "again")
    below = bounds.round_load(lowest.load / 2)
    if tried[-1].overlap and bounds.first * LOWEST <= below < lowest.load:
        return Trial(below, "climb")
    return FoundLoad("none", 0.0, lowest.load)


def _needs_repeat(high: float, tried: Sequence[TriedLoad]) -> bool:
    """Return whether ``high`` failed only once, on the way up: a pause of the server would look like its limit."""
    runs = [one for one in tried if one.load == high]
    return len(runs) == 1 and runs[0].purpose == "climb" and runs[0].verdict != "loader"


def _contradictory_load(tried: Sequence[TriedLoad]) -> float | None:
    """Return a load to repeat if a lower load failed than another that held, the lower first.

    (modelscope/evalscope#1095 has bisection over unordered results.)
    """
    again = {one.load for one in tried if one.purpose == "again"}
    pair = _contradiction(tried)
    if pair is None and tried[-1].purpose == "again":
        pair = _contradiction(tried[:-1])
    return None if pair is None else next((load for load in pair if load not in again), None)


def _contradiction(tried: Sequence[TriedLoad]) -> tuple[float, float] | None:
    """Return the lowest failed load and the highest that held, if they contradict each other."""
    last = {one.load: one for one in tried}
    low = min((load for load, one in last.items() if one.verdict in FAILS), default=None)
    high = max((load for load, one in last.items() if one.holds), default=None)
    return (low, high) if low is not None and high is not None and low < high else None


SAID: Mapping[Verdict, str] = {
    "held": "held",
    "seems to hold": "held so far",
    "seems to fail": "seems to fail",
    "failed": "failed",
    "loader": "the loader was too slow",
}
"""Verdicts for people."""


@attrs.frozen
class SearchStep:
    """A tried load and its result.

    ``why`` is the reason of a failure, or the certainty of a success. ``under_way`` is the maximum of simultaneous
    requests. Percentiles are ``None`` without values.
    """

    load: float
    purpose: Purpose
    verdict: Verdict
    why: str
    seconds: float
    begun: int
    whole: int
    goodput: float | None
    completed: float
    ttft_p50: float | None
    ttft_p99: float | None
    duration_p50: float | None
    duration_p99: float | None
    under_way: int

    @property
    def cells(self) -> list[str]:
        """The row of a table with the columns of ``head``."""
        first = (self.ttft_p50, self.ttft_p99) if self.ttft_p50 is not None else (self.duration_p50, self.duration_p99)
        return [
            format_number(self.load),
            str(self.begun),
            "–" if self.goodput is None else f"{100 * self.goodput:.3g} %",
            *("–" if value is None else format_duration(value) for value in first),
            self.short_text,
        ]

    @property
    def short_text(self) -> str:
        """The verdict and its reason as a short text."""
        if self.verdict == "seems to hold":
            return f"undecided: {self.why.partition(',')[0]}" if self.purpose == "confirm" else SAID[self.verdict]
        return SAID[self.verdict] + (f": {self.why}" if self.why else "")


@attrs.frozen
class SearchReport:
    """A finished search. ``rule`` describes the condition."""

    unit: LoadUnit
    rule: str
    steps: tuple[SearchStep, ...]
    found: FoundLoad

    @property
    def head(self) -> list[str]:
        """The column names. Without streams, the times are durations."""
        streams = any(step.ttft_p50 is not None for step in self.steps)
        return column_names(self.unit, streams)

    @property
    def answer(self) -> str:
        """The result as a sentence."""
        load, above = _format_load(self.found.load, self.unit), self.found.above
        then = "" if above is None else f"; {_format_load(above, self.unit)} failed"
        match self.found.outcome:
            case "found":
                return f"{load} is the highest load that passed{then}"
            case "at least":
                limit = "the highest load to try" if above is None else "the limit of this loader"
                return f"at least {load}, {limit}, passed"
            case "undecided":
                return f"{load} is the highest load that seems to pass, but with too few answers to be sure{then}"
            case "none":
                return f"no load passed, not even {_format_load(above or 0, self.unit)}"
            case "interrupted":
                return f"interrupted; {load} had passed" if self.found.load else "interrupted before any load passed"

    def dump(self) -> dict[str, Any]:
        return attrs.asdict(self)

    @classmethod
    def load(cls, value: Any) -> "SearchReport":
        """Read the result of ``dump``. Raises ``ValueError`` for anything else."""
        return msgspec.convert(value, cls)


def column_names(unit: LoadUnit, streams: bool = True) -> list[str]:
    """Return the column names of a table of steps."""
    what = "ttft" if streams else "duration"
    return ["a second" if unit == "rate" else "clients", "begun", "good", f"{what} p50", "p99", ""]


def _format_load(load: float, unit: LoadUnit) -> str:
    if unit == "rate":
        return f"{format_number(load)} requests per second" if load != 1 else "1 request per second"
    return f"{format_number(load)} clients" if load != 1 else "1 client"
