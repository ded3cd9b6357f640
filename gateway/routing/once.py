"""The policy that every plan falls back on: one attempt at the first target, and no other."""

from collections.abc import Sequence

from gateway.routing.plan import GiveUp, Outcome, Plan, Send, Stage, Step


class Once:
    """Sends once, and gives up with what the first target's provider has answered last."""

    def next(self, plan: Plan, outcomes: Sequence[Outcome]) -> Step:
        if not outcomes:
            return Send(plan.targets[0])
        sent = [outcome for outcome in outcomes if outcome.stage is not Stage.PREPARING]
        return GiveUp((sent or outcomes[:1])[-1].failed)


ONCE = Once()
