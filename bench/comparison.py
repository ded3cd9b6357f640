"""Comparisons of two programs that were measured in turns."""

import statistics
from typing import NamedTuple

SLIGHT = 0.02
"""A ratio closer to 1 is noise."""


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
        """``less`` or ``more`` if most rounds agree, otherwise ``noise``."""
        low, high = self.middle_half
        if len(self.this) < 3 or low <= 1 <= high or abs(statistics.median(self.ratios) - 1) < SLIGHT:
            return "noise"
        return "less" if high < 1 else "more"

    def row(self) -> list[str]:
        low, high = self.middle_half
        values = [f"{statistics.median(values):.3g} {self.unit}" for values in (self.this, self.before)]
        ratio = f"{statistics.median(self.ratios):.2f}"
        return [self.case, *values, ratio, f"{low:.2f} to {high:.2f}", self.verdict]
