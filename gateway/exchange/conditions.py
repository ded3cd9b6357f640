"""The conditions of a request's plan at the moment when its next step is decided."""

import random

from gateway.balancing.affinity import Affinity
from gateway.exchange.context import ExchangeContext
from gateway.routing.plan import Outage, Plan
from gateway.routing.target import Target


class PlaceConditions:
    """What the service knows of the places of ``plan``, for the client of ``context`` and the conversation
    ``affinity``: a ``Conditions``."""

    def __init__(self, context: ExchangeContext, plan: Plan, affinity: Affinity | None = None) -> None:
        self._balancer = context.service.balancer
        self._affinity = affinity
        self._health = context.service.health
        self._passed_on = context.passed_on
        self._plan = plan

    @property
    def now(self) -> float:
        return self._health.clock()

    def outage(self, target: Target, *, alone: bool) -> Outage | None:
        return self._health.outage(target, self._passed_on(target), alone=alone)

    def may_add(self, target: Target) -> bool:
        return self._health.may_add(target)

    def is_warm(self, target: Target) -> bool:
        return self._balancer.is_warm(self._plan, target, self._affinity)

    def jitter(self) -> float:
        return random.random()
