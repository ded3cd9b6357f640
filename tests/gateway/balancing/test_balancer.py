"""Which member of a group a conversation's turns are sent to."""

from collections import Counter
from random import Random

import attrs
import pytest

from gateway.balancing.affinity import Affinity, AffinitySource
from gateway.balancing.balancer import Balancer
from gateway.config.settings import Balance, Route
from gateway.routing.plan import Candidate, Outcome
from streams.events import ErrorInfo
from tests.support.groups import group, names, route

ROUTE = route()
OVERLOADED = ErrorInfo("overloaded", "busy", status=529, reason="overloaded")


def affinity(name: str = "a", lifetime: float = 300.0, source: AffinitySource = "session") -> Affinity:
    return Affinity(name.encode(), lifetime, source)


def balancer(seed: int = 1) -> Balancer:
    return Balancer(chance=Random(seed).random)


@attrs.define
class Gateway:
    """A balancer, and requests that are answered by the first member that is not ``out``."""

    members: list[Candidate]
    route: Route = ROUTE
    balancer: Balancer = attrs.field(factory=balancer)
    out: set[str] = attrs.field(factory=set)
    now: float = 0.0

    def ask(self, one: Affinity | None, *, leave_open: bool = False) -> str:
        """The name of the member that answers."""
        order = self.balancer.arrange(self.route, self.members, one, self.now)
        chosen = next(member for member in order if member.target.model not in self.out)
        self.balancer.loads.opened(chosen.target)
        self.balancer.landed(self.route, order, chosen, one, self.now)
        if not leave_open:
            self.balancer.loads.closed(chosen.target)
        return chosen.target.model

    def landings(self) -> dict[str, int]:
        return {landing: count for (_, landing), count in self.balancer.landings.items()}


# Which groups are ordered


def test_a_plan_without_a_choice_comes_back_as_it_is_at_once():
    plan = (*group(1), *group(1, number=1, first=1))
    assert Balancer(loads=None, chance=lambda: pytest.fail("chosen")).arrange(ROUTE, plan, affinity(), 0.0) is plan


def test_groups_keep_their_order():
    plan = (*group(1, 1), *group(1, number=1, first=2), *group(1, 1, number=2, first=3))
    orders = {tuple(names(balancer(seed).arrange(ROUTE, plan, None, 0.0))) for seed in range(50)}
    assert len(orders) == 4
    assert all({*order[:2]} == {"member-0", "member-1"} and order[2] == "member-2" for order in orders)


def test_an_open_answer_is_one_until_it_is_closed():
    """agentgateway/agentgateway#2572"""
    gateway = Gateway(group(1, 1))
    first = gateway.ask(None, leave_open=True)
    assert {gateway.ask(None) for _ in range(20)} == {"member-0", "member-1"} - {first}
    gateway.balancer.loads.closed(next(one.target for one in gateway.members if one.target.model == first))
    assert {gateway.ask(None) for _ in range(20)} == {"member-0", "member-1"}


# Conversations


@pytest.mark.parametrize("balance", ["least_busy", "weighted", "lowest_latency", "cheapest"])
@pytest.mark.parametrize("source", ["session", "beginning"])
def test_the_turns_of_a_conversation_land_on_one_member_under_mixed_load(balance: Balance, source: AffinitySource):
    """A third of them otherwise (LeenHawk/gproxy#161, BerriAI/litellm#41065)."""
    gateway = Gateway(group(1, 1, 1), route(balance))
    chance = Random(3)
    turns: dict[str, list[str]] = {}
    for _ in range(10):
        for number in range(100):
            name = f"conversation-{number}"
            turns.setdefault(name, []).append(
                gateway.ask(affinity(name, source=source), leave_open=chance.random() < 0.01)
            )
            gateway.ask(None, leave_open=chance.random() < 0.01)
            gateway.now += 0.01
    assert all(len(set(answered)) == 1 for answered in turns.values())
    assert len({answered[0] for answered in turns.values()}) == 3
    assert gateway.landings() == {"new": 100, "hit": 900}


def test_conversations_of_other_names_are_others():
    gateway = Gateway(group(*[1] * 20))
    assert len({gateway.ask(affinity(f"{number}")) for number in range(60)}) > 10


def test_each_route_has_pins_of_its_own():
    """A session asks for a large model and a small one."""
    gateway = Gateway(group(1, 1, 1))
    gateway.ask(affinity())
    gateway.route = route(name="other")
    gateway.ask(affinity())
    assert dict(gateway.balancer.landings) == {("route", "new"): 1, ("other", "new"): 1}


def test_a_pin_slides_with_every_turn_and_ends_five_minutes_after_the_last():
    gateway = Gateway(group(1, 1, 1))
    first = gateway.ask(affinity())
    for _ in range(10):
        gateway.now += 299
        assert gateway.ask(affinity()) == first
    gateway.now += 301
    gateway.ask(affinity())
    assert gateway.landings() == {"new": 2, "hit": 10}


def test_a_pin_lasts_an_hour_where_the_request_asks_its_provider_for_that():
    gateway = Gateway(group(1, 1, 1))
    first = gateway.ask(affinity(lifetime=3600))
    gateway.now += 3599
    assert gateway.ask(affinity(lifetime=3600)) == first


def test_a_member_that_is_out_is_left_and_the_one_that_has_the_cache_then_is_kept():
    gateway = Gateway(group(1, 1, 1))
    first = gateway.ask(affinity())
    gateway.out = {first}
    second = gateway.ask(affinity())
    gateway.out = set()
    assert second != first
    assert {gateway.ask(affinity()) for _ in range(9)} == {second}
    assert gateway.landings() == {"new": 1, "out": 1, "hit": 9}


def test_a_move_is_counted_by_the_reason_why_the_pinned_member_failed():
    gateway = Gateway(group(1, 1))
    gateway.ask(affinity())
    pinned, other = gateway.balancer.arrange(ROUTE, gateway.members, affinity(), 0.0)
    gateway.balancer.landed(ROUTE, (pinned, other), other, affinity(), 0.0, [Outcome(pinned.target, OVERLOADED)])
    assert gateway.landings() == {"new": 1, "overloaded": 1}


def test_a_request_that_nobody_answers_leaves_the_pin_where_it_is():
    gateway = Gateway(group(1, 1, 1))
    first = gateway.ask(affinity())
    for _ in range(5):
        gateway.balancer.arrange(ROUTE, gateway.members, affinity(), 0.0)
    assert gateway.ask(affinity()) == first


def test_a_later_group_does_not_take_the_pin_of_an_earlier_one():
    """Once that is back, its cache may still be warm."""
    gateway = Gateway([*group(1, 1, 1), *group(1, 1, number=1, first=3)])
    first = gateway.ask(affinity())
    gateway.out = {"member-0", "member-1", "member-2"}
    later = {gateway.ask(affinity()) for _ in range(5)}
    gateway.out = set()
    assert len(later) == 1
    assert gateway.ask(affinity()) == first
    assert gateway.landings() == {"new": 2, "out": 5, "hit": 5}


def test_a_pinned_member_that_may_not_be_asked_any_more_is_not():
    """A wall, a window that is too small, another configuration."""
    gateway = Gateway(group(1, 1, 1))
    first = gateway.ask(affinity())
    gateway.members = [one for one in gateway.members if one.target.model != first]
    assert gateway.ask(affinity()) != first
    assert gateway.landings() == {"new": 1, "absent": 1}


def test_a_weight_of_nought_keeps_no_conversation():
    """It had it while the others were out."""
    gateway = Gateway(group(1, 0))
    gateway.out = {"member-0"}
    assert gateway.ask(affinity()) == "member-1"
    gateway.out = set()
    assert gateway.ask(affinity()) == "member-0"


def test_only_the_member_that_has_the_cache_is_warm():
    gateway = Gateway(group(1, 1))
    first = gateway.ask(affinity())
    warm = [one for one in gateway.members if gateway.balancer.is_warm(ROUTE, one, affinity(), 299.0)]
    assert names(warm) == [first]
    assert not any(gateway.balancer.is_warm(ROUTE, one, affinity(), 301.0) for one in gateway.members)
    assert not any(gateway.balancer.is_warm(ROUTE, one, None, 0.0) for one in gateway.members)
    assert not any(gateway.balancer.is_warm(ROUTE, one, affinity("b"), 0.0) for one in gateway.members)


# Stickiness against load


def test_a_member_with_more_than_twice_the_mean_takes_no_new_conversations():
    """Pins concentrate load (tinfoilsh/confidential-model-router#403)."""
    gateway = Gateway(group(1, 1, 1), route("weighted"))
    pinned = {name: gateway.ask(affinity(name)) for name in map(str, range(30))}
    hot = next(one for one in gateway.members if one.target.model == "member-0")
    for _ in range(7):
        gateway.balancer.loads.opened(hot.target)
    for other in gateway.members[1:]:
        gateway.balancer.loads.opened(other.target)
    assert "member-0" not in {gateway.ask(affinity(f"new {number}")) for number in range(50)}
    assert {name: gateway.ask(affinity(name)) for name in pinned} == pinned
    gateway.balancer.loads.closed(hot.target)  # 6 of 8 is more than twice the mean, as 5 of 7 is
    gateway.balancer.loads.closed(hot.target)
    gateway.balancer.loads.closed(hot.target)  # 4 of 6 is no more
    assert "member-0" in {gateway.ask(affinity(f"newer {number}")) for number in range(50)}


@pytest.mark.parametrize("at_once", [1, 3, 5, 10, 20, 50])
def test_weights_hold_for_new_conversations_under_load(at_once):
    """Twice the mean is twice the mean for its weight."""
    gateway = Gateway(group(8, 1, 1), route("weighted"))
    targets = {one.target.model: one.target for one in gateway.members}
    chance, found, open = Random(5), Counter[str](), list[str]()
    for number in range(10_000):
        open.append(gateway.ask(affinity(str(number)), leave_open=True))
        found[open[-1]] += 1
        if len(open) == at_once:
            gateway.balancer.loads.closed(targets[open.pop(chance.randrange(at_once))])
    assert [found[name] / 10_000 for name in targets] == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


def test_copies_of_one_prompt_do_not_all_go_to_one_member():
    """Without a name they look like one conversation."""
    gateway = Gateway(group(1, 1))
    found = Counter(gateway.ask(affinity(source="beginning"), leave_open=True) for _ in range(100))
    assert min(found.values()) > 30
    assert gateway.landings()["busy"] > 1


def test_a_conversation_with_a_name_stays_where_it_is_however_many_answers_are_open():
    gateway = Gateway(group(1, 1))
    assert len({gateway.ask(affinity(), leave_open=True) for _ in range(100)}) == 1
