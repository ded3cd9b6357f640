"""Settable conditions for decisions of a routing policy."""

from collections.abc import Collection, Mapping

import attrs

from gateway.routing.plan import Outage
from gateway.routing.target import Target


@attrs.define
class Moment:
    """The conditions of one decision. ``out`` has outages by target, ``full`` the targets without budget."""

    now: float = 100.0
    out: Mapping[str, Outage] = attrs.field(factory=dict)
    warm: Collection[str] = ()
    random: float = 1.0
    full: Collection[str] = ()

    def outage(self, target: Target, *, alone: bool) -> Outage | None:
        return self.out.get(target.place)

    def may_add(self, target: Target) -> bool:
        return target.place not in self.full

    def is_warm(self, target: Target) -> bool:
        return target.place in self.warm

    def jitter(self) -> float:
        return self.random
