"""Steps and ramps of clients: who asks, and when."""

import math

import pytest
import trio

from configfile.document import ConfigError
from loadtest.plan.arrivals import ClientStep, next_active_time
from loadtest.reports import text
from tests.support.cases import case
from tests.support.load_servers import answer, load, scenario, serving

UP_AND_DOWN = (ClientStep(2, 10), ClientStep(2, 20, to=12), ClientStep(12, 10), ClientStep(12, 10, to=0))


def asking(steps, now):
    """How many of a hundred clients ask at that moment."""
    return sum(next_active_time(steps, client, now) == now for client in range(100))


def test_a_ramp_of_clients_rises_and_falls_evenly():
    assert [asking(UP_AND_DOWN, at) for at in (0, 9.9, 10, 20, 29.99, 35, 45, 49.99)] == [2, 2, 3, 8, 12, 12, 6, 1]
    assert next_active_time(UP_AND_DOWN, 2, 0) == 10
    assert next_active_time(UP_AND_DOWN, 11, 0) == pytest.approx(28)
    assert next_active_time(UP_AND_DOWN, 11, 41) is None
    assert next_active_time(UP_AND_DOWN, 0, 50) is None


def test_a_client_of_a_later_step_returns():
    steps = (ClientStep(5, 1), ClientStep(1, 1), ClientStep(5, 1))
    assert next_active_time(steps, 3, 0.5) == 0.5
    assert next_active_time(steps, 3, 1.5) == 2


async def test_each_step_runs_its_configured_number_of_clients(autojump_clock):
    """On a virtual clock: answers take 0.4 s, so that so many are under way as there are clients."""
    most: dict[int, int] = {}
    under_way = 0
    begin = trio.current_time()

    async def serve(stream, _):
        nonlocal under_way
        under_way += 1
        second = int(trio.current_time() - begin)
        most[second] = max(most.get(second, 0), under_way)
        await trio.sleep(0.4)
        under_way -= 1
        await answer(stream, "word")

    steps = [{"concurrency": 1, "seconds": 4}, {"concurrency": 6, "seconds": 4}]
    async with serving(serve) as url:
        run = await load(url, steps=steps)
    assert {most[second] for second in (1, 2, 3)} == {1}
    assert {most[second] for second in (5, 6, 7)} == {6}
    assert run.steps[1].counts["started"] > 4 * run.steps[0].counts["started"]
    assert math.isclose(run.seconds, 8)
    said = text.summary(run)
    assert "1 clients, 6 clients" in said


def test_invalid_steps_are_reported():
    for steps, more, said in [
        ([{"rate": 1, "concurrency": 1, "seconds": 1}], {}, "both rate and concurrency are set"),
        ([{"seconds": 1}], {}, "neither rate nor concurrency is set"),
        ([{"rate": 1, "seconds": 1}, {"concurrency": 1, "seconds": 1}], {}, "some steps have rate, others concurrency"),
        ([{"concurrency": 1, "to": 2.5, "seconds": 1}], {}, "2.5 clients"),
        ([{"concurrency": 1, "seconds": 1}], {"warmup": 3}, "warmup does not work with steps of clients"),
    ]:
        with case((steps, more, said)):
            with pytest.raises(ConfigError) as caught:
                scenario("http://h", steps=steps, **more)
            assert any(said in mistake.found for mistake in caught.value.mistakes), caught.value.mistakes
