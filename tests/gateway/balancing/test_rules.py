"""The rules of balance, each over many random choices with a fixed seed."""

from collections import Counter
from collections.abc import Collection, Sequence
from random import Random

import attrs
import pytest

from gateway.balancing.affinity import Affinity
from gateway.balancing.balancer import MOST_PINS, Balancer
from gateway.balancing.loads import request_price
from gateway.balancing.rules import RULES
from gateway.config.aliases import Balance
from gateway.config_files.loading import from_mapping
from gateway.routing.plan import Candidate
from gateway.routing.router import Router
from gateway.shared.rows import LocalRows
from tests.support.counted_calls import calls
from tests.support.each_row import each_row
from tests.support.groups import FixedLoads, group, idle, plan, route


def shares(balance: Balance, weights: Sequence[float], loads: FixedLoads, out: Collection[int] = ()) -> list[float]:
    """Return each member's share of 10,000 requests, which each go to the first member that is not ``out``."""
    chance = Random(7).random
    orders = (RULES[balance](weights, loads, chance) for _ in range(10_000))
    found = Counter(next(at for at in order if at not in out) for order in orders)
    return [found[at] / 10_000 for at in range(len(weights))]


@each_row("balance", RULES)
@each_row("weights", [(1, 0, 2, 0.5), (0, 0), (1, 1), (1e-9, 1e9)])
def test_every_member_is_in_the_order_once(balance, weights):
    order = RULES[balance](weights, idle(len(weights)), Random(1).random)
    assert sorted(order) == list(range(len(weights)))


@each_row("balance", RULES)
def test_members_of_weight_0_come_last(balance):
    """It gets requests only while the others are unavailable."""
    loads = FixedLoads([50, 0, 50], [9.0, 0.1, 9.0], [2.0, 0.0, None])
    assert all(RULES[balance]((1, 0, 3), loads, Random(seed).random)[-1] == 1 for seed in range(20))


@each_row("balance", RULES)
def test_members_without_weight_share_the_rest(balance):
    found = shares(balance, (1, 0, 0), idle(3), out=(0,))
    assert found == pytest.approx([0, 0.5, 0.5], abs=0.02)


@each_row(
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


@each_row(
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
    assert all(RULES["least_busy"](weights, FixedLoads(open), Random(seed).random)[0] == first for seed in range(20))


def test_ties_of_the_least_busy_are_broken_at_random():
    assert shares("least_busy", (1, 1, 1), FixedLoads((1, 1, 2))) == pytest.approx([0.5, 0.5, 0], abs=0.02)


@each_row(
    ("prices", "expected"),
    [
        ((3.0, 1.0, 2.0), [1, 2, 0]),
        ((3.0, None, 2.0), [2, 0, 1]),
        ((2.0, 1.0, 1.0), [2, 1, 0]),
        ((None, None, None), [2, 0, 1]),
    ],
    ids=["prices", "one-unknown", "equal", "none-known"],
)
def test_the_cheapest_is_first_and_without_prices_the_least_busy(prices, expected):
    loads = FixedLoads((1, 2, 0), prices=prices)
    assert RULES["cheapest"]((1, 1, 1), loads, Random(1).random) == expected


# The member of a group that costs least for a request, and for the next turn of a conversation


PRICES = {
    "plain": {"input": 2, "output": 4},
    "cached": {"input": 3, "cached": 0.3, "output": 4},
    "long": {"input": 1, "output": 4, "above": {"100k": {"input": 8}}},
}
ENTRIES = [
    {"model": f"openai/{name}", "name": name, "access_key": "k", "price": price} for name, price in PRICES.items()
]
UNPRICED = {"model": "vllm/own", "name": "own", "base_url": "http://gpu:8000/v1"}
ROUTER = Router(from_mapping({"version": "v0.4.0", "model_providers": [*ENTRIES, UNPRICED]}))
TARGETS = {name: ROUTER.resolve(name, "chat") for name in (*PRICES, "own")}
SESSION = Affinity(b"session", 300.0, "session")


@attrs.define
class Asked:
    """A balancer of a group, and whom it sends a request of so many tokens to."""

    names: tuple[str, ...]
    balancer: Balancer = attrs.field(
        factory=lambda: Balancer(LocalRows(MOST_PINS, lambda: 0.0), chance=Random(1).random)
    )

    def first(self, tokens: int, affinity: Affinity | None = None) -> str:
        members = [Candidate(TARGETS[name], 0) for name in self.names]
        arranged = self.balancer.arrange(plan(members, route("cheapest")), affinity, 0.0, tokens)
        target = arranged.targets[0]
        self.balancer.record_landing(arranged, target, affinity)
        return target.model


def test_the_length_of_the_request_decides():
    asked = Asked(("plain", "long"))
    assert [asked.first(tokens) for tokens in (1000, 100_000, 100_001)] == ["long", "long", "plain"]


def test_a_member_with_the_cached_prompt_is_compared_by_its_cached_price():
    # theopenco/llmgateway#3873
    assert Asked(("plain", "cached")).first(50_000) == "plain"
    asked = Asked(("cached",))
    assert asked.first(50_000, SESSION) == "cached"
    asked.names = ("plain", "cached")
    asked.balancer.record_landing(*_at("cached", asked), SESSION)
    assert [asked.first(50_000, SESSION) for _ in range(3)] == ["cached"] * 3


def test_a_conversation_leaves_a_member_that_costs_more():
    asked = Asked(("plain", "long"))
    assert [asked.first(tokens, SESSION) for tokens in (50_000, 150_000, 160_000)] == ["long", "plain", "plain"]


def test_members_without_a_price_come_last():
    assert {Asked(("own", "plain")).first(1000) for _ in range(5)} == {"plain"}
    assert request_price(TARGETS["own"], 1000, False) is None


def _at(name: str, asked: Asked):
    arranged = plan([Candidate(TARGETS[one], 0) for one in asked.names], route("cheapest"))
    return arranged, TARGETS[name]


# The cost of a choice


CONVERSATION = Affinity(b"a" * 16, 300.0, "session")


def balancer(members: int) -> Balancer:
    """Return a balancer that knows the times and the open answers of so many members."""
    one = Balancer(LocalRows(10, lambda: 0.0))
    for number, member in enumerate(group(*[1] * members)):
        for _ in range(number % 5):
            one.loads.begin_request(member.target)
        one.loads.record_start(member.target, 0.5 + number % 7, 0.0)
    return one


@each_row("balance", RULES)
@each_row(("members", "most"), [(2, 80), (100, 60 + 7 * 100)])
def test_a_choice_calls_few_functions_for_each_member(balance, members, most):
    one, asked = balancer(members), plan(group(*[1] * members), route(balance))
    one.arrange(asked, None, 0.0)  # fill the caches that later requests share
    assert calls(lambda: one.arrange(asked, CONVERSATION, 0.0)) < most
