"""Combines several rules to one policy."""

from collections.abc import Sequence

import attrs

from gateway.routing.plan import Conditions, Outcome, Plan, Policy, PolicyRule, Step


@attrs.frozen(repr=False)
class InOrder:
    """Uses the step of the first of ``rules`` that returns one, otherwise the step of ``otherwise``."""

    rules: tuple[PolicyRule, ...]
    otherwise: Policy

    def next(self, plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Step:
        for rule in self.rules:
            if (step := rule.next(plan, outcomes, conditions)) is not None:
                return step
        return self.otherwise.next(plan, outcomes, conditions)
