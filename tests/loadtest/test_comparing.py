"""Whether one run is slower than another: the intervals, and how often they are wrong.

A comparison of two runs is asked for in vllm-project/guidellm#924; benchstat is the example of a verdict that
says nothing where nothing is seen.
"""

import heapq
import math
import random
from statistics import NormalDist

import attrs
import pytest

from loadtest.figures.bootstrap import Pair, block_seconds, intervals, mean_of, percentile_of
from loadtest.figures.histogram import Histogram
from loadtest.reports.comparing import ComparedLoad, SideFigures, compared_load

SEEDS = 20  # 7 of 200 are wrong


@attrs.frozen
class AnswerLine:
    planned: float
    is_error: bool
    values: dict[str, tuple[float, ...]]


def queued(seed, *, slower=1.0, count=1000, rate=10.0, slots=8, service=0.6, spread=0.3, failing=0.0):
    """The answers of a server with so many slots, and arrivals at random: who came together waited together."""
    rng, now, answers = random.Random(seed), 0.0, []
    free = [0.0] * slots
    for _ in range(count):
        now += rng.expovariate(rate)
        took = service * slower * rng.lognormvariate(-spread * spread / 2, spread)
        start = max(now, heapq.heappop(free))
        heapq.heappush(free, start + took)
        first, end = start - now + took / 5, start - now + took
        failed = rng.random() < failing
        values = {"ttft": (first,), "ttfo": (first,), "tpot": (took / 40,), "duration": () if failed else (end,)}
        answers.append(AnswerLine(now, failed, values))
    return side(answers)


def side(answers, *, logged=True):
    measures = {name: Histogram() for name in ("ttft", "ttfo", "tpot", "duration")}
    for answer in answers:
        for name, values in answer.values.items():
            measures[name].extend(values)
    failed = sum(answer.is_error for answer in answers)
    return SideFigures(answers[-1].planned, len(answers), failed, measures, answers if logged else ())


def verdicts(found: ComparedLoad):
    return {figure.change for figure in found.changes}


@pytest.mark.soak
def test_one_server_twice_is_called_different_in_no_more_than_5_of_100():
    wrong = [
        seed for seed in range(SEEDS) if verdicts(compared_load("", queued(2 * seed), queued(2 * seed + 1), margin=0))
    ]
    assert len(wrong) <= SEEDS // 20, wrong


def test_ten_percent_more_delay_are_slower():
    found = [compared_load("", queued(2 * seed), queued(2 * seed + 1, slower=1.1)) for seed in range(4)]
    assert [verdicts(one) for one in found] == [{"slower"}] * 4
    back = compared_load("", queued(1, slower=1.1), queued(2))
    assert verdicts(back) == {"faster"}


def test_a_comparison_reports_more_errors_besides_faster_answers():
    found = compared_load("", queued(1), queued(2, slower=0.5, failing=0.05))
    assert verdicts(found) == {"faster", "more errors"}
    errors = found.figures[-1]
    assert (errors.name, errors.before) == ("errors", 0)
    assert errors.low > 0.02
    assert errors.high < 0.08
    assert "errors" not in [figure.name for figure in compared_load("", queued(1), queued(2)).figures]


def test_less_than_the_margin_is_no_difference():
    before, after = queued(1, count=4000, spread=0.05), queued(2, count=4000, spread=0.05, slower=1.02)
    assert verdicts(compared_load("", before, after)) == set()
    assert verdicts(compared_load("", before, after, margin=0.01)) == {"slower"}


def side_without_lines(rng, slower=1.0):
    lines = [
        AnswerLine(i / 10, False, {"ttft": (v := slower * rng.lognormvariate(0, 0.3),), "ttfo": (v,)})
        for i in range(1000)
    ]
    return side(lines, logged=False)


@pytest.mark.soak
def test_without_lines_equal_sides_seldom_differ():
    rng = random.Random(1)
    pairs = ((side_without_lines(rng), side_without_lines(rng)) for _ in range(60))
    wrong = sum(bool(compared_load("", *pair, margin=0).changes) for pair in pairs)
    assert wrong <= 3  # 12 of 400


def test_without_lines_the_intervals_are_those_of_ranks():
    rng = random.Random(1)
    found = compared_load("", side_without_lines(rng), side_without_lines(rng, 1.1))
    assert (found.evidence, verdicts(found)) == ("buckets", {"slower"})
    assert [figure.statistic for figure in found.figures] == ["mean", "p50", "p95"]
    # the standard error of a median of a lognormal, by the formula of textbooks
    median = found.figures[1]
    width = math.log(median.high / median.low) / 2 / NormalDist().inv_cdf(1 - 0.05 / 6)
    assert width == pytest.approx(math.sqrt(2) * 1.2533 * 0.3 / math.sqrt(1000), rel=0.15)


@pytest.mark.soak
def test_intervals_of_single_figures_cover_the_truth():
    """Blocks of values that know nothing of each other; one row, so that no other widens its interval."""
    missed = 0
    for seed in range(60):
        rng = random.Random(seed)
        before, after = ([[rng.lognormvariate(0, 0.5) for _ in range(20)] for _ in range(25)] for _ in range(2))
        figure = percentile_of if seed % 2 else lambda blocks, _: mean_of(blocks)
        (found,) = intervals([Pair(figure(before, 90), figure(after, 90), math.log)], 0.95, random.Random(1))
        missed += not found.low <= 0 <= found.high
    assert missed <= 5


def test_a_figure_that_differs_by_rounding_widens_no_other_interval():
    """Its few resamples with another last digit were many of its standard errors away."""
    rng = random.Random(1)
    blocks = [[[rng.lognormvariate(0, 0.5) for _ in range(5 + i % 7)] for i in range(25)] for _ in range(2)]
    one = Pair(mean_of(blocks[0]), mean_of(blocks[1]), math.log)
    (alone,) = intervals([one], 0.95, random.Random(1))
    for gap in range(1, 100, 8):  # in milliseconds, in every block
        same = mean_of([[gap / 1000] * (5 + i % 7) for i in range(25)])
        found = intervals([one, Pair(same, same, math.log)], 0.95, random.Random(1))
        assert found[0] == alone, gap
        assert found[1].high - found[1].low < 1e-12


def test_a_handful_of_answers_is_no_ground_for_a_verdict():
    found = compared_load("", queued(1, count=19), queued(2, count=19, slower=10))
    assert (verdicts(found), found.remark) == (set(), "fewer than 20 requests are too few for a verdict")
    assert found.figures[0].ratio > 5
    short = compared_load("", queued(1, count=50), queued(2, count=50, slower=10))
    assert (verdicts(short), short.remark[-21:]) == ({"slower"}, "ct of a growing queue")


def test_blocks_are_whole_seconds_that_grow_with_the_run():
    assert [block_seconds(seconds) for seconds in (3, 10, 30, 31, 3600)] == [0.3, 1, 1, 2, 120]


def test_a_run_that_stood_still_has_no_interval_and_no_error():
    still = side([AnswerLine(i / 10, False, {"ttft": (0.1,), "ttfo": (0.1,), "duration": (0.0,)}) for i in range(200)])
    slower = side([AnswerLine(i / 10, False, {"ttft": (0.2,), "ttfo": (0.2,), "duration": ()}) for i in range(200)])
    assert verdicts(compared_load("", still, still)) == set()
    assert [(f.statistic, f.ratio, f.low, f.change) for f in compared_load("", still, slower).figures[:1]] == [
        ("mean", pytest.approx(2), pytest.approx(2), "slower")
    ]
    nothing = attrs.evolve(still, begun=0, answers=(), measures={})
    assert compared_load("", nothing, still).figures == ()
