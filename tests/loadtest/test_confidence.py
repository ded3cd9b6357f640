"""The conclusions that a number of measured values allows."""

import random

import pytest

from loadtest.figures.confidence import (
    Evidence,
    chance_of_at_most,
    mean_bounds,
    students_t,
    surely_rises,
)


def test_a_percentile_needs_as_many_values_as_early_stopping_in_mlperfs_rules():
    for share, values in ((0.99, (299, 473, 628)), (0.95, (59, 93, 124))):
        for over, needed in enumerate(values):
            assert Evidence(share, needed, over).is_kept, (share, over)
            assert not Evidence(share, needed - 1, over).is_kept, (share, over)


def test_the_chances_are_those_of_the_binomial_distribution():
    assert chance_of_at_most(0, 299, 0.99) == pytest.approx(0.99**299)
    assert chance_of_at_most(2, 4, 0.5) == pytest.approx(11 / 16)
    assert chance_of_at_most(4, 4, 0.5) == pytest.approx(1)
    assert chance_of_at_most(0, 10, 1) == 1
    assert chance_of_at_most(9, 10, 0) == 0


@pytest.mark.soak
def test_the_claim_that_a_share_is_met_is_wrong_at_most_once_in_twenty():
    """Each of 1,000 seeds simulates a server that misses the required share by 0.0001."""
    for share, values, over in ((0.99, 299, 0), (0.99, 628, 2), (0.95, 93, 1)):
        wrong = 0
        for seed in range(1000):
            rng = random.Random(seed)
            wrong += sum(rng.random() > share - 1e-4 for _ in range(values)) <= over
        assert wrong <= 70, (share, values)


def test_a_few_values_over_the_limit_may_be_chance_and_many_may_not():
    assert not Evidence(0.99, 100, 0).is_missed()
    assert not Evidence(0.99, 100, 2).is_missed()
    assert Evidence(0.99, 100, 4).is_missed()
    assert Evidence(0.99, 2, 2).is_missed(0.999)
    assert not Evidence(0.99, 1, 1).is_missed(0.999)


def test_quantiles_of_students_distribution_match_published_tables():
    table = {(1, 0.975): 12.706, (2, 0.95): 2.920, (4, 0.975): 2.776, (9, 0.95): 1.833, (30, 0.975): 2.042}
    for (freedom, probability), quantile in table.items():
        assert students_t(freedom, probability) == pytest.approx(quantile, abs=1e-3), freedom


def test_the_mean_of_runs_lies_within_its_bounds_in_95_of_100():
    within = 0
    for seed in range(1000):
        rng = random.Random(seed)
        bounds = mean_bounds([rng.gauss(10, 2) for _ in range(5)])
        within += bounds[0] <= 10 <= bounds[1]
    assert within == pytest.approx(950, abs=25)


def test_a_steady_rise_is_detected_and_random_walks_rarely():
    assert surely_rises([1, 2, 3.1, 4])
    assert not surely_rises([1, 2, 3])
    assert not surely_rises([5, 5, 5, 5])
    assert not surely_rises([4, 3, 2, 1, 0])
    steady = wandering = 0
    for seed in range(1000):
        rng = random.Random(seed)
        steady += surely_rises([rng.gauss(10, 3) for _ in range(10)])
        at, walk = 0.0, []
        for _ in range(10):
            at += rng.gauss(0, 1)
            walk.append(at)
        wandering += surely_rises(walk)
    assert steady == 0
    assert wandering <= 70
