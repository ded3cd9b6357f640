"""The policy of all plans: the places in their order, each once, and then again from the first after a wait."""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final, Literal, TypeAlias

from gateway.routing.most_useful import all_out, most_useful
from gateway.routing.plan import (
    Candidate,
    Conditions,
    GiveUp,
    Outage,
    Outcome,
    Plan,
    Send,
    Stage,
    Step,
    requests_sent,
)
from gateway.routing.target import Target
from streams.events import UNAVAILABLE, FailureReason

BACKOFF, LONGEST_BACKOFF = 0.5, 8.0
"""Seconds within which a place is asked again the first time, and the most that doubling makes of them. The moment is
random in all of that time, so that clients that failed together do not come together (Helicone/helicone#5687)."""

ON_THE_SPOT = 1.0
"""Seconds within which an overloaded place that has the conversation in its cache is asked once more before another
one, for which all of it would be new (openclaw/openclaw#126843)."""

_OF_THE_REQUEST: Final[frozenset[FailureReason]] = frozenset(("context_too_long", "content_filter"))
"""Reasons that hold for every place, but for those that are there for them."""


_Cause: TypeAlias = FailureReason | Literal["unprepared"] | None
_GROUP: Final = attrgetter("group")


class Fallback:
    """Asks the candidates of a plan in their order, then again from the first, as far as its retries allow.

    A place that is out is passed over. Where all are, those are asked that fail often and answer often, because a route
    is not to be worse than retries; where there are none, one request at a time waits for the first that is due."""

    def next(self, plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Step:
        if not outcomes:
            return _first(plan, conditions)
        if outcomes[-1].stage is Stage.PREPARING:
            return _unprepared(plan, outcomes, conditions)
        if _is_final(plan, outcomes, conditions):
            return GiveUp(most_useful(outcomes))
        return _other(plan, outcomes, conditions) or _again(plan, outcomes, conditions) or GiveUp(most_useful(outcomes))


FALLBACK: Final = Fallback()


def may_go_on(plan: Plan, outcomes: Sequence[Outcome], target: Target) -> bool:
    """Whether another place than ``target``, which is being asked, is left untried for the request."""
    asked = {id(outcome.target) for outcome in outcomes} | {id(target)}
    left = requests_sent(outcomes) + 1 < plan.retries.attempts
    return left and any(id(one.target) not in asked and UNAVAILABLE & one.when for one in plan.candidates)


def _first(plan: Plan, conditions: Conditions) -> Step:
    if len(plan.candidates) == 1:
        target = plan.first
        outage = _outage(plan, target, conditions)
        return Send(target) if outage is None else _wait_or_refuse(plan, [(target, outage)], conditions)
    outages: list[tuple[Target, Outage]] = []
    for candidate in _eligible(plan, (), conditions):
        if (outage := _outage(plan, candidate.target, conditions)) is None:
            return Send(candidate.target)
        outages.append((candidate.target, outage))
    for target, outage in outages:
        if outage.unsteady:
            return Send(target)
    return _wait_or_refuse(plan, outages, conditions)


def _outage(plan: Plan, target: Target, conditions: Conditions) -> Outage | None:
    alone = len(plan.candidates) == 1
    return conditions.outage(target, alone=alone) if plan.heeds_outages or not alone else None


def _wait_or_refuse(plan: Plan, outages: Sequence[tuple[Target, Outage]], conditions: Conditions) -> Step:
    """The step where all places are out."""
    now = conditions.now
    due, until = min(((target, outage) for target, outage in outages), key=lambda pair: pair[1].until)
    wait = until.until - now
    if len(plan.candidates) > 1 and not until.tried and _fits(plan, wait, now):
        return Send(due, after=max(0.0, wait))
    return GiveUp(all_out(outages, now))


def _fits(plan: Plan, wait: float, now: float) -> bool:
    return wait <= plan.retries.wait and now + wait < plan.deadline


def _unprepared(plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Step:
    """The step after a target that cannot be given the request as it is: another may (BerriAI/litellm#4285)."""
    asked = {id(outcome.target) for outcome in outcomes}
    for candidate in plan.candidates:
        if id(candidate.target) not in asked and _outage(plan, candidate.target, conditions) is None:
            return Send(candidate.target)
    return GiveUp(most_useful(outcomes))


def _is_final(plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> bool:
    reason = outcomes[-1].failed.reason
    if reason is None or reason == "invalid":
        return True
    return requests_sent(outcomes) >= plan.retries.attempts or conditions.now >= plan.deadline


def _eligible(plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Iterator[Candidate]:
    """The candidates to which the failures so far lead, in order. One is led to by what failed in front of it: in an
    earlier group or in its own."""
    binding = _OF_THE_REQUEST.intersection(outcome.failed.reason for outcome in outcomes)
    if binding:
        yield from (one for one in plan.candidates if binding <= one.when)
        return
    front = plan.candidates[0].group
    for candidate in plan.candidates:
        if candidate.group != front:
            break
        yield candidate
    came: Counter[_Cause] = Counter()  # of how many places, group by group: a client may list names of large routes
    for number, group in groupby(plan.candidates, _GROUP):
        members = [(one, _causes(one.target, plan, outcomes, conditions)) for one in group]
        for _, causes in members:
            came.update(causes)
        if number != front:
            yield from (one for one, own in members if _leads_to(one, came, own))


def _causes(target: Target, plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Collection[_Cause]:
    """Why ``target`` is not to be asked, or has failed."""
    failed = [outcome for outcome in outcomes if outcome.target is target]
    if failed:
        return {"unprepared" if one.stage is Stage.PREPARING else one.failed.reason for one in failed}
    outage = _outage(plan, target, conditions)
    return () if outage is None else (outage.reason,)


def _leads_to(candidate: Candidate, came: Mapping[_Cause, int], own: Collection[_Cause]) -> bool:
    """Whether what came of others than ``candidate`` is a reason to ask it. Its ``own`` causes are counted, too."""
    causes: tuple[_Cause, ...] = ("unprepared", *candidate.when)
    return any(came.get(cause, 0) > (cause in own) for cause in causes)


def _other(plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Step | None:
    """The first place that has not been asked. One that was pinned for its cache is asked once more before it."""
    last = outcomes[-1]
    if _is_blip(last, outcomes) and conditions.is_warm(last.target) and conditions.may_add(last.target):
        return Send(last.target, after=ON_THE_SPOT * conditions.jitter())
    asked = {id(outcome.target) for outcome in outcomes}
    unsteady: Target | None = None
    for candidate in _eligible(plan, outcomes, conditions):
        target = candidate.target
        if id(target) in asked:
            continue
        outage = _outage(plan, target, conditions)
        if outage is not None and (unsteady is not None or not outage.unsteady):
            continue
        if requests_sent(outcomes) and not conditions.may_add(target):
            continue
        if outage is None:
            return Send(target)
        unsteady = target
    return None if unsteady is None else Send(unsteady)


def _is_blip(last: Outcome, outcomes: Sequence[Outcome]) -> bool:
    """The first failure of a request was that of an overloaded place which tells no wait."""
    return len(outcomes) == 1 and last.failed.reason == "overloaded" and (last.failed.wait or 0) <= ON_THE_SPOT


def _again(plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Step | None:
    """The place to be asked again, of those that have been asked: the one that is due first, of several the one that
    was asked least."""
    now, backoff = conditions.now, _backoff(plan, outcomes, conditions)
    found: tuple[float, int, Target] | None = None
    for candidate in _eligible(plan, outcomes, conditions):
        target = candidate.target
        mine = [outcome for outcome in outcomes if outcome.target is target]
        if not mine or mine[-1].stage is Stage.WAITING or mine[-1].failed.reason in ("credential", "gone"):
            continue
        if not conditions.may_add(target):
            continue
        wait = max(backoff, mine[-1].failed.wait or 0.0)
        if (outage := _outage(plan, target, conditions)) is not None:
            if outage.reason == "rate_limited":
                wait = max(wait, outage.until - now)
            elif not outage.unsteady:  # it has failed too often for one request to wait for it
                continue
        if _fits(plan, wait, now) and (found is None or (wait, len(mine)) < found[:2]):
            found = wait, len(mine), target
    return None if found is None else Send(found[2], after=found[0])


def _backoff(plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> float:
    places = len({id(outcome.target) for outcome in outcomes})
    return conditions.jitter() * min(LONGEST_BACKOFF, BACKOFF * math.ldexp(1.0, min(10, len(outcomes) - places)))
