"""The rules of balance, each over many choices with chance of a known seed."""

from collections import Counter
from collections.abc import Collection, Sequence
from random import Random

import pytest

from gateway.balancing.rules import RULES
from gateway.config.aliases import Balance
from tests.support.groups import SaidLoads, idle


def shares(balance: Balance, weights: Sequence[float], loads: SaidLoads, out: Collection[int] = ()) -> list[float]:
    """The share of each member of 10,000 requests, each of which goes to the first one that is not out."""
    chance = Random(7).random
    orders = (RULES[balance](weights, loads, chance) for _ in range(10_000))
    found = Counter(next(at for at in order if at not in out) for order in orders)
    return [found[at] / 10_000 for at in range(len(weights))]


@pytest.mark.parametrize("balance", RULES)
@pytest.mark.parametrize("weights", [(1, 0, 2, 0.5), (0, 0), (1, 1), (1e-9, 1e9)])
def test_every_member_is_in_the_order_once(balance, weights):
    order = RULES[balance](weights, idle(len(weights)), Random(1).random)
    assert sorted(order) == list(range(len(weights)))


@pytest.mark.parametrize("balance", RULES)
def test_a_weight_of_nought_stands_behind_all_others(balance):
    """It is for when the others are out."""
    loads = SaidLoads([50, 0, 50], [9.0, 0.1, 9.0], [2.0, 0.0, None])
    assert all(RULES[balance]((1, 0, 3), loads, Random(seed).random)[-1] == 1 for seed in range(20))


@pytest.mark.parametrize("balance", RULES)
def test_members_without_weight_share_what_is_left(balance):
    found = shares(balance, (1, 0, 0), idle(3), out=(0,))
    assert found == pytest.approx([0, 0.5, 0.5], abs=0.02)


@pytest.mark.parametrize(
    ("weights", "out", "expected"),
    [
        ((1, 1), (), (0.5, 0.5)),
        ((3, 1), (), (0.75, 0.25)),
        ((0.7, 0.2, 0.1), (), (0.7, 0.2, 0.1)),
        ((6, 3, 1), (0,), (0, 0.75, 0.25)),
        ((6, 3, 1), (1, 2), (1, 0, 0)),
        ((1, 0), (), (1, 0)),
        ((1, 0), (0,), (0, 1)),
    ],
)
def test_shares_are_those_of_the_weights_among_the_members_that_are_not_out(weights, out, expected):
    assert shares("weighted", weights, idle(len(weights)), out) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("weights", "open", "first"),
    [
        ((1, 1, 1), (2, 1, 2), 1),
        ((1, 1, 1), (0, 1, 2), 0),
        ((4, 1, 1), (3, 1, 1), 0),
        ((4, 1, 1), (4, 0, 1), 1),
        ((0.1, 1), (1, 5), 1),
        ((1000, 999), (1, 1), 0),
    ],
)
def test_the_least_busy_has_the_fewest_open_answers_for_its_weight(weights, open, first):
    assert all(RULES["least_busy"](weights, SaidLoads(open), Random(seed).random)[0] == first for seed in range(20))


def test_ties_of_the_least_busy_are_broken_at_random():
    assert shares("least_busy", (1, 1, 1), SaidLoads((1, 1, 2))) == pytest.approx([0.5, 0.5, 0], abs=0.02)


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ((3.0, 1.0, 2.0), [1, 2, 0]),
        ((3.0, None, 2.0), [2, 0, 1]),
        ((2.0, 1.0, 1.0), [2, 1, 0]),
        ((None, None, None), [2, 0, 1]),
    ],
    ids=["prices", "one-unknown", "equal", "none-known"],
)
def test_the_cheapest_is_first_and_the_least_busy_where_prices_say_nothing(prices, expected):
    loads = SaidLoads((1, 2, 0), prices=prices)
    assert RULES["cheapest"]((1, 1, 1), loads, Random(1).random) == expected
