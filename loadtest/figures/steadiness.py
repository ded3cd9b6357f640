"""Whether a run was steady, and from when on: three windows in a row within 10 % of each other.

(Wished for in vllm-project/guidellm#101; the means of a ramp and of a steady server together say nothing of either:
sgl-project/sglang#30918.)
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from loadtest.figures.histogram import Histogram
from loadtest.figures.timeline import Second

WITHIN: Final = 0.1
"""The part by which windows may differ."""

WINDOWS: Final = 10
FEWEST: Final = 6
"""A run is cut into so many windows; of fewer seconds than the latter nothing is said."""

ENOUGH: Final = 10
"""Answers that a window has at least, or it says more of chance than of the server."""


@attrs.frozen
class RunWindow:
    """A stretch of a run: whole answers a second, and the median time to the first token (0 where none was seen)."""

    begin: int
    completed: float
    ttft: float


@attrs.frozen
class Drift:
    """What rose or fell from the first windows of a run to the last. ``surely``: by more than chance."""

    what: str
    before: float
    after: float
    surely: bool

    @property
    def steep(self) -> bool:
        """More than windows may differ."""
        return self.surely and not _near((self.before, self.after))


@attrs.frozen
class Steadiness:
    """``since``: the second from which on a run is steady; ``None`` if it never is. ``drifts``: what rose or fell."""

    since: int | None
    drifts: tuple[Drift, ...] = ()


def windows(seconds: Sequence[Second], ended: float) -> list[RunWindow]:
    """The whole seconds until ``ended``, the last arrival, in stretches of the same length."""
    whole = seconds[: int(ended)]
    size = math.ceil(len(whole) / WINDOWS) if len(whole) >= FEWEST else 0
    starts = range(0, len(whole) - size + 1, size) if size else ()
    return [_window(start, whole[start : start + size]) for start in starts]


def _window(begin: int, seconds: Sequence[Second]) -> RunWindow:
    return RunWindow(begin, sum(second.whole for second in seconds) / len(seconds), _together(seconds).percentile(50))


def _together(seconds: Sequence[Second]) -> Histogram:
    """The times to the first token of all of them."""
    ttft = Histogram()
    for second in seconds:
        ttft.merge(second.ttft)
    return ttft


def steadiness(seconds: Sequence[Second], ended: float) -> Steadiness | None:
    """Of a run of one load; ``None`` if it is too short, or has too few answers, to say anything."""
    found = windows(seconds, ended)
    if len(found) < 3 or sum(second.whole for second in seconds[: int(ended)]) < ENOUGH * len(found):
        return None
    for number in range(len(found) - 2):
        three, rest = found[number : number + 3], found[number + 3 :]
        if _steady(three) and (not rest or _steady([_mean(three), _mean(rest)])):
            return Steadiness(found[number].begin)
    third = len(found) // 3 * (found[1].begin - found[0].begin)
    drifts = _drifts(seconds[:third], seconds[int(ended) - third : int(ended)])
    return Steadiness(None, tuple(drift for drift in drifts if drift.steep))


def _drifts(first: Sequence[Second], last: Sequence[Second]) -> tuple[Drift, Drift]:
    """Between two stretches of as many seconds. Answers that come by chance vary by the root of their number, and a
    median lies between the ranks that are so far from the middle, mostly."""
    whole = [sum(second.whole for second in part) for part in (first, last)]
    (low, middle, high), (low_, middle_, high_) = (_about_the_median(_together(part)) for part in (first, last))
    more = abs(whole[1] - whole[0]) > 2 * math.sqrt(sum(whole))
    return (
        Drift("whole answers a second", whole[0] / len(first), whole[1] / len(last), more),
        Drift("the median time to the first token", middle, middle_, low_ > high or high_ < low),
    )


def _about_the_median(ttft: Histogram) -> tuple[float, float, float]:
    """It, and two standard errors below and above."""
    error = min(50.0, 100 / math.sqrt(ttft.count)) if ttft.count else 0.0
    return ttft.percentile(50 - error), ttft.percentile(50), ttft.percentile(50 + error)


def _steady(found: Sequence[RunWindow]) -> bool:
    return _near([window.completed for window in found]) and _near([window.ttft for window in found])


def _near(values: Sequence[float]) -> bool:
    return max(values) <= (1 + WITHIN) * min(values)


def _mean(found: Sequence[RunWindow]) -> RunWindow:
    count = len(found)
    return RunWindow(
        found[0].begin,
        sum(window.completed for window in found) / count,
        sum(window.ttft for window in found) / count,
    )


def one_load(scenario: Mapping[str, Any]) -> bool:
    """Whether a scenario, as it stands in a report, asks for the same load all the time."""
    steps = scenario.get("steps") or scenario.get("client_steps") or ()
    return len(steps) <= 1 and not scenario.get("trace") and all(step.get("to") is None for step in steps)
