"""Histograms of many values in little memory, with percentiles exact to 1 %.

Buckets are those of an HDR histogram: exact below 256 millionths, then 128 for each doubling. A report contains the
buckets unchanged, so reports can be merged and compared exactly.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

UNIT = 1e-6
USUAL = (50, 90, 95, 99)
"""The percentiles in every report."""

_BITS = 7


def bucket_of(value: float) -> int:
    """Return the number of the bucket of ``value``. Greater values never have smaller numbers."""
    units = round(max(0.0, value) / UNIT)
    shift = max(0, units.bit_length() - _BITS - 1)
    return (shift << _BITS) + (units >> shift)


def highest_value_in(bucket: int) -> float:
    """Return the greatest value in ``bucket``."""
    shift = max(0, (bucket >> _BITS) - 1)
    return float((((bucket - (shift << _BITS) + 1) << shift) - 1) * UNIT)


def middle_value_of(bucket: int) -> float:
    return (highest_value_in(bucket - 1) + UNIT + highest_value_in(bucket)) / 2 if bucket else 0.0


GREATEST = bucket_of(1e300)
"""The greatest valid bucket number. A report with a greater one could exhaust the memory."""


class Histogram:
    """Values >= 0 in any unit, such as seconds or tokens a second.

    ``mean``, ``least`` and ``most`` are exact. ``censored`` values are aborted waits: the true values are
    greater. If ``whole`` is set, values and percentiles are integers.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.total = 0.0
        self.least = 0.0
        self.most = 0.0
        self.censored = 0

    def add(self, value: float) -> None:
        self.least = min(self.least, value) if self.count else value
        self.most = max(self.most, value)
        self.count += 1
        self.total += value
        self._buckets[bucket_of(value)] += 1

    def extend(self, values: Sequence[float]) -> None:
        """Add many values, twice as fast as one by one."""
        if len(values) < 2:
            for value in values:
                self.add(value)
            return
        least, most = min(values), max(values)
        self.least = min(self.least, least) if self.count else least
        self.most = max(self.most, most)
        self.count += len(values)
        self.total += math.fsum(values)
        self._buckets.update(map(bucket_of, values))

    def merge(self, other: "Histogram") -> None:
        """Add every value of ``other``."""
        if not other.count:
            return
        self.least = min(self.least, other.least) if self.count else other.least
        self.most = max(self.most, other.most)
        self.count += other.count
        self.total += other.total
        self.censored += other.censored
        self._buckets.update(other._buckets)

    @classmethod
    def sum_of(cls, parts: Iterable["Histogram"]) -> "Histogram":
        """Return a histogram with all values of ``parts``."""
        found = cls()
        for part in parts:
            found.merge(part)
        return found

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation, exact to 1 %."""
        squares = sum(number * (middle_value_of(bucket) - self.mean) ** 2 for bucket, number in self._buckets.items())
        return math.sqrt(squares / self.count) if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """Return the percentile, exact to 1 %, or 0 for an empty histogram."""
        wanted = max(1, math.ceil(self.count * percent / 100 - 1e-9))
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                found = min(max(highest_value_in(bucket), self.least), self.most)
                return float(math.floor(found)) if self._whole else found
        return self.most

    def percentile_or_none(self, percent: float) -> float | None:
        """Return the percentile, or ``None`` for an empty histogram."""
        return self.percentile(percent) if self.count else None

    def count_above(self, limit: float) -> int:
        """Return the number of values above ``limit``, to the width of a bucket."""
        last = bucket_of(limit)
        return sum(number for bucket, number in self._buckets.items() if bucket > last)

    def dump(self, percentiles: Iterable[float] = ()) -> dict[str, Any]:
        """Return the buckets and the usual figures and ``percentiles`` for a report.

        Figures are null if there are no values.
        """
        found = {"count": self.count, "total": self.total, "censored": self.censored, "buckets": self.buckets}
        return found | {name: value if self.count else None for name, value in self._statistics({*USUAL, *percentiles})}

    @property
    def buckets(self) -> list[tuple[int, int]]:
        """The buckets and their counts, in order."""
        return sorted(self._buckets.items())

    def _statistics(self, percentiles: Iterable[float]) -> Iterable[tuple[str, float]]:
        yield from (("min", self.least), ("mean", self.mean))
        yield from ((f"p{percent:g}", self.percentile(percent)) for percent in sorted(percentiles))
        yield "max", self.most

    @classmethod
    def load(cls, value: Any, *, whole: bool = False) -> "Histogram":
        """Read the result of ``dump``. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        self = cls(whole=whole)
        buckets: Sequence[Sequence[int]] = value["buckets"]
        self._buckets.update({int(bucket): int(number) for bucket, number in buckets})
        self.count, self.total = int(value["count"]), float(value["total"])
        self.least, self.most = float(value["min"] or 0), float(value["max"] or 0)
        self.censored = int(value.get("censored", 0))
        if self.count != self._buckets.total():
            raise ValueError("the buckets do not add up to the count")
        if not all(0 <= bucket <= GREATEST and number >= 0 for bucket, number in self._buckets.items()):
            raise ValueError("a bucket has a number out of range, or a negative count")
        if not all(map(math.isfinite, (self.total, self.least, self.most))):
            raise ValueError("the sum, minimum and maximum must be finite numbers")
        return self
