"""The search for the highest load that a server holds: which to try next, after what came of those before.

Rates (or numbers of clients) double from the first until one fails, or until the greatest that may be tried holds; then
the bounds are halved until they differ by 5 %. What seems to be the answer is run again, twice as long, and lowered if
it fails then. All of that is one function of what was tried, so that no state can be at odds with what is reported.

Sources: MLPerf's inference rules (a binary search, then steps down), vllm-project/guidellm#1086 (asked for),
linera-io/linera-protocol#6767 (measured again before it is believed).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

import attrs

from loadtest.figures.measures import duration, plain
from loadtest.plan.asked_loads import LoadUnit, SearchBounds

LOWEST: Final = 1 / 16
"""The part of the first load below which none is tried where none holds."""

Purpose: TypeAlias = Literal["climb", "narrow", "confirm", "again"]
"""Why a load is tried: to find one that fails, to narrow the bounds, to be sure of the answer, or once more because it
is at odds with the others."""

Verdict: TypeAlias = Literal["held", "seems to hold", "seems to fail", "failed", "loader"]
"""What came of a load, surely (with 95 % confidence) or as far as its few answers say; ``loader``: the load tester
itself was too slow for it."""

HOLDS: Final[tuple[Verdict, ...]] = ("held", "seems to hold")
FAILS: Final[tuple[Verdict, ...]] = ("failed", "seems to fail")


@attrs.frozen
class Trial:
    """One load to try."""

    load: float
    purpose: Purpose


@attrs.frozen
class TriedLoad:
    """What came of a load. ``overlap``: requests were under way together, so that a lower load may do better."""

    load: float
    purpose: Purpose
    verdict: Verdict
    overlap: bool = True

    @property
    def holds(self) -> bool:
        return self.verdict in HOLDS


Outcome: TypeAlias = Literal["found", "at least", "undecided", "none", "interrupted"]
"""How a search ended: at an answer; at the greatest load that could be tried; at an answer with too few values to be
sure of; without any load that holds; or before its end."""


@attrs.frozen
class FoundLoad:
    """The end of a search. ``load`` is 0 where none holds; ``above`` is the lowest that failed, if one did."""

    outcome: Outcome
    load: float
    above: float | None = None


def next_trial(bounds: SearchBounds, tried: Sequence[TriedLoad]) -> Trial | FoundLoad:
    """What to do after ``tried``, in order: try another load, or end."""
    if not tried:
        return Trial(bounds.first, "climb")
    if (again := _at_odds(tried)) is not None:
        return Trial(again, "again")
    last = {one.load: one for one in tried}
    failing = [load for load, one in last.items() if not one.holds]
    high = min(failing, default=None)
    low = max((load for load in last if high is None or load < high), default=None)
    if low is None:
        return _lower(bounds, tried)
    if high is None:
        if bounds.most is None or low < bounds.most:
            return Trial(_capped(2 * low, bounds), "climb")
        return _confirmed(last[low], bounds, None, tried)
    if last[high].verdict != "loader" and not bounds.near(low, high):
        return Trial(bounds.between(low, high), "narrow")
    if _may_be_chance(high, tried):
        return Trial(high, "again")
    return _confirmed(last[low], bounds, last[high], tried)


def _capped(load: float, bounds: SearchBounds) -> float:
    return load if bounds.most is None else min(load, bounds.most)


def _confirmed(
    low: TriedLoad, bounds: SearchBounds, high: TriedLoad | None, tried: Sequence[TriedLoad]
) -> Trial | FoundLoad:
    if low.purpose != "confirm":
        return Trial(low.load, "confirm")
    limited = high is None or high.verdict == "loader"
    outcome: Outcome = "at least" if limited else "found"
    outcome = "undecided" if low.verdict == "seems to hold" else outcome
    return FoundLoad(outcome, low.load, None if high is None else high.load)


def _lower(bounds: SearchBounds, tried: Sequence[TriedLoad]) -> Trial | FoundLoad:
    """None holds. The first load gets a second chance: a server that was just started is slow."""
    lowest = min(tried, key=lambda one: one.load)
    if len(tried) == 1 and lowest.verdict != "loader":
        return Trial(lowest.load, "again")
    below = bounds.rounded(lowest.load / 2)
    if tried[-1].overlap and bounds.first * LOWEST <= below < lowest.load:
        return Trial(below, "climb")
    return FoundLoad("none", 0.0, lowest.load)


def _may_be_chance(high: float, tried: Sequence[TriedLoad]) -> bool:
    """Whether all between the bounds held, up to a load that failed a single time on the way up: a pause of the server
    just then would be taken for its limit."""
    runs = [one for one in tried if one.load == high]
    return len(runs) == 1 and runs[0].purpose == "climb" and runs[0].verdict != "loader"


def _at_odds(tried: Sequence[TriedLoad]) -> float | None:
    """A load to be run once more: of one that failed below one that held both are, the lower first. (Bisection where
    no order is: modelscope/evalscope#1095.)"""
    again = {one.load for one in tried if one.purpose == "again"}
    pair = _disorder(tried)
    if pair is None and tried[-1].purpose == "again":
        pair = _disorder(tried[:-1])
    return None if pair is None else next((load for load in pair if load not in again), None)


def _disorder(tried: Sequence[TriedLoad]) -> tuple[float, float] | None:
    """The lowest load that failed and the highest that held, if it is above that."""
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
"""Verdicts as people read them."""


@attrs.frozen
class SearchStep:
    """One load that was tried, and what came of it. ``why`` says why it failed, or how sure it is that it held;
    ``under_way`` is the most at once. Percentiles are ``None`` where nothing was measured."""

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
        """The row of a table, with the columns of ``HEAD``."""
        first = (self.ttft_p50, self.ttft_p99) if self.ttft_p50 is not None else (self.duration_p50, self.duration_p99)
        return [
            plain(self.load),
            str(self.begun),
            "–" if self.goodput is None else f"{100 * self.goodput:.3g} %",
            *("–" if value is None else duration(value) for value in first),
            self.said,
        ]

    @property
    def said(self) -> str:
        """The verdict and its reason, in a few words."""
        if self.verdict == "seems to hold":
            return f"undecided: {self.why.partition(',')[0]}" if self.purpose == "confirm" else SAID[self.verdict]
        return SAID[self.verdict] + (f": {self.why}" if self.why else "")


@attrs.frozen
class SearchReport:
    """A search after its end. ``rule`` says what had to hold."""

    unit: LoadUnit
    rule: str
    steps: Sequence[SearchStep]
    found: FoundLoad

    @property
    def head(self) -> list[str]:
        """The names of the columns; the first moments are those of whole answers where there are no streams."""
        streams = any(step.ttft_p50 is not None for step in self.steps)
        return head(self.unit, streams)

    @property
    def answer(self) -> str:
        """What was found, in a sentence."""
        load, above = _loads(self.found.load, self.unit), self.found.above
        then = "" if above is None else f"; at {_loads(above, self.unit)} it did not hold"
        match self.found.outcome:
            case "found":
                return f"{load} is the most that held{then}"
            case "at least":
                limit = "the most that was to be tried" if above is None else "the most that this loader can do"
                return f"at least {load}, {limit}: it held"
            case "undecided":
                return f"{load} is the most that seems to hold, by too few answers to be sure{then}"
            case "none":
                return f"no load held, not even {_loads(above or 0, self.unit)}"
            case "interrupted":
                return f"interrupted: {load} held until then" if self.found.load else "interrupted before a load held"

    def dump(self) -> dict[str, Any]:
        return attrs.asdict(self)

    @classmethod
    def load(cls, value: Any) -> "SearchReport":
        """Read what ``dump`` gave. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        found = value["found"]
        return cls(
            cast("LoadUnit", str(value["unit"])),
            str(value["rule"]),
            tuple(SearchStep(**step) for step in value["steps"]),
            FoundLoad(cast("Outcome", str(found["outcome"])), float(found["load"]), found["above"]),
        )


def head(unit: LoadUnit, streams: bool = True) -> list[str]:
    """The names of the columns of a table of steps."""
    what = "ttft" if streams else "duration"
    return ["a second" if unit == "rate" else "clients", "begun", "good", f"{what} p50", "p99", ""]


def _loads(load: float, unit: LoadUnit) -> str:
    if unit == "rate":
        return f"{plain(load)} requests a second" if load != 1 else "1 request a second"
    return f"{plain(load)} clients" if load != 1 else "1 client"
