"""The order in which the members of a route's groups are asked for one request, and what is remembered of it."""

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final, Literal, Self, TypeAlias

import attrs
import trio

from gateway.balancing.affinity import Affinity
from gateway.balancing.loads import GroupLoads, LocalOpenCounts, MeasuredLoads, OpenCounts
from gateway.balancing.rules import RULES, Random, is_cheapest
from gateway.config.aliases import Route
from gateway.routing.plan import Candidate, Outcome, Plan
from gateway.routing.target import Target
from gateway.shared.rows import LocalRows, Rows
from streams.events import FailureReason

Landing: TypeAlias = Literal["hit", "new", "out", "busy", "absent"] | FailureReason
"""Where a conversation's turn was answered: by the member that has its cache (``hit``), by any for want of one
(``new``), or by another one: the pinned member failed (for which reason), was ``out``, had too many answers open
(``busy``), or is no candidate any more (``absent``)."""

MOST_PINS: Final = 100_000

_GROUP: Final = attrgetter("group")

_MOST_KNOWN: Final = 512
"""Plans whose groups are at hand."""

_HOT: Final = 2.0
"""Times the mean of open answers, for their weights, beyond which a member takes no new conversations."""
_FEW: Final = 3
"""Open answers that are never too many."""
_CROWD: Final = 8
"""Open answers beyond twice the mean of the other members that a conversation without a name may lead to. Requests that
begin alike are turns of one conversation, or a thousand copies of one prompt."""


@attrs.frozen(eq=False)
class BalancedGroup:
    """The members of the group ``number``, and what of them a choice needs, in the same order."""

    number: int
    members: tuple[Candidate, ...]
    targets: tuple[Target, ...]
    keys: tuple[bytes, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, members: tuple[Candidate, ...]) -> Self:
        targets = tuple(one.target for one in members)
        keys = tuple(target.identity.place for target in targets)
        return cls(members[0].group, members, targets, keys, tuple(one.weight for one in members))


class Balancer:
    """Orders the members of groups. There is one for all requests of a process; it outlives configurations.

    ``pins`` say which member has which conversation in its cache, ``counts`` how many answers are open; workers share
    both. ``landings`` counts the turns of conversations by their route's name and where they were answered."""

    def __init__(
        self, pins: Rows | None = None, counts: OpenCounts | None = None, chance: Random = random.random
    ) -> None:
        self.loads = MeasuredLoads(LocalOpenCounts() if counts is None else counts)
        self.landings: Counter[tuple[str, Landing]] = Counter()
        self._pins = LocalRows(MOST_PINS, trio.current_time) if pins is None else pins
        self._random = chance
        self._known: dict[int, tuple[Sequence[Candidate], tuple[BalancedGroup, ...]]] = {}

    def arrange(self, plan: Plan, affinity: Affinity | None, now: float, tokens: int = 0) -> Plan:
        """``plan`` with the members of each group in the order in which they should be asked, for a request with about
        so many ``tokens``. Targets that are out keep their places: who walks the plan passes over them."""
        route = plan.route
        if route is None or not has_choice(plan):
            return plan
        found: list[Candidate] = []
        for group in self._groups_of(plan.candidates):
            found.extend(
                group.members if len(group.members) < 2 else self._ordered(route, group, affinity, now, tokens)
            )
        return attrs.evolve(plan, candidates=tuple(found))

    def _groups_of(self, candidates: Sequence[Candidate]) -> tuple[BalancedGroup, ...]:
        """The groups of ``candidates``, which are the same for most requests with the same name."""
        known, groups = self._known.get(id(candidates), ((), ()))
        if known is not candidates:
            groups = tuple(BalancedGroup.of(tuple(members)) for _, members in groupby(candidates, _GROUP))
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[id(candidates)] = candidates, groups  # as long as it is kept nothing else has its id
        return groups

    def _ordered(
        self, route: Route, group: BalancedGroup, affinity: Affinity | None, now: float, tokens: int
    ) -> list[Candidate]:
        pinned = None if affinity is None else self._pinned(route, group.number, affinity)
        loads = GroupLoads(self.loads, group.targets, group.keys, now, tokens, pinned)
        order = RULES[route.balance](group.weights, loads, self._random)
        if affinity is not None:
            if pinned not in group.keys or not group.weights[at := group.keys.index(pinned)]:
                _put_hot_last(order, group.weights, loads)
            elif _stays(route, affinity, at, group.weights, loads):
                order.remove(at)
                order.insert(0, at)
        members = group.members
        return [members[at] for at in order]

    def is_warm(self, plan: Plan, target: Target, affinity: Affinity | None) -> bool:
        """Whether ``target`` probably has the conversation's prompt in its cache: worth a second try on the spot where
        it is overloaded for a moment (openclaw/openclaw#126843)."""
        if affinity is None or plan.route is None:
            return False
        group = next((one.group for one in plan.candidates if one.target is target), None)
        return group is not None and self._pinned(plan.route, group, affinity) == target.identity.place

    def landed(self, plan: Plan, target: Target, affinity: Affinity | None, outcomes: Sequence[Outcome] = ()) -> None:
        """The answer of ``target`` goes to the client, after ``outcomes``: its cache has the conversation from now on.
        ``plan`` as ``arrange`` gave it."""
        route = plan.route
        if affinity is None or route is None or not has_choice(plan):
            return
        one = next((one for one in plan.candidates if one.target is target), None)
        if one is None:
            return
        for number, group in groupby(plan.candidates, _GROUP):
            members = list(group)
            if len(members) > 1 and number <= one.group:
                pinned = self._pinned(route, number, affinity)
                if pinned is not None or number == one.group:
                    self.landings[route.name, _landing(pinned, members, target, outcomes)] += 1
                if number == one.group and one.weight:
                    self._pin(route, one, affinity)

    def _pinned(self, route: Route, group: int, affinity: Affinity) -> bytes | None:
        """The place of the member that has the conversation."""
        return self._pins.read(_pin_key(affinity, route, group))

    def _pin(self, route: Route, one: Candidate, affinity: Affinity) -> None:
        place = one.target.identity.place
        self._pins.update(_pin_key(affinity, route, one.group), lambda before, now: place, affinity.lifetime)


def has_choice(plan: Plan) -> bool:
    """Whether any group has several members, so that there is something to balance."""
    candidates = plan.candidates
    several = len(candidates) > 1
    return several and (
        candidates[0].group == candidates[-1].group or len(set(map(_GROUP, candidates))) < len(candidates)
    )


def _pin_key(affinity: Affinity, route: Route, group: int) -> bytes:
    """Each group has a pin of its own: once the first group is back, its cache may still be warm."""
    return hashlib.blake2b(repr((affinity.key, route.name, group)).encode(), digest_size=16).digest()


def _landing(
    pinned: bytes | None, members: Sequence[Candidate], target: Target, outcomes: Sequence[Outcome]
) -> Landing:
    if pinned is None:
        return "new"
    if pinned == target.identity.place:
        return "hit"
    places = [one.target.identity.place for one in members]
    if pinned not in places:
        return "absent"
    failed = (past.failed.reason for past in outcomes if past.target.identity.place == pinned)
    return next(failed, None) or ("out" if pinned == places[0] else "busy")


def _put_hot_last(order: list[int], weights: Sequence[float], loads: GroupLoads) -> None:
    """For a new conversation: pins concentrate load (tinfoilsh/confidential-model-router#403)."""
    if loads.loads.counts.count(loads.keys[order[0]]) > _FEW:
        answers = loads.open_answers
        share = _HOT * sum(answers) / (sum(weights) or 1)
        order.sort(key=lambda at: answers[at] > max(share * weights[at], _FEW))


def _stays(route: Route, affinity: Affinity, at: int, weights: Sequence[float], loads: GroupLoads) -> bool:
    """True if the conversation stays with its member ``at``: not with one that is crowded, where it only seems to be
    one, nor with one that costs more than another though it has the prompt in its cache."""
    if route.balance == "cheapest" and not is_cheapest(at, weights, loads):
        return False
    return affinity.source != "beginning" or not _is_crowded(at, weights, loads)


def _is_crowded(pinned: int, weights: Sequence[float], loads: GroupLoads) -> bool:
    if loads.loads.counts.count(loads.keys[pinned]) <= _CROWD:
        return False
    answers = loads.open_answers
    others = (sum(answers) - answers[pinned]) / (sum(weights) - weights[pinned] or 1)
    return answers[pinned] > _CROWD + _HOT * others * weights[pinned]
