"""Metrics as receivers take them: OTLP, and remote write, each read back by a decoder that is not ours or not the
encoder's."""

import struct

import pytest
from google.protobuf.json_format import Parse
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from loadtest.reports import otlp, remote_write
from loadtest.reports.metrics_data import OPERATION, TIMES, TOKENS, BucketCounts, MetricsSoFar

LABELS = (("gen_ai.request.model", "m"), ("trigate.load.target", "a"))


def made():
    metrics = MetricsSoFar()
    metrics.observe("gen_ai.client.operation.duration", "s", LABELS, OPERATION, (0.005, 0.01, 0.5, 500))
    metrics.count("trigate_load_requests", "{request}", LABELS, 4)
    metrics.set("trigate_load_in_flight", "{request}", LABELS, 2)
    return metrics.series()


def test_bounds_hold_what_is_not_above_them():
    counts = BucketCounts((1.0, 2.0))
    for value in (0, 1, 1.5, 2, 2.1):
        counts.add(value)
    assert (counts.counts, counts.count, counts.total) == ([2, 2, 1], 5, pytest.approx(6.6))
    assert list(TIMES) == sorted(TIMES)
    assert TIMES[0] == 0.001
    assert TIMES[-1] == 100
    assert OPERATION[-1] == pytest.approx(81.92)
    assert TOKENS[-1] == 67108864


def test_otlp_is_what_its_own_schema_reads():
    request = Parse(otlp.body(made(), 100.5, 200.25), ExportMetricsServiceRequest())
    (resource,) = request.resource_metrics
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


@pytest.mark.parametrize(
    ("given", "posted"),
    [
        ("http://localhost:4318", "http://localhost:4318/v1/metrics"),
        ("http://localhost:4318/v1/metrics?a=b", "http://localhost:4318/v1/metrics?a=b"),
        ("https://u:p@host/otlp/", "https://u:p@host/otlp/v1/metrics"),
    ],
)
def test_otlp_goes_where_collectors_listen(given, posted):
    assert otlp.url_of(given) == posted


def test_remote_write_goes_where_prometheus_listens_unless_a_path_is_given():
    assert remote_write.url_of("http://localhost:9090") == "http://localhost:9090/api/v1/write"
    assert remote_write.url_of("http://mimir/api/v1/push") == "http://mimir/api/v1/push"


# A decoder for remote write, by its specification


def varint(data, at):
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def decompressed(block):
    size, at = varint(block, 0)
    found = b""
    while at < len(block):
        tag, at = block[at], at + 1
        assert tag & 3 == 0, "a literal"
        length = tag >> 2
        if length >= 60:
            more = length - 59
            length, at = int.from_bytes(block[at : at + more], "little"), at + more
        found, at = found + block[at : at + length + 1], at + length + 1
    assert len(found) == size
    return found


def fields(data):
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 2:
            size, at = varint(data, at)
            yield key >> 3, data[at : at + size]
            at += size
        elif key & 7 == 1:
            yield key >> 3, struct.unpack("<d", data[at : at + 8])[0]
            at += 8
        else:
            value, at = varint(data, at)
            yield key >> 3, value


def samples(block):
    """Labels, value and time of each series."""
    for _, series in fields(decompressed(block)):
        said = list(fields(series))
        labels = [tuple(text.decode() for _, text in fields(label)) for number, label in said if number == 1]
        sample = dict(fields(next(value for number, value in said if number == 2)))
        assert labels == sorted(labels)
        yield dict(labels), sample[1], sample[2]


def test_remote_write_is_cumulative_and_named_as_prometheus_names():
    found = list(samples(remote_write.body(made(), 200.25)))
    assert {at for _, _, at in found} == {200250}
    assert {labels["job"] for labels, _, _ in found} == {"trigate-load"}
    name = "gen_ai_client_operation_duration_seconds"
    buckets = {labels["le"]: value for labels, value, _ in found if labels["__name__"] == f"{name}_bucket"}
    assert (buckets["0.01"], buckets["0.32"], buckets["0.64"], buckets["81.92"], buckets["+Inf"]) == (2, 2, 3, 3, 4)
    others = {labels["__name__"]: value for labels, value, _ in found if "le" not in labels}
    assert others == {f"{name}_sum": pytest.approx(500.515), f"{name}_count": 4, "trigate_load_requests_total": 4,
                      "trigate_load_in_flight": 2}  # fmt: skip
    assert found[0][0]["gen_ai_request_model"] == "m"


@settings(max_examples=30)
@given(st.lists(st.tuples(st.text(min_size=1), st.text()), unique_by=lambda pair: pair[0]), st.floats(allow_nan=False))
def test_whatever_labels_say_is_read_back(labels, value):
    metrics = MetricsSoFar()
    metrics.set("x", "", (("model", "".join(text for _, text in labels)),), value)
    ((found, read, _),) = samples(remote_write.body(metrics.series(), 1))
    assert (found["model"], read) == ("".join(text for _, text in labels), value)


@given(st.integers(0, 3).flatmap(lambda n: st.integers(max(0, n * 2**16 - 1), n * 2**16 + 1)))
def test_a_block_of_any_length_is_read_back(length):
    data = bytes(n % 251 for n in range(length))
    assert decompressed(remote_write.compressed(data)) == data
