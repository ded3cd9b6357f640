"""A group balanced by the time to first content, on a simulated clock."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random

import attrs
import pytest

from gateway.balancing.balancer import Balancer
from gateway.balancing.loads import MeasuredLoads
from gateway.routing.plan import Candidate
from gateway.shared.rows import LocalRows
from tests.support.each_row import each_row
from tests.support.groups import group, plan, route

ROUTE = route("lowest_latency")
Seconds = Callable[[float], float]
"""The time to first content of a stream that begins at a moment."""


def balancer(seed: int = 1) -> Balancer:
    return Balancer(LocalRows(10, lambda: 0.0), chance=Random(seed).random)


def typical(loads: MeasuredLoads, members: Sequence[Candidate], now: float) -> Sequence[float]:
    return loads.first_contents([one.target.identity.place for one in members], now)


@attrs.define
class Traffic:
    """Requests that arrive at a fixed rate; ``takes`` has each member's time to first content."""

    members: list[Candidate]
    takes: Mapping[str, Seconds]
    rate: float = 10.0
    now: float = 0.0
    balancer: Balancer = attrs.field(factory=lambda: balancer(11))

    def run(self, requests: int) -> dict[str, float]:
        """Send so many requests, and return the share of each member."""
        found = Counter(self._ask() for _ in range(requests))
        return {one.target.model: found[one.target.model] / requests for one in self.members}

    def _ask(self) -> str:
        self.now += 1 / self.rate
        target = self.balancer.arrange(plan(self.members, ROUTE), None, self.now).first
        self.balancer.loads.record_start(target, self.takes[target.model](self.now), self.now)
        return target.model


def about(seconds: float, seed: int = 5) -> Seconds:
    """Return a source of times that scatter as real ones do, half of them below ``seconds``."""
    chance = Random(seed)
    return lambda now: seconds * chance.lognormvariate(0, 0.4)


def test_the_choice_is_random_without_measurements():
    one = balancer()
    found = Counter(one.arrange(plan(group(1, 1), ROUTE), None, 0.0).first.model for _ in range(1000))
    assert min(found.values()) > 450


@each_row("rate", [1, 10, 100])
@each_row("seed", range(3))
def test_two_equal_members_get_at_most_65_percent_each(rate, seed):
    """BerriAI/litellm#3360"""
    traffic = Traffic(group(1, 1), {"member-0": about(1, seed), "member-1": about(1, seed + 100)}, rate)
    assert max(traffic.run(1000).values()) <= 0.65


def test_the_faster_member_has_most_of_the_traffic():
    traffic = Traffic(group(1, 1), {"member-0": about(1), "member-1": about(3)})
    assert traffic.run(2000)["member-0"] > 0.9


def test_short_answers_make_no_member_fast():
    """Only the time to first content counts, undivided: a member of 3 s with short answers looked faster than one
    of 1 s (BerriAI/litellm#40202, #40352, #3574)."""
    loads, members = balancer().loads, group(1, 1)
    for now in range(10):
        loads.record_start(members[0].target, 3.0, now)
        loads.record_start(members[1].target, 1.0, now)
    assert typical(loads, members, 10.0) == [3.0, 1.0]


def test_a_slow_member_is_still_tried():
    """BerriAI/litellm#1361"""
    traffic = Traffic(group(1, 1, 1), {"member-0": about(1), "member-1": about(10), "member-2": about(60)})
    found = traffic.run(4000)
    assert found["member-1"] >= 0.05
    assert found["member-2"] >= 0.05


def test_slow_members_get_at_most_half_of_the_traffic():
    takes = {f"member-{at}": about(1 if at == 0 else 20, at) for at in range(20)}
    assert Traffic(group(*[1] * 20), takes).run(2500)["member-0"] > 0.45


@each_row("rate", [2, 10, 40])
@each_row("slow_for", [10, 240])
def test_a_member_that_was_slow_is_back_within_a_minute_of_being_fast_again(rate, slow_for):
    well, ill = about(1), about(15, 6)
    takes = {"member-0": about(1, 7), "member-1": lambda now: (ill if 60 < now < 60 + slow_for else well)(now)}
    traffic = Traffic(group(1, 1), takes, rate)
    traffic.run((60 + slow_for) * rate)
    traffic.run(60 * rate)
    assert traffic.run(60 * rate)["member-1"] > 0.35


def test_weights_apply_among_equal_members():
    takes = {"member-0": about(1, 1), "member-1": about(1, 2)}
    assert Traffic(group(3, 1), takes).run(4000)["member-0"] == pytest.approx(0.75, abs=0.06)


def test_times_are_forgotten_after_five_minutes():
    loads, (one,) = balancer().loads, group(1)
    loads.record_start(one.target, 9.0, 0.0)
    assert typical(loads, [one], 299.0) == [9.0]
    assert typical(loads, [one], 300.0) == [0.0]
    assert loads.percentile(one.target, 0.95, 300.0) is None


def test_an_abandoned_stream_counts_as_at_least_that_slow():
    loads, members = balancer().loads, group(1, 1, 1)
    for now in range(10):
        loads.record_start(members[1].target, 1.0, now)
        loads.record_start(members[2].target, 8.0, now)
    for now in range(10, 20):
        for one in members:
            loads.record_start(one.target, 2.0, now, at_least=True)
    assert typical(loads, members, 20.0) == [2.0, 2.0, 8.0]


def test_percentiles_are_those_of_the_last_five_minutes():
    loads, (one,) = balancer().loads, group(1)
    for number in range(1, 101):
        loads.record_start(one.target, float(number), 100.0)
    assert loads.percentile(one.target, 0.95, 100.0) == 95.0
    assert loads.percentile(one.target, 0.5, 100.0) == 50.0
