"""The policy of requests that have one place to go: one attempt at it, and no other."""

from collections.abc import Sequence

from gateway.routing.plan import Conditions, GiveUp, Outcome, Plan, Send, Stage, Step


class Once:
    """Sends once, and gives up with what the first target's provider has answered last."""

    def next(self, plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Step:
        if not outcomes:
            return Send(plan.first)
        sent = [outcome for outcome in outcomes if outcome.stage is not Stage.PREPARING]
        return GiveUp((sent or outcomes[:1])[-1].failed)


ONCE = Once()
