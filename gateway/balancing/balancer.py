"""The order in which the members of a route's groups are asked for one request, and what is remembered of it."""

import hashlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final, Literal, TypeAlias

from gateway.balancing.affinity import Affinity
from gateway.balancing.loads import MeasuredLoads, member_of
from gateway.balancing.pins import LocalPins, Pin, Pins
from gateway.balancing.rules import RULES, Random, load_of
from gateway.config.settings import Route
from gateway.routing.plan import Candidate, Outcome
from streams.events import FailureReason

Landing: TypeAlias = Literal["hit", "new", "out", "busy", "absent"] | FailureReason
"""Where a conversation's turn was answered: by the member that has its cache (``hit``), by any for want of one
(``new``), or by another one: the pinned member failed (for which reason), was ``out``, had too many answers open
(``busy``), or is no candidate any more (``absent``)."""

_GROUP: Final = attrgetter("group")

_HOT: Final = 2.0
"""Times the mean of open answers, for their weights, beyond which a member takes no new conversations."""
_FEW: Final = 3
"""Open answers that are never too many."""
_CROWD: Final = 8
"""Open answers beyond twice those of the least busy member that a conversation without a name may lead to. Requests
that begin alike are turns of one conversation, or a thousand copies of one prompt."""


class Balancer:
    """Orders the members of groups. One for all requests of a process; it outlives configurations.

    ``landings`` counts turns of conversations by their route's name and where they were answered."""

    def __init__(
        self, loads: MeasuredLoads | None = None, pins: Pins | None = None, chance: Random = random.random
    ) -> None:
        self.loads = MeasuredLoads() if loads is None else loads
        self.landings: Counter[tuple[str, Landing]] = Counter()
        self._pins = LocalPins() if pins is None else pins
        self._random = chance

    def arrange(
        self, route: Route, candidates: Sequence[Candidate], affinity: Affinity | None, now: float
    ) -> tuple[Candidate, ...]:
        """``candidates`` with the members of each group in the order in which they should be asked. Targets that are
        out keep their places: who walks the plan passes over them."""
        if not has_choice(candidates):
            return tuple(candidates)
        found: list[Candidate] = []
        for _, members in _groups(candidates):
            found.extend(members if len(members) < 2 else self._ordered(route, members, affinity, now))
        return tuple(found)

    def _ordered(
        self, route: Route, members: list[Candidate], affinity: Affinity | None, now: float
    ) -> Sequence[Candidate]:
        order = RULES[route.balance](members, self.loads, now, self._random)
        if affinity is None:
            return order
        pinned = _find(self._pinned(route, members[0].group, affinity, now), members)
        if pinned is None or not pinned.weight:
            return self._with_hot_last(order)
        if affinity.source == "beginning" and self._is_crowded(pinned, members):
            return order
        return [pinned, *(one for one in order if one is not pinned)]

    def _with_hot_last(self, order: list[Candidate]) -> list[Candidate]:
        """For a new conversation: pins concentrate load (tinfoilsh/confidential-model-router#403)."""
        answers = sum(self.loads.open_answers(one.target) for one in order)
        share = _HOT * answers / (sum(one.weight for one in order) or 1)

        def is_hot(one: Candidate) -> bool:
            return self.loads.open_answers(one.target) > max(share * one.weight, _FEW)

        return sorted(order, key=is_hot) if is_hot(order[0]) else order

    def _is_crowded(self, pinned: Candidate, members: Sequence[Candidate]) -> bool:
        least = min(load_of(one, self.loads) for one in members)
        return self.loads.open_answers(pinned.target) > _CROWD + _HOT * least * pinned.weight

    def is_warm(self, route: Route, one: Candidate, affinity: Affinity | None, now: float) -> bool:
        """Whether ``one`` probably has the conversation's prompt in its cache: worth a second try on the spot where it
        is overloaded for a moment (openclaw/openclaw#126843)."""
        pin = None if affinity is None else self._pinned(route, one.group, affinity, now)
        return pin is not None and pin.member == member_of(one.target)

    def landed(
        self,
        route: Route,
        candidates: Sequence[Candidate],
        one: Candidate,
        affinity: Affinity | None,
        now: float,
        outcomes: Sequence[Outcome] = (),
    ) -> None:
        """The answer of ``one`` goes to the client, after ``outcomes``: its cache has the conversation from now on.
        ``candidates`` as ``arrange`` gave them."""
        if affinity is None or not has_choice(candidates):
            return
        for group, members in _groups(candidates):
            if len(members) < 2 or group > one.group:
                continue
            pin = self._pinned(route, group, affinity, now)
            if group == one.group or pin is not None:
                self.landings[route.name, _landing(pin, members, one, outcomes)] += 1
        members = [other for other in candidates if other.group == one.group]
        if len(members) > 1 and one.weight:
            pin = Pin(member_of(one.target), now + affinity.lifetime)
            self._pins.put(_pin_key(affinity, route, one.group), pin, now)

    def _pinned(self, route: Route, group: int, affinity: Affinity, now: float) -> Pin | None:
        return self._pins.get(_pin_key(affinity, route, group), now)


def has_choice(candidates: Sequence[Candidate]) -> bool:
    """Whether any group has several members, so that there is something to balance."""
    return len(candidates) > 1 and len(set(map(_GROUP, candidates))) < len(candidates)


def _groups(candidates: Sequence[Candidate]) -> Iterator[tuple[int, list[Candidate]]]:
    return ((group, list(members)) for group, members in groupby(candidates, _GROUP))


def _pin_key(affinity: Affinity, route: Route, group: int) -> bytes:
    """Each group has a pin of its own: once the first group is back, its cache may still be warm."""
    return hashlib.blake2b(repr((affinity.key, route.name, group)).encode(), digest_size=16).digest()


def _find(pin: Pin | None, members: Sequence[Candidate]) -> Candidate | None:
    if pin is None:
        return None
    return next((one for one in members if member_of(one.target) == pin.member), None)


def _landing(pin: Pin | None, members: Sequence[Candidate], one: Candidate, outcomes: Sequence[Outcome]) -> Landing:
    if pin is None:
        return "new"
    pinned = _find(pin, members)
    if pinned is None:
        return "absent"
    if member_of(one.target) == pin.member:
        return "hit"
    failed = next((past.failed.reason for past in outcomes if member_of(past.target) == pin.member), None)
    return failed or ("out" if pinned is members[0] else "busy")
