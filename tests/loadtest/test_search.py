"""The search for the highest load that holds: what is tried next after what came of the loads before."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.plan.requested_loads import SearchBounds
from loadtest.run.search import FoundLoad, Trial, TriedLoad, Verdict, next_trial

RATES = SearchBounds("rate", 1.0)


def searched(bounds, verdict_of, most=200) -> tuple[list[TriedLoad], FoundLoad]:
    """A whole search; ``verdict_of`` is what comes of each trial."""
    tried: list[TriedLoad] = []
    for _ in range(most):
        todo = next_trial(bounds, tried)
        if isinstance(todo, FoundLoad):
            return tried, todo
        tried.append(TriedLoad(todo.load, todo.purpose, verdict_of(todo)))
    raise AssertionError(f"no end after {most} trials")


def up_to(limit):
    return lambda trial: "held" if trial.load <= limit else "failed"


def loads(tried):
    return [(one.load, one.purpose) for one in tried]


def test_rates_double_until_one_fails_then_the_bounds_are_halved_to_5_percent_and_the_answer_is_run_again():
    tried, found = searched(RATES, up_to(15.8))
    assert loads(tried) == [
        *((load, "climb") for load in (1, 2, 4, 8, 16)),
        *((load, "narrow") for load in (12, 14, 15, 15.5)),
        (16, "again"),
        (15.5, "confirm"),
    ]
    assert found == FoundLoad("found", 15.5, 16)


def test_the_search_begins_at_the_requested_rate():
    tried, _ = searched(SearchBounds("rate", 10.0), up_to(100))
    assert loads(tried)[:2] == [(10, "climb"), (20, "climb")]


def test_the_result_never_exceeds_the_greatest_passing_rate():
    tried, found = searched(SearchBounds("rate", 1.0, 12.0), up_to(100))
    assert loads(tried) == [*((load, "climb") for load in (1, 2, 4, 8, 12)), (12, "confirm")]
    assert found == FoundLoad("at least", 12)


def test_an_answer_that_fails_when_it_is_run_longer_is_lowered():
    def unlasting(trial: Trial) -> Verdict:
        return up_to(14.2 if trial.purpose == "confirm" else 15.8)(trial)

    tried, found = searched(RATES, unlasting)
    assert found.outcome == "found"
    assert 13.5 <= found.load <= 14.2
    assert tried[-1].purpose == "confirm"
    assert tried[-1].holds


def test_a_search_without_a_passing_load_retries_and_tries_lower_rates():
    tried, found = searched(RATES, up_to(0))
    assert loads(tried) == [(1, "climb"), (1, "again"), *((load, "climb") for load in (0.5, 0.25, 0.125, 0.0625))]
    assert found == FoundLoad("none", 0, 0.0625)


def test_no_lower_rate_is_tried_if_requests_failed_independently():
    tried = [TriedLoad(1, "climb", "failed", overlap=False), TriedLoad(1, "again", "failed", overlap=False)]
    assert next_trial(RATES, tried) == FoundLoad("none", 0, 1)


def test_a_server_that_was_slow_at_the_first_load_only_is_searched_on():
    tried = [TriedLoad(1, "climb", "failed"), TriedLoad(1, "again", "held")]
    assert next_trial(RATES, tried) == Trial(2, "climb")


def test_a_lower_load_that_failed_is_run_once_more_with_the_higher_one_that_held():
    tried = [TriedLoad(20, "climb", "held"), TriedLoad(10, "climb", "failed")]
    assert next_trial(RATES, tried) == Trial(10, "again")
    for verdict in ("held", "failed"):
        assert next_trial(RATES, [*tried, TriedLoad(10, "again", verdict)]) == Trial(20, "again"), verdict
    settled = [*tried, TriedLoad(10, "again", "held"), TriedLoad(20, "again", "held")]
    assert next_trial(RATES, settled) == Trial(40, "climb")
    still = [*tried, TriedLoad(10, "again", "failed"), TriedLoad(20, "again", "held")]
    assert next_trial(RATES, still) == Trial(5, "climb")  # below the lowest that failed


def test_a_pause_on_the_way_up_is_not_mistaken_for_the_limit():
    paused: list[float] = []

    def pausing(trial: Trial) -> Verdict:
        if trial.load == 8 and not paused:
            paused.append(trial.load)
            return "failed"
        return up_to(50)(trial)

    _, found = searched(RATES, pausing)
    assert 47 <= found.load <= 50


def test_a_loader_that_is_the_limit_ends_the_search_at_what_it_could_do():
    def limited(trial: Trial) -> Verdict:
        return "loader" if trial.load > 100 else "held"

    tried, found = searched(RATES, limited)
    assert loads(tried)[-2:] == [(128, "climb"), (64, "confirm")]
    assert found == FoundLoad("at least", 64, 128)


def test_an_answer_of_few_values_is_undecided():
    _, found = searched(RATES, lambda trial: "seems to hold" if trial.load <= 15.8 else "failed")
    assert found == FoundLoad("undecided", 15.5, 16)


def test_clients_are_counted_in_whole_numbers():
    tried, found = searched(SearchBounds("clients", 1.0), up_to(11))
    assert all(one.load == int(one.load) for one in tried)
    assert found == FoundLoad("found", 11, 12)
    assert searched(SearchBounds("clients", 1.0), up_to(0))[1].outcome == "none"


@given(st.floats(0.07, 50_000), st.sampled_from([0.5, 1.0, 7.0, 100.0]))
def test_every_limit_is_found_to_5_percent(limit, first):
    _, found = searched(SearchBounds("rate", first), up_to(limit))
    if limit < first / 16:
        assert found.outcome == "none"
    else:
        assert found.outcome == "found"
        assert 0.94 * limit <= found.load <= limit


def test_every_search_ends():
    """1,000 seeds of a server that holds by chance, the more rarely the higher the load; and what was said to hold was
    seen to hold."""
    verdicts: tuple[Verdict, ...] = ("held", "seems to hold", "seems to fail", "failed", "loader")

    def by(rng: random.Random) -> Callable[[Trial], Verdict]:
        return lambda trial: rng.choices(verdicts, (30, 10, trial.load, trial.load, trial.load / 20))[0]

    for seed in range(1000):
        rng = random.Random(seed)
        bounds = SearchBounds(rng.choice(("rate", "clients")), 1.0, rng.choice((None, 50.0)))
        tried, found = searched(bounds, by(rng))
        if found.outcome != "none":
            assert tried[-1].holds, seed
            assert tried[-1].load == found.load, seed
            assert tried[-1].purpose == "confirm", seed


def test_bounds_are_near_at_5_percent_or_one_client():
    assert RATES.are_near(100, 105)
    assert not RATES.are_near(100, 106)
    assert SearchBounds("clients", 1.0).are_near(3, 4)
    assert RATES.middle_load(15.5, 16.5) == pytest.approx(16)
