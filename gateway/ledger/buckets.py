"""Histograms for measurements that are too frequent to report one by one."""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

GAPS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the seconds between two writes of a stream."""


class Buckets:
    """A histogram. ``counts`` has one number per bucket: one for each upper bound in ``bounds``, and one for larger
    values. ``total`` is the sum of all values. Not thread-safe."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def merge(self, counts: Iterable[int], total: float) -> None:
        """Add the counts and the total of another histogram with the same bounds."""
        self.counts = [own + other for own, other in zip(self.counts, counts, strict=True)]
        self.total += total

    def take(self) -> tuple[list[int], float]:
        """Return the counts and the total since the last call, and reset both."""
        found = self.counts, self.total
        self.counts, self.total = [0] * len(self.counts), 0.0
        return found
