"""Many measured values in little memory, with percentiles that are right to 1 %.

Buckets as in an HDR histogram: exact below 256 millionths, above that 128 to each doubling, so a bucket is never wider
than 1/128 of its values. A histogram of our own rather than a library: it is this file, and its buckets go into the
report as they are, so that reports can be merged and compared exactly.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

UNIT = 1e-6
USUAL = (50, 90, 95, 99)
"""Percentiles that every report has."""

_BITS = 7


def bucket_of(value: float) -> int:
    """The number of the bucket that holds ``value``; a greater value is never in a bucket with a smaller number."""
    units = round(max(0.0, value) / UNIT)
    shift = max(0, units.bit_length() - _BITS - 1)
    return (shift << _BITS) + (units >> shift)


def highest_in(bucket: int) -> float:
    """The greatest value that falls into ``bucket``."""
    shift = max(0, (bucket >> _BITS) - 1)
    return float((((bucket - (shift << _BITS) + 1) << shift) - 1) * UNIT)


def middle_of(bucket: int) -> float:
    """The value in the middle of ``bucket``."""
    return (highest_in(bucket - 1) + UNIT + highest_in(bucket)) / 2 if bucket else 0.0


GREATEST = bucket_of(1e300)
"""The number of a bucket beyond all that is measured: to say what lies in one of 10**18 would take all memory."""


class Histogram:
    """Values of 0 and more, in whatever unit (seconds, tokens a second). ``mean``, ``least`` and ``most`` are exact.
    ``censored`` of them are only what was waited in vain: the true ones are greater.
    ``whole``: all of them are whole numbers, and so are its percentiles."""

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
        """Add many at once, in half the time."""
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

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation of all values, to 1 %."""
        squares = sum(number * (middle_of(bucket) - self.mean) ** 2 for bucket, number in self._buckets.items())
        return math.sqrt(squares / self.count) if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """The least value that ``percent`` of all values do not exceed, to 1 %; 0 of an empty histogram."""
        wanted = max(1, math.ceil(self.count * percent / 100 - 1e-9))
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                found = min(max(highest_in(bucket), self.least), self.most)
                return float(math.floor(found)) if self._whole else found
        return self.most

    def above(self, limit: float) -> int:
        """How many values exceed ``limit``, to the width of a bucket."""
        last = bucket_of(limit)
        return sum(number for bucket, number in self._buckets.items() if bucket > last)

    def dump(self, percentiles: Iterable[float] = ()) -> dict[str, Any]:
        """For a report: the usual figures for readers, and other ``percentiles``, null where nothing was measured, and
        all buckets."""
        found = {"count": self.count, "total": self.total, "censored": self.censored, "buckets": self.buckets}
        return found | {name: value if self.count else None for name, value in self._told({*USUAL, *percentiles})}

    @property
    def buckets(self) -> list[tuple[int, int]]:
        """The number of values in each bucket, in order."""
        return sorted(self._buckets.items())

    def _told(self, percentiles: Iterable[float]) -> Iterable[tuple[str, float]]:
        yield from (("min", self.least), ("mean", self.mean))
        yield from ((f"p{percent:g}", self.percentile(percent)) for percent in sorted(percentiles))
        yield "max", self.most

    @classmethod
    def load(cls, value: Any, *, whole: bool = False) -> "Histogram":
        """Read what ``dump`` gave. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        self = cls(whole=whole)
        buckets: Sequence[Sequence[int]] = value["buckets"]
        self._buckets.update({int(bucket): int(number) for bucket, number in buckets})
        self.count, self.total = int(value["count"]), float(value["total"])
        self.least, self.most = float(value["min"] or 0), float(value["max"] or 0)
        self.censored = int(value.get("censored", 0))
        if self.count != self._buckets.total():
            raise ValueError("the buckets do not add up to the count")
        if not all(0 <= bucket <= GREATEST and number >= 0 for bucket, number in self._buckets.items()):
            raise ValueError("there is no such bucket")
        if not all(map(math.isfinite, (self.total, self.least, self.most))):
            raise ValueError("a sum of measured values has an end")
        return self
