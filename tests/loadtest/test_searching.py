"""A search from its first load to its answer: on a queue in virtual time, and over real sockets."""

import io
import random

import attrs
import pytest
import trio

from loadtest.figures.histogram import Histogram
from loadtest.figures.notes import notes
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Tally
from loadtest.reports.live import SearchLines
from loadtest.reports.tables import search_table
from loadtest.run.overhead import Overhead
from loadtest.run.running import ActiveRun, address_of
from loadtest.run.searching import loader_is_the_limit, rule_of, search
from loadtest.run.step_watch import LimitEvidence
from loadtest.run.under_way import Watching, watch_nothing
from tests.support.load_records import exchange_record
from tests.support.load_servers import answer, judge, scenario, serving
from tests.support.simulated_load import simulate
from tests.support.simulated_queue import SimulatedQueue


class Telling:
    def __init__(self):
        self.lines = []

    def report_begin(self, bounds, rule, seconds):
        self.lines.append(f"begins: {rule}")
        assert 5 < seconds < 300

    def report_trial(self, trial, seconds):
        assert seconds > 0

    def report_step(self, step):
        self.lines.append(" ".join(step.cells))

    def report_bounds(self, low, high, seconds):
        self.lines.append(f"bounded {low:g} {high:g}")


def plan(**keys):
    return scenario("http://127.0.0.1:1", **{"find_rate": True, **keys})


def constant(rng: random.Random) -> float:
    return 0.5


def spread(rng: random.Random) -> float:
    return rng.lognormvariate(-0.94, 0.7)


async def found_on(queue, asked, slow=float("inf")) -> tuple[RunResult, Telling]:
    run, _ = simulate(queue, slow)
    telling = Telling()
    assert asked.search is not None
    return await search(asked, "", asked.search, run, rule_of(asked), telling), telling


EIGHT = SimulatedQueue(8, constant)


async def test_eight_slots_of_half_a_second_sustain_sixteen_a_second(autojump_clock):
    begin = trio.current_time()
    run, telling = await found_on(EIGHT, plan())
    assert run.search is not None
    assert run.search.found.outcome == "found"
    assert 15.2 <= run.search.found.load <= 16
    assert trio.current_time() - begin < 120
    assert run.tally.counts["whole"] >= 299
    assert len(telling.lines) == len(run.search.steps) + 2
    assert any(line.startswith(("bounded 16 32", "bounded 8 16")) for line in telling.lines)
    # A step above the capacity ends before its time, and its backlog drains.
    assert any("backlog grew" in step.why for step in run.search.steps)
    assert all(step.whole == step.begun for step in run.search.steps)
    (above,) = [step for step in run.search.steps if step.load == 32]
    assert above.seconds < 5


@pytest.mark.soak
async def test_objectives_lower_the_answer(autojump_clock):
    """An M/G/8 queue: with Poisson arrivals, waiting begins below the capacity."""
    run, _ = await found_on(SimulatedQueue(8, spread), plan(spacing="poisson", rate=8), slow=4)
    assert run.search is not None
    assert run.search.found.outcome in ("found", "undecided")
    assert 6 <= run.search.found.load <= 16.5


async def test_a_search_without_a_passing_load_reports_that(autojump_clock):
    run, _ = await found_on(EIGHT, plan(), slow=0.1)
    assert run.search is not None
    assert run.search.found.outcome == "none"
    assert "no load passed" in run.search.answer
    assert run.search.steps[0].verdict == "failed"
    assert run.search.steps[0].why == "3 missed ttft"


async def test_an_interrupted_search_does_not_judge_its_unfinished_step(autojump_clock):
    run, _ = simulate(EIGHT)

    async def cut(plan, target, watch=watch_nothing):
        return attrs.evolve(await run(plan, target, watch), interrupted=True)

    asked = plan()
    assert asked.search is not None
    found = await search(asked, "", asked.search, cut, rule_of(asked), Telling())
    assert found.search is not None
    assert (found.interrupted, found.stopped, found.search.found.outcome) == (True, "", "interrupted")


@pytest.mark.soak
async def test_few_answers_leave_it_undecided(autojump_clock):
    run, _ = await found_on(SimulatedQueue(8, lambda rng: 20.0), plan(max_rate=0.25, rate=0.125))
    assert run.search is not None
    assert run.search.found.outcome == "undecided"
    last = run.search.steps[-1]
    assert last.begun >= 20
    assert last.short_text.startswith("undecided: sure of ")
    assert any(note.startswith("The search is undecided") for note in notes(run))


async def test_a_search_up_to_its_greatest_rate_is_in_the_report_step_by_step(autojump_clock):
    run, _ = await found_on(EIGHT, plan(max_rate=4))
    assert run.search is not None
    loaded = RunResult.load(run.dump())
    assert loaded.search == run.search
    table = search_table(loaded)
    assert table is not None
    assert [row[0] for row in table.rows] == ["1", "2", "4", "4"]
    assert all(len(line) <= 80 for line in table.lines), table.lines
    assert (run.search.found.outcome, run.search.found.load) == ("at least", 4)
    assert "at least 4 requests per second" in run.search.answer


async def test_each_load_of_a_search_is_reported_in_a_line(autojump_clock):
    run, _ = simulate(EIGHT, slow=4)
    asked, out = plan(max_rate=40, rate=8), io.StringIO()
    assert asked.search is not None
    await search(asked, "", asked.search, run, rule_of(asked), SearchLines(out))
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("Searching for the highest number of requests per second at which 99 %")
    assert any("40 at most" in line for line in lines[:3])
    assert "a second    begun     good  ttft p50       p99" in lines
    assert any(line.split()[0] == "8" and line.endswith("held so far") for line in lines if line)
    assert any("failed: backlog grew" in line for line in lines)
    assert any(line.startswith("It lies between 16 and 32") for line in lines)
    assert lines[-1].endswith("  held")
    assert max(map(len, lines)) <= 80, lines


def test_a_search_requires_99_percent_good_answers_or_its_conditions():
    """As many values as early stopping in MLPerf's rules wants are counted of what a percentile or a share is asked."""
    tallies = {"": Tally(), "chat m": Tally()}
    for number in range(100):
        tallies["chat m" if number % 2 else ""].add(exchange_record(), ("ttft",) if number < 2 else ())
    tallies[""].merge(tallies["chat m"])
    cases = [
        ({}, "99 % of answers are good (whole)", [LimitEvidence(0.99, 100, 2)]),
        ({"slo": ["ttft<500ms"]}, "99 % of answers are good (ttft<500ms)", [LimitEvidence(0.99, 100, 2)]),
        ({"fail_if": ["goodput<95%"]}, "not goodput<95%", [LimitEvidence(0.95, 100, 2)]),
        ({"fail_if": ["ttft.p95>100ms"]}, "not ttft.p95>100ms", [LimitEvidence(0.95, 100, 100)]),
        ({"fail_if": ["errors>1%"]}, "not errors>1%", [LimitEvidence(0.99, 100, 0)]),
        ({"fail_if": ["chat m: errors>15%"]}, "not chat m: errors>15%", [LimitEvidence(0.85, 50, 0)]),
        ({"fail_if": ["errors>0", "rate<1"]}, "not errors>0 and not rate<1", []),
    ]
    for keys, text, evidence in cases:
        rule = rule_of(plan(**keys))
        assert rule.text == text, keys
        found = [attrs.evolve(one, share=round(one.share, 6)) for one in rule.evidence("", tallies)]
        assert found == evidence, keys


@pytest.mark.soak
async def test_the_rate_of_a_real_server_is_found_within_5_percent():
    """Four slots of 100 ms: 40 a second, whoever else uses the machine."""
    free = [0.0] * 4

    async def serve(stream, head):
        slot = free.index(min(free))
        free[slot] = max(free[slot], trio.current_time()) + 0.1
        await trio.sleep_until(free[slot])
        await answer(stream, "one", " two")

    async with serving(serve) as url:
        asked = scenario(url, find_rate=True, rate=20, seconds=1, fail_if=["errors>0"])

        async def run(plan, target: str, watch: Watching = watch_nothing) -> RunResult:
            running = ActiveRun(plan, target, await address_of(plan, target), None, judge)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch, running)
                result = await running.run()
                nursery.cancel_scope.cancel()
            return result

        assert asked.search is not None
        result = await search(asked, "", asked.search, run, rule_of(asked), Telling())
    assert result.search is not None
    assert result.search.found.load == pytest.approx(39, rel=0.06), result.search


def test_a_loader_of_several_processes_is_the_limit_where_one_of_them_is():
    def used(cpu, **parts):
        own = {name: Overhead(Histogram(), Histogram(), share) for name, share in parts.items()}
        return loader_is_the_limit(Overhead(Histogram(), Histogram(), cpu, parts=own))

    assert used(0.95)
    assert not used(1.4, first=0.7, second=0.7)
    assert used(1.4, first=0.95, second=0.45)
