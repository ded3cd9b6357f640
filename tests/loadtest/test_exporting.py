"""``--otlp``: metrics go out while a load runs, and whoever takes them does not matter to it.

Percentiles as gauges cannot be added: what goes out are histograms (k6's documentation on its own output says so).
"""

import base64
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from configfile.document import ConfigError
from gateway.commands.load_outputs import LoadOutputs, OutputOptions
from loadtest.exchange.record import AnswerTokens, Problem
from loadtest.reports.otlp import KINDS, MetricsSoFar, OtlpReceiver, RunMetrics, exporting
from tests.support.harness import free_port
from tests.support.load_records import exchange_record
from tests.support.load_servers import answer, prepared, scenario, serving, serving_bodies


def plan(url="https://host.example/v1", **more):
    return scenario(url, [{"model": "m", "name": "chat m"}], rate=10, seconds=0.5, **more)


def told(*records, missed=()):
    """The series after these records, by name and the labels that differ."""
    so_far = MetricsSoFar()
    run = RunMetrics(so_far, plan(), "")
    for record in records:
        run.add(record, missed, b"")
    return {(one.name, *(value for name, value in one.labels if name in VARYING)): one for one in so_far.series()}


VARYING = ("error.type", "gen_ai.token.type", "trigate.load.end")


def test_metrics_use_the_names_of_the_conventions():
    failed = exchange_record(end="error", problem=Problem("status 503", "first byte"), contents=(), first_event=None)
    found = told(
        exchange_record(tokens=AnswerTokens(7, 3)),
        failed,
        exchange_record(planned=-1.0),
        exchange_record(end="cancelled"),
    )
    duration = found["gen_ai.client.operation.duration",]
    assert dict(duration.labels) == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m",
        "server.address": "host.example", "server.port": "443", "trigate.load.target": "host.example:443",
        "trigate.load.request": "chat m",
    }  # fmt: skip
    assert (duration.unit, duration.value.count, duration.value.total) == ("s", 1, pytest.approx(0.5))
    assert found["gen_ai.client.operation.duration", "status 503"].value.count == 1
    assert found["gen_ai.client.operation.time_to_first_chunk",].value.count == 2  # the one that left has it too
    assert found["gen_ai.client.token.usage", "input"].value.total == 7
    assert found["gen_ai.client.token.usage", "output"].value.total == 3
    assert found["trigate_load_ttft",].value.total == pytest.approx(0.4)
    assert found["trigate_load_gap",].value.count == 4
    ends = {name[1]: one.value for name, one in found.items() if name[0] == "trigate_load_requests"}
    assert ends == {"whole": 1, "error": 1, "cancelled": 1}
    assert found["trigate_load_good_requests",].value == 1
    assert not {"trigate_load_duration", "trigate_load_first_event"} & {name for name, *_ in found}
    assert told(exchange_record(), missed=["ttft<1ms"])["trigate_load_good_requests",].value == 0


def test_servers_cannot_make_series_without_end():
    kinds = [exchange_record(end="error", problem=Problem(f"error event: {n}", "stream")) for n in range(3 * KINDS)]
    found = [name for name in told(*kinds) if name[0] == "gen_ai.client.operation.duration"]
    assert len(found) == KINDS + 1
    assert told(*kinds)["gen_ai.client.operation.duration", "_OTHER"].value.count == 2 * KINDS


class Taking:
    """A receiver by hand: what was posted to it, and the status that it answers."""

    def __init__(self, status=b"200 OK"):
        self.heads, self.status, self.thrice = [], status, trio.Event()

    async def __call__(self, stream, head):
        self.heads.append(head)
        if len(self.heads) == 3:
            self.thrice.set()
        await stream.send_all(b"HTTP/1.1 " + self.status + b"\r\ncontent-length: 0\r\n\r\n")


async def test_exports_repeat_and_no_output_contains_the_password(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=a%20b, x-other=2")
    taking = Taking()
    async with serving(taking) as url:
        receiver = OtlpReceiver(url.replace("://", "://me:p4ss@"))
        with trio.fail_after(5):
            async with exporting(MetricsSoFar(), [receiver], every=0.02):
                await taking.thrice.wait()
    head = taking.heads[0]
    assert head.startswith(b"POST /v1/metrics ")
    assert b"x-token: a b" in head.lower()
    assert b"x-other: 2" in head.lower()
    assert base64.b64encode(b"me:p4ss") in head
    assert (receiver.lost, receiver.remark()) == (0, None)
    assert receiver.sent >= 3


async def test_a_receiver_that_is_gone_or_refuses_costs_the_load_nothing_but_a_note():
    refusing = Taking(b"401 Who")
    async with serving(refusing) as url:
        gone = OtlpReceiver(f"http://me:p4ss@127.0.0.1:{free_port()}", patience=0.2)
        refused = OtlpReceiver(url)
        with trio.fail_after(5):
            async with exporting(MetricsSoFar(), [gone, refused], every=0.02):
                await refusing.thrice.wait()
    assert gone.remark().startswith(f"Of {gone.lost} pushes of metrics to http://***@127.0.0.1:")
    assert gone.remark().endswith(f"(OTLP) {gone.lost} were lost: nothing is listening there.")
    assert refused.remark().endswith("were lost: status 401.")


async def test_a_receiver_that_never_answers_is_not_waited_for():
    async def silent(stream, head):
        await trio.sleep_forever()

    async with serving(silent) as url:
        receiver = OtlpReceiver(url, patience=0.05)
        with trio.fail_after(5):
            async with exporting(MetricsSoFar(), [receiver], every=60):
                pass
    assert receiver.remark().endswith("1 were lost: no response within 0.05 s.")


def test_a_load_that_does_not_begin_leaves_the_log_of_the_last(tmp_path):
    log = tmp_path / "requests.jsonl"
    log.write_text("yesterday\n")
    with LoadOutputs.open(OutputOptions(log=log)) as answers:
        assert log.read_text() == "yesterday\n"
        (sink,) = answers.sinks(plan(), "", None)
        sink.add(exchange_record(), (), b"")
    assert log.read_text().startswith('{"time":')
    with LoadOutputs.open(OutputOptions(log=Path("/dev/full"))) as answers:  # a full disk costs no report
        answers.sinks(plan(), "", None)[0].add(exchange_record(), (), b"")
    OutputOptions(log=Path("/dev/null"), json=log).check(has_conditions=False)
    for wrong in (tmp_path, tmp_path / "missing" / "x"):
        with pytest.raises(ConfigError, match="cannot be written"):
            OutputOptions(csv=wrong).check(has_conditions=False)


async def watched_to_its_end(answers):
    """Three were under way at the last look, and none when the run had ended."""
    running = SimpleNamespace(target="", in_flight=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answers.watch, running)
        await trio.testing.wait_all_tasks_blocked()
        running.in_flight = 0
        nursery.cancel_scope.cancel()


async def test_a_collector_finally_has_the_figures_of_the_report():
    bodies = []

    async def collect(stream, head, body):
        bodies.append(body)
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async def serve(stream, head):
        await answer(stream, "one", " two", pause=0.005)

    async with serving(serve) as url, serving_bodies(collect) as collector:
        own = plan(url)
        with LoadOutputs.open(OutputOptions(otlp=collector)) as answers:
            async with answers.export():
                result = await (await prepared(own, sinks=answers.sinks(own, "", None))).run()
                await watched_to_its_end(answers)
            assert answers.with_remarks([result])[0].remarks == result.remarks
    request = ExportMetricsServiceRequest.FromString(bodies[-1])
    metrics = request.resource_metrics[0].scope_metrics[0].metrics
    (under_way,) = (metric.gauge.data_points[0] for metric in metrics if metric.HasField("gauge"))
    assert under_way.as_double == 0
    points = {one.name: one.histogram.data_points[0] for one in metrics if one.HasField("histogram")}
    for name, exported in (("ttft", "trigate_load_ttft"), ("gap", "trigate_load_gap"),
                           ("duration", "gen_ai.client.operation.duration")):  # fmt: skip
        histogram, point = result.tally.measures[name], points[exported]
        assert point.count == histogram.count, name
        assert point.sum == pytest.approx(histogram.total), name
