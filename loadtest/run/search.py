"""The search for the highest load that a server holds: which to try next, after what came of those before.

Rates (or numbers of clients) double from the first until one fails, or until the greatest that may be tried holds; then
the bounds are halved until they differ by 5 %. What seems to be the answer is run again, twice as long, and lowered if
it fails then. All of that is one function of what was tried, so that no state can be at odds with what is reported.

Sources: MLPerf's inference rules (a binary search, then steps down), vllm-project/guidellm#1086 (asked for),
linera-io/linera-protocol#6767 (measured again before it is believed).
"""

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import attrs

from loadtest.plan.asked_loads import SearchBounds

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
