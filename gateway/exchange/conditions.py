"""The current conditions of a request's plan, for its next step."""

import random

from gateway.balancing.affinity import Affinity
from gateway.exchange.context import ExchangeContext
from gateway.routing.plan import Outage, Plan
from gateway.routing.target import Target


def single_target(context: ExchangeContext, plan: Plan) -> Target:
    """Return the target of ``plan`` for a request that cannot be sent twice: the first one that is available, if
    possible one without an exhausted budget."""
    if len(plan.candidates) == 1:
        return plan.first
    conditions, allowances = TargetConditions(context, plan), context.service.allowances
    available = [one for one in plan.targets if conditions.outage(one, alone=False) is None]
    client = context.client_request.client
    return next((one for one in available if not allowances.is_exhausted(client, one)), (*available, plan.first)[0])


class TargetConditions:
    """The ``Conditions`` of a plan's targets: outages, retry budgets and warm prompt caches.

    ``affinity`` is the request's conversation."""

    def __init__(self, context: ExchangeContext, plan: Plan, affinity: Affinity | None = None) -> None:
        self._balancer = context.service.balancer
        self._affinity = affinity
        self._health = context.service.health
        self._forwarded_credential = context.forwarded_credential
        self._client = context.client_request.client
        self._plan = plan
        self._attempt_log = context.attempt_log

    @property
    def now(self) -> float:
        return self._health.clock()

    def outage(self, target: Target, *, alone: bool) -> Outage | None:
        outage = self._health.outage(target, self._forwarded_credential(target), alone=alone, client=self._client)
        if outage is None and not alone and self._health.reported_limits.places:
            return self._reported_outage(target)
        return outage

    def _reported_outage(self, target: Target) -> Outage | None:
        """Return the outage of ``target`` according to the rate limits that its provider reported.

        Returns ``None`` if no other target is available and untried (openai/codex#32341)."""
        reported = self._health.reported_limits
        outage = reported.outage(target.identity.place)
        if outage is None:
            return None
        tried_places = self._attempt_log.places
        for candidate in self._plan.candidates:
            other = candidate.target
            if other is target or other.place in tried_places or outage.reason not in candidate.when:
                continue
            if reported.outage(other.identity.place) is not None:
                continue
            if self._health.outage(other, self._forwarded_credential(other), client=self._client) is None:
                return outage
        return None

    def may_add(self, target: Target) -> bool:
        return self._health.may_add(target, self._client)

    def is_warm(self, target: Target) -> bool:
        return self._balancer.is_warm(self._plan, target, self._affinity)

    def jitter(self) -> float:
        return random.random()
