"""Comparisons of two programs that were measured in turns."""

import statistics
from math import comb
from typing import NamedTuple

SLIGHT = 0.02
"""A ratio closer to 1 is noise."""
CHANCE = 0.05
"""The highest probability with which two equal programs may be called different."""


class Comparison(NamedTuple):
    """The values of the same rounds for this tree and the other revision."""

    case: str
    unit: str
    this: tuple[float, ...]
    before: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        return [this / before for this, before in zip(self.this, self.before, strict=True)]

    @property
    def middle_half(self) -> tuple[float, float]:
        """The quartiles of the ratios."""
        if len(self.this) < 2:
            return self.ratios[0], self.ratios[0]
        low, _, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return low, high

    @property
    def verdict(self) -> str:
        """``less`` or ``more`` if so many rounds agree that chance is unlikely (a sign test), otherwise ``noise``."""
        middle = statistics.median(self.ratios)
        if self._probability_by_chance > CHANCE or abs(middle - 1) < SLIGHT:
            return "noise"
        return "less" if middle < 1 else "more"

    @property
    def _probability_by_chance(self) -> float:
        """The probability that as many rounds of two equal programs agree, in either direction."""
        rounds, less = len(self.ratios), sum(ratio < 1 for ratio in self.ratios)
        agreeing = max(less, rounds - less)
        return min(1.0, 2 * sum(comb(rounds, count) for count in range(agreeing, rounds + 1)) / 2**rounds)

    def row(self) -> list[str]:
        low, high = self.middle_half
        values = [f"{statistics.median(values):.3g} {self.unit}" for values in (self.this, self.before)]
        ratio = f"{statistics.median(self.ratios):.2f}"
        return [self.case, *values, ratio, f"{low:.2f} to {high:.2f}", self.verdict]
