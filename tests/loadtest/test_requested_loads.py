"""Lists of loads, bursts and searches in the keys of a scenario."""

import math

import pytest

from configfile.document import ConfigError
from loadtest.plan.arrivals import RateStep
from loadtest.plan.requested_loads import ArrivalBurst, SearchBounds
from loadtest.run.searching import planned_runs
from tests.support.cases import case
from tests.support.load_servers import scenario


def plan(**keys):
    return scenario("http://127.0.0.1:1", **keys)


def test_several_rates_are_a_run_each():
    for rates in ("5, 10,20", [5, 10, 20]):
        runs = list(planned_runs(plan(rate=rates, seconds=7)))
        assert [run.scenario.steps for run in runs] == [(RateStep(rate, 7),) for rate in (5, 10, 20)]
        assert [run.label for run in runs] == ["5/s", "10/s", "20/s"]
    assert plan(rate="5").steps == plan(rate=5).steps == (RateStep(5, 30),)
    assert [run.label for run in planned_runs(plan(rate="5"))] == [""]


def test_several_numbers_of_clients_are_a_run_each():
    runs = list(planned_runs(plan(concurrency="1,4,16")))
    assert [run.scenario.concurrency for run in runs] == [1, 4, 16]
    assert [run.label for run in runs] == ["1 client", "4 clients", "16 clients"]


def test_repeated_runs_take_turns_and_have_seeds_of_their_own():
    """A table of one seed is no comparison (awslabs/awsome-distributed-ai#1110)."""
    runs = list(planned_runs(plan(rate="5,10", repeat=2, seed=3)))
    assert [(run.label, run.scenario.seed) for run in runs] == [
        ("5/s, run 1", 3), ("10/s, run 1", 3), ("5/s, run 2", 4), ("10/s, run 2", 4),
    ]  # fmt: skip
    assert [run.label for run in planned_runs(plan(concurrency=3))] == [""]


def test_a_search_begins_at_one_with_short_steps_by_default():
    found = plan(find_rate=True)
    assert (found.search, found.seconds) == (SearchBounds("rate", 1), 5)
    assert plan(find_rate=True, rate=8, max_rate=50, seconds=10).search == SearchBounds("rate", 8, 50)
    assert plan(find_rate=True, max_rate=0.5).search == SearchBounds("rate", 0.5, 0.5)
    found = plan(find_concurrency=True, concurrency="2", max_concurrency=64)
    assert (found.search, found.is_open_loop) == (SearchBounds("clients", 2, 64), False)


def test_bursts_have_a_rate_of_their_own():
    found = plan(burst="32:2s", seconds=5)
    assert (found.burst, found.steps) == (ArrivalBurst(32, 2), (RateStep(16, 5),))


def test_burstiness_goes_from_bursts_to_even_arrivals():
    assert plan(rate=5, burstiness="0.25").burstiness == 0.25
    assert plan(rate=5, burstiness=math.inf).burstiness is plan(rate=5, burstiness="inf").burstiness is None


def test_contradictory_loads_are_reported():
    for keys, said in [
        ({"rate": "5,x"}, "expected numbers above 0"),
        ({"rate": 5, "burstiness": 10**400}, "expected a number, 0.01 or more"),
        ({"rate": []}, "the list is empty"),
        ({"concurrency": [1, 2.5]}, "whole numbers of clients"),
        ({"rate": "5,10", "concurrency": "1,2"}, "or a list of rates"),
        ({"find_rate": True, "rate": "5,10"}, "give only the start value"),
        ({"find_rate": True, "find_concurrency": True}, "use one of them at a time"),
        ({"find_concurrency": True, "rate": 5}, "remove it: a client sends"),
        ({"find_rate": True, "repeat": 3}, "a search has its own steps"),
        ({"find_rate": True, "rate": 4, "max_rate": 2}, "max_rate: 2 below rate 4; a search starts there"),
        ({"find_concurrency": True, "concurrency": 9, "max_concurrency": 8}, "max_concurrency: 8 below concurrency 9"),
        ({"find_rate": True, "count": 1}, "count beside find_rate; remove it: a search has its own steps"),
        ({"rate": 5, "max_rate": 50}, "add find_rate"),
        ({"burst": "32"}, "such as 32:2s"),
        ({"burst": "32:soon"}, "such as 32:2s"),
        ({"burst": "32:2s", "rate": 5}, "bursts have their own rate"),
        ({"rate": 5, "spacing": "poisson", "burstiness": 2}, "each sets the arrival pattern"),
        ({"rate": 5, "burstiness": 0}, "inf is even"),
        ({"concurrency": 5, "burstiness": 2}, "add a rate"),
    ]:
        with case((keys, said)):
            with pytest.raises(ConfigError) as error:
                plan(**keys)
            assert said in error.value.list_mistakes("mistakes")
            assert len(error.value.mistakes) == 1
