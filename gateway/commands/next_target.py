"""The target of the next request at a running gateway, by the real policy, for ``trigate explain``; sends nothing."""

from collections.abc import Mapping

import attrs

from gateway.routing.plan import Outage, Plan, Step
from gateway.routing.target import Target


@attrs.frozen
class ReportedConditions:
    """The conditions that a gateway has reported: targets are ``out``, by place, until so many seconds from now."""

    out: Mapping[str, Outage]
    now: float = 0.0

    def outage(self, target: Target, *, alone: bool) -> Outage | None:
        known = self.out.get(target.place)
        return known if known is not None and (not alone or known.reason == "rate_limited") else None

    def may_add(self, target: Target) -> bool:
        return True

    def is_warm(self, target: Target) -> bool:
        return False

    def jitter(self) -> float:
        """Return the factor for the longest possible wait."""
        return 1.0


def next_step(plan: Plan, out: Mapping[str, Outage]) -> Step:
    """Return the first step of a request with ``plan``: the target that gets it, or the client's error."""
    plan = attrs.evolve(plan, deadline=plan.retries.deadline)
    return plan.policy.next(plan, (), ReportedConditions(out))
