"""CSV, vLLM's keys, percentiles of one's own, and files that appear whole or not at all."""

import csv
import json
import math
import os
import random
import re

import attrs
import pytest
import trio

from configfile.wording import Wrong
from loadtest.exchange.record import AnswerTokens, Problem
from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import format_duration, format_number
from loadtest.figures.result import RunResult
from loadtest.figures.run_figures import RunFigures
from loadtest.plan.kinds import parse_percentiles
from loadtest.reports import report_file, text
from loadtest.reports.other_files import as_vllm, csv_of
from loadtest.reports.page import page
from loadtest.reports.report_file import write_atomically
from loadtest.run.overhead import Overhead
from tests.support.load_records import exchange_record, shift_record
from tests.support.load_servers import scenario


def result(*records, seconds=10.0, **more) -> RunResult:
    """The result of a run with these records."""
    figures = RunFigures()
    for record in records:
        figures.add(record)
    plan = scenario("http://h", [{"model": "m", "name": "chat m"}], rate=1, seconds=seconds, **more)
    return RunResult(
        target="t", url="http://h", started="2026-01-01T00:00:00+00:00", scenario=plan.describe(), seconds=seconds,
        elapsed=figures.last, interrupted=False, tally=figures.total, requests=figures.requests,
        timeline=figures.timeline, overhead=Overhead(Histogram(), Histogram(), 0.1),
    )  # fmt: skip


ANSWERS = [shift_record(exchange_record(tokens=AnswerTokens(100, 5)), n / 10) for n in range(40)]
FAILED = exchange_record(end="error", problem=Problem("status 503", "first byte"), contents=(), first_output=None)
NOTHING = result()


def rows(*runs):
    table = csv.DictReader(csv_of(runs).decode().splitlines())
    return {(row["target"], row["kind"], row["name"]): row for row in table}


def test_the_table_has_units_in_its_names_and_a_row_for_each_target_kind_and_measure():
    found = rows(result(*ANSWERS, FAILED), attrs.evolve(NOTHING, target="u"))
    assert {kind for target, kind, _ in found if target == "t"} == {"", "chat m"}
    first = found["t", "chat m", "ttft_seconds"]
    assert (first["count"], float(first["p50"]), float(first["max"])) == ("40", *[pytest.approx(0.2)] * 2)
    assert found["t", "", "input_tokens"]["mean"] == "100.0"
    assert found["t", "", "started"]["value"] == "41"
    assert float(found["t", "", "goodput"]["value"]) == pytest.approx(40 / 41)
    none = found["u", "", "ttft_seconds"]
    assert (none["count"], none["mean"], none["p99"]) == ("0", "", "")


def test_scripts_that_read_the_results_of_vllm_find_their_keys():
    """docs.vllm.ai, vllm bench serve --save-result."""
    found = json.loads(as_vllm([result(*ANSWERS, FAILED, percentiles=[50, 90])]))
    assert (found["completed"], found["failed"], found["num_prompts"]) == (40, 1, 41)
    assert (found["total_input_tokens"], found["total_output_tokens"]) == (4000, 200)
    seconds = found["duration"]
    assert seconds == pytest.approx(5.4)
    assert found["request_throughput"] == pytest.approx(40 / seconds)
    assert found["total_token_throughput"] == pytest.approx(4200 / seconds)
    assert found["output_throughput"] == pytest.approx(200 / seconds)
    assert found["request_goodput"] is None  # there were no objectives
    assert found["mean_ttft_ms"] == pytest.approx(200)
    assert found["median_e2el_ms"] == pytest.approx(450, rel=0.01)
    assert found["mean_tpot_ms"] == pytest.approx(62.5)
    assert found["mean_itl_ms"] == pytest.approx(125)
    assert found["std_itl_ms"] == pytest.approx(25, rel=0.02)
    assert {f"{figure}_{name}_ms" for figure in ("mean", "median", "std", "p99", "p90")
            for name in ("ttft", "tpot", "itl", "e2el")} <= found.keys()  # fmt: skip
    assert json.loads(as_vllm([NOTHING]))["median_ttft_ms"] is None  # 0.00 there: vllm-project/vllm#5895
    assert len(json.loads(as_vllm([NOTHING, NOTHING]))) == 2


def test_requested_percentiles_are_in_every_output():
    """k6's JSON lacked those that its screen showed: grafana/k6#1611."""
    run = result(*ANSWERS, percentiles="p50, 90,99.9")
    said = json.loads(report_file.dump([run]))["runs"][0]["requests"]["chat m"]["measures"]["ttft"]
    assert {"p50", "p90", "p95", "p99", "p99.9"} <= said.keys()
    assert re.search(r"\n +p50 +p90 +p99\.9 +max", text.summary(run))
    assert "<th>p99.9</th>" in page([run])
    assert "p99.9" in csv_of([run]).decode().splitlines()[0]
    for given, found in (("50,90,99.9", (50, 90, 99.9)), ([99, 50.0], (50, 99)), (75, (75,)), (" p5 ", (5,))):
        assert parse_percentiles(given) == found, given
    for wrong in ("", "101", "50;90", "p", [True], [], "50,50.12345", [*range(10, 20)], {"a": 1}):
        with pytest.raises(Wrong):
            parse_percentiles(wrong)


def test_no_output_file_contains_an_invalid_number():
    for run in (NOTHING, result(FAILED), result(*ANSWERS)):
        for said in (report_file.dump([run]), as_vllm([run]), csv_of([run])):
            assert not any(word in said.lower() for word in (b"nan", b"infinity", b"inf,")), said


def test_a_deviation_is_that_of_the_values():
    rng, histogram = random.Random(1), Histogram()
    values = [rng.lognormvariate(-2, 0.5) for _ in range(2000)]
    histogram.extend(values)
    mean = math.fsum(values) / 2000
    assert histogram.deviation == pytest.approx(math.sqrt(math.fsum((v - mean) ** 2 for v in values) / 2000), rel=0.01)
    assert Histogram().deviation == 0


# Files


def test_a_file_replaces_the_old_one_when_it_is_whole(tmp_path):
    place = tmp_path / "report.json"
    place.write_text("old")
    place.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(place)
    write_atomically(link, b"new")
    assert (place.read_text(), link.is_symlink(), place.stat().st_mode & 0o777) == ("new", True, 0o640)
    assert sorted(os.listdir(tmp_path)) == ["link.json", "report.json"]


def test_a_file_that_cannot_be_written_whole_is_left_unchanged(tmp_path, monkeypatch):
    place = tmp_path / "report.json"
    place.write_text("old")
    (tmp_path / f".report.json.{os.getpid()}.part").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(place, b"new")
    assert place.read_text() == "old"
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "x", b"new")


async def test_a_report_is_written_to_a_pipe_directly(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, write_atomically, pipe, b"all of it")
        assert await trio.to_thread.run_sync(pipe.read_bytes) == b"all of it"
    assert not pipe.is_file()


# The screen and the JSON


def numbers(value) -> set[float]:
    """All numbers in a report but those of its buckets."""
    match value:
        case dict():
            return set().union(*(numbers(member) for key, member in value.items() if key != "buckets"))
        case list():
            return set().union(*map(numbers, value))
        case bool() | None | str():
            return set()
    return {float(value)}


def test_each_number_on_the_screen_is_in_the_json():
    """vllm-project/guidellm#924; k6's JSON lacked what its screen had: grafana/k6#1611."""
    run = result(*ANSWERS, FAILED, percentiles=[50, 97.5])
    found = numbers(json.loads(report_file.dump([run])))
    shown = {form(value) for value in found for form in (format_number, format_duration, "{:.4g} %".format, str)}
    shown |= {form(value) for value in found for form in (lambda x: f"{100 * x:.4g} %", lambda x: f"{100 * x:.0f} %")}
    shown |= {f"{value:.2f}" for value in found}
    said = re.sub(r"p\d[\d.]*|status \d+|HTTP/\S+|http://\S+|\S+/s\b|note: .*", "", text.summary(run))
    for number in re.findall(r"\d[\d.]*(?: (?:ms|s|µs|%)(?!\w))?", said):
        assert number in shown or number.split()[0] in shown, (number, text.summary(run))
