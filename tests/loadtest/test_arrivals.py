"""The times at which the load tester starts its requests."""

import math
from itertools import pairwise

import pytest
import trio

from loadtest.plan.plan import LoadPlan, arrival_times, start_on_time


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


def record_starts(seen, begin):
    """Record in ``seen`` the times at which each arrival was prepared and started, relative to its planned time."""

    def prepare(at):
        ready = trio.current_time() - at
        return lambda: seen.append((at - begin, ready, trio.current_time() - at))

    return prepare


async def test_each_arrival_begins_on_time_and_is_prepared_earlier(autojump_clock):
    begin, seen = trio.current_time(), []
    await start_on_time(arrivals(rate=2, seconds=2), begin, record_starts(seen, begin))
    assert seen == [(0, 0, 0), (0.5, -0.5, 0), (1, -0.5, 0), (1.5, -0.5, 0)]


async def test_a_late_process_neither_skips_nor_moves_an_arrival(mock_clock):
    begin, seen = trio.current_time(), []
    mock_clock.jump(10)
    await start_on_time(arrivals(rate=2, seconds=2), begin, record_starts(seen, begin))
    assert seen == [(0, 10, 10), (0.5, 9.5, 9.5), (1, 9, 9), (1.5, 8.5, 8.5)]
