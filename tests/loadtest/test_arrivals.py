"""When the load tester begins its requests."""

import random
from itertools import islice, pairwise

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from loadtest.plan.arrivals import (
    RateStep,
    arrivals,
    burst_distances,
    even_distances,
    gamma_distances,
    poisson_distances,
    start_on_time,
)

RATES = st.just(0) | st.floats(0.001, 200)
STEPS = st.lists(st.builds(RateStep, RATES, st.floats(0.01, 5), st.none() | RATES), max_size=4)


def test_a_constant_rate_is_evenly_spaced_from_the_start():
    assert list(arrivals([RateStep(4, 1)], even_distances())) == [0, 0.25, 0.5, 0.75]


def test_steps_follow_one_another():
    found = list(arrivals([RateStep(1, 2), RateStep(0, 3), RateStep(2, 1)], even_distances()))
    assert found == pytest.approx([0, 1, 5, 5.5])


def test_a_ramp_has_the_arrivals_of_its_mean_rate_and_grows():
    found = list(arrivals([RateStep(10, 10, to=30)], even_distances()))
    assert len(found) == 200
    halves = sum(time < 5 for time in found), sum(time >= 5 for time in found)
    assert halves == pytest.approx((75, 125), abs=1)


def test_a_ramp_may_begin_or_end_at_nothing():
    assert len(list(arrivals([RateStep(0, 10, to=20)], even_distances()))) == 100
    assert len(list(arrivals([RateStep(20, 10, to=0)], even_distances()))) == 100


@given(STEPS)
def test_arrivals_are_as_many_as_expected_in_order_and_in_their_time(steps):
    found = list(arrivals(steps, even_distances()))
    assert len(found) == pytest.approx(sum(step.expected_arrivals for step in steps), abs=1.001)
    assert all(before <= after + 1e-6 for before, after in pairwise(found))
    assert all(0 <= time <= sum(step.seconds for step in steps) + 1e-6 for time in found)


def test_poisson_arrivals_have_the_rate_and_the_spread_of_chance():
    found = list(arrivals([RateStep(100, 100)], poisson_distances(random.Random(1))))
    gaps = [after - before for before, after in pairwise(found)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(0.01, rel=0.05)
    assert spread == pytest.approx(mean, rel=0.05)  # even ones have none


def spread_of(found):
    """The coefficient of variation of the intervals."""
    gaps = [after - before for before, after in pairwise(found)]
    mean = sum(gaps) / len(gaps)
    return (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 / mean


def test_bursty_arrivals_have_the_rate_and_the_spread_of_their_shape():
    """As in vLLM's benchmark (vllm-project/vllm#10105): a coefficient of variation of 1/√burstiness."""
    for burstiness, spread in ((0.25, 2), (1, 1), (4, 0.5)):
        found = list(arrivals([RateStep(100, 100)], gamma_distances(burstiness, random.Random(3))))
        assert len(found) == pytest.approx(10_000, rel=0.05), burstiness
        assert spread_of(found) == pytest.approx(spread, rel=0.1), burstiness


def test_a_burst_is_planned_for_one_instant():
    found = list(arrivals([RateStep(16, 5)], burst_distances(32)))
    assert found == [0.0] * 32 + [2.0] * 32 + [4.0] * 32


def test_the_times_of_the_plan_do_not_drift():
    """Sleeps that add up made 183.5 s of 50 (vllm-project/vllm#21104)."""
    found = list(arrivals([RateStep(200, 50)], even_distances()))
    assert len(found) == 10_000
    assert found[-1] == pytest.approx(49.995, abs=1e-6)


def test_the_same_seed_gives_the_same_arrivals():
    first, second = (list(islice(poisson_distances(random.Random("7")), 50)) for _ in range(2))
    assert first == second


def seeing(seen, begin):
    """Takes down when each arrival was prepared, and when it began, both from when it was meant for."""

    def prepare(at):
        ready = trio.current_time() - at
        return lambda: seen.append((at - begin, ready, trio.current_time() - at))

    return prepare


async def test_each_arrival_comes_at_its_time_and_is_prepared_before(autojump_clock):
    begin, seen = trio.current_time(), []
    await start_on_time(arrivals([RateStep(2, 2)], even_distances()), begin, seeing(seen, begin))
    assert seen == [(0, 0, 0), (0.5, -0.5, 0), (1, -0.5, 0), (1.5, -0.5, 0)]


async def test_a_late_process_leaves_no_arrival_out_and_moves_none(mock_clock):
    begin, seen = trio.current_time(), []
    mock_clock.jump(10)
    await start_on_time(arrivals([RateStep(2, 2)], even_distances()), begin, seeing(seen, begin))
    assert seen == [(0, 10, 10), (0.5, 9.5, 9.5), (1, 9, 9), (1.5, 8.5, 8.5)]


async def test_simultaneous_arrivals_start_without_other_work_in_between(autojump_clock):
    """Or they begin one after the other (ai-dynamo/aiperf#1424)."""
    seen: list[str] = []

    async def another():
        while True:
            seen.append("another")
            await trio.lowlevel.checkpoint()

    def prepare(at):
        seen.append("prepared")
        return lambda: seen.append("arrival")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(another)
        await trio.lowlevel.checkpoint()
        await start_on_time(arrivals([RateStep(3, 1)], burst_distances(3)), trio.current_time(), prepare)
        nursery.cancel_scope.cancel()
    first = seen.index("arrival")
    assert seen[first : first + 3] == ["arrival"] * 3
    assert seen[:first].count("prepared") == 3
