"""Statements that a number of values supports with 95 % confidence."""

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Final

import attrs

CONFIDENCE: Final = 0.95


def chance_of_at_most(over: int, values: int, share: float) -> float:
    """Return the chance that at most ``over`` of ``values`` exceed a limit that a ``share`` of all values keeps."""
    if share >= 1:
        return 1.0
    if share <= 0:
        return float(over >= values)
    kept, missed = math.log(share), math.log1p(-share)
    logs = (
        math.lgamma(values + 1) - math.lgamma(k + 1) - math.lgamma(values - k + 1) + k * missed + (values - k) * kept
        for k in range(min(over, values) + 1)
    )
    return min(1.0, math.fsum(map(math.exp, logs)))


@attrs.frozen
class Evidence:
    """The number of independent ``values``, and how many are ``over`` a limit that a ``share`` of all must keep."""

    share: float
    values: int
    over: int

    def count_each(self, dependent: float) -> "Evidence":
        """Return the evidence if so many successive values count as one."""
        values = int(self.values / dependent)
        return Evidence(self.share, values, min(values, round(self.over / dependent)))

    @property
    def is_kept(self) -> bool:
        """True if a ``share`` of all values certainly keeps the limit.

        For 99 % with none, one or two beyond the limit, that takes 299, 473 or 628 values, as by the formula of early
        stopping in MLPerf's inference rules.
        """
        return self.values > self.over and chance_of_at_most(self.over, self.values, self.share) <= 1 - CONFIDENCE

    def is_missed(self, confidence: float = CONFIDENCE) -> bool:
        """Return whether more values exceed the limit than chance explains if a ``share`` of all kept it."""
        return self.over > 0 and 1 - chance_of_at_most(self.over - 1, self.values, self.share) <= 1 - confidence


@cache
def students_t(freedom: int, probability: float) -> float:
    """Return the quantile of Student's t distribution with ``freedom`` degrees of freedom."""
    least, most = 0.0, 1e3
    for _ in range(60):
        middle = (least + most) / 2
        least, most = (middle, most) if _students_share(middle, freedom) < probability else (least, middle)
    return least


def _students_share(t: float, freedom: int) -> float:
    """Return the cumulative probability of Student's t distribution at ``t`` >= 0, in closed form."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= cosine**2 * k / (k + 1)
    inside = (2 / math.pi) * (angle + sine * total) if odd else sine * total
    return 0.5 + inside / 2


def mean_bounds(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the bounds of the mean of at least two values, by Student's t."""
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    half = students_t(len(values) - 1, (1 + confidence) / 2) * math.sqrt(variance / len(values))
    return mean - half, mean + half


def surely_rises(values: Sequence[float], confidence: float = CONFIDENCE) -> bool:
    """Return whether a series rises, by Student's test on the mean of its steps.

    The values themselves are not tested: values of one queue depend on each other and may drift upwards by chance.
    """
    steps = [after - before for before, after in pairwise(values)]
    return len(steps) >= 3 and mean_bounds(steps, 2 * confidence - 1)[0] >= 0 and math.fsum(steps) > 0
