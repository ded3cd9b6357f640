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


class Histogram:
    """Values of 0 and more, in whatever unit (seconds, tokens a second). ``mean``, ``least`` and ``most`` are exact."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self.count = 0
        self.total = 0.0
        self.least = 0.0
        self.most = 0.0

    def add(self, value: float) -> None:
        self.least = min(self.least, value) if self.count else value
        self.most = max(self.most, value)
        self.count += 1
        self.total += value
        self._buckets[bucket_of(value)] += 1

    def extend(self, values: Iterable[float]) -> None:
        for value in values:
            self.add(value)

    def merge(self, other: "Histogram") -> None:
        """Add every value of ``other``."""
        if not other.count:
            return
        self.least = min(self.least, other.least) if self.count else other.least
        self.most = max(self.most, other.most)
        self.count += other.count
        self.total += other.total
        self._buckets.update(other._buckets)

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """The least value that ``percent`` of all values do not exceed, to 1 %; 0 of an empty histogram."""
        wanted = max(1, math.ceil(self.count * percent / 100 - 1e-9))
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= wanted:
                return min(max(highest_in(bucket), self.least), self.most)
        return self.most

    def dump(self) -> dict[str, Any]:
        """For a report: the usual figures for readers, and the buckets for ``load``."""
        return {
            "count": self.count,
            "min": self.least,
            "mean": self.mean,
            **{f"p{percent}": self.percentile(percent) for percent in (50, 90, 95, 99)},
            "max": self.most,
            "total": self.total,
            "buckets": sorted(self._buckets.items()),
        }

    @classmethod
    def load(cls, value: Any) -> "Histogram":
        """Read what ``dump`` gave. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        self = cls()
        buckets: Sequence[Sequence[int]] = value["buckets"]
        self._buckets.update({int(bucket): int(number) for bucket, number in buckets})
        self.count, self.total = int(value["count"]), float(value["total"])
        self.least, self.most = float(value["min"]), float(value["max"])
        if self.count != self._buckets.total():
            raise ValueError("the buckets do not add up to the count")
        return self
