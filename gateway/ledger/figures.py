"""Figures that are no part of an exchange, which metrics take if they are on: counts and gauges.

A figure has the name of its metric and the values of its labels, which are few and not chosen by clients."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any, TypeAlias

Series: TypeAlias = tuple[str, ...]
"""The name of a metric, and the values of its labels."""


class Figures:
    """The figures of a process that metrics have not taken yet. Any thread may add one.

    ``reports`` set the gauges whose values they know, each time before metrics take them. ``fields`` are
    fields of log lines about work outside of exchanges."""

    def __init__(self) -> None:
        self.reports: tuple[Callable[[Figures], object], ...] = ()
        self.fields: deque[Mapping[str, Any]] = deque(maxlen=1000)
        self._lock = Lock()
        self._counts: Counter[Series] = Counter()
        self._gauges: dict[Series, float] = {}

    def add(self, name: str, *labels: str, by: int = 1) -> None:
        """Increase a count."""
        with self._lock:
            self._counts[name, *labels] += by

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._gauges[name, *labels] = value

    def take(self) -> tuple[Mapping[Series, int], Mapping[Series, float]]:
        """Return the counts and the gauges since the last call."""
        for report in self.reports:
            report(self)
        with self._lock:
            counts, self._counts = self._counts, Counter()
        gauges, self._gauges = self._gauges, {}
        return counts, gauges
