"""The rules of balance, each over many choices with chance of a known seed."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest

from gateway.balancing.rules import RULES
from gateway.config.settings import Balance
from gateway.routing.plan import Candidate
from tests.support.groups import SaidLoads, group, names

IDLE = SaidLoads()


def shares(
    balance: Balance, members: Sequence[Candidate], loads: SaidLoads = IDLE, requests: int = 10_000,
    out: Sequence[str] = (),
) -> dict[str, float]:  # fmt: skip
    """The share of each member among the requests that are sent to the first one that is not out."""
    chance = Random(7).random
    orders = (names(RULES[balance](members, loads, 0.0, chance)) for _ in range(requests))
    found = Counter(next(name for name in order if name not in out) for order in orders)
    return {name: found[name] / requests for name in names(members)}


@pytest.mark.parametrize("balance", RULES)
def test_every_member_is_in_the_order_once(balance):
    members = group(1, 0, 2, 0.5)
    order = RULES[balance](members, IDLE, 0.0, Random(1).random)
    assert sorted(names(order)) == names(members)


@pytest.mark.parametrize("balance", RULES)
def test_a_weight_of_nought_stands_behind_all_others(balance):
    """It is for when the others are out."""
    loads = SaidLoads(open={"member-0": 50}, times={"member-0": 9.0, "member-1": 0.1, "member-2": 9.0})
    order = RULES[balance](group(1, 0, 3), loads, 0.0, Random(1).random)
    assert names(order)[-1] == "member-1"


@pytest.mark.parametrize(
    ("weights", "out", "expected"),
    [
        ((1, 1), (), (0.5, 0.5)),
        ((3, 1), (), (0.75, 0.25)),
        ((0.7, 0.2, 0.1), (), (0.7, 0.2, 0.1)),
        ((6, 3, 1), ("member-0",), (0, 0.75, 0.25)),
        ((6, 3, 1), ("member-1", "member-2"), (1, 0, 0)),
        ((1, 0), (), (1, 0)),
        ((1, 0), ("member-0",), (0, 1)),
    ],
)
def test_shares_are_those_of_the_weights_among_the_members_that_are_not_out(weights, out, expected):
    found = shares("weighted", group(*weights), out=out)
    assert [found[f"member-{at}"] for at in range(len(weights))] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("weights", "open", "first"),
    [
        ((1, 1, 1), (2, 1, 2), "member-1"),
        ((1, 1, 1), (0, 1, 2), "member-0"),
        ((4, 1, 1), (3, 1, 1), "member-0"),
        ((4, 1, 1), (4, 0, 1), "member-1"),
        ((0.1, 1), (1, 5), "member-1"),
    ],
)
def test_the_least_busy_has_the_fewest_open_answers_for_its_weight(weights, open, first):
    loads = SaidLoads({f"member-{at}": count for at, count in enumerate(open)})
    assert names(RULES["least_busy"](group(*weights), loads, 0.0, Random(1).random))[0] == first


def test_ties_of_the_least_busy_are_broken_at_random():
    found = shares("least_busy", group(1, 1, 1), SaidLoads({"member-0": 1, "member-1": 1, "member-2": 2}))
    assert found == pytest.approx({"member-0": 0.5, "member-1": 0.5, "member-2": 0}, abs=0.02)


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ({"member-0": 3.0, "member-1": 1.0, "member-2": 2.0}, ["member-1", "member-2", "member-0"]),
        ({"member-0": 3.0, "member-2": 2.0}, ["member-2", "member-0", "member-1"]),
        ({"member-1": 1.0, "member-2": 1.0, "member-0": 2.0}, ["member-2", "member-1", "member-0"]),
        ({}, ["member-2", "member-0", "member-1"]),
    ],
    ids=["prices", "one-unknown", "equal", "none-known"],
)
def test_the_cheapest_is_first_and_the_least_busy_where_prices_say_nothing(prices, expected):
    loads = SaidLoads(open={"member-0": 1, "member-1": 2}, prices=prices)
    assert names(RULES["cheapest"](group(1, 1, 1), loads, 0.0, Random(1).random)) == expected
