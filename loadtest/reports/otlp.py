"""``--otlp``: sends the metrics of a load every few seconds and at the end, with OpenTelemetry's exporter.

Names follow OpenTelemetry's conventions for generative AI where those have one. All metrics are cumulative, so an
export includes the values of a failed one, which is only counted. Times are histograms in seconds. Percentiles are not
sent, because those of two processes cannot be added. The exporter runs in a thread, so that a slow receiver does not
delay the load.
"""

import contextlib
import logging
import math
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from time import time
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import attrs
import trio

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.measures import MEASURES
from loadtest.figures.tally import LEFT_OUT
from loadtest.plan.load_endpoints import LoadApi
from loadtest.plan.masked_urls import mask_url
from loadtest.plan.scenario import Scenario

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

TIMES: Final = (*(round(mark * 10.0**power, 6) for power in range(-3, 2) for mark in (1, 1.6, 2.5, 4, 6.3)), 100.0)
"""Bounds of our own time histograms: five per decade, so that percentiles read from them are within 25 %."""

OPERATION: Final = tuple(0.01 * 2**power for power in range(14))
TOKENS: Final = tuple(float(4**power) for power in range(14))
"""The bounds in OpenTelemetry's conventions for generative AI (opentelemetry.io/docs/specs/semconv/gen-ai)."""

SPEEDS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0, 2000.0)
KINDS: Final = 30  # distinct errors; servers name some of them, and each is a series at the receiver

_OPERATIONS: Final[Mapping[LoadApi, tuple[str, str]]] = {
    "chat": ("chat", "openai"),
    "messages": ("chat", "anthropic"),
    "responses": ("chat", "openai"),
    "gemini": ("generate_content", "gcp.gemini"),
    "converse": ("chat", "aws.bedrock"),
    "interactions": ("generate_content", "gcp.gemini"),
}
"""The operation name and the provider name, which identifies the API's format and not the server."""

_OWN_NAMES: Final = {name: f"trigate_load_{name}" for name, measure in MEASURES.items() if measure.unit != "tokens"}
_THEIRS: Final = ("duration", "first_event")  # the conventions name these


Labels: TypeAlias = tuple[tuple[str, str], ...]
Unit: TypeAlias = Literal["s", "{token}", "{token}/s", "{request}", ""]


class BucketCounts:
    """The counts of a histogram with explicit bounds. A value counts at the first bound that is not below it."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = self.most = 0.0
        self.least = math.inf

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
        self.least, self.most = min(self.least, value), max(self.most, value)

    @property
    def count(self) -> int:
        return sum(self.counts)


@attrs.frozen
class MetricSeries:
    """One series of a metric with its present value. A number is a counter, or a ``gauge`` if it may fall."""

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

    def add_to_counter(self, name: str, unit: Unit, labels: Labels, number: float = 1) -> None:
        key = name, unit, labels
        self._counts[key] = self._counts.get(key, 0) + number

    def set_gauge(self, name: str, unit: Unit, labels: Labels, value: float) -> None:
        self._gauges[name, unit, labels] = value

    def series(self) -> list[MetricSeries]:
        """Return all series with their present values."""
        return [
            *(MetricSeries(*key, value) for key, value in self._histograms.items()),
            *(MetricSeries(*key, value) for key, value in self._counts.items()),
            *(MetricSeries(*key, value, gauge=True) for key, value in self._gauges.items()),
        ]


class RunMetrics:
    """The metrics of one run, which are added to those of the command."""

    reads_bodies = False

    def __init__(self, so_far: MetricsSoFar, scenario: Scenario, target: str) -> None:
        self._so_far = so_far
        self._models = {request.name: request.model for request in scenario.requests}
        parts = urlsplit(scenario.targets[target])
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self._target = target or f"{parts.hostname}:{port}"
        self._server: Labels = (("server.address", parts.hostname or ""), ("server.port", str(port)))
        self._kinds: set[str] = set()

    def add(self, record: ExchangeRecord, missed: Sequence[str], body: bytes) -> None:
        """Count an exchange, unless it belongs to the warm-up."""
        if not record.is_counted:
            return
        base: Labels = (("trigate.load.target", self._target), ("trigate.load.request", record.request))
        self._so_far.add_to_counter("trigate_load_requests", "{request}", (*base, ("trigate.load.end", record.end)))
        good = record.end == "whole" and not missed
        self._so_far.add_to_counter("trigate_load_good_requests", "{request}", base, float(good))
        self._observe_conventions(record, (*self._convention_labels(record), *base))
        for name, own in _OWN_NAMES.items():
            if name not in _THEIRS and (found := MEASURES[name].values_of(record).values):
                timed = MEASURES[name].unit == "s"
                self._so_far.observe(own, "s" if timed else "{token}/s", base, TIMES if timed else SPEEDS, found)

    def set_under_way(self, count: int) -> None:
        """Set the number of exchanges under way."""
        self._so_far.set_gauge("trigate_load_in_flight", "{request}", (("trigate.load.target", self._target),), count)

    def _convention_labels(self, record: ExchangeRecord) -> Labels:
        operation, provider = _OPERATIONS.get(record.api, (record.api, record.api))
        named = (("gen_ai.operation.name", operation), ("gen_ai.provider.name", provider))
        return (*named, ("gen_ai.request.model", self._models.get(record.request, "")), *self._server)

    def _observe_conventions(self, record: ExchangeRecord, labels: Labels) -> None:
        if record.end not in LEFT_OUT:
            error = () if record.problem is None else (("error.type", self._request_kind(record.problem.kind)),)
            took = (record.end_event or record.ended) - record.planned
            self._so_far.observe("gen_ai.client.operation.duration", "s", (*labels, *error), OPERATION, (took,))
        if record.first_event is not None and record.streamed:
            first = record.first_event - record.planned
            self._so_far.observe("gen_ai.client.operation.time_to_first_chunk", "s", labels, OPERATION, (first,))
        for kind, tokens in (("input", record.tokens.input), ("output", record.tokens.output)):
            if tokens is not None:
                typed = (*labels, ("gen_ai.token.type", kind))
                self._so_far.observe("gen_ai.client.token.usage", "{token}", typed, TOKENS, (tokens,))

    def _request_kind(self, kind: str) -> str:
        if kind not in self._kinds and len(self._kinds) >= KINDS:
            return "_OTHER"
        self._kinds.add(kind)
        return kind


EVERY: Final = 5.0  # seconds between two exports
PATIENCE: Final = 3.0
"""Timeout of an export in seconds. A command waits for the last one."""

_PATH: Final = "/v1/metrics"


class MissingSdk(Exception):
    """The OpenTelemetry SDK is not installed."""


class OtlpReceiver:
    """A collector at ``url``, which may include a password, and the results of the exports to it.

    OpenTelemetry's environment variables set its headers and certificates. Raises ``MissingSdk``.
    """

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        except ImportError as error:
            raise MissingSdk from error
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # the report notes failures
        self.patience = patience
        self.sent = self.lost = 0
        self._failure = ""
        self._shown = mask_url(export_url(url))
        self._last = ""  # the failure of the last request
        self._exporter = OTLPMetricExporter(
            export_url(url), session=_http_session(self._note_failure), timeout=patience
        )

    def _note_failure(self, failure: str) -> None:
        self._last = failure

    async def export(self, metrics: "MetricsData") -> None:
        """Send ``metrics`` within twice ``patience``."""
        from opentelemetry.sdk.metrics.export import MetricExportResult

        self._last, found = "", None
        with trio.move_on_after(2 * self.patience):
            found = await trio.to_thread.run_sync(self._exporter.export, metrics, abandon_on_cancel=True)
        if found is MetricExportResult.SUCCESS:
            self.sent += 1
            return
        self.lost += 1
        self._failure = self._last or f"no response within {self.patience:g} s"

    def remark(self) -> str | None:
        """Return a remark on lost exports for the report, or ``None``."""
        if not self.lost:
            return None
        sent = self.sent + self.lost
        return f"Of {sent} pushes of metrics to {self._shown} (OTLP) {self.lost} were lost: {self._failure}."


def _http_session(note: Callable[[str], None]) -> Any:
    """Return a session of the exporter's HTTP client without proxies; ``note`` receives the failure of each request."""
    import requests

    class NotingAdapter(requests.adapters.HTTPAdapter):
        def send(self, *args: Any, **more: Any) -> requests.Response:
            try:
                response = super().send(*args, **more)
            except requests.ConnectionError as error:
                note(_system_reason(error))
                raise
            note("" if response.ok else f"status {response.status_code}")
            return response

    session = requests.Session()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, NotingAdapter())
    return session


def _system_reason(error: BaseException | None) -> str:
    """Return the operating system's message for a failure, which libraries wrap in exceptions, or ""."""
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return "nothing is listening there"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror.lower()
        error = error.__cause__ or error.__context__
    return ""


def export_url(url: str) -> str:
    """Return the URL to post to. ``url`` is a collector's, as in OTEL_EXPORTER_OTLP_ENDPOINT, or already complete."""
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
    """Return the series in the SDK's format. ``began`` and ``now`` are Unix seconds."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    span: dict[str, Any] = {"start_time_unix_nano": round(began * 1e9), "time_unix_nano": round(now * 1e9)}
    by_name: dict[str, list[MetricSeries]] = {}
    for one in series:
        by_name.setdefault(one.name, []).append(one)
    metrics = [_make_metric(rows, span) for rows in by_name.values()]
    scope = ScopeMetrics(InstrumentationScope("trigate.load"), metrics, "")
    return MetricsData([ResourceMetrics(Resource({"service.name": "trigate-load"}), [scope], "")])


def _make_metric(rows: Sequence[MetricSeries], span: Mapping[str, Any]) -> Any:
    from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Histogram, Metric, Sum

    first, points = rows[0], [_make_point(row, span) for row in rows]
    cumulative = AggregationTemporality.CUMULATIVE
    data: Gauge | Histogram | Sum = Sum(points, cumulative, is_monotonic=True)
    if isinstance(first.value, BucketCounts):
        data = Histogram(points, cumulative)
    elif first.gauge:
        data = Gauge(points)
    return Metric(first.name, "", first.unit, data)


def _make_point(row: MetricSeries, span: Mapping[str, Any]) -> Any:
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
