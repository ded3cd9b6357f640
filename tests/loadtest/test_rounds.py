"""The comparison of two servers by rounds."""

import json
import random

import pytest

from loadtest.figures.result import RunResult
from loadtest.figures.rounds import compare_runs, verdict_of
from loadtest.plan.plan import LoadPlan
from loadtest.reports import text
from tests.support.command_line import run
from tests.support.load_records import record
from tests.support.scripts import Script
from tests.support.upstreams import fake_upstream


def run_of(factor: float, seed: int, number: int = 10, drift: float = 0.0) -> RunResult:
    """Return rounds against a server whose latencies vary, on a machine that slows down by ``drift`` per round."""
    rng = random.Random(seed)
    found = RunResult(target="", url="http://x", plan=LoadPlan(targets={}, rounds=number).dump())
    for at in range(number):
        slow = factor * (1 + drift * at)
        found.begin_round()
        for time in [0.2 * slow * rng.lognormvariate(0, 0.3) for _ in range(40)]:
            one = record(contents=(time, time + 0.04 * slow), ended=time + 0.1 * slow)
            found.record_begin(one.planned)
            found.add(one)
        found.end_round(10)
    return found


@pytest.mark.parametrize("drift", [0.0, 0.3])
def test_a_slower_server_is_detected_even_if_the_machine_slows_down(drift):
    assert verdict_of(compare_runs([run_of(1, 1, drift=drift), run_of(1.3, 2, drift=drift)])) == "slower"
    assert verdict_of(compare_runs([run_of(1.3, 1, drift=drift), run_of(1, 2, drift=drift)])) == "faster"


def test_a_server_differs_from_itself_at_most_once_in_twenty():
    wrong = sum(
        verdict_of(compare_runs([run_of(1, 2 * seed, 5), run_of(1, 2 * seed + 1, 5)])) != "no difference seen"
        for seed in range(60)
    )
    assert wrong <= 6


def test_few_rounds_give_no_verdict():
    assert verdict_of(compare_runs([run_of(1, 1, 3), run_of(2, 2, 3)])).startswith("no verdict")


def test_the_rounds_of_a_server_are_one_result():
    whole = run_of(1, 1, 4)
    assert whole.tally.counts["started"] == 160
    assert [span.started for span in whole.timeline.spans[::10]] == [40] * 4
    assert whole.rate == 4
    assert whole.whole_seconds == pytest.approx(sum(one.measures["duration"].most for one in whole.rounds))


def test_answers_after_the_last_arrival_of_a_round_are_not_completed_in_the_next():
    run = RunResult(target="", url="http://x", plan=LoadPlan(targets={}, rounds=5).dump())
    for _ in range(5):
        run.begin_round()
        for planned in (0.0, 0.1, 0.2, 0.3):
            run.add(record(planned=planned, contents=(planned + 0.1,), ended=planned + 0.15))
        run.end_round(0.4)
    assert run.rate == pytest.approx(10)
    assert run.completed_rate == pytest.approx(7.5)


def test_the_table_fits_a_terminal():
    found = text.comparison_text(compare_runs([run_of(1, 1), run_of(1.3, 2)]), ["127.0.0.1:12000", "127.0.0.1:51001"])
    assert max(map(len, found.splitlines())) <= text.COLUMNS
    assert found.endswith("127.0.0.1:51001 against 127.0.0.1:12000: slower")


@pytest.mark.process
@pytest.mark.parametrize(("count", "rounds"), [(25, "10"), (3, "3")])
def test_all_rounds_together_begin_the_requests_of_n(tmp_path, count, rounds):
    """They also send the bodies of a file on, so that no prompt cache of the servers has a body already."""
    bodies = [{"model": "m", "stream": True, "messages": [{"role": "user", "content": f"{i}"}]} for i in range(count)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, bodies)))
    with fake_upstream(Script("well")) as one, fake_upstream(Script("well")) as other:
        found = run("load", one.url, other.url, "--requests", str(tmp_path / "own.jsonl"), "-n", str(count))
        assert found.returncode == 0, found.stderr
        for server in (one, other):
            assert [int(seen.json["messages"][0]["content"]) for seen in server.seen] == [*range(count)]
    assert found.stdout.count(f"{count} requests, for ") == 2
    assert found.stdout.count(f"in {rounds} rounds") == 2
