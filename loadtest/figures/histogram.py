"""Histograms of many values in little memory, with percentiles exact to 1 %.

Buckets are those of an HDR histogram: exact below 256 millionths, then 128 for each doubling.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

UNIT: Final = 1e-6
PERCENTILES: Final = (50.0, 95.0, 99.0)
"""The percentiles in every report."""

_BITS: Final = 7


def bucket_of(value: float) -> int:
    """Return the number of the bucket of ``value``. Greater values never have smaller numbers."""
    units = round(max(0.0, value) / UNIT)
    shift = max(0, units.bit_length() - _BITS - 1)
    return (shift << _BITS) + (units >> shift)


def highest_value_in(bucket: int) -> float:
    """Return the greatest value in ``bucket``."""
    shift = max(0, (bucket >> _BITS) - 1)
    return float((((bucket - (shift << _BITS) + 1) << shift) - 1) * UNIT)


class Histogram:
    """Values >= 0 in any unit, such as seconds or tokens.

    ``mean``, ``least`` and ``most`` are exact. ``censored`` values are aborted waits: the true values are greater.
    """

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.total = 0.0
        self.squares = 0.0
        self.least = math.inf
        self.most = 0.0
        self.censored = 0

    def add(self, value: float) -> None:
        self.extend((value,))

    def extend(self, values: Sequence[float]) -> None:
        """Add values."""
        if values:
            self.least, self.most = min(self.least, *values), max(self.most, *values)
            self.count += len(values)
            self.total += math.fsum(values)
            self.squares += math.fsum(value * value for value in values)
            self._buckets.update(map(bucket_of, values))

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return math.sqrt(max(0.0, self.squares / self.count - self.mean**2)) if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """Return the percentile, exact to 1 %, or 0 for an empty histogram."""
        wanted = max(1, math.ceil(self.count * percent / 100 - 1e-9))
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(max(highest_value_in(bucket), self.least), self.most)
        return self.most

    def count_above(self, limit: float) -> int:
        """Return the number of values above ``limit``, to the width of a bucket."""
        last = bucket_of(limit)
        return sum(number for bucket, number in self._buckets.items() if bucket > last)

    def dump(self) -> dict[str, Any]:
        """Return the figures as JSON values, null if there are no values."""
        values = {"mean": self.mean, "min": self.least, "max": self.most}
        values |= {f"p{percent:g}": self.percentile(percent) for percent in (*PERCENTILES, 99.9)}
        return {
            "count": self.count,
            "censored": self.censored,
            **{name: value if self.count else None for name, value in values.items()},
        }
