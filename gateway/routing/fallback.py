"""The policy of the router's plans: tries the targets in order, once each, then again from the first after a wait."""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final, Literal, TypeAlias

import attrs

from gateway.routing.most_useful import NOT_TEMPORARY, all_unavailable_error, most_useful
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
    counts_as_retry,
    requests_sent,
)
from gateway.routing.target import Target
from streams.events import UNAVAILABLE, FailureReason

BACKOFF, LONGEST_BACKOFF = 0.5, 8.0
"""Seconds of the first backoff, and its limit after doubling. The actual wait is random between zero and the backoff,
so that clients that failed together do not return together (Helicone/helicone#5687)."""

ON_THE_SPOT = 1.0
"""Seconds of the backoff before an overloaded target with the cached conversation gets a second request; any other
target would have to process the whole conversation (openclaw/openclaw#126843)."""

MOST: Final = 5
"""Additional attempts at one target. Providers reject one member at a time (anthropics/claude-code#21612)."""

_OF_THE_REQUEST: Final[frozenset[FailureReason]] = frozenset(("context_too_long", "content_filter"))
"""Failures that every target would repeat, unless the configuration lists the failure for it."""

_Cause: TypeAlias = FailureReason | Literal["unprepared"] | None
_GROUP: Final = attrgetter("group")


def fall_back(plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Step:
    """Try the candidates of ``plan`` in order, then again from the first, within its retries.

    Unavailable targets are skipped. If all are unavailable, unsteady targets are used, which still answer some
    requests; without any, one request at a time waits for the first target that is due."""
    if not outcomes:
        return _first_step(plan, conditions)
    if (step := _retry_without(plan, outcomes)) is not None:
        return step
    if outcomes[-1].stage is Stage.PREPARING:
        return _step_if_unprepared(plan, outcomes, conditions)
    if _is_final(plan, outcomes, conditions):
        return _give_up(plan, outcomes, conditions)
    return (
        _try_another(plan, outcomes, conditions)
        or _retry(plan, outcomes, conditions)
        or _give_up(plan, outcomes, conditions)
    )


def seconds_until_due(plan: Plan, target: Target, conditions: Conditions) -> float:
    """Return the seconds until an unavailable ``target`` may get a request; zero for an unsteady one."""
    outage = _outage(plan, target, conditions)
    return 0.0 if outage is None or outage.unsteady else max(0.0, outage.until - conditions.now)


def has_untried_target(plan: Plan, outcomes: Sequence[Outcome], target: Target) -> bool:
    """Return whether a request that runs at ``target`` may still try another target."""
    asked = {id(outcome.target) for outcome in outcomes} | {id(target)}
    left = requests_sent(outcomes) + 1 < plan.retries.attempts
    return left and any(id(one.target) not in asked and UNAVAILABLE & one.when for one in plan.candidates)


def _first_step(plan: Plan, conditions: Conditions) -> Step:
    if len(plan.candidates) == 1:
        target = plan.first
        outage = _outage(plan, target, conditions)
        return Send(target) if outage is None else _wait_or_refuse(plan, [(target, outage)], conditions)
    outages: list[tuple[Target, Outage]] = []
    for candidate in _eligible_candidates(plan, (), conditions):
        if (outage := _outage(plan, candidate.target, conditions)) is None:
            return Send(candidate.target)
        outages.append((candidate.target, outage))
    for target, outage in outages:
        if outage.unsteady:
            return Send(target)
    return _wait_or_refuse(plan, outages, conditions)


def _outage(plan: Plan, target: Target, conditions: Conditions) -> Outage | None:
    alone = len(plan.candidates) == 1
    return conditions.outage(target, alone=alone) if plan.skips_unavailable or not alone else None


def _wait_or_refuse(plan: Plan, outages: Sequence[tuple[Target, Outage]], conditions: Conditions) -> Step:
    """Return the step for a request whose targets are all unavailable: wait for the first, or give up."""
    now = conditions.now
    due, until = min(((target, outage) for target, outage in outages), key=lambda pair: pair[1].until)
    wait = until.until - now
    if len(plan.candidates) > 1 and not until.tried and _wait_fits(plan, wait, now):
        return Send(due, after=max(0.0, wait))
    return GiveUp(all_unavailable_error(outages, now))


def _wait_fits(plan: Plan, wait: float, now: float) -> bool:
    return wait <= plan.retries.wait and now + wait < plan.deadline


def _retry_without(plan: Plan, outcomes: Sequence[Outcome]) -> Send | None:
    """Return the step that sends the request again without the part that the last provider ``refused``.

    Reasoning comes first, because a provider's message that rejects reasoning may look like one that names a member."""
    last = outcomes[-1]
    if last.stage is Stage.PREPARING or not last.refused:
        return None
    if len([outcome for outcome in outcomes if outcome.target is last.target]) > MOST:
        return None
    if plan.retries.attempts > 1 and requests_sent(outcomes) >= plan.retries.attempts:
        return None
    refused = attrs.evolve(last.refused, paths=()) if last.refused.reasoning else last.refused
    return Send(last.target, last.omissions.union(refused))


def _step_if_unprepared(plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Step:
    """Return the step after a request that could not be written for a target: another target may accept it
    (BerriAI/litellm#4285)."""
    asked = {id(outcome.target) for outcome in outcomes}
    for candidate in plan.candidates:
        if id(candidate.target) not in asked and _outage(plan, candidate.target, conditions) is None:
            return Send(candidate.target)
    return GiveUp(most_useful(outcomes))


def _is_final(plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> bool:
    reason = outcomes[-1].error.reason
    if reason is None or reason == "invalid":
        return True
    return requests_sent(outcomes) >= plan.retries.attempts or conditions.now >= plan.deadline


def _give_up(plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> GiveUp:
    """Return the most useful failure; the log also names the available targets that the retry budget excluded."""
    error, tried = most_useful(outcomes), {id(outcome.target) for outcome in outcomes}
    over = {id(one.target) for one in plan.candidates if not conditions.may_add(one.target)} - tried
    if not over or not counts_as_retry(outcomes):
        return GiveUp(error)
    eligible = [one.target for one in _eligible_candidates(plan, outcomes, conditions) if id(one.target) in over]
    excluded = [one.place for one in eligible if _outage(plan, one, conditions) is None]
    if not excluded:
        return GiveUp(error)
    note = f" (not tried because of the retry budget: {', '.join(excluded)})"
    return GiveUp(attrs.evolve(error, log_message=error.loggable_message + note))


def _eligible_candidates(plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Iterator[Candidate]:
    """Yield in order the candidates that the failures so far allow.

    A failure in an earlier group or in the candidate's own group allows it."""
    binding = _OF_THE_REQUEST.intersection(outcome.error.reason for outcome in outcomes)
    if binding:
        yield from (one for one in plan.candidates if binding <= one.when)
        return
    front = plan.candidates[0].group
    for candidate in plan.candidates:
        if candidate.group != front:
            break
        yield candidate
    cause_counts: Counter[_Cause] = Counter()  # targets by cause; a client may list large routes
    for number, group in groupby(plan.candidates, _GROUP):
        members = [(one, _causes(one.target, plan, outcomes, conditions)) for one in group]
        for _, causes in members:
            cause_counts.update(causes)
        if number != front:
            yield from (one for one, own in members if _is_allowed_by(one, cause_counts, own))


def _causes(target: Target, plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Collection[_Cause]:
    """Return why ``target`` is unavailable or has failed."""
    own = [outcome for outcome in outcomes if outcome.target is target]
    if own:
        return {"unprepared" if one.stage is Stage.PREPARING else one.error.reason for one in own}
    outage = _outage(plan, target, conditions)
    return () if outage is None else (outage.reason,)


def _is_allowed_by(candidate: Candidate, cause_counts: Mapping[_Cause, int], own: Collection[_Cause]) -> bool:
    """Return whether the causes of other targets allow ``candidate``. Its ``own`` causes are part of
    ``cause_counts``."""
    causes: tuple[_Cause, ...] = ("unprepared", *candidate.when)
    return any(cause_counts.get(cause, 0) > (cause in own) for cause in causes)


def _try_another(plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Step | None:
    """Return the step to the first untried target.

    A target that has the conversation in its cache gets a second request first."""
    last = outcomes[-1]
    is_warm = _is_first_overload(last, outcomes) and conditions.is_warm(last.target)
    if is_warm and conditions.may_add(last.target) and _outage(plan, last.target, conditions) is None:
        return Send(last.target, after=ON_THE_SPOT * conditions.jitter())
    tried = {id(outcome.target) for outcome in outcomes}
    unsteady: Target | None = None
    for candidate in _eligible_candidates(plan, outcomes, conditions):
        target = candidate.target
        if id(target) in tried:
            continue
        outage = _outage(plan, target, conditions)
        if outage is not None and (unsteady is not None or not outage.unsteady):
            continue
        if counts_as_retry(outcomes) and not conditions.may_add(target):
            continue
        if outage is None:
            return Send(target)
        unsteady = target
    return None if unsteady is None else Send(unsteady)


def _is_first_overload(last: Outcome, outcomes: Sequence[Outcome]) -> bool:
    """Return whether this is the request's first failure, from an overloaded target that suggested no wait."""
    return len(outcomes) == 1 and last.error.reason == "overloaded" and (last.error.wait or 0) <= ON_THE_SPOT


def _retry(plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> Step | None:
    """Return the step that repeats a target: the one that is due first, or the one with the fewest attempts."""
    now, backoff = conditions.now, _backoff(plan, outcomes, conditions)
    found: tuple[float, int, Target] | None = None
    for candidate in _eligible_candidates(plan, outcomes, conditions):
        target = candidate.target
        mine = [outcome for outcome in outcomes if outcome.target is target]
        if not mine or mine[-1].stage is Stage.WAITING or mine[-1].error.reason in NOT_TEMPORARY:
            continue
        if mine[-1].error.reason == "quota" and mine[-1].error.wait is None:  # only a payment ends it
            continue
        if len(mine) > 1 and mine[-1].error.reason == "bad_answer":  # it would probably be bad again
            continue
        if not conditions.may_add(target):
            continue
        wait = max(backoff, mine[-1].error.wait or 0.0)
        if (outage := _outage(plan, target, conditions)) is not None:
            if outage.reason == "rate_limited":
                wait = max(wait, outage.until - now)
            elif not outage.unsteady:  # it failed too often for a request to wait for it
                continue
        if _wait_fits(plan, wait, now) and (found is None or (wait, len(mine)) < found[:2]):
            found = wait, len(mine), target
    return None if found is None else Send(found[2], after=found[0])


def _backoff(plan: Plan, outcomes: Sequence[Outcome], conditions: Conditions) -> float:
    places = len({id(outcome.target) for outcome in outcomes})
    return conditions.jitter() * min(LONGEST_BACKOFF, BACKOFF * math.ldexp(1.0, min(10, len(outcomes) - places)))
