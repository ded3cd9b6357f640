"""Tables with a row for each load, step or figure: of runs on a simulated queue."""

import random

from loadtest.figures.result import RunResult
from loadtest.reports.tables import tables
from loadtest.run.searching import make_runs, rule_of
from tests.support.load_servers import scenario
from tests.support.simulated_load import simulate
from tests.support.simulated_queue import SimulatedQueue


async def tables_of(**keys):
    plan = scenario("http://127.0.0.1:1", **keys)
    run, plans = simulate(SimulatedQueue(8, lambda rng: random.Random(rng.random()).uniform(0.4, 0.6)))
    found = await make_runs(plan, "", run, lambda: rule_of(plan), reporter=None)
    return tables([RunResult.load(one.dump()) for one in found]), plans


async def test_each_of_several_rates_has_a_row(autojump_clock):
    """Empty pages elsewhere: vllm-project/guidellm#608, #761."""
    (table,), plans = await tables_of(rate="2,8,32", seconds=4)
    assert [row[:4] for row in table.rows] == [
        ["2/s", "8", "0", "100 %"], ["8/s", "32", "0", "100 %"], ["32/s", "128", "0", "100 %"],
    ]  # fmt: skip
    assert table.head[:5] == ("load", "begun", "errors", "good", "whole/s")
    assert [float(row[4]) > 10 for row in table.rows] == [False, False, True]
    assert all(len(line) <= 80 for line in table.lines), table.lines
    assert len(plans) == 3


async def test_each_step_has_a_row(autojump_clock):
    (table,), _ = await tables_of(steps=[{"rate": 2, "seconds": 4}, {"rate": 2, "to": 10, "seconds": 4}])
    assert [row[:2] for row in table.rows] == [["2/s", "8"], ["2 to 10/s", "24"]]


async def test_a_single_rate_needs_no_table(autojump_clock):
    found, _ = await tables_of(rate=2, seconds=4)
    assert found == []


async def test_repeated_runs_have_a_mean_a_range_and_bounds(autojump_clock):
    """docs of AIPerf; a table of 50 requests with one seed is no comparison (awslabs/awsome-distributed-ai#1110)."""
    (loads, means), plans = await tables_of(rate=4, seconds=4, repeat=3)
    assert [row[0] for row in loads.rows] == ["run 1", "run 2", "run 3"]
    assert means.head == ("", "mean", "least", "most", "95 % of the mean")
    rows = {row[0]: row[1:] for row in means.rows}
    assert rows["good"] == ["100 %", "100 %", "100 %", "100 % – 100 %"]
    median = rows["time to the first token, p50"]
    assert median[1] < median[0] < median[2]
    assert [plan.seed for plan in plans] == [1, 2, 3]
