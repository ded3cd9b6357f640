"""The rule that repeats a target without the part of the request that its provider rejected."""

from collections.abc import Sequence

import attrs

from gateway.routing.plan import Conditions, Outcome, Plan, Send, Stage, requests_sent

MOST = 5
"""Additional attempts at one target. Providers reject one member at a time (anthropics/claude-code#21612)."""


class RetryWithout:
    """Sends the request again without the part that the last provider ``refused``.

    Reasoning comes first, because a provider's message that rejects reasoning may look like one that names a member."""

    def next(self, plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Send | None:
        if not outcomes:
            return None
        last = outcomes[-1]
        tried = [outcome for outcome in outcomes if outcome.target is last.target]
        if last.stage is Stage.PREPARING or not last.refused or len(tried) > MOST:
            return None
        if plan.retries.attempts > 1 and requests_sent(outcomes) >= plan.retries.attempts:
            return None
        refused = attrs.evolve(last.refused, paths=()) if last.refused.reasoning else last.refused
        return Send(last.target, last.omissions.union(refused))
