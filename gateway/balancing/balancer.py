"""The order in which a request tries the members of a route's groups."""

import hashlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Literal, Self, TypeAlias

import attrs
import trio

from gateway.balancing.affinity import Affinity
from gateway.balancing.hedge_shares import HedgeShares
from gateway.balancing.loads import GroupLoads, LocalOpenCounts, MeasuredLoads, OpenCounts
from gateway.balancing.rules import RULES, Random, is_cheapest
from gateway.config.aliases import Route
from gateway.routing.plan import Candidate, Outcome, Plan
from gateway.routing.target import Target
from gateway.shared.rows import OWNER, LocalRows, Rows
from streams.events import FailureReason

if TYPE_CHECKING:
    from gateway.shared.notes import Notes

Landing: TypeAlias = Literal["hit", "new", "out", "busy", "absent"] | FailureReason
"""Where a conversation's turn was answered: by the member with its cache (``hit``), by any because none has it
(``new``), or elsewhere.

Elsewhere, because the pinned member failed (with its reason), was ``out``, had too many open responses (``busy``), or
is no longer a candidate (``absent``)."""

Readable: TypeAlias = Mapping[bytes, int]
"""The tokens of a prompt that the provider's cache holds, by the identity of a target's place."""
NOTHING_READABLE: Final[Readable] = {}

MOST_PINS: Final = 100_000

_PIN: Final = "pin"
"""The kind of the notes of pins: the place of the pinned member, in hexadecimal."""

_GROUP: Final = attrgetter("group")

_MOST_CACHED: Final = 512
"""Plans whose groups are cached."""

_HOT: Final = 2.0
"""A member with more open responses than this multiple of the mean, by weight, gets no new conversations."""
_FEW: Final = 3
"""Open responses that are never too many."""
_CROWD: Final = 8
"""Open responses beyond twice the other members' mean up to which a conversation without an identity stays.

Requests with equal beginnings may be one conversation, or a thousand copies of a prompt."""


@attrs.frozen(eq=False, repr=False)
class BalancedGroup:
    """The members of the group ``number``, and their data for a choice, in the same order."""

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
    """Orders the members of groups for all requests of a process; outlives configurations.

    ``pins`` has the member that caches each conversation, ``counts`` the open responses; workers share both.
    ``landings`` counts turns by route name and landing, ``hedge_shares`` limits the hedges of routes."""

    def __init__(
        self, pins: Rows | None = None, counts: OpenCounts | None = None, chance: Random = random.random
    ) -> None:
        self.loads = MeasuredLoads(LocalOpenCounts() if counts is None else counts)
        self.hedge_shares = HedgeShares()
        self.landings: Counter[tuple[str, Landing]] = Counter()
        self._pins = LocalRows(MOST_PINS, trio.current_time) if pins is None else pins
        self._random = chance
        self._notes: Notes | None = None
        self._cached_groups: dict[int, tuple[Sequence[Candidate], tuple[BalancedGroup, ...]]] = {}

    def share_pins(self, notes: "Notes") -> None:
        """Share the pins with other gateways through ``notes``."""
        self._notes = notes
        notes.add_reader(_PIN, self._pin_as_noted)

    def _pin_as_noted(self, key: bytes, value: str, seconds: float) -> None:
        place = bytes.fromhex(value)
        self._pins.update(key, lambda before, now: place, seconds)

    def arrange(
        self, plan: Plan, affinity: Affinity | None, now: float, tokens: int = 0, readable: Readable = NOTHING_READABLE
    ) -> Plan:
        """Return ``plan`` with each group in the order to try for a request with about ``tokens`` tokens.

        ``readable`` are the tokens that caches of targets hold of this prompt, if known. A conversation goes where most
        of its prompt is, and to its pinned member if that is equal. Unavailable targets stay in place: the walk
        skips them."""
        route = plan.route
        if route is None or not has_choice(plan):
            return plan
        found: list[Candidate] = []
        for group in self._groups_of(plan.candidates):
            found.extend(
                group.members
                if len(group.members) < 2
                else self._order_group(route, group, affinity, now, tokens, readable)
            )
        return attrs.evolve(plan, candidates=tuple(found))

    def _groups_of(self, candidates: Sequence[Candidate]) -> tuple[BalancedGroup, ...]:
        """Return the groups of ``candidates``, which are equal for most requests to the same name."""
        known, groups = self._cached_groups.get(id(candidates), ((), ()))
        if known is not candidates:
            groups = tuple(BalancedGroup.of(tuple(members)) for _, members in groupby(candidates, _GROUP))
            if len(self._cached_groups) >= _MOST_CACHED:
                self._cached_groups.clear()
            # The cache keeps the object alive, so that no other has its id.
            self._cached_groups[id(candidates)] = candidates, groups
        return groups

    def _order_group(
        self,
        route: Route,
        group: BalancedGroup,
        affinity: Affinity | None,
        now: float,
        tokens: int,
        readable: Readable,
    ) -> list[Candidate]:
        pinned = None if affinity is None else self._pinned_place(route, group.number, affinity)
        if affinity is not None and readable:
            pinned = _member_with_most_cached(group.keys, pinned, readable)
        loads = GroupLoads(self.loads, group.targets, group.keys, now, tokens, pinned)
        order = RULES[route.balance](group.weights, loads, self._random)
        if affinity is not None:
            if pinned not in group.keys or not group.weights[at := group.keys.index(pinned)]:
                _put_overloaded_last(order, group.weights, loads)
            elif _keeps_pin(route, affinity, at, group.weights, loads):
                order.remove(at)
                order.insert(0, at)
            self._note_pin(route, group.number, group.keys[order[0]], affinity)
        members = group.members
        return [members[at] for at in order]

    def pinned_places(self, plan: Plan, affinity: Affinity | None) -> tuple[bytes | None, ...]:
        """Return the members that have the conversation, one for each group of ``plan``."""
        if affinity is None or plan.route is None:
            return ()
        return tuple(
            self._pinned_place(plan.route, group.number, affinity) for group in self._groups_of(plan.candidates)
        )

    def is_warm(self, plan: Plan, target: Target, affinity: Affinity | None) -> bool:
        """Return whether the provider of ``target`` probably caches the conversation's prompt.

        If it is briefly overloaded, an immediate second attempt is then worthwhile (openclaw/openclaw#126843)."""
        if affinity is None or plan.route is None:
            return False
        group = next((one.group for one in plan.candidates if one.target is target), None)
        return group is not None and self._pinned_place(plan.route, group, affinity) == target.identity.place

    def record_landing(
        self, plan: Plan, target: Target, affinity: Affinity | None, outcomes: Sequence[Outcome] = ()
    ) -> Landing | None:
        """Pin the conversation to ``target``, whose response goes to the client after ``outcomes``.

        ``plan`` is the result of ``arrange``. Return the last counted landing."""
        route, landing = plan.route, None
        if affinity is None or route is None or not has_choice(plan):
            return None
        one = next((one for one in plan.candidates if one.target is target), None)
        if one is None:
            return None
        for number, group in groupby(plan.candidates, _GROUP):
            members = list(group)
            if len(members) > 1 and number <= one.group:
                pinned = self._pinned_place(route, number, affinity)
                if pinned is not None or number == one.group:
                    landing = _landing(pinned, members, target, outcomes)
                    self.landings[route.name, landing] += 1
                if number == one.group and one.weight:
                    self._pin(route, one, affinity, is_unexpected=one is not members[0])
        return landing

    def _pinned_place(self, route: Route, group: int, affinity: Affinity) -> bytes | None:
        """Return the identity of the member that has the conversation."""
        return self._pins.read(_pin_key(affinity, route, group))

    def _pin(self, route: Route, one: Candidate, affinity: Affinity, *, is_unexpected: bool) -> None:
        """Pin the conversation to ``one``. With ``is_unexpected``, other gateways do not know it from ``arrange``."""
        place = one.target.identity.place
        self._pins.update(_pin_key(affinity, route, one.group), lambda before, now: place, affinity.lifetime)
        if is_unexpected:
            self._note_pin(route, one.group, place, affinity)

    def _note_pin(self, route: Route, group: int, place: bytes, affinity: Affinity) -> None:
        if self._notes is not None:
            self._notes.write(_PIN, _pin_key(affinity, route, group), place.hex(), affinity.lifetime)


def has_choice(plan: Plan) -> bool:
    """Return whether any group of ``plan`` has several members."""
    candidates = plan.candidates
    several = len(candidates) > 1
    return several and (
        candidates[0].group == candidates[-1].group or len(set(map(_GROUP, candidates))) < len(candidates)
    )


def _member_with_most_cached(places: Sequence[bytes], pinned: bytes | None, readable: Readable) -> bytes | None:
    """Return the place that caches most of the prompt, by default the ``pinned`` one."""
    most = max(readable.get(place, 0) for place in places)
    if most == 0 or readable.get(pinned or b"", 0) == most:
        return pinned
    return next(place for place in places if readable.get(place, 0) == most)


def _pin_key(affinity: Affinity, route: Route, group: int) -> bytes:
    """Return the key of a conversation's pin. Each group has its own: its cache may still be warm after an outage."""
    digest = hashlib.blake2b(repr((affinity.key, route.name, group)).encode(), digest_size=16 - OWNER).digest()
    return affinity.key[:OWNER] + digest


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
    reasons = (past.error.reason for past in outcomes if past.target.identity.place == pinned)
    return next(reasons, None) or ("out" if pinned == places[0] else "busy")


def _put_overloaded_last(order: list[int], weights: Sequence[float], loads: GroupLoads) -> None:
    """Move overloaded members to the end for new conversations: pins concentrate load
    (tinfoilsh/confidential-model-router#403)."""
    if loads.loads.counts.count(loads.keys[order[0]]) > _FEW:
        answers = loads.open_answers
        share = _HOT * sum(answers) / (sum(weights) or 1)
        order.sort(key=lambda at: answers[at] > max(share * weights[at], _FEW))


def _keeps_pin(route: Route, affinity: Affinity, at: int, weights: Sequence[float], loads: GroupLoads) -> bool:
    """Return whether a conversation stays with its pinned member, number ``at``.

    It leaves a crowded member if only its beginning identifies it, and one that costs more than another although it
    caches the prompt."""
    if route.balance == "cheapest" and not is_cheapest(at, weights, loads):
        return False
    return affinity.source != "beginning" or not _is_crowded(at, weights, loads)


def _is_crowded(pinned: int, weights: Sequence[float], loads: GroupLoads) -> bool:
    if loads.loads.counts.count(loads.keys[pinned]) <= _CROWD:
        return False
    answers = loads.open_answers
    others = (sum(answers) - answers[pinned]) / (sum(weights) - weights[pinned] or 1)
    return answers[pinned] > _CROWD + _HOT * others * weights[pinned]
