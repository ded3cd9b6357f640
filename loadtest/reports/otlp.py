"""Metrics as OTLP over HTTP, in its JSON encoding (opentelemetry.io/docs/specs/otlp).

64-bit integers are strings there, as in all JSON of protobuf, and names are in camelCase.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

import gateway
from loadtest.reports.metrics_data import BucketCounts, Labels, MetricSeries, by_name

HEADERS: Final = (("content-type", "application/json"),)
_CUMULATIVE = 2
_PATH = "/v1/metrics"


def url_of(url: str) -> str:
    """The URL to post to: what is given is a collector's, as in OTEL_EXPORTER_OTLP_ENDPOINT, or already whole."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    return urlunsplit((*parts[:2], path if path.endswith(_PATH) else path + _PATH, *parts[3:]))


def body(series: Iterable[MetricSeries], began: float, now: float) -> bytes:
    """One export; ``began`` (of the load) and ``now`` are seconds since 1970."""
    span = {"startTimeUnixNano": _nanoseconds(began), "timeUnixNano": _nanoseconds(now)}
    metrics = [_metric(name, rows, span) for name, rows in by_name(series).items()]
    scope = {"name": "trigate.load", "version": gateway.__version__}
    resource = {"attributes": _attributes((("service.name", "trigate-load"),))}
    return msgspec.json.encode({
        "resourceMetrics": [{"resource": resource, "scopeMetrics": [{"scope": scope, "metrics": metrics}]}]
    })  # fmt: skip


def _metric(name: str, rows: Sequence[MetricSeries], span: dict[str, str]) -> dict[str, Any]:
    first = rows[0]
    points = [{"attributes": _attributes(row.labels), **span, **_value(row)} for row in rows]
    data: dict[str, Any] = {"dataPoints": points}
    if not first.gauge:
        data["aggregationTemporality"] = _CUMULATIVE
    kind = "histogram" if isinstance(first.value, BucketCounts) else "gauge" if first.gauge else "sum"
    if kind == "sum":
        data["isMonotonic"] = True
    return {"name": name, "unit": first.unit, kind: data}


def _value(row: MetricSeries) -> dict[str, Any]:
    found = row.value
    if not isinstance(found, BucketCounts):
        return {"asDouble": float(found)}
    return {
        "count": str(found.count),
        "sum": found.total,
        "bucketCounts": [str(count) for count in found.counts],
        "explicitBounds": list(found.bounds),
    }


def _attributes(labels: Labels) -> list[dict[str, Any]]:
    return [{"key": name, "value": {"stringValue": value}} for name, value in labels]


def _nanoseconds(seconds: float) -> str:
    return str(round(seconds * 1e6) * 1000)
