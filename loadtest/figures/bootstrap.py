"""Confidence intervals for the difference between two runs, by a bootstrap over blocks of seconds.

Requests that begin together wait in one queue, so their times depend on each other. The bootstrap therefore resamples
blocks of neighbouring requests, not single ones. All rows of a comparison use the same draws, and their intervals hold
jointly: if a server is compared with itself, then in 95 of 100 comparisons every interval contains "no difference",
however many rows there are.
"""

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import itemgetter, mul
from statistics import NormalDist
from typing import Final, TypeAlias

import attrs

RESAMPLES: Final = 400
BLOCKS: Final = 30  # of each run, so that blocks of a long run outlast the effects of its queue
SHORT: Final = 10.0  # seconds of a run; in shorter ones, blocks are shorter than a second
MEMORY: Final = 0.8  # highest autocorrelation, which bounds the interval
ROUNDING: Final = 1e-9  # errors up to this come from rounding: the figure is the same in all resamples
LEAST: Final = 5  # fewest blocks of a run that give an interval

Blocks: TypeAlias = Sequence[Sequence[float]]
"""The values of a run, grouped by the block of seconds of their planned begin."""


def block_seconds(seconds: float) -> float:
    """Return the length of a block in a run of ``seconds``: whole seconds, except in a short run."""
    return max(1.0, math.ceil(seconds / BLOCKS)) if seconds >= SHORT else seconds / SHORT or 1.0


Draw: TypeAlias = Callable[[Sequence[float]], tuple[float, ...]]
"""Returns numbers of randomly chosen blocks, with repetition, as many as there are blocks."""


@attrs.frozen
class Interval:
    """A difference and the bounds of its interval. The values are logarithms if a ratio is compared."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """True if the interval does not contain "no difference"."""
        return self.low > 0 or self.high < 0


@attrs.frozen
class Estimate:
    """A figure of a run that can be computed for a resample.

    The figure is ``value`` of the sum of ``numerators`` divided by the sum of ``denominators``, which have a number for
    each block.
    """

    numerators: Sequence[float]
    denominators: Sequence[float]
    value: Callable[[float], float]

    @property
    def of_run(self) -> float:
        """The figure of the run itself."""
        return self.value(_ratio(sum(self.numerators), sum(self.denominators)))

    def resample(self, draw: Draw) -> float:
        """Return the figure of a resample."""
        return self.value(_ratio(sum(draw(self.numerators)), sum(draw(self.denominators))))


def _ratio(above: float, below: float) -> float:
    return above / below if below else 0.0


def mean_of(blocks: Blocks) -> Estimate:
    """Return an estimate of the mean."""
    return Estimate([sum(block) for block in blocks], [len(block) for block in blocks], float)


def percentile_of(blocks: Blocks, percent: float) -> Estimate:
    """Return an estimate of a percentile.

    Only the share of values up to the percentile is resampled. It determines the position of the percentile in the
    sorted values (Bahadur's representation), so the values are sorted only once.
    """
    values = sorted(value for block in blocks for value in block)
    last = len(values) - 1
    found = values[_rank(last, percent / 100)]
    upto = bisect_right(values, found) / len(values)

    def value(share: float) -> float:
        return values[_rank(last, percent / 100 + upto - share)]

    below = [sum(value <= found for value in block) for block in blocks]
    return Estimate(below, [len(block) for block in blocks], value)


def _rank(last: int, share: float) -> int:
    return min(last, max(0, math.ceil((last + 1) * share - 1e-9) - 1))


@attrs.frozen
class Pair:
    """One figure of both runs. ``scale`` is a logarithm if their ratio is compared."""

    before: Estimate
    after: Estimate
    scale: Callable[[float], float]

    @property
    def difference(self) -> float:
        return self.scale(self.after.of_run) - self.scale(self.before.of_run)


def intervals(pairs: Sequence[Pair], confidence: float, rng: random.Random) -> list[Interval]:
    """Return the interval of each pair. All intervals hold jointly with this confidence."""
    if not pairs:
        return []
    sizes = len(pairs[0].before.numerators), len(pairs[0].after.numerators)
    draws = [tuple(itemgetter(*rng.choices(range(size), k=size)) for size in sizes) for _ in range(RESAMPLES)]
    drawn = [
        [pair.scale(pair.after.resample(after)) - pair.scale(pair.before.resample(before)) for before, after in draws]
        for pair in pairs
    ]
    centres = [sum(values) / RESAMPLES for values in drawn]
    errors = [math.sqrt(sum((value - centre) ** 2 for value in values) / RESAMPLES)
              for values, centre in zip(drawn, centres, strict=True)]  # fmt: skip
    apart = sorted(
        max((abs(values[i] - centre) / error for values, centre, error in zip(drawn, centres, errors, strict=True)
             if error > ROUNDING), default=0.0)
        for i in range(RESAMPLES)
    )  # fmt: skip
    wide = _correct_for_few_blocks(
        max(apart[_rank(RESAMPLES - 1, confidence)], NormalDist().inv_cdf((1 + confidence) / 2)), sizes
    )
    return [
        Interval(pair.difference, pair.difference - wide * error * memory, pair.difference + wide * error * memory)
        for pair, error in zip(pairs, errors, strict=True)
        for memory in (_autocorrelation_factor(pair),)
    ]


def _correct_for_few_blocks(z: float, sizes: tuple[int, int]) -> float:
    """Return ``z`` corrected for few blocks: Student's t (by the expansion of Cornish and Fisher) and the bias of the
    bootstrap."""
    free = max(1, sum(sizes) - 2)
    t = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return t * math.sqrt(1 + 1 / max(1, min(sizes) - 1))


def _autocorrelation_factor(pair: Pair) -> float:
    """Return the factor by which autocorrelation between blocks widens the error."""
    like = min(MEMORY, max(_autocorrelation(pair.before), _autocorrelation(pair.after)))
    return math.sqrt((1 + like) / (1 - like))


def _autocorrelation(estimate: Estimate) -> float:
    """Return the autocorrelation of successive blocks, 0 to 1, corrected for few blocks (Kendall: (1 + 4 r) / n)."""
    now = _ratio(sum(estimate.numerators), sum(estimate.denominators))
    apart = [above - now * below for above, below in zip(estimate.numerators, estimate.denominators, strict=True)]
    squares = sum(one * one for one in apart)
    like = sum(map(mul, apart, apart[1:])) / squares if squares else 0.0
    return like + (1 + 4 * like) / len(apart) if like > 0 else 0.0
