"""Several rules as one policy."""

from collections.abc import Sequence

import attrs

from gateway.routing.plan import Conditions, Outcome, Plan, Policy, PolicyRule, Step


@attrs.frozen(repr=False)
class InOrder:
    """Asks ``rules`` in turn, and takes the first step that one of them says; ``otherwise`` decides where none does."""

    rules: tuple[PolicyRule, ...]
    otherwise: Policy

    def next(self, plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Step:
        for rule in self.rules:
            if (step := rule.next(plan, outcomes, conditions)) is not None:
                return step
        return self.otherwise.next(plan, outcomes, conditions)
