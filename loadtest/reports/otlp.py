"""``--otlp``: OpenTelemetry's own exporter sends the metrics of a load every few seconds, and once more at the end.

All of them are cumulative, so the next export has what a receiver missed: a failed one is only counted. The exporter
runs in a thread. Neither it nor a slow receiver delays the load.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from time import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

import trio

from loadtest.plan.masked_urls import shown
from loadtest.reports.run_metrics import BucketCounts, MetricSeries, MetricsSoFar

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

EVERY: Final = 5.0  # seconds between two exports
PATIENCE: Final = 3.0
"""Seconds for one export, also for the last, which a command waits for."""

_PATH: Final = "/v1/metrics"


class NoSdk(Exception):
    """The OpenTelemetry SDK is not installed."""


class OtlpReceiver:
    """A collector at ``url``, which may hold a password, and the results of the exports to it. OpenTelemetry's own
    variables have the headers and certificates for it. Raises ``NoSdk``."""

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        except ImportError as error:
            raise NoSdk from error
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a failure is a note in the report
        self.patience = patience
        self.sent = self.lost = 0
        self._failure = ""
        self._shown = shown(url_of(url))
        self._last = ""  # why the last request failed
        self._exporter = OTLPMetricExporter(url_of(url), session=_session(self._note), timeout=patience)

    def _note(self, failure: str) -> None:
        self._last = failure

    async def export(self, metrics: "MetricsData") -> None:
        """Send ``metrics``, in so much time at most."""
        from opentelemetry.sdk.metrics.export import MetricExportResult

        self._last, found = "", None
        with trio.move_on_after(2 * self.patience):
            found = await trio.to_thread.run_sync(self._exporter.export, metrics, abandon_on_cancel=True)
        if found is MetricExportResult.SUCCESS:
            self.sent += 1
            return
        self.lost += 1
        self._failure = self._last or f"no answer within {self.patience:g} s"

    def remark(self) -> str | None:
        """Return what a reader of the report has to know of it."""
        if not self.lost:
            return None
        sent = self.sent + self.lost
        return f"Of {sent} pushes of metrics to {self._shown} (OTLP) {self.lost} were lost: {self._failure}."


def _session(note: Callable[[str], None]) -> Any:
    """Return a session of the exporter's HTTP client without proxies; ``note`` receives the failure of each request."""
    import requests

    class NotingAdapter(requests.adapters.HTTPAdapter):
        def send(self, *args: Any, **more: Any) -> requests.Response:
            try:
                response = super().send(*args, **more)
            except requests.ConnectionError as error:
                note(_reason(error))
                raise
            note("" if response.ok else f"status {response.status_code}")
            return response

    session = requests.Session()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, NotingAdapter())
    return session


def _reason(error: BaseException | None) -> str:
    """Return the operating system's word for a failure, which libraries wrap in others; "" without one."""
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return "nothing listens there"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror.lower()
        error = error.__cause__ or error.__context__
    return ""


def url_of(url: str) -> str:
    """Return the URL to post to: ``url`` is a collector's, as in OTEL_EXPORTER_OTLP_ENDPOINT, or already whole."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    return urlunsplit((*parts[:2], path if path.endswith(_PATH) else path + _PATH, *parts[3:]))


@contextlib.asynccontextmanager
async def exporting(
    metrics: MetricsSoFar, receivers: Sequence[OtlpReceiver], *, every: float = EVERY
) -> AsyncIterator[None]:
    """Export to ``receivers`` until the end of the block, and once more after it."""
    began = time()

    async def repeat(receiver: OtlpReceiver) -> None:
        while True:
            await trio.sleep(every)
            await receiver.export(metrics_data(metrics.series(), began, time()))

    async with trio.open_nursery() as nursery:
        for receiver in receivers:
            nursery.start_soon(repeat, receiver)
        yield
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        for receiver in receivers:
            nursery.start_soon(receiver.export, metrics_data(metrics.series(), began, time()))


def metrics_data(series: Iterable[MetricSeries], began: float, now: float) -> "MetricsData":
    """Return the series as the SDK has them; ``began`` (of the load) and ``now`` are seconds since 1970."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    span: dict[str, Any] = {"start_time_unix_nano": round(began * 1e9), "time_unix_nano": round(now * 1e9)}
    by_name: dict[str, list[MetricSeries]] = {}
    for one in series:
        by_name.setdefault(one.name, []).append(one)
    metrics = [_metric(rows, span) for rows in by_name.values()]
    scope = ScopeMetrics(InstrumentationScope("trigate.load"), metrics, "")
    return MetricsData([ResourceMetrics(Resource({"service.name": "trigate-load"}), [scope], "")])


def _metric(rows: Sequence[MetricSeries], span: Mapping[str, Any]) -> Any:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Histogram, Metric, Sum

    first, points = rows[0], [_point(row, span) for row in rows]
    cumulative = AggregationTemporality.CUMULATIVE
    data: Gauge | Histogram | Sum = Sum(points, cumulative, is_monotonic=True)
    if isinstance(first.value, BucketCounts):
        data = Histogram(points, cumulative)
    elif first.gauge:
        data = Gauge(points)
    return Metric(first.name, "", first.unit, data)


def _point(row: MetricSeries, span: Mapping[str, Any]) -> Any:
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, NumberDataPoint

    labels, found = dict(row.labels), row.value
    if not isinstance(found, BucketCounts):
        return NumberDataPoint(labels, value=float(found), **span)
    return HistogramDataPoint(
        labels,
        count=found.count,
        sum=found.total,
        bucket_counts=found.counts,
        explicit_bounds=found.bounds,
        min=found.least,
        max=found.most,
        **span,
    )
