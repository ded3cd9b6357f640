"""The policy of requests with a single target: one attempt."""

from collections.abc import Sequence

from gateway.routing.plan import Conditions, GiveUp, Outcome, Plan, Send, Stage, Step


class Once:
    """Sends the request once, and gives up with the failure of the provider's last response."""

    def next(self, plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Step:
        if not outcomes:
            return Send(plan.first)
        sent = [outcome for outcome in outcomes if outcome.stage is not Stage.PREPARING]
        return GiveUp((sent or outcomes[:1])[-1].error)


ONCE = Once()
