"""``--otlp``: what a collector receives, read back by the schema of OTLP."""

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

from loadtest.reports.otlp import OPERATION, TIMES, TOKENS, BucketCounts, MetricsSoFar, export_url, metrics_data
from tests.support.cases import case

LABELS = (("gen_ai.request.model", "m"), ("trigate.load.target", "a"))


def test_buckets_include_their_upper_bounds():
    counts = BucketCounts((1.0, 2.0))
    for value in (0, 1, 1.5, 2, 2.1):
        counts.add(value)
    assert (counts.counts, counts.count, counts.total) == ([2, 2, 1], 5, pytest.approx(6.6))
    assert (counts.least, counts.most) == (0, 2.1)
    assert list(TIMES) == sorted(TIMES)
    assert TIMES[0] == 0.001
    assert TIMES[-1] == 100
    assert OPERATION[-1] == pytest.approx(81.92)
    assert TOKENS[-1] == 67108864


def test_otlp_is_cumulative_with_the_names_and_bounds_of_the_load():
    metrics = MetricsSoFar()
    metrics.observe("gen_ai.client.operation.duration", "s", LABELS, OPERATION, (0.005, 0.01, 0.5, 500))
    metrics.add_to_counter("trigate_load_requests", "{request}", LABELS, 4)
    metrics.set_gauge("trigate_load_in_flight", "{request}", LABELS, 2)
    (resource,) = encode_metrics(metrics_data(metrics.series(), 100.5, 200.25)).resource_metrics
    assert [(one.key, one.value.string_value) for one in resource.resource.attributes] == [
        ("service.name", "trigate-load")]  # fmt: skip
    duration, requests, under_way = resource.scope_metrics[0].metrics
    (point,) = duration.histogram.data_points
    assert (duration.name, duration.unit) == ("gen_ai.client.operation.duration", "s")
    assert duration.histogram.aggregation_temporality == 2  # cumulative
    assert (point.start_time_unix_nano, point.time_unix_nano) == (100_500_000_000, 200_250_000_000)
    assert (point.count, point.sum) == (4, pytest.approx(500.515))
    assert list(point.explicit_bounds) == pytest.approx(OPERATION)
    assert list(point.bucket_counts) == [2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert {one.key: one.value.string_value for one in point.attributes} == dict(LABELS)
    assert (requests.sum.is_monotonic, requests.sum.aggregation_temporality) == (True, 2)
    assert [requests.sum.data_points[0].as_double, under_way.gauge.data_points[0].as_double] == [4, 2]


def test_otlp_goes_where_collectors_and_prometheus_listen():
    for given, posted in [
        ("http://localhost:4318", "http://localhost:4318/v1/metrics"),
        ("http://localhost:4318/v1/metrics?a=b", "http://localhost:4318/v1/metrics?a=b"),
        ("https://u:p@host/otlp/", "https://u:p@host/otlp/v1/metrics"),
        ("http://localhost:9090/api/v1/otlp", "http://localhost:9090/api/v1/otlp/v1/metrics"),
    ]:
        with case((given, posted)):
            assert export_url(given) == posted
