"""The search for the highest rate, on a simulated queue: the choice of the next rate, and the end of a step."""

import random
from bisect import bisect_right

import attrs
import pytest

from loadtest.figures.confidence import Evidence
from loadtest.figures.histogram import Histogram
from loadtest.figures.result import FoundRate, SearchStep
from loadtest.plan.limits import parse_condition, parse_objectives
from loadtest.plan.plan import LoadPlan
from loadtest.run.search import (
    StepWatch,
    is_over,
    judge_step,
    next_step,
    rate_conditions,
)
from tests.support.load_records import record, result
from tests.support.simulated_queue import SimulatedQueue, starts

SECONDS = 5.0


def run_search(verdict_of, first=1.0, most=None):
    """Return the steps of a whole search and its result; ``verdict_of`` judges each rate and purpose."""
    steps: list[SearchStep] = []
    for _ in range(100):
        found = next_step(first, most, steps)
        if isinstance(found, FoundRate):
            return [(step.rate, step.purpose) for step in steps], found
        steps.append(SearchStep(*found, verdict_of(*found)))
    raise AssertionError("no end after 100 steps")


def up_to(limit):
    return lambda rate, purpose: "held" if rate <= limit else "failed"


def test_rates_double_until_one_fails_twice_then_a_bisection_follows_and_a_confirmation():
    steps, found = run_search(up_to(15.8))
    assert steps == [
        *((rate, "climb") for rate in (1, 2, 4, 8, 16)),
        (16, "again"),
        *((rate, "narrow") for rate in (12, 14, 15, 15.5)),
        (15.5, "confirm"),
    ]
    assert (found.rate, found.failed) == (15.5, 16)
    assert found.answer == "15.5 requests per second is the highest rate that passed; 16 requests per second failed"


def test_no_rate_above_the_maximum_is_tried():
    steps, found = run_search(up_to(100), most=12.0)
    assert [rate for rate, _ in steps] == [1, 2, 4, 8, 12, 12]
    assert found.answer == "at least 12 requests per second passed, the highest rate to try"


def test_a_found_rate_that_fails_its_longer_confirmation_is_lowered():
    _, found = run_search(lambda rate, purpose: up_to(14.2 if purpose == "confirm" else 15.8)(rate, purpose))
    assert 13 <= found.rate <= 14.2


def test_lower_rates_are_tried_if_the_first_fails():
    steps, found = run_search(up_to(0))
    assert steps[:2] == [(1, "climb"), (1, "again")]
    assert steps[-1][0] == 0.0625
    assert found.rate == 0
    assert run_search(up_to(0.3))[1].rate == pytest.approx(0.3, rel=0.06)


def test_a_pause_of_the_server_is_not_taken_for_its_limit():
    failures = iter(["failed"])
    _, found = run_search(lambda rate, purpose: next(failures, "held") if rate == 4 else up_to(15.8)(rate, purpose))
    assert found.rate == 15.5


def test_a_slow_loader_ends_the_search():
    _, found = run_search(lambda rate, purpose: "held" if rate < 8 else "the loader was too slow")
    assert found.answer == "at least 4 requests per second passed, the limit of this loader"


def end_of_step(queue: SimulatedQueue, rate: float, seed: int | None = None) -> float:
    """Return the time at which a growing backlog ends a step, as a part of its duration (1: never)."""
    answers = queue.answers(starts(rate, SECONDS, seed), random.Random(seed or 0))
    begun, ends = [one.planned for one in answers], sorted((one.ended, one.wait_seconds) for one in answers)
    watch, waits, seen = StepWatch(SECONDS / 12), Histogram(), 0
    for tick in range(int(10 * SECONDS)):
        now = tick / 10
        while seen < len(ends) and ends[seen][0] <= now:
            waits.add(ends[seen][1])
            seen += 1
        watch.observe(now, bisect_right(begun, now) - seen, waits)
        if watch.backlog_grows:
            return now / SECONDS
    return 1.0


def constant(rng: random.Random) -> float:
    return 0.5


def spread(rng: random.Random) -> float:
    return rng.lognormvariate(-0.94, 0.7)  # a mean of half a second


EIGHT = SimulatedQueue(8, constant)


def test_a_step_above_the_capacity_ends_early_and_one_below_does_not():
    assert end_of_step(EIGHT, 32) < 0.6
    assert end_of_step(EIGHT, 15.8) == 1
    assert end_of_step(SimulatedQueue(1000, lambda rng: 0.5 * SECONDS), 20) == 1  # filling the server is no backlog


def test_a_step_below_capacity_rarely_counts_as_overload():
    assert sum(end_of_step(SimulatedQueue(8, spread), 13, seed) < 1 for seed in range(1, 101)) <= 7


def test_a_step_continues_until_it_has_enough_values():
    watch = StepWatch(1)
    clean, some, missed = Evidence(0.99, 298, 0), Evidence(0.99, 400, 2), Evidence(0.99, 100, 40)
    for elapsed, evidence, purpose, over in [
        (4, clean, "narrow", False),  # not before the planned end
        (5, clean, "climb", True),
        (5, clean, "narrow", True),
        (5, some, "narrow", False),
        (5, clean, "confirm", False),
        (5, attrs.evolve(clean, values=299), "confirm", True),
        (1, missed, "climb", True),
    ]:
        assert is_over(elapsed, 5, [evidence], purpose, watch) is over, (elapsed, evidence, purpose)


def test_responses_of_one_queue_do_not_count_as_independent():
    watch, waits = StepWatch(1), Histogram()
    for second in range(10):
        waits.extend([1.0 + second % 5] * 20)
        watch.observe(second + 0.5, 1, waits)
    assert watch.dependent_answers(waits.deviation) > 10
    assert StepWatch(1).dependent_answers(1.0) == 1


def test_a_step_is_judged_with_its_certainty():
    rule, watch = rate_conditions(LoadPlan(targets={}, slo=parse_objectives("ttft<1s"))), StepWatch(1)
    assert judge_step(result(*[record()] * 300), rule, watch) == ("held", "")
    assert judge_step(result(*[record()] * 50), rule, watch) == (
        "seems to hold",
        "50 independent answers, 0 of them beyond the limit",
    )
    failing = result(record(), missed={0: ("ttft",)})
    assert judge_step(failing, rule, watch) == ("failed", "goodput<99%: it is 0 %")
    assert judge_step(attrs.evolve(failing, cpu=0.95), rule, watch)[0] == "the loader was too slow"


def test_conditions_replace_the_default_unless_there_are_objectives():
    def texts(**plan):
        return [one.text for one in rate_conditions(LoadPlan(targets={}, **plan))]

    slow = (parse_condition("ttft.p95>1s"),)
    assert texts(fail_if=slow) == ["ttft.p95>1s"]
    assert texts(fail_if=slow, slo=parse_objectives("duration<9s")) == ["goodput<99%", "ttft.p95>1s"]
