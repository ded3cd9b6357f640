"""The walk of a plan without sending anything: each place answers as somebody supposes, and the real policy decides.

Time passes as it would: for a wait, and for a place that says nothing until patience with it is over. What a supposed
failure does to a place, it does here, too: one that is rate limited is out for a while.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from gateway.config.settings import Config
from gateway.health.health import Health
from gateway.routing.fallback import may_go_on
from gateway.routing.plan import GiveUp, Outage, Outcome, Plan, Stage
from gateway.routing.target import Target
from streams.events import ErrorInfo, ErrorKind, FailureReason

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
"""The kind of error that a client sees of each."""

HEALTH: Final = "trigate.health"
"""The logger of places that go out and come back."""

MOST: Final = 200  # steps, beyond every number of attempts that a configuration may have


@attrs.frozen
class RehearsedAttempt:
    """A request that would be sent to ``target`` after a ``wait`` of at most so many seconds, and what would become of
    it: ``None`` for an answer. ``took`` are the seconds that are known to pass."""

    target: Target
    wait: float
    reason: FailureReason | None
    took: float = 0.0


@attrs.frozen
class Rehearsal:
    """The ``attempts`` in order, and the client's error where none is answered."""

    attempts: tuple[RehearsedAttempt, ...]
    failed: ErrorInfo | None

    @property
    def seconds(self) -> float:
        """The time until the client is answered, less what providers take to answer or refuse."""
        return sum(one.wait + one.took for one in self.attempts)


@attrs.define
class Clock:
    """A clock that goes when it is told."""

    now: float = 0.0


@attrs.define
class SupposedConditions:
    """The conditions of a request that has ``clock`` and ``health`` to itself; further places are ``out``, by their
    names."""

    clock: Clock
    health: Health
    out: Mapping[str, Outage]

    @property
    def now(self) -> float:
        return self.clock.now

    def outage(self, target: Target, *, alone: bool) -> Outage | None:
        known = self.out.get(target.place)
        if known is not None and known.until > self.clock.now and not alone:
            return known
        return self.health.outage(target, None, alone=alone)

    def may_add(self, target: Target) -> bool:
        return self.health.may_add(target)

    def is_warm(self, target: Target) -> bool:
        return False

    def jitter(self) -> float:
        """The longest of all waits."""
        return 1.0


def rehearse(
    plan: Plan, supposed: Mapping[str, FailureReason], config: Config, out: Mapping[str, Outage] | None = None
) -> Rehearsal:
    """The walk of ``plan`` from moment 0 on, where places are ``out`` or fail as ``supposed``, by their names, and all
    others answer."""
    with _unlogged():
        return _rehearse(plan, supposed, config, out or {})


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """While it is open the log does not tell of places that are out: nothing of it has happened."""
    log = logging.getLogger(HEALTH)
    disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = disabled


def _rehearse(
    plan: Plan, supposed: Mapping[str, FailureReason], config: Config, out: Mapping[str, Outage]
) -> Rehearsal:
    clock = Clock()
    conditions = SupposedConditions(clock, Health(lambda: clock.now), out)
    conditions.health.apply_config(config)
    plan = attrs.evolve(plan, deadline=plan.retries.deadline)
    attempts: list[RehearsedAttempt] = []
    outcomes: list[Outcome] = []
    for _ in range(MOST):
        step = plan.policy.next(plan, outcomes, conditions)
        if isinstance(step, GiveUp):
            return Rehearsal(tuple(attempts), step.failed)
        clock.now += step.after
        answer = conditions.health.begin(step.target, None, added=bool(outcomes))
        reason = supposed.get(step.target.place)
        if reason is None:
            return Rehearsal((*attempts, RehearsedAttempt(step.target, step.after, None)), None)
        took = _patience(plan, outcomes, step.target, clock.now) if reason == "timeout" else 0.0
        clock.now += took
        failed = ErrorInfo(KINDS[reason], f"{step.target.place} has failed, as supposed", reason=reason)
        answer.mark_failed(failed)
        answer.close()
        attempts.append(RehearsedAttempt(step.target, step.after, reason, took))
        outcomes.append(Outcome(step.target, failed, Stage.SENDING))
    raise AssertionError("a policy that never ends")


def _patience(plan: Plan, outcomes: list[Outcome], target: Target, now: float) -> float:
    """Seconds until a streamed attempt that says nothing is over."""
    left = max(0.0, plan.deadline - now)
    patience = None if plan.route is None else plan.route.first_content
    if patience is not None and may_go_on(plan, outcomes, target):
        return min(patience, left)
    return min(target.entry.timeouts.first_byte or left, left)
