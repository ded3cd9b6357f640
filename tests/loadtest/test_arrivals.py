"""The times at which the load tester starts its requests."""

import math
from itertools import pairwise

import pytest

from loadtest.plan.plan import LoadPlan, arrival_times


def arrivals(**more):
    return list(arrival_times(LoadPlan(targets={}, **more)))


def test_a_constant_rate_is_evenly_spaced_from_the_start_of_the_warm_up():
    assert arrivals(rate=4, seconds=1) == [0, 0.25, 0.5, 0.75]
    assert arrivals(rate=2, seconds=1, warmup=1) == [0, 0.5, 1, 1.5]


@pytest.mark.parametrize("seconds", [60, math.inf])
def test_the_count_limits_the_requests_after_the_warm_up(seconds):
    assert arrivals(rate=2, seconds=seconds, warmup=1, count=3) == [0, 0.5, 1, 1.5, 2]


def test_poisson_arrivals_have_the_rate_and_the_spread_of_chance():
    found = arrivals(rate=100, seconds=100, poisson=True)
    gaps = [after - before for before, after in pairwise(found)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(0.01, rel=0.05)
    assert spread == pytest.approx(mean, rel=0.05)  # even intervals have no spread
    assert arrivals(rate=100, seconds=100, poisson=True) == found
    assert arrivals(rate=100, seconds=100, poisson=True, seed=2) != found


def test_the_times_of_the_plan_do_not_drift():
    """Errors of consecutive sleeps stretched a run of 50 s to 183.5 s (vllm-project/vllm#21104)."""
    found = arrivals(rate=200, seconds=50)
    assert len(found) == 10_000
    assert found[-1] == pytest.approx(49.995, abs=1e-6)


@pytest.mark.parametrize(
    ("plan", "requests"),
    [
        ({"rate": 5, "seconds": 10}, 50),
        ({"rate": 5, "seconds": 10, "count": 20}, 20),
        ({"rate": 5, "seconds": math.inf, "count": 20, "warmup": 2}, 30),
        ({"rate": 5, "seconds": 10, "warmup": 2, "rounds": 10}, 150),
        ({"seconds": math.inf, "count": 20}, 20),
        ({"seconds": math.inf, "count": 20, "warmup": 1}, math.inf),
        ({"rate": 5, "seconds": 10, "find_rate": True}, math.inf),
    ],
)
def test_the_planned_requests_include_the_warm_up_of_each_round(plan, requests):
    assert LoadPlan(targets={}, **plan).planned_requests == requests
