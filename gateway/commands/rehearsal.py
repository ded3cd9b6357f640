"""Simulates the attempts of a request with the real policy, for ``trigate explain``; sends nothing.

Targets fail as the user assumes. Simulated time passes for waits and timeouts. Failures have their usual effect: a
rate-limited target, for example, is in cooldown for some time.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from gateway.config.settings import Config
from gateway.health.health import Health
from gateway.routing.fallback import has_untried_target
from gateway.routing.plan import GiveUp, Outage, Outcome, Plan, Stage
from gateway.routing.target import Target
from streams.events import UNAVAILABLE, ErrorInfo, ErrorKind, FailureReason

KINDS: Final[Mapping[FailureReason, ErrorKind]] = {
    "rate_limited": "rate_limited",
    "quota": "rate_limited",
    "overloaded": "overloaded",
    "server_error": "upstream",
    "timeout": "timeout",
    "connection": "upstream",
    "bad_answer": "upstream",
    "credential": "upstream",
    "gone": "not_found",
    "context_too_long": "invalid_request",
    "content_filter": "invalid_request",
    "invalid": "invalid_request",
}
"""The kind of error that a client gets for each reason."""

HEALTH: Final = "trigate.health"
"""The logger of changes in the state of targets."""

MOST: Final = 200  # steps: more than any configuration allows


@attrs.frozen
class RehearsedAttempt:
    """A simulated request to ``target`` after a ``wait`` of at most so many seconds.

    ``reason`` is its failure, ``None`` for success; ``took`` is its known duration in seconds. ``in_cooldown``: the
    target gets the request although it is in cooldown."""

    target: Target
    wait: float
    reason: FailureReason | None
    took: float = 0.0
    in_cooldown: bool = False


@attrs.frozen
class Rehearsal:
    """The simulated ``attempts`` in order, and the error that the client gets if all failed.

    ``not_tried`` are the targets for which a timeout left no time."""

    attempts: tuple[RehearsedAttempt, ...]
    error: ErrorInfo | None
    not_tried: tuple[Target, ...] = ()
    deadline_exceeded: bool = False

    @property
    def seconds(self) -> float:
        """The time until the client's response, without the response times of providers."""
        return sum(one.wait + one.took for one in self.attempts)


@attrs.define
class SupposedConditions:
    """The conditions of a simulated request, with its own clock ``now`` and ``health``; other targets are ``out``."""

    out: Mapping[str, Outage]
    now: float = 0.0
    health: Health = attrs.field(default=attrs.Factory(lambda self: Health(lambda: self.now), takes_self=True))

    def outage(self, target: Target, *, alone: bool) -> Outage | None:
        known = self.known_outage(target)
        if known is not None and (not alone or known.reason == "rate_limited"):
            return known
        return self.health.outage(target, None, alone=alone)

    def known_outage(self, target: Target) -> Outage | None:
        """Return the outage of ``target`` that has not ended yet."""
        known = self.out.get(target.place)
        return known if known is not None and known.until > self.now else None

    def may_add(self, target: Target) -> bool:
        return self.health.may_add(target)

    def is_warm(self, target: Target) -> bool:
        return False

    def jitter(self) -> float:
        """Return the factor for the longest possible wait."""
        return 1.0


@contextlib.contextmanager
def _silence_log() -> Iterator[None]:
    """Disable the log of target states, because the failures are simulated."""
    log = logging.getLogger(HEALTH)
    disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = disabled


@_silence_log()
def rehearse(
    plan: Plan, supposed: Mapping[str, FailureReason], config: Config, out: Mapping[str, Outage] | None = None
) -> Rehearsal:
    """Simulate a request with ``plan``, where targets are ``out`` or fail as ``supposed``, and all others succeed."""
    conditions = SupposedConditions(out or {})
    conditions.health.apply_config(config)
    plan = attrs.evolve(plan, deadline=plan.retries.deadline)
    attempts: list[RehearsedAttempt] = []
    outcomes: list[Outcome] = []
    for _ in range(MOST):
        step = plan.policy.next(plan, outcomes, conditions)
        if isinstance(step, GiveUp):
            late = conditions.now >= plan.deadline
            tried = {one.target.place for one in attempts}
            rest = (one for one in plan.candidates if one.target.place not in tried and one.when >= UNAVAILABLE)
            left = tuple(one.target for one in rest) if late else ()
            return Rehearsal(tuple(attempts), step.error, left, late)
        conditions.now += step.after
        answer = conditions.health.begin(step.target, None, added=bool(outcomes))
        reason = supposed.get(step.target.place)
        out_now = conditions.known_outage(step.target) is not None
        if reason is None:
            return Rehearsal((*attempts, RehearsedAttempt(step.target, step.after, None, in_cooldown=out_now)), None)
        took = _content_timeout(plan, outcomes, step.target, conditions.now) if reason == "timeout" else 0.0
        conditions.now += took
        error = ErrorInfo(KINDS[reason], f"{step.target.place} failed, as assumed", reason=reason, concerns_all=True)
        answer.mark_failed(error)
        answer.close()
        attempts.append(RehearsedAttempt(step.target, step.after, reason, took, out_now))
        outcomes.append(Outcome(step.target, error, Stage.SENDING))
    raise AssertionError("the policy does not end")


def _content_timeout(plan: Plan, outcomes: list[Outcome], target: Target, now: float) -> float:
    """Return the seconds after which a streamed attempt without content times out."""
    left = max(0.0, plan.deadline - now)
    patience = None if plan.route is None else plan.route.first_content
    if patience is not None and has_untried_target(plan, outcomes, target):
        return min(patience, left)
    return min(target.entry.timeouts.first_byte or left, left)
