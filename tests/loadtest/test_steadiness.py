"""Whether a run was steady, and from when on."""

import random

import attrs

from loadtest.figures.histogram import Histogram
from loadtest.figures.notes import Steadiness, notes, steadiness, windows
from loadtest.figures.result import RunResult
from loadtest.figures.run_figures import RunFigures
from loadtest.figures.timeline import LoadTimeline, Second
from tests.support.load_records import exchange_record
from tests.support.simulated_load import simulate
from tests.support.simulated_queue import SimulatedQueue


def run_of(whole, ttft=None):
    """Seconds with so many whole answers each, and such times to the first token."""
    found = [Second(whole=number) for number in whole]
    for second, at in zip(found, ttft or [0.5] * len(whole), strict=True):
        second.ttft.extend([at] * 3)
    return found


def test_three_windows_in_a_row_within_10_percent_are_steady():
    """Wished for in vllm-project/guidellm#101."""
    assert steadiness(run_of([20] * 20), 20) == Steadiness(0)
    late = run_of([2, 4, 6, 8, 10, 12, 14, 16, 18, 19] + [20] * 20)
    found = steadiness(late, 30)
    assert found is not None
    assert found.since == 9


def test_a_run_that_only_rises_is_not_steady_and_its_slope_is_reported():
    found = steadiness(run_of([20] * 20, [0.1 * number for number in range(1, 21)]), 20)
    assert found is not None
    assert found.since is None
    (drift,) = found.drifts
    assert drift.what == "the median time to the first token"
    assert drift.before < 0.4
    assert drift.after > 1.5


def test_a_run_that_degrades_is_not_steady():
    found = steadiness(run_of([20] * 20, [0.5] * 10 + [2.0] * 10), 20)
    assert found is not None
    assert found.since == 10


def test_random_variation_is_no_drift():
    """As whole answers a second do where requests come at random."""
    rng, drifting = random.Random(1), 0
    for _ in range(100):
        found = steadiness(run_of([sum(rng.random() < 0.5 for _ in range(10)) for _ in range(60)]), 60)
        drifting += found is not None and bool(found.drifts)
    assert drifting <= 5


def test_short_runs_have_no_steadiness():
    assert steadiness(run_of([20] * 5), 5) is None
    assert steadiness(run_of([1] * 20), 20) is None
    assert [window.begin for window in windows(run_of([1] * 25), 25)] == [0, 3, 6, 9, 12, 15, 18, 21]


async def result(rate, seconds, service=0.1, **more) -> RunResult:
    from configfile.document import Document
    from loadtest.plan.scenario_file import build_scenario

    keys = {"url": "http://127.0.0.1:1", "requests": [{"model": "m"}], "rate": rate, "seconds": seconds, **more}
    run, _ = simulate(SimulatedQueue(4, lambda rng: service))
    return await run(build_scenario(Document("test", keys), {}), "")


async def test_a_steady_run_has_no_note_and_one_with_a_backlog_has(autojump_clock):
    assert not [note for note in notes(await result(30, 20)) if "steady" in note]
    (note,) = [note for note in notes(await result(60, 20)) if "steady" in note]
    assert "the median time to the first token went from" in note


def filled(run, in_flight, *, begun=10, whole=10, ttft=(), **scenario):
    """The run, with so many under way in each second."""
    waits = [*ttft, *[0.5] * (len(in_flight) - len(ttft))]
    rows = []
    for number, (under_way, wait) in enumerate(zip(in_flight, waits, strict=True)):
        firsts = Histogram()
        firsts.add(wait)
        rows.append({"second": number, "started": begun, "whole": whole, "failed": begun - whole, "lag": 0.0,
                     "in_flight": under_way, "ttft": firsts.dump()})  # fmt: skip
    return attrs.evolve(run, timeline=LoadTimeline.load(rows), seconds=float(len(in_flight)),
                        scenario={**run.scenario, **scenario})  # fmt: skip


async def test_only_what_surely_piles_up_is_called_a_backlog(autojump_clock):
    run = await result(10, 4)
    step = {"rate": 10.0, "to": None, "seconds": 4.0}

    def told(*args, **more):
        return [note for note in notes(filled(run, *args, **more)) if "fewer requests than were started" in note]

    rising = [9, 18, 27, 36]  # one a second is answered
    (note,) = told(rising, ttft=[1, 9, 18, 27])
    assert "27 were running in the middle and 36 at the end" in note
    assert told([8, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30])  # also where each first token comes in time
    assert not told([9, 10, 11, 9, 10, 9, 8, 11, 9, 13], whole=5)  # errors are answers, too, and chance is no backlog
    assert not told([7, 14, 18, 18, 18, 18, 18, 19])  # a server that is filled
    steps = [step, {**step, "rate": 40.0}]
    up = [4, 4, 4, 4, 16, 16, 17, 16]
    assert not told(up, begun=40, whole=40, steps=steps)  # more is asked for
    assert not told(rising, ttft=[1, 9, 18, 27], steps=[{**step, "to": 20.0}])
    (note,) = told([4, 4, 4, 4, *rising], ttft=[0.5] * 4 + [1, 9, 18, 27], steps=steps)
    assert "in the middle of the last step" in note


async def test_slow_first_answers_without_a_warm_up_are_a_note(autojump_clock):
    """First runs far above second ones (vllm-project/vllm#16858)."""
    run = await result(20, 10)
    figures = RunFigures()
    for number in range(200):
        took = 1.0 if number < 20 else 0.1
        at = number / 20
        figures.add(
            exchange_record(planned=at, began=at, contents=(at + took,), first_output=at + took, ended=at + took)
        )
    cold = attrs.evolve(run, tally=figures.total, timeline=figures.timeline)
    (note,) = [note for note in notes(cold) if "first answers" in note]
    assert "10.0 times the median" in note
    warm = attrs.evolve(cold, scenario={**cold.scenario, "warmup": 3})
    assert not [note for note in notes(warm) if "first answers" in note]
    assert not [note for note in notes(run) if "first answers" in note]
