"""One load by several machines: each makes its part, and their reports are merged."""

import contextlib
import time
from pathlib import Path

import attrs
import msgspec
import pytest
import trio

from gateway.__main__ import main
from loadtest.exchange.record import ExchangeRecord
from loadtest.plan.shares import PlanShare
from loadtest.reports import report_file
from loadtest.reports.parts import merge_parts, part_of_plan, plan_digest
from loadtest.reports.report_file import InvalidReport
from loadtest.run.running import ActiveRun, address_of
from loadtest.run.under_way import StartTimePassed
from tests.support.load_records import record, result
from tests.support.load_servers import answer, judge, scenario, serving

START = 1795435200.0
PLAN = {"rate": 100, "spacing": "poisson", "seconds": 0.4, "warmup": 0.05, "seed": 3}
MIX = ({"model": "m"}, {"model": "n", "weight": 2, "prompt": "10-50"})


@attrs.define
class Kept:
    """A sink that keeps what the plan decides of each request."""

    reads_bodies: bool = False
    plan: list = attrs.field(factory=list)

    def add(self, record: ExchangeRecord, missed, body) -> None:
        self.plan.append((record.number, round(record.planned, 6), record.request, record.asked_input, record.manner))


async def made(plan, kept):
    run = ActiveRun(plan, "", await address_of(plan, ""), None, judge, sinks=[kept])
    return await run.run()


def report_of(path: Path, run, plan) -> Path:
    path.write_bytes(report_file.dump([run], part=part_of_plan(plan).dump()))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("of", [2, pytest.param(5, marks=pytest.mark.soak)])
async def test_parts_make_exactly_the_plan_of_the_whole(of, tmp_path):
    async def brief(stream, head):
        await answer(stream, "one", " two", pause=0.005)

    whole, parts = Kept(), Kept()
    async with serving(brief) as url:
        plan = scenario(url, MIX, **PLAN)
        alone = await made(plan, whole)
        start, paths = time.time() + 0.2, []
        shares = [attrs.evolve(plan, part=PlanShare(index, of), start_at=start) for index in range(of)]

        async def make(share):
            paths.append(report_of(tmp_path / f"{share.part.index}.json", await made(share, parts), share))

        async with trio.open_nursery() as nursery:
            for share in shares:
                nursery.start_soon(make, share)
    together = merge_parts(paths)
    assert sorted(parts.plan) == sorted(whole.plan)
    assert together.tally.counts == alone.tally.counts
    assert {name: one.counts for name, one in together.requests.items()} == {
        name: one.counts for name, one in alone.requests.items()
    }
    started = [second.started for second in alone.timeline.seconds if second.started]
    assert [second.started for second in together.timeline.seconds if second.started] == started
    assert sum(part_of_plan(shares[0]).planned) == alone.tally.counts["started"]
    assert (together.remarks, together.overhead.lost) == ((), [])
    assert list(together.overhead.parts) == [f"part {number + 1}" for number in range(of)]


async def test_a_part_does_not_begin_after_its_start():
    plan = attrs.evolve(scenario("http://127.0.0.1:9", **PLAN), part=PlanShare(0, 2), start_at=time.time() - 1.5)
    with pytest.raises(StartTimePassed, match=r"1\.5 s ago; give all parts a later time"):
        await made(plan, Kept())


async def test_a_load_that_waits_for_its_start_can_be_stopped():
    plan = attrs.evolve(scenario("http://127.0.0.1:9", **PLAN), part=PlanShare(0, 2), start_at=time.time() + 3600)
    run = ActiveRun(plan, "", await address_of(plan, ""), None, judge)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.run)
            await trio.testing.wait_all_tasks_blocked()
            run.stop()
    assert run.interrupted
    assert not run.figures.total.counts["started"]


# Merging


def planned(index: int = 0, of: int = 3, start_at: float = START, **more):
    plan = scenario("http://127.0.0.1:9", **{**PLAN, "rate": 10, "seconds": 3, **more})
    return attrs.evolve(plan, part=PlanShare(index, of), start_at=start_at)


def report(folder: Path, index: int, plan=None, **more) -> Path:
    """The report of a part with ten exchanges, some of them slow."""
    plan = plan or planned(index)
    records = [record(planned=n / 5, contents=(n / 5 + 0.1 * (index + 1), n / 5 + 0.2)) for n in range(10)]
    run = attrs.evolve(result(*records, seconds=3.0), scenario=plan.describe(), **more)
    return report_of(folder / f"part-{index + 1}.json", run, plan)


def test_histograms_merge_bucket_by_bucket(tmp_path):
    paths = [report(tmp_path, index) for index in range(3)]
    together = merge_parts(paths)
    runs = [report_file.load(path)[0] for path in paths]
    for name, histogram in together.tally.measures.items():
        for run in runs[1:]:
            runs[0].tally.measures[name].merge(run.tally.measures[name])
        assert histogram.dump() == runs[0].tally.measures[name].dump(), name
    assert together.tally.counts["started"] == 30
    assert merge_parts(reversed(paths)).tally.dump() == together.tally.dump()


def test_a_missing_part_is_reported_with_its_meaning(tmp_path):
    paths = [report(tmp_path, 0), report(tmp_path, 2)]
    together = merge_parts(paths)
    lost = part_of_plan(planned()).planned[1]
    assert together.tally.counts["lost"] == lost > 0
    assert list(together.overhead.lost) == ["part 2 of 3 is missing"]
    assert together.remarks[0].startswith("Part 2 of 3 is missing, so these figures lack its share")
    assert together.remarks[1].startswith(f"Lost: {lost} planned requests. The server had less load than planned")


def test_merged_results_attribute_stops_and_remarks_to_their_parts(tmp_path):
    paths = [
        report(tmp_path, 0),
        report(tmp_path, 1, stopped="tired", interrupted=True),
        report(tmp_path, 2, remarks=["x."]),
    ]
    together = merge_parts(paths)
    assert (together.stopped, together.interrupted, together.remarks) == ("part 2: tired", True, ("Part 3: x.",))


def test_reports_that_are_not_parts_of_one_load_are_refused(tmp_path):
    for name in "012":
        (tmp_path / name).mkdir()
    first, whole = report(tmp_path, 0), tmp_path / "whole.json"
    whole.write_bytes(report_file.dump([result(record())]))
    damaged = tmp_path / "damaged.json"
    damaged.write_bytes(first.read_bytes().replace(b'"number": 1', b'"number": 9'))
    for other, why in (
        (first, "both are part 1 of 3"),
        (whole, "the report of a whole load; merge needs reports of trigate load --part K/N"),
        (damaged, "is not a report"),
        (tmp_path / "none.json", "cannot be read: no such file"),
        (report(tmp_path / "0", 1, planned(1, of=4)), r"part 2 has a different plan .*parts: 3, then 4"),
        (report(tmp_path / "1", 1, planned(1, seed=4)), r"has a different plan than .*\(seed: 3, then 4\)"),
        (
            report(tmp_path / "2", 1, planned(1, start_at=START + 60)),
            "from a different run .*started at 2026-11-23T12:00:00Z",
        ),
    ):
        with pytest.raises(InvalidReport, match=why):
            merge_parts([first, other])


def test_a_plan_is_the_same_wherever_its_files_lie(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "requests.jsonl").write_text('{"prompt": "%s"}\n' % ("other" if name == "c" else "hello"))
    plans = [
        scenario("http://a", [{"model": "m", "requests": str(tmp_path / name / "requests.jsonl")}], rate=1)
        for name in ("a", "b", "c")
    ]
    named = [plan_digest(attrs.evolve(plan, processes=number + 1)) for number, plan in enumerate(plans)]
    assert named[0] == named[1] != named[2]


def said(capsys, *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(("load", "merge", *words))
    return caught.value.code, *capsys.readouterr()


def test_conditions_are_judged_on_the_whole(tmp_path, capsys):
    """No part alone says what the 95th percentile of all is."""
    plans = [planned(index, fail_if=["ttft.p95>250ms"]) for index in range(3)]
    paths = [str(report(tmp_path, index, plan)) for index, plan in enumerate(plans)]
    status, out, err = said(
        capsys, *paths, "--json", str(tmp_path / "whole.json"), "--junit", str(tmp_path / "junit.xml")
    )
    assert status == 1
    assert "failed: http://x: ttft.p95>250ms: it is 3" in err
    assert "30 begun" in out or "30" in out
    whole = msgspec.json.decode((tmp_path / "whole.json").read_bytes())
    assert [one["ok"] for one in whole["conditions"]] == [False]
    assert "part" not in whole
    assert report_file.load(tmp_path / "whole.json")[0].tally.counts["started"] == 30
    assert 'failures="1"' in (tmp_path / "junit.xml").read_text()
    assert said(capsys, *paths[:2])[0] == 1  # a part is missing
    plain = [str(report(tmp_path, index)) for index in range(3)]
    assert said(capsys, *plain)[0] == 0
    assert said(capsys, *plain, "--fail-if", "errors>0")[0] == 0
    for wrong, why in (
        ("--fail-if", "not a condition"),
        ("--percentiles", "percentiles below 100"),
        ("--junit", "no conditions"),
    ):
        status, _, err = said(capsys, *plain, wrong, str(tmp_path / "x"))
        assert (status, why in err) == (2, True), err


def test_without_a_report_there_is_nothing_to_merge(capsys, tmp_path):
    with contextlib.chdir(tmp_path):
        assert said(capsys)[0] == 2
        status, _, err = said(capsys, "gone.json")
    assert (status, "gone.json: cannot be read: no such file or directory" in err) == (2, True)
