"""``trigate load compare``: two files in, a verdict out."""

import json
import random

import attrs
import pytest

from gateway.__main__ import main
from loadtest.exchange.masking import SecretWords
from loadtest.exchange.record import AnswerTokens, ExchangeRecord, Problem
from loadtest.figures.histogram import Histogram
from loadtest.figures.result import RunResult
from loadtest.figures.run_figures import RunFigures
from loadtest.reports import report_file
from loadtest.reports.compared_runs import compare_reports
from loadtest.reports.request_log import LineForm, LoggedRun, log_line
from loadtest.run.overhead import Overhead
from tests.support.cases import case
from tests.support.load_records import exchange_record, shift_record
from tests.support.load_servers import scenario


def records(seed, *, slower=1.0, count=150, failing=0.0, output=5, kinds=("chat m",)) -> list[ExchangeRecord]:
    """Ten a second, each with a delay of its own before its first token."""
    rng, made = random.Random(seed), []
    for number in range(count):
        planned, delay = number / 10, slower * rng.lognormvariate(-2, 0.3)
        times = tuple(planned + delay + n * 0.02 * slower for n in range(3))
        failed = rng.random() < failing
        made.append(exchange_record(
            number=number, request=kinds[number % len(kinds)], planned=planned, began=planned, sent=planned,
            first_byte=times[0], first_event=times[0], contents=times, first_output=times[0], end_event=times[-1],
            ended=times[-1], tokens=AnswerTokens(20, output), end="error" if failed else "whole",
            problem=Problem("cut", "stream") if failed else None,
        ))  # fmt: skip
    return made


def report(path, found, log=True, targets=("",), **plan):
    """A report of these records for each target, and the log of the last beside it."""
    runs = []
    for target in targets:
        figures = RunFigures()
        for record in found:
            figures.add(record)
        made = scenario("http://h", [{"model": "m", "name": name} for name in figures.requests], **{"rate": 10, **plan})
        runs.append(RunResult(
            target=target, url="http://h", started="2026-01-01T00:00:00+00:00", scenario=made.describe(),
            seconds=len(found) / 10, elapsed=figures.last, interrupted=False, tally=figures.total,
            requests=figures.requests, timeline=figures.timeline, overhead=Overhead(Histogram(), Histogram(), 0.1),
        ))  # fmt: skip
    path.write_bytes(report_file.dump(runs, f"{path.stem}.log" if log else ""))
    if log:
        write_log(path.with_suffix(".log"), found, target=targets[-1])
    return path


def write_log(path, found, target=""):
    run, none = LoggedRun(1, target, 0.0), SecretWords(())
    path.write_text("".join(json.dumps(log_line(record, (), b"", run, none, LineForm())) + "\n" for record in found))
    return path


def compare(capsys, *args):
    with pytest.raises(SystemExit) as caught:
        main(["load", "compare", *map(str, args)])
    said = capsys.readouterr()
    return caught.value.code, said.out, said.err


def test_ten_percent_more_are_slower_and_the_pipeline_fails(tmp_path, capsys):
    before = report(tmp_path / "a.json", records(1, count=1000))
    after = report(tmp_path / "b.json", records(2, slower=1.1, count=1000))
    code, out, err = compare(capsys, before, after, "--fail-if", "slower", "--fail-if", "errors",
                             "--html", tmp_path / "c.html")  # fmt: skip
    assert code == 1
    assert "b.json is slower, against a.json" in out
    assert "time to the first token, mean" in out
    assert "Intervals: bootstrap over blocks of seconds" in out
    assert "different:" not in out
    assert err == "failed: slower: b.json is slower, against a.json\n"
    page = (tmp_path / "c.html").read_text()
    assert "b.json is slower" in page
    assert "×1." in page
    assert "Side by side" in page
    assert compare(capsys, after, before, "--fail-if", "worse")[0] == 0
    assert compare(capsys, before, after, "--margin", "30%", "--fail-if", "different")[0] == 0


def test_few_requests_are_not_reported_as_equal(tmp_path, capsys):
    few = [report(tmp_path / name, records(seed)[:5]) for seed, name in enumerate(("a.json", "b.json"), 1)]
    code, out, _ = compare(capsys, *few, "--fail-if", "slower")
    assert (code, "too few requests for a verdict between a.json and b.json" in out) == (1, True)
    assert "no difference seen" not in out


def test_one_server_twice_shows_no_difference(tmp_path, capsys):
    code, out, _ = compare(capsys, report(tmp_path / "a.json", records(1)), report(tmp_path / "b.json", records(2)),
                           "--fail-if", "different")  # fmt: skip
    assert code == 0
    assert "no difference seen between a.json and b.json" in out


def test_the_comparison_of_long_names_fits_a_terminal(tmp_path, capsys):
    kinds = ("chat " + "model-with-a-name-" * 8, "b")
    names = [f"a-rather-long-name-of-a-report-of-today-{name}.json" for name in ("before", "after")]
    before, after = (report(tmp_path / name, records(seed, kinds=kinds)) for seed, name in enumerate(names))
    out = compare(capsys, before, after, "--margin", "1%")[1]
    assert max(map(len, out.splitlines())) <= 80
    assert f"no difference seen between {names[0]}" in " ".join(out.split())
    assert out.count("first  second ") == 3  # what is the same in both is no heading


def test_logs_alone_are_enough_and_a_report_alone_says_what_it_lacks(tmp_path, capsys):
    logs = [write_log(tmp_path / f"{n}.jsonl", records(n, slower=1 + n)) for n in (0, 1)]
    assert "1.jsonl is slower" in compare(capsys, *logs, "--html", tmp_path / "c.html")[1]
    assert "1.jsonl is slower" in (tmp_path / "c.html").read_text()
    all_begin_at_0 = [[shift_record(one, -one.planned) for one in records(n, slower=1 + n)] for n in (0, 1)]
    bursts = [write_log(tmp_path / f"burst {n}.jsonl", found) for n, found in enumerate(all_begin_at_0)]
    assert "burst 1.jsonl is slower" in "".join(map(str, compare(capsys, *bursts)))  # all at one instant
    reports = [report(tmp_path / f"{n}.json", records(n, slower=1 + n), log=False) for n in (0, 1)]
    for log in logs:
        log.unlink()
    out = compare(capsys, *reports)[1]
    assert "1.json is slower" in out
    assert "Intervals: from the ranks of the reports' buckets" in out


def test_a_log_that_is_another_runs_is_not_believed(tmp_path):
    before = report(tmp_path / "a.json", records(1))
    after = report(tmp_path / "b.json", records(2))
    write_log(tmp_path / "b.log", records(3)[:-1])
    assert compare_reports(before, after).targets[0].total.evidence == "buckets"
    write_log(tmp_path / "b.log", records(2))
    assert compare_reports(before, after).targets[0].total.evidence == "lines"
    (tmp_path / "b.log").rename(tmp_path / "b.jsonl")  # of the report's own name
    assert compare_reports(before, after).targets[0].total.evidence == "lines"


def test_half_a_line_at_the_end_of_a_log_is_left_out(tmp_path, capsys):
    one, other = write_log(tmp_path / "a.jsonl", records(1)), write_log(tmp_path / "b.jsonl", records(2))
    other.write_bytes(other.read_bytes()[:-40])
    assert compare_reports(one, other).targets[0].total.evidence == "lines"
    for wrong in (
        '{"planned": 1}\n',
        "[1]\n",
        '{"planned": 1, "warmup": false, "end": 3}\n',
        "{}\n",
        "\n",
        '{"a":\n{}\n',
    ):
        other.write_text(wrong)
        code, _, err = compare(capsys, one, other)
        assert (code, "b.jsonl is not a report" in err) == (2, True), wrong


def test_other_plans_and_lengths_are_named_first(tmp_path, capsys):
    before = report(tmp_path / "a.json", records(1), grace=5)
    after = report(tmp_path / "b.json", records(2, output=50, count=100), grace=6)
    lines = compare(capsys, before, after)[1].splitlines()
    assert lines[:3] == ["different: grace: 5, then 6", "different: seconds of arrivals: 15, then 10",
                         "different: output tokens (mean): 5, then 50"]  # fmt: skip
    assert " a.json" in lines[3]
    earlier = json.loads(before.read_text())  # of a version that knew less, and told lengths in another way
    plan = earlier["runs"][0]["scenario"]
    del plan["resend"], plan["requests"][0]["texts"]
    plan["requests"][0] |= {"prompt": [20, 20], "output": 1024, "tools": 1}
    before.write_text(json.dumps(earlier))
    lines = compare(capsys, before, after)[1].splitlines()
    assert lines[:2] == ["different: requests[0].tools: 1, then 0", "different: grace: 5, then 6"]


def test_kinds_and_targets_are_compared_each_with_its_own(tmp_path, capsys):
    both = {"kinds": ("one", "other"), "targets": ("x", "y")}
    before, after = (
        report(tmp_path / f"{n}.json", records(n, slower=1 + n, kinds=both["kinds"]), targets=both["targets"])
        for n in (0, 1)
    )
    found = compare_reports(before, after)
    assert [(target.name, target.total.evidence, [kind.name for kind in target.kinds]) for target in found.targets] == [
        ("x", "buckets", ["one", "other"]), ("y", "lines", ["one", "other"])]  # fmt: skip
    assert {target.verdict for target in found.targets} == {"slower"}
    out = compare(capsys, before, report(tmp_path / "c.json", records(0), targets=("x", "z")))[1]
    assert "not in both: y" in out
    assert "not in both: z" in out


def test_several_loads_of_a_target_are_compared_pairwise(tmp_path):
    def written(path, *parts):
        runs = [
            run for rate, found in parts for run in report_file.load(report(tmp_path / "one.json", found, rate=rate))
        ]
        path.write_bytes(report_file.dump(runs, "none"))
        return path

    before = written(tmp_path / "a.json", (10, records(1)), (20, records(2)))
    after = written(tmp_path / "b.json", (20, records(3)), (10, records(4, slower=2)))
    found = compare_reports(before, after).targets
    assert [(target.name, target.verdict, target.differences) for target in found] == [
        ("http://h, 10/s (evenly spaced), for 15 s", "slower", ()),
        ("http://h, 20/s (evenly spaced), for 15 s", "no difference seen", ()),
    ]


def test_more_errors_are_a_verdict_of_their_own(tmp_path, capsys):
    before = report(tmp_path / "a.json", records(1))
    after = report(tmp_path / "b.json", records(2, failing=0.2, slower=0.5))
    code, out, _ = compare(capsys, before, after, "--fail-if", "worse")
    assert code == 1
    assert "b.json is faster, with more errors, against a.json" in out
    assert compare(capsys, before, after, "--fail-if", "slower")[0] == 0
    nothing = report(tmp_path / "n.json", [attrs.evolve(record, end="cancelled", contents=(), first_byte=None,
                     first_event=None, first_output=None) for record in records(1)], log=False)  # fmt: skip
    code, out, _ = compare(capsys, before, nothing, "--fail-if", "slower")
    assert (code, "nothing to compare" in out) == (1, True)


def test_files_that_cannot_be_compared_are_refused_with_the_reason(capsys):
    for args, said in [
        (("README.md", "README.md"), "README.md is not a report"),
        (("nowhere.json", "README.md"), "nowhere.json: cannot be read: no such file"),
        (("README.md", "README.md", "--margin", "3"), "--margin '3' is not valid; give a share, such as 3% or 0.03"),
        (("README.md", "README.md", "--percentiles", "x"), "percentiles below 100"),
    ]:
        with case((args, said)):
            code, _, err = compare(capsys, *args)
            assert code == 2
            assert said in err


def test_a_made_up_report_is_refused_by_its_name(tmp_path, capsys):
    """Reports come from others, too: no value in one ends this with a traceback, nor takes all memory."""
    good = report(tmp_path / "good.json", records(1, count=30), log=False)
    evil, text = tmp_path / "evil.json", good.read_text()
    scenario_, total = '"scenario": {', '"total": {'
    for found, made_up in (
        (scenario_, scenario_ + '"steps": -1, "x": '),
        (scenario_, '"scenario": {"percentiles": [[1]]}, "x": {'),
        ('"seconds": 3.0', f'"seconds": 1{"0" * 400}'),
        ('"second": 0', f'"second": 1{"0" * 12}'),
        ('"buckets": [', f'"buckets": [[1{"0" * 18}, 0], '),
        (total, '"total": ' + "[" * 5000 + "{"),
        (total, total + '"routes": {"cost_usd": "x"}, "y": {'),
    ):
        evil.write_text(text.replace(found, made_up, 1))
        assert evil.read_text() != text, made_up[:40]
        statuses = []
        for command in (["load", "compare"], ["load", "--compare"]):
            with pytest.raises(SystemExit) as caught:
                main([*command, str(evil), str(good)])
            statuses.append(caught.value.code)
            assert ("evil.json" in capsys.readouterr().err) == (caught.value.code == 2), made_up[:40]
        assert 2 in statuses, made_up[:40]  # one of the two does not show all that is in it
