"""The choice of a group's member for the turns of conversations."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random

import attrs
import pytest

from gateway.balancing.affinity import Affinity, AffinitySource
from gateway.balancing.balancer import MOST_PINS, Balancer
from gateway.config.aliases import Balance, Route
from gateway.routing.plan import Candidate, Plan
from gateway.shared.layout import SIZES, Layout
from gateway.shared.memory import SharedMemory
from gateway.shared.rows import LocalRows
from gateway.shared.tables import SharedTables
from streams.events import ErrorInfo
from tests.support.each_row import each_row
from tests.support.groups import group, names, plan, route

ROUTE = route()
OVERLOADED = ErrorInfo("overloaded", "busy", status=529, reason="overloaded")


def affinity(name: str = "a", lifetime: float = 300.0, source: AffinitySource = "session") -> Affinity:
    return Affinity(name.encode(), lifetime, source)


@attrs.define
class Gateway:
    """A balancer, and requests that are answered by the first member that is not ``out``."""

    members: Sequence[Candidate]
    route: Route = ROUTE
    out: set[str] = attrs.field(factory=set)
    now: float = 0.0
    balancer: Balancer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.balancer = Balancer(LocalRows(MOST_PINS, lambda: self.now), chance=Random(1).random)

    def arrange(self, one: Affinity | None) -> Plan:
        return self.balancer.arrange(plan(self.members, self.route), one, self.now)

    def begin(self, one: Affinity | None) -> tuple[str, Callable[[], object]]:
        """Begin an answer, and return its member's name and the function that ends it."""
        arranged = self.arrange(one)
        target = next(target for target in arranged.targets if target.model not in self.out)
        self.balancer.record_landing(arranged, target, one)
        self.balancer.loads.begin_request(target)
        return target.model, partial(self.balancer.loads.end_response, target)

    def ask(self, one: Affinity | None) -> str:
        """Send one request, and return the name of the member that answered it."""
        name, end = self.begin(one)
        end()
        return name

    def landings(self) -> dict[str, int]:
        return {landing: count for (_, landing), count in self.balancer.landings.items()}


# Groups that the balancer orders


@pytest.mark.parametrize("by", [ROUTE, None], ids=["route", "no-route"])
def test_a_plan_without_a_choice_is_returned_unchanged(by):
    one = plan([*group(1), *group(1, number=1, first=1)], by)
    assert Balancer(chance=lambda: pytest.fail("chosen")).arrange(one, affinity(), 0.0) is one


def test_groups_keep_their_order():
    gateway = Gateway([*group(1, 1), *group(1, number=1, first=2), *group(1, 1, number=2, first=3)])
    orders = {tuple(names(gateway.arrange(None).candidates)) for _ in range(50)}
    assert len(orders) == 4
    assert all({*order[:2]} == {"member-0", "member-1"} and order[2] == "member-2" for order in orders)


# Conversations


@each_row("balance", ["least_busy", "weighted", "lowest_latency", "cheapest"])
@each_row("source", ["session", "beginning"])
def test_the_turns_of_a_conversation_land_on_one_member_under_mixed_load(balance: Balance, source: AffinitySource):
    """A third of them otherwise (agentgateway/agentgateway#2572, LeenHawk/gproxy#161, BerriAI/litellm#41065)."""
    gateway = Gateway(group(1, 1, 1), route(balance))
    chance, turns = Random(3), dict[int, list[str]]()
    open: list[Callable[[], object]] = []
    for _ in range(10):
        for number in range(100):
            for one in (affinity(f"{number}", source=source), None):
                name, end = gateway.begin(one)
                open.append(end)
                if one is not None:
                    turns.setdefault(number, []).append(name)
            while len(open) > 20:
                open.pop(chance.randrange(20))()
            gateway.now += 0.01
    assert all(len(set(answered)) == 1 for answered in turns.values())
    assert len({answered[0] for answered in turns.values()}) == 3
    assert gateway.landings() == {"new": 100, "hit": 900}


def test_each_route_has_pins_of_its_own():
    """A session asks for a large model and for a small one."""
    gateway = Gateway(group(1, 1, 1))
    gateway.ask(affinity())
    gateway.route = route(name="other")
    gateway.ask(affinity())
    assert dict(gateway.balancer.landings) == {("route", "new"): 1, ("other", "new"): 1}


def test_a_pin_expires_five_minutes_after_the_last_turn():
    gateway = Gateway(group(1, 1, 1))
    first = gateway.ask(affinity())
    for _ in range(10):
        gateway.now += 299
        assert gateway.ask(affinity()) == first
    gateway.now += 301
    gateway.ask(affinity())
    assert gateway.landings() == {"new": 2, "hit": 10}
    for _ in range(2):  # requests that ask their provider for an hour
        gateway.ask(affinity(lifetime=3600))
        gateway.now += 3599
    assert gateway.landings() == {"new": 2, "hit": 12}


def test_there_are_100_000_pins_at_most():
    """The longest unused go first."""
    gateway = Gateway(group(1, 1))
    gateway.balancer = Balancer(LocalRows(10, lambda: 0.0))
    for name in ("first", *map(str, range(9)), "first", "new", "first", "0"):
        gateway.ask(affinity(name))
    assert gateway.landings() == {"new": 12, "hit": 2}
    assert SIZES["pins"].rows <= MOST_PINS <= 100_000


def test_the_conversations_of_one_client_do_not_displace_those_of_others():
    gateway = Gateway(group(1, 1))
    gateway.balancer = Balancer(LocalRows(10, lambda: 0.0))
    alices = Affinity(b"anne" + bytes(16), 300.0, "header")
    gateway.ask(alices)
    for number in range(100):
        gateway.ask(Affinity(b"many" + number.to_bytes(16, "big"), 300.0, "header"))
    gateway.ask(alices)
    assert gateway.landings() == {"new": 101, "hit": 1}


def test_a_request_without_a_response_does_not_move_the_pin():
    gateway = Gateway(group(1, 1, 1))
    first = gateway.ask(affinity())
    for _ in range(5):
        gateway.arrange(affinity())
    assert gateway.ask(affinity()) == first


def test_a_later_group_does_not_take_the_pin_of_an_earlier_one():
    """When that member is available again, its cache may still be warm."""
    gateway = Gateway([*group(1, 1, 1), *group(1, 1, number=1, first=3)])
    first = gateway.ask(affinity())
    gateway.out = {"member-0", "member-1", "member-2"}
    later = {gateway.ask(affinity()) for _ in range(5)}
    gateway.out = set()
    assert len(later) == 1
    assert gateway.ask(affinity()) == first
    assert gateway.landings() == {"new": 2, "out": 5, "hit": 5}


def test_a_pinned_member_that_is_no_longer_allowed_is_not_used():
    """A wall, a window that is too small, another configuration."""
    gateway = Gateway(group(1, 1, 1))
    first = gateway.ask(affinity())
    gateway.members = [one for one in gateway.members if one.target.model != first]
    assert gateway.ask(affinity()) != first
    assert gateway.landings() == {"new": 1, "absent": 1}


def test_a_member_of_weight_0_keeps_no_conversation():
    """It had it while the others were out."""
    gateway = Gateway(group(1, 0))
    gateway.out = {"member-0"}
    assert gateway.ask(affinity()) == "member-1"
    gateway.out = set()
    assert gateway.ask(affinity()) == "member-0"


def test_a_conversation_leaves_a_member_whose_weight_becomes_0():
    gateway = Gateway(group(1, 1))
    first = gateway.ask(affinity())
    gateway.members = [attrs.evolve(one, weight=one.target.model != first) for one in gateway.members]
    assert gateway.ask(affinity()) != first


def test_only_the_member_that_has_the_cache_is_warm():
    gateway = Gateway(group(1, 1))
    first = gateway.ask(affinity())

    def warm(one: Affinity | None) -> list[str]:
        asked = plan(gateway.members, ROUTE)
        return [target.model for target in asked.targets if gateway.balancer.is_warm(asked, target, one)]

    assert warm(affinity()) == [first]
    assert warm(affinity("b")) == warm(None) == []
    gateway.now += 301
    assert warm(affinity()) == []


# Members whose caches hold a part of the prompt


def first_place(gateway: Gateway, one: Affinity | None, **readable: int) -> str:
    """Return the first member for a turn of ``one``, if caches of members hold so many tokens of its prompt."""
    places = {member.target.model.replace("-", "_"): member.target.identity.place for member in gateway.members}
    held = {places[name]: tokens for name, tokens in readable.items()}
    arranged = gateway.balancer.arrange(plan(gateway.members, gateway.route), one, gateway.now, 0, held)
    return arranged.candidates[0].target.model


def test_a_conversation_with_another_beginning_goes_where_its_prompt_is():
    """Such as one whose client replaced its first message."""
    gateway = Gateway(group(1, 1, 1))
    assert {first_place(gateway, affinity(f"{n}"), member_2=500) for n in range(20)} == {"member-2"}


def test_a_conversation_that_moved_goes_back_while_the_first_cache_is_warmer():
    gateway = Gateway(group(1, 1))
    pinned = gateway.ask(affinity())
    other = "member_1" if pinned == "member-0" else "member_0"
    same = pinned.replace("-", "_")
    assert first_place(gateway, affinity(), **{same: 100, other: 900}) == other.replace("_", "-")
    assert first_place(gateway, affinity(), **{same: 900, other: 900}) == pinned
    assert first_place(gateway, affinity(), **{same: 0, other: 0}) == pinned


def test_a_crowded_member_is_left_although_it_has_the_prompt():
    gateway = Gateway(group(1, 1))
    for _ in range(40):
        gateway.balancer.loads.begin_request(gateway.members[0].target)
    assert first_place(gateway, affinity(source="beginning"), member_0=900) == "member-1"
    assert first_place(gateway, affinity(), member_0=900) == "member-0"


def test_a_request_without_a_conversation_is_balanced_as_before():
    gateway = Gateway(group(1, 1))
    assert {first_place(gateway, None, member_0=900) for _ in range(20)} == {"member-0", "member-1"}


@pytest.mark.parametrize(("answers", "takes"), [((7, 1, 1), False), ((6, 1, 1), False), ((4, 1, 1), True)])
def test_a_member_with_more_than_twice_the_mean_takes_no_new_conversations(answers, takes):
    """Pins concentrate load (tinfoilsh/confidential-model-router#403)."""
    gateway = Gateway(group(1, 1, 1), route("weighted"))
    pinned = {name: gateway.ask(affinity(name)) for name in map(str, range(30))}
    for one, count in zip(gateway.members, answers, strict=True):
        for _ in range(count):
            gateway.balancer.loads.begin_request(one.target)
    assert ("member-0" in {gateway.ask(affinity(f"new {number}")) for number in range(50)}) is takes
    assert {name: gateway.ask(affinity(name)) for name in pinned} == pinned
    assert "member-0" in pinned.values()


@pytest.mark.parametrize("at_once", [5, 50])
def test_weights_apply_to_new_conversations_under_load(at_once):
    """Twice the mean is that of its weight."""
    gateway = Gateway(group(8, 1, 1), route("weighted"))
    chance, found, open = Random(5), Counter[str](), list[Callable[[], object]]()
    for number in range(3_000):
        name, end = gateway.begin(affinity(f"{number}"))
        found[name] += 1
        open.append(end)
        if len(open) == at_once:
            open.pop(chance.randrange(at_once))()
    assert [found[name] / 3_000 for name in names(gateway.members)] == pytest.approx([0.8, 0.1, 0.1], abs=0.02)


def test_copies_of_one_prompt_do_not_all_go_to_one_member():
    """Without a name they look like one conversation."""
    gateway = Gateway(group(1, 1))
    found = Counter(gateway.begin(affinity(source="beginning"))[0] for _ in range(100))
    assert min(found.values()) > 30
    assert gateway.landings()["busy"] > 1


# Pins and open answers that several workers have in common (BerriAI/litellm#16011)


PLAN = plan(group(1, 1, 1), route())


@pytest.fixture
def workers() -> Iterator[list[Balancer]]:
    with SharedMemory.make(Layout(3)) as memory:
        tables = SharedTables.of(memory)
        yield [Balancer(tables.pins, tables.open_answers) for _ in range(3)]


def ask(worker: Balancer, affinity: Affinity | None = None) -> str:
    """Begin an answer that stays open, and return its member."""
    arranged = worker.arrange(PLAN, affinity, 0.0)
    worker.loads.begin_request(arranged.first)
    worker.record_landing(arranged, arranged.first, affinity)
    return arranged.first.model


def test_a_conversation_stays_with_its_member_whichever_worker_gets_its_turns(workers):
    for number in range(20):
        affinity = Affinity(b"conversation %d" % number, 300.0, "session")
        assert len({ask(workers[turn % 3], affinity) for turn in range(9)}) == 1


def test_the_least_busy_member_is_that_of_all_workers(workers):
    asked = [ask(worker) for worker in workers * 4]
    assert sorted(asked.count(name) for name in set(asked)) == [4, 4, 4]


def test_an_open_answer_is_one_for_all_until_it_is_closed(workers):
    place = PLAN.first.identity.place
    for _ in range(2):
        workers[0].loads.begin_request(PLAN.first)
    assert [worker.loads.counts.count(place) for worker in workers] == [2, 2, 2]
    for _ in range(2):
        workers[0].loads.end_response(PLAN.first)
    assert [worker.loads.counts.count(place) for worker in workers] == [0, 0, 0]
