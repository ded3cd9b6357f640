"""Metrics as receivers take them: cumulative since the load began, the times as histograms in seconds.

Percentiles are never sent: those of two processes, or of two minutes, cannot be added.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import attrs

TIMES: Final = (*(round(mark * 10.0**power, 6) for power in range(-3, 2) for mark in (1, 1.6, 2.5, 4, 6.3)), 100.0)
"""Bounds of our own histograms of times: five to a decade, so that a percentile that is read from them is right to a
quarter."""

OPERATION: Final = tuple(0.01 * 2**power for power in range(14))
TOKENS: Final = tuple(float(4**power) for power in range(14))
"""Bounds that OpenTelemetry's conventions for generative AI ask for (opentelemetry.io/docs/specs/semconv/gen-ai)."""

Labels: TypeAlias = tuple[tuple[str, str], ...]
Unit: TypeAlias = Literal["s", "{token}", "{token}/s", "{request}", ""]


class BucketCounts:
    """The values of a histogram, counted by explicit bounds: each at the first bound that is not below it."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        return sum(self.counts)


@attrs.frozen
class MetricSeries:
    """One series of a metric, as it stands. A number is a counter or, where it may fall, a ``gauge``."""

    name: str
    unit: Unit
    labels: Labels
    value: float | BucketCounts
    gauge: bool = False


class MetricsSoFar:
    """All series since the load began."""

    def __init__(self) -> None:
        self._histograms: dict[tuple[str, Unit, Labels], BucketCounts] = {}
        self._counts: dict[tuple[str, Unit, Labels], float] = {}
        self._gauges: dict[tuple[str, Unit, Labels], float] = {}

    def observe(self, name: str, unit: Unit, labels: Labels, bounds: Sequence[float], values: Iterable[float]) -> None:
        """Add values to a histogram."""
        found = self._histograms.get((name, unit, labels))
        if found is None:
            found = self._histograms[name, unit, labels] = BucketCounts(bounds)
        for value in values:
            found.add(value)

    def count(self, name: str, unit: Unit, labels: Labels, number: float = 1) -> None:
        """Add to a counter."""
        key = name, unit, labels
        self._counts[key] = self._counts.get(key, 0) + number

    def set(self, name: str, unit: Unit, labels: Labels, value: float) -> None:
        """Say how a gauge stands."""
        self._gauges[name, unit, labels] = value

    def series(self) -> list[MetricSeries]:
        """All of them, as they stand."""
        return [
            *(MetricSeries(*key, value) for key, value in self._histograms.items()),
            *(MetricSeries(*key, value) for key, value in self._counts.items()),
            *(MetricSeries(*key, value, gauge=True) for key, value in self._gauges.items()),
        ]


def by_name(series: Iterable[MetricSeries]) -> Mapping[str, list[MetricSeries]]:
    """The series of each metric."""
    found: dict[str, list[MetricSeries]] = {}
    for one in series:
        found.setdefault(one.name, []).append(one)
    return found
