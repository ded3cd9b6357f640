"""The client library's registry, with a metric for each row. Only the first page imports it, because that is slow."""

from pathlib import Path
from typing import Any, Final

import prometheus_client
import prometheus_client.values
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from gateway.features.metrics import rows
from gateway.features.metrics.rows import MetricRow
from gateway.features.metrics.shared_metrics import WorkerFile, WorkersCollector

_MODES: Final = {"sum": "livesum", "greatest": "livemax", "latest": "livemostrecent"}
"""The client library's modes for combining the numbers of several workers."""


class Registry:
    """The metrics of this process by row. Workers share them in ``folder``."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        if folder is not None:
            prometheus_client.values.MmapedDict = WorkerFile  # type: ignore[assignment,attr-defined]
        self._own = CollectorRegistry()
        self.metrics = {row: _make_metric(row, self._own) for row in rows.ROWS}

    def page(self) -> bytes:
        """Return the page for Prometheus, for all workers that share the folder."""
        if self._folder is None:
            return generate_latest(self._own)
        registry = CollectorRegistry()
        registry.register(WorkersCollector(self._folder))
        return generate_latest(registry)


def _make_metric(row: MetricRow, registry: CollectorRegistry) -> Any:
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each
    match row.kind:
        case "counter":
            return prometheus_client.Counter(row.name, row.meaning, row.labels, registry=registry)
        case "histogram":
            return _bulk_histogram()(row.name, row.meaning, row.labels, registry=registry, buckets=row.bounds)
        case kind:
            mode: Any = _MODES[kind]
            return prometheus_client.Gauge(row.name, row.meaning, row.labels, registry=registry, multiprocess_mode=mode)


def _bulk_histogram() -> Any:
    class Filled(Histogram):
        def add(self, counts: list[int], total: float) -> None:
            """Add many measurements together, in the form of ``Buckets``."""
            self._sum.inc(total)
            for bucket, count in zip(self._buckets, counts, strict=True):
                if count:
                    bucket.inc(count)

    return Filled
