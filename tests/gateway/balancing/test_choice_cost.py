"""What a choice costs, in calls of functions, which are the same on every machine: of 50 ns each, so that one among 100
targets stays below 50 µs (latency routing took five minutes where random took 36 s; BerriAI/litellm#873)."""

import attrs
import pytest

from gateway.balancing.affinity import Affinity
from gateway.balancing.balancer import Balancer
from gateway.balancing.rules import RULES
from gateway.routing.target import Target
from gateway.shared.rows import LocalRows
from providers.catalog.prices import Price
from tests.support.counted_calls import calls
from tests.support.groups import group, plan, route

CONVERSATION = Affinity(b"a" * 16, 300.0, "session")


def balancer(members: int) -> Balancer:
    """One that knows times and open answers of so many members."""
    one = Balancer(LocalRows(10, lambda: 0.0))
    for number, member in enumerate(group(*[1] * members)):
        for _ in range(number % 5):
            one.loads.opened(member.target)
        one.loads.observed(member.target, 0.5 + number % 7, 0.0)
    return one


@pytest.mark.parametrize("balance", RULES)
def test_a_choice_calls_few_functions_for_each_member(balance):
    one, asked = balancer(100), plan(group(*[1] * 100), route(balance))
    one.arrange(asked, None, 0.0)  # what is the same for the next request
    assert calls(lambda: one.arrange(asked, CONVERSATION, 0.0)) < 60 + 7 * 100


def test_the_prices_of_the_members_take_few_calls():
    members = [attrs.evolve(one, target=priced(one.target, at)) for at, one in enumerate(group(*[1] * 100))]
    one, asked = balancer(100), plan(members, route("cheapest"))
    assert one.arrange(asked, None, 0.0, 1000).targets[0].model == "member-0"
    assert calls(lambda: one.arrange(asked, CONVERSATION, 0.0, 1000)) < 60 + 7 * 100


def priced(target: Target, dollars: int) -> Target:
    return attrs.evolve(target, entry=attrs.evolve(target.entry, price=Price(dollars, dollars, origin="config")))


@pytest.mark.parametrize("balance", RULES)
def test_a_choice_between_two_takes_few_calls(balance):
    one, asked = balancer(2), plan(group(1, 1), route(balance))
    one.arrange(asked, None, 0.0)
    assert calls(lambda: one.arrange(asked, CONVERSATION, 0.0)) < 80


def test_where_there_is_nothing_to_choose_next_to_nothing_is_called():
    one, asked = balancer(1), plan(group(1), route())
    assert calls(lambda: one.arrange(asked, CONVERSATION, 0.0)) <= 4
