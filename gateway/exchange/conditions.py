"""The conditions of a request's plan at the moment when its next step is decided."""

import random

from gateway.exchange.context import ExchangeContext
from gateway.routing.plan import Outage, Plan
from gateway.routing.target import Target


class PlaceConditions:
    """What the service knows of the places of ``plan``, for the client of ``context``: a ``Conditions``."""

    def __init__(self, context: ExchangeContext, plan: Plan) -> None:
        self._health = context.service.health
        self._credential = context.asked.credential
        self._plan = plan

    @property
    def now(self) -> float:
        return self._health.clock()

    def outage(self, target: Target, *, alone: bool) -> Outage | None:
        return self._health.outage(target, self._credential, alone=alone)

    def may_add(self, target: Target) -> bool:
        return self._health.may_add(target)

    def is_warm(self, target: Target) -> bool:
        return False

    def jitter(self) -> float:
        return random.random()
