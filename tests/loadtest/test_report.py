"""The reports and the command line."""

import json

import attrs
import pytest

from loadtest.exchange.record import Problem
from loadtest.figures.histogram import Histogram
from loadtest.figures.result import FoundRate, SearchStep, notes
from loadtest.figures.rounds import ComparedFigure
from loadtest.figures.timeline import MOST, LoadTimeline
from loadtest.reports import text
from loadtest.reports.report_files import dump, page
from tests.support.command_line import run
from tests.support.each_row import each_row
from tests.support.load_records import record, result
from tests.support.upstreams import Script

HOSTILE = "<script>alert(1)</script> " + "long " * 60
FAILED = record(end="error", problem=Problem("status 500", "first byte", HOSTILE), status=500, contents=())


def test_the_summary_fits_80_columns_and_has_all_measures():
    found = text.summary(result(*(record(planned=float(at), resent=at > 6) for at in range(9)), FAILED))
    assert max(map(len, found.splitlines())) <= text.COLUMNS
    assert "10 requests begun, 9 whole answers, 1 errors" in found
    assert "2 requests were sent again" in found
    assert "time to the first token" in found


def test_the_page_is_a_single_file_without_scripts():
    found = page([result(*(record(planned=float(at)) for at in range(9)), FAILED)])
    assert "<script" not in found
    assert "http" not in found.replace("http://x", "").replace("HTTP", "")
    assert found.count('<svg class="chart"') >= 5
    assert "&lt;script&gt;" in found


def test_the_json_has_every_measure_and_count():
    found = json.loads(dump([result(record(), FAILED)], version="1"))
    (single,) = found["runs"]
    assert single["total"]["counts"]["errors"] == 1
    assert single["total"]["measures"]["ttft"]["p50"] == pytest.approx(0.2, rel=0.01)
    assert single["total"]["errors"][0]["kind"] == "status 500"
    assert single["timeline"][0]["started"] == 2


def test_a_late_or_busy_loader_is_noted():
    slow = Histogram()
    slow.extend([0.05] * 100)
    assert notes(result(record())) == []
    assert "The loader was late" in notes(result(record(), lag=slow))[0]
    assert "The loader was late" in notes(result(*[record(began=0.05)] * 100))[0]
    assert "Start it twice" in notes(result(record(), cpu=0.95))[0].replace("\n", " ")


def test_a_long_run_has_few_histograms():
    timeline = LoadTimeline(5 * MOST)
    for second in range(5 * MOST):
        timeline.record_end(record(planned=float(second)))
    assert (len(timeline.spans), timeline.width) == (MOST, 5)
    assert sum(one.ttft.count for one in timeline.spans) == 5 * MOST
    assert sum(one.whole for one in timeline.spans) == 5 * MOST


def test_the_page_of_a_search_has_its_steps():
    step = SearchStep(2.0, "climb", "failed", "its backlog grew", 10, 0.5, 0.1, 0.2)
    found = page([result(record(), search=FoundRate(1.0, "1 request per second is the highest", 2.0, "", [step]))])
    assert "<h3>1 request per second is the highest</h3>" in found
    assert "failed: its backlog grew" in found


def test_the_page_of_two_servers_has_their_verdict():
    runs = [attrs.evolve(result(record()), target=name) for name in ("a", "b")]
    figure = ComparedFigure("duration, mean", 1.0, 2.0, 2.0, 1.5, 2.5)
    assert "b against a: slower" in page(runs, compared=[figure])
    assert "no verdict" in page(runs, compared=[])


@pytest.mark.process
def test_each_mistake_is_reported_with_advice():
    for args, said in [
        (("compare", "a.json", "b.json"), "compare was removed: run `trigate load A=URL B=URL`"),
        (("http://x", "--processes", "2"), "--processes was removed: start the command twice"),
        (("http://x", "--websocket"), "--websocket was removed: use h2load"),
        (("plan.yml",), "scenario files were removed"),
        ((), "no URL given; add one, such as trigate load http://127.0.0.1:12000 --model demo"),
        (("127.0.0.1:12000",), "did you mean http://127.0.0.1:12000?"),
        (("http://x", "--model", "m", "--rate", "5", "--concurrency", "2"), "it does not work with --rate"),
        (("http://x", "--model", "m", "--leave", "5"), "such as 10%:2s or 10%:20tokens"),
        (("http://user:pw@x", "--model", "m"), "the URL has a user name"),
        (("http://x", "--model", "m", "--json", "/nowhere/a.json"), "the file cannot be written"),
    ]:
        found = run("load", *args)
        assert found.returncode == 2, args
        assert said in found.stderr, (args, found.stderr)


@pytest.mark.process
@each_row(("limit", "seconds"), [(("--seconds", "300ms"), 0.3), (("-n", "3"), None)])
def test_the_command_writes_all_reports_and_its_exit_status_states_the_condition(upstream, tmp_path, limit, seconds):
    upstream.script(*[Script("well")] * 3)
    args = (upstream.url, "--model", "m", "--rate", "10", *limit)
    files = [f"--{kind}={tmp_path / kind}" for kind in ("json", "html", "log")]
    found = run("load", *args, *files, "--fail-if", "started>2")
    assert found.returncode == 1, found.stderr
    assert "failed: started>2: it is 3" in found.stderr
    assert "3 requests begun, 3 whole answers" in found.stdout
    (single,) = json.loads((tmp_path / "json").read_text())["runs"]
    assert single["total"]["counts"]["whole"] == 3
    assert (single["plan"]["seconds"], single["seconds"]) == (seconds, pytest.approx(0.3))
    assert (tmp_path / "html").read_text().startswith("<!doctype html>")
    assert len((tmp_path / "log").read_text().splitlines()) == 3


@pytest.mark.process
def test_two_servers_are_compared(upstream):
    upstream.script(*[Script("well")] * 100)
    both = (f"a={upstream.url}", f"b={upstream.url}", "--model", "m", "--rate", "50", "--seconds", "1")
    found = run("load", *both, "--rounds", "5")
    assert found.returncode == 0, found.stderr
    assert "b against a: " in found.stdout


@pytest.mark.process
def test_an_unreachable_server_ends_the_load_early():
    found = run("load", "http://127.0.0.1:1", "--model", "m", "--rate", "50", "--seconds", "600")
    assert found.returncode == 2
    assert "none of the first 5 requests got a connection" in found.stderr
