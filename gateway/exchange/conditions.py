"""The current conditions of a request's plan, for its next step."""

import random

from gateway.balancing.affinity import Affinity
from gateway.exchange.context import ExchangeContext
from gateway.routing.plan import Outage, Plan
from gateway.routing.target import Target


class PlaceConditions:
    """The ``Conditions`` of the targets of ``plan``, for the client of ``context`` and the conversation
    ``affinity``."""

    def __init__(self, context: ExchangeContext, plan: Plan, affinity: Affinity | None = None) -> None:
        self._balancer = context.service.balancer
        self._affinity = affinity
        self._health = context.service.health
        self._passed_on = context.passed_on
        self._plan = plan
        self._tried = context.tried

    @property
    def now(self) -> float:
        return self._health.clock()

    def outage(self, target: Target, *, alone: bool) -> Outage | None:
        outage = self._health.outage(target, self._passed_on(target), alone=alone)
        return self._told(target) if outage is None and not alone and self._health.reported_limits.places else outage

    def _told(self, target: Target) -> Outage | None:
        """Return the outage of ``target`` by the limits that its provider reported, if there is another untried target
        (openai/codex#32341)."""
        told = self._health.reported_limits
        outage = told.outage(target.identity.place)
        if outage is None:
            return None
        asked = self._tried.places
        for candidate in self._plan.candidates:
            other = candidate.target
            if other is target or other.place in asked or outage.reason not in candidate.when:
                continue
            if told.outage(other.identity.place) is not None:
                continue
            if self._health.outage(other, self._passed_on(other), alone=False) is None:
                return outage
        return None

    def may_add(self, target: Target) -> bool:
        return self._health.may_add(target)

    def is_warm(self, target: Target) -> bool:
        return self._balancer.is_warm(self._plan, target, self._affinity)

    def jitter(self) -> float:
        return random.random()
