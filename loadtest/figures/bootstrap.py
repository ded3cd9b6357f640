"""Intervals for how much the figures of two runs differ, by a bootstrap over blocks of seconds.

Answers that began together waited in one queue, so they tell less than as many that know nothing of each other: what
is drawn again and again is a block of neighbours, never an answer alone. All rows of a comparison are drawn with the
same blocks, and their intervals hold together: of a hundred comparisons of a server with itself, in 95 no interval
leaves out "no difference", however many rows there are.
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
BLOCKS: Final = 30  # of each run, so that a long run's are longer than what its queue remembers
SHORT: Final = 10.0  # seconds of a run; below, its blocks are shorter than a second
MEMORY: Final = 0.8  # beyond that an interval would have no end
LEAST: Final = 5  # blocks of a run, or nothing can be said

Blocks: TypeAlias = Sequence[Sequence[float]]
"""The values of a run, by the block of seconds in which their request was planned."""


def block_seconds(seconds: float) -> float:
    """The length of a block in a run of so many seconds: a whole number of them, but in a short run. All that began
    at one instant is one block."""
    return max(1.0, math.ceil(seconds / BLOCKS)) if seconds >= SHORT else seconds / SHORT or 1.0


Draw: TypeAlias = Callable[[Sequence[float]], tuple[float, ...]]
"""Picks the numbers of as many blocks as there are, some of them twice and others not at all."""


@attrs.frozen
class Interval:
    """A difference with the ends of its interval: of logarithms for a ratio, else of the values."""

    value: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Whether it leaves out "no difference"."""
        return self.low > 0 or self.high < 0


@attrs.frozen
class Estimate:
    """One figure of a run, so that it can be drawn anew: ``value`` of the sum of ``above`` over that of ``below``,
    which have a number for each block."""

    above: Sequence[float]
    below: Sequence[float]
    value: Callable[[float], float]

    @property
    def now(self) -> float:
        """The figure of the run itself."""
        return self.value(_share(sum(self.above), sum(self.below)))

    def drawn(self, draw: Draw) -> float:
        """The figure of a run that consists of the blocks of this draw."""
        return self.value(_share(sum(draw(self.above)), sum(draw(self.below))))


def _share(above: float, below: float) -> float:
    return above / below if below else 0.0


def mean_of(blocks: Blocks) -> Estimate:
    """The mean of all values."""
    return Estimate([sum(block) for block in blocks], [len(block) for block in blocks], float)


def percentile_of(blocks: Blocks, percent: float) -> Estimate:
    """A percentile. What is drawn is the share of values up to it, which says how far up or down the sorted values the
    percentile of the draw is (Bahadur's representation): 10,000 values need not be sorted 400 times."""
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
    """One figure of both runs. ``scale`` maps it to what is subtracted: a logarithm for a ratio."""

    before: Estimate
    after: Estimate
    scale: Callable[[float], float]

    @property
    def now(self) -> float:
        return self.scale(self.after.now) - self.scale(self.before.now)


def intervals(pairs: Sequence[Pair], confidence: float, chance: random.Random) -> list[Interval]:
    """The interval of each of ``pairs``; all of them hold at once with this confidence."""
    if not pairs:
        return []
    sizes = len(pairs[0].before.above), len(pairs[0].after.above)
    draws = [tuple(itemgetter(*chance.choices(range(size), k=size)) for size in sizes) for _ in range(RESAMPLES)]
    drawn = [
        [pair.scale(pair.after.drawn(after)) - pair.scale(pair.before.drawn(before)) for before, after in draws]
        for pair in pairs
    ]
    centres = [sum(values) / RESAMPLES for values in drawn]
    errors = [math.sqrt(sum((value - centre) ** 2 for value in values) / RESAMPLES)
              for values, centre in zip(drawn, centres, strict=True)]  # fmt: skip
    apart = sorted(
        max((abs(values[i] - centre) / error for values, centre, error in zip(drawn, centres, errors, strict=True)
             if error), default=0.0)
        for i in range(RESAMPLES)
    )  # fmt: skip
    wide = _for_few(max(apart[_rank(RESAMPLES - 1, confidence)], NormalDist().inv_cdf((1 + confidence) / 2)), sizes)
    return [
        Interval(pair.now, pair.now - wide * error * memory, pair.now + wide * error * memory)
        for pair, error in zip(pairs, errors, strict=True)
        for memory in (_memory(pair),)
    ]


def _for_few(z: float, sizes: tuple[int, int]) -> float:
    """So many standard errors where there are few blocks to estimate the error by: the quantile of Student's t in the
    place of the normal one (Cornish and Fisher's expansion), and for the bootstrap's own narrowness."""
    free = max(1, sum(sizes) - 2)
    t = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return t * math.sqrt(1 + 1 / max(1, min(sizes) - 1))


def _memory(pair: Pair) -> float:
    """The factor by which the error is larger as a block still resembles the one before it."""
    like = min(MEMORY, max(_remembered(pair.before), _remembered(pair.after)))
    return math.sqrt((1 + like) / (1 - like))


def _remembered(estimate: Estimate) -> float:
    """How much of a block's deviation the next one still has: its autocorrelation, 0 to 1. That of a few blocks comes
    out too low, by (1 + 4 r) / n (Kendall)."""
    now = _share(sum(estimate.above), sum(estimate.below))
    apart = [above - now * below for above, below in zip(estimate.above, estimate.below, strict=True)]
    squares = sum(one * one for one in apart)
    like = sum(map(mul, apart, apart[1:])) / squares if squares else 0.0
    return like + (1 + 4 * like) / len(apart) if like > 0 else 0.0
