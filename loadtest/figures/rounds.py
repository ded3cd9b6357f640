"""Compares two servers that were loaded in turns, round by round.

Both get the same arrivals in each round, a moment apart, so a change of the machine over time affects both. The ratio
of a figure in each round is one value. All intervals hold jointly: if a server is compared with itself, then in 95 of
100 comparisons every interval contains "no difference".
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from loadtest.figures.confidence import CONFIDENCE, mean_bounds
from loadtest.figures.measures import MEASURES
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Tally

COMPARED: Final = ("ttft", "gap", "stall", "duration")
PERCENTILES: Final = (50.0, 95.0)
MARGIN: Final = 0.03
"""The smallest relative difference that a verdict mentions."""
NOTICED: Final = 1e-4
"""The smallest difference in seconds; others are irrelevant and not measurable."""
FEWEST: Final = 4
"""The rounds that a verdict needs."""
ENOUGH: Final = 5
"""The values of a round that a percentile needs."""


@attrs.frozen
class ComparedFigure:
    """One figure of both servers: the means of their rounds, and the ratio of the second to the first with its
    interval."""

    label: str
    first: float
    second: float
    ratio: float
    low: float
    high: float

    @property
    def change(self) -> str:
        """``slower`` or ``faster`` if the second server differs, otherwise ""."""
        small = abs(math.log(self.ratio)) < math.log1p(MARGIN) or abs(self.second - self.first) < NOTICED
        if small or self.low <= 1 <= self.high:
            return ""
        return "slower" if self.ratio > 1 else "faster"


def compare_runs(runs: Sequence[RunResult]) -> list[ComparedFigure] | None:
    """Return all figures that two servers have in each round, none if there are too few rounds.

    ``None`` means that there are no two servers, or that one was not loaded in each round.
    """
    if len(runs) < 2 or any(run.interrupted or run.stopped for run in runs):
        return None
    first, second = (run.rounds for run in runs)
    found = list(_paired_values(first, second)) if len(first) >= FEWEST else []
    confidence = 1 - (1 - CONFIDENCE) / max(1, len(found))  # all hold jointly (Bonferroni)
    return [_compare(label, one, other, confidence) for label, one, other in found]


def _paired_values(first: Sequence[Tally], second: Sequence[Tally]) -> Iterator[tuple[str, list[float], list[float]]]:
    for name in COMPARED:
        histograms = [[one.measures[name] for one in rounds] for rounds in (first, second)]
        if min(histogram.count for rounds in histograms for histogram in rounds) < ENOUGH:
            continue
        label = MEASURES[name].label
        one, other = ([histogram.mean for histogram in rounds] for rounds in histograms)
        yield f"{label}, mean", one, other
        for percent in PERCENTILES:
            one, other = ([histogram.percentile(percent) for histogram in rounds] for rounds in histograms)
            yield f"{label}, p{percent:g}", one, other


def _compare(label: str, first: Sequence[float], second: Sequence[float], confidence: float) -> ComparedFigure:
    ratios = [math.log(max(other, 1e-6) / max(one, 1e-6)) for one, other in zip(first, second, strict=True)]
    low, high = mean_bounds(ratios, confidence)
    ratio, low, high = (math.exp(max(-700.0, min(700.0, one))) for one in (math.fsum(ratios) / len(ratios), low, high))
    return ComparedFigure(label, sum(first) / len(first), sum(second) / len(second), ratio, low, high)


def verdict_of(figures: Sequence[ComparedFigure]) -> str:
    """Return the verdict on the second server as a short text."""
    if not figures:
        return "no verdict: too few rounds or answers"
    changes = {figure.change for figure in figures} - {""}
    if len(changes) == 2:
        return "slower here and faster there"
    return changes.pop() if changes else "no difference seen"
