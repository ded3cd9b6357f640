"""The circuit of one target: whether it is unavailable, until when and why. Pure: a state and an event give the next
state.

A target is unavailable until a time that only moves later (BerriAI/litellm#40130). A provider's rate limit with a time
ends automatically. Everything else ends with a trial: one real request tests the target while others go elsewhere. A
state fits into ``SIZE`` bytes, so that processes can share it."""

import struct
from typing import Final, Literal, TypeAlias, get_args

import attrs

from gateway.config.attempts import CircuitSettings
from streams.events import FailureReason

STEP: Final = 5.0
STEPS: Final = 6
"""The failure rate covers the last ``STEPS`` times ``STEP`` seconds."""
MIN_ATTEMPTS: Final = 10
"""The fewest attempts for a failure rate."""

FIRST_COOLDOWN: Final = 5.0
"""The first cooldown in seconds after a rate limit without a time."""
LASTING_COOLDOWN: Final = 600.0
"""Seconds until a trial after an exhausted quota, a rejected credential or a missing model without a time."""
CREDENTIAL_PAUSE: Final = 10.0
"""Seconds for which a rejected credential is not sent again, even without another target."""
LONGEST_WAIT: Final = 32 * 86400.0
"""The longest accepted wait in seconds: windows last a month at most, so longer waits are mistakes."""
TRIAL_SECONDS: Final = 20
"""Seconds that other requests leave to a trial. A longer trial blocks no others, nor does that of a dead process.

It may hang since before the target recovered, or wait for a reasoning model's whole response."""
CLOCK_TOLERANCE: Final = 0.001
"""Seconds that a clock may be short of the end of a wait."""

Availability: TypeAlias = Literal["in", "out", "due", "tried"]
"""``due``: the time has passed, and the next request is the trial; ``tried``: a trial is in progress."""

RECENT_STEPS: Final = 2
"""Steps within which an unavailable target must have succeeded to be tried if all are unavailable."""
GONE_AFTER: Final = 2
"""Multiple of the setting ``failures``: consecutive failures after which a target counts as gone."""

FAILED_PROBES: Final = 2
"""Consecutive failed probes until a server is unavailable: a busy server may be late once."""

_MOST: Final = 255
_ROW: Final = struct.Struct(f"<ddQIHBBB{STEPS}h{STEPS}hI")
SIZE: Final = _ROW.size
"""The size of a packed state."""
_REASONS: Final[tuple[FailureReason | None, ...]] = (None, *get_args(FailureReason))
_NOTHING: Final = (0,) * STEPS
_LASTING_REASONS: Final[frozenset[FailureReason]] = frozenset(("rate_limited", "quota", "credential", "gone"))
"""Reasons for which a target would also reject the next request."""
_NETWORK_REASONS: Final[frozenset[FailureReason]] = frozenset(("connection", "timeout"))
"""Reasons that a gateway's own network may have caused."""


@attrs.frozen(repr=False)
class Circuit:
    """The state of one target, by one clock.

    It is unavailable ``until`` a time for ``reason``, and until ``blocked_until`` even for requests without another
    target. Without a reason, ``until`` is the end of the last outage. ``failures`` counts consecutive ones,
    ``openings`` consecutive outages from them, ``limits`` consecutive rate limits without a time. ``trial`` is the
    number of the request that tests it (0: none), exclusively until ``trial_until``. ``good`` and ``bad`` count
    attempts in the last steps, up to number ``step``."""

    until: float = 0.0
    blocked_until: float = 0.0
    trial: int = 0
    step: int = 0
    failures: int = 0
    reason: FailureReason | None = None
    openings: int = 0
    limits: int = 0
    good: tuple[int, ...] = _NOTHING
    bad: tuple[int, ...] = _NOTHING
    trial_until: int = 0

    @property
    def ends_by_itself(self) -> bool:
        """Whether the outage ends at its time without a trial."""
        return self.reason is None or self.reason == "rate_limited"

    def pack(self) -> bytes:
        """Return the state in ``SIZE`` bytes; all zeros are the state of an unknown target."""
        reason = _REASONS.index(self.reason)
        numbers = (self.failures, reason, self.openings, self.limits, *self.good, *self.bad, self.trial_until)
        return _ROW.pack(self.until, self.blocked_until, self.trial, self.step, *numbers)

    @classmethod
    def unpack(cls, row: bytes) -> "Circuit":
        until, blocked_until, trial, step, failures, reason, openings, limits, *counts = _ROW.unpack(row)
        good, bad, trial_until = tuple(counts[:STEPS]), tuple(counts[STEPS:-1]), counts[-1]
        return cls(
            until, blocked_until, trial, step, failures, _REASONS[reason], openings, limits, good, bad, trial_until
        )


CLOSED: Final = Circuit()
"""The circuit of a target without known failures."""


@attrs.frozen(eq=False, repr=False)
class Failure:
    """A failed attempt: its reason, and the wait that the provider stated.

    ``at`` is its time, ``sent`` that of the request; ``trial`` is its number if it was one."""

    reason: FailureReason
    wait: float | None
    at: float
    sent: float
    trial: int = 0


def availability(circuit: Circuit, now: float) -> Availability:
    """Return the availability of a target at the time ``now``."""
    if circuit.reason is None:
        return "in"
    if is_out(circuit, now):
        return "out"
    if circuit.ends_by_itself:
        return "in"
    return "tried" if has_trial(circuit, now) else "due"


def has_trial(circuit: Circuit, now: float) -> bool:
    """Return whether a request is testing the target, or waits to do so."""
    return circuit.trial != 0 and now < circuit.trial_until


def is_out(circuit: Circuit, now: float) -> bool:
    """Return whether the outage has not ended."""
    return now < circuit.until - CLOCK_TOLERANCE


def is_unsteady(circuit: Circuit, now: float, settings: CircuitSettings) -> bool:
    """Return whether the target succeeds between its failures: recently, and without too many consecutive ones."""
    if circuit.reason in _LASTING_REASONS or circuit.failures >= GONE_AFTER * settings.failures:
        return False
    return has_recent_success(circuit, now)


def has_recent_success(circuit: Circuit, now: float) -> bool:
    """Return whether the target has succeeded in the last five to ten seconds."""
    passed = int(now // STEP) - circuit.step
    return passed < RECENT_STEPS and sum(circuit.good[passed - RECENT_STEPS :]) > 0


def is_blocked(circuit: Circuit, now: float) -> bool:
    """Return whether sending is useless even without another target."""
    return now < circuit.blocked_until - CLOCK_TOLERANCE


# Transitions


def with_trial(circuit: Circuit, now: float, trial: int) -> Circuit:
    """Make ``trial`` the test of the target if it needs one and has none; it may still wait for the time to pass."""
    needed = circuit.reason is not None and (is_out(circuit, now) or not circuit.ends_by_itself)
    if not needed or has_trial(circuit, now):
        return circuit
    return attrs.evolve(circuit, trial=trial, trial_until=int(max(now, circuit.until)) + TRIAL_SECONDS)


def without_trial(circuit: Circuit, trial: int) -> Circuit:
    """Remove ``trial``, which ended without a result, so that the next request is the trial."""
    return attrs.evolve(circuit, trial=0, trial_until=0) if trial and circuit.trial == trial else circuit


def with_outage(circuit: Circuit, reason: FailureReason, until: float, blocked_until: float, now: float) -> Circuit:
    """Apply an outage that another gateway has seen. It never shortens a known one.

    The other gateway's own network may have failed, so recent successes here refute its failed connections."""
    is_refuted = reason in _NETWORK_REASONS and circuit.reason is None and has_recent_success(circuit, now)
    if is_refuted or until <= circuit.until + CLOCK_TOLERANCE:
        return circuit
    return attrs.evolve(circuit, until=until, reason=reason, blocked_until=max(circuit.blocked_until, blocked_until))


def after_success(circuit: Circuit, now: float, sent: float, trial: int = 0) -> Circuit:
    """Apply a response that started successfully, to a request ``sent`` at that time.

    It never shortens an outage, and counts only if it was sent after the outage began or is the trial."""
    if circuit.reason is None:
        return attrs.evolve(circuit, failures=0, openings=0, limits=0)
    is_trial = trial != 0 and circuit.trial == trial
    if is_out(circuit, now) or not (is_trial or _was_sent_while_available(circuit, sent)):
        return attrs.evolve(without_trial(circuit, trial), failures=0)
    bad = circuit.bad if circuit.ends_by_itself else _NOTHING
    return Circuit(until=circuit.until, step=circuit.step, good=circuit.good, bad=bad)


def after_failure(circuit: Circuit, failure: Failure, settings: CircuitSettings) -> Circuit:
    """Apply a failed attempt whose reason concerns the target."""
    is_trial = failure.trial != 0 and circuit.trial == failure.trial
    is_new = not is_out(circuit, failure.at) and (is_trial or _was_sent_while_available(circuit, failure.sent))
    circuit = without_trial(circuit, failure.trial)
    match failure.reason:
        case "rate_limited":
            return _after_rate_limit(circuit, failure, is_new, settings)
        case "quota" | "credential" | "gone":
            return _after_lasting_failure(circuit, failure)
        case _:
            return _after_countable_failure(circuit, failure, is_new, settings)


def with_counts(circuit: Circuit, now: float, good: int, bad: int = 0) -> Circuit:
    """Add attempts that started well (``good``) or failed (``bad``)."""
    step = max(int(now // STEP), circuit.step)
    passed = _NOTHING[: step - circuit.step]
    goods, bads = (*circuit.good, *passed)[-STEPS:], (*circuit.bad, *passed)[-STEPS:]
    return attrs.evolve(circuit, step=step, good=_add_to_last(goods, good), bad=_add_to_last(bads, bad))


def undo_success(circuit: Circuit, before: Circuit) -> Circuit:
    """Undo the success that made ``circuit`` available, because its response broke off.

    A target that starts every response and completes none is not healthy; ``before`` is its state before the
    success. The counts of attempts stay."""
    if circuit.reason is not None or circuit.failures:
        return circuit
    return attrs.evolve(before, trial=0, trial_until=0, step=circuit.step, good=circuit.good, bad=circuit.bad)


def claim_probe(circuit: Circuit, now: float, every: float) -> Circuit:
    """Claim the next probe of a server that is probed ``every`` so many seconds.

    Return ``circuit`` itself if no probe is due. Probes alone never block requests without another target, so
    ``blocked_until`` is the time of the next one."""
    return (
        attrs.evolve(circuit, blocked_until=now + every) if now >= circuit.blocked_until - CLOCK_TOLERANCE else circuit
    )


def after_probe(circuit: Circuit, reason: FailureReason | None, now: float, every: float) -> Circuit:
    """Apply the result of a probe, ``None`` for success.

    The server is unavailable from the second consecutive failure until the next success, or until probes stop."""
    if reason is None:
        return Circuit(blocked_until=circuit.blocked_until)
    failures = min(circuit.failures + 1, _MOST)
    circuit = attrs.evolve(circuit, failures=failures)
    return circuit if failures < FAILED_PROBES else attrs.evolve(circuit, reason=reason, until=now + 2 * every)


def first_trial(process: int) -> int:
    """Return the first trial number of ``process``; numbers of processes never overlap."""
    return (process << 32) + 1


def allow_trial(circuit: Circuit, now: float) -> Circuit:
    """Allow an immediate trial, because a person may have fixed what only people can fix."""
    if circuit.reason not in ("credential", "gone") or not is_out(circuit, now):
        return circuit
    return attrs.evolve(circuit, until=now, blocked_until=min(circuit.blocked_until, now))


def _after_rate_limit(circuit: Circuit, failure: Failure, is_new: bool, settings: CircuitSettings) -> Circuit:
    """Apply a rate limit for the stated time. It is no failure: the target works."""
    if failure.wait is not None:
        until = failure.at + _capped_wait(failure.wait)
        return _extend_outage(attrs.evolve(circuit, blocked_until=max(circuit.blocked_until, until)), failure, until)
    limits = _increment(circuit.limits, is_new)
    length = _doubled_wait(FIRST_COOLDOWN, limits, settings.longest)
    return _extend_outage(attrs.evolve(circuit, limits=limits), failure, failure.at + length)


def _after_lasting_failure(circuit: Circuit, failure: Failure) -> Circuit:
    if failure.reason == "credential":
        circuit = attrs.evolve(circuit, blocked_until=max(circuit.blocked_until, failure.at + CREDENTIAL_PAUSE))
    return _extend_outage(
        circuit, failure, failure.at + (LASTING_COOLDOWN if failure.wait is None else _capped_wait(failure.wait))
    )


def _after_countable_failure(circuit: Circuit, failure: Failure, is_new: bool, settings: CircuitSettings) -> Circuit:
    """Count a failure without a stated end.

    A request that hung shows only the state at the time it was sent: the target may have recovered since."""
    if circuit.reason is None and not _was_sent_while_available(circuit, failure.sent):
        return circuit  # sent before the outage, and the target has recovered
    failures = min(circuit.failures + 1, 0xFFFF)
    circuit = attrs.evolve(with_counts(circuit, failure.at, 0, 1), failures=failures)
    if circuit.ends_by_itself:
        opens = failures >= settings.failures or _exceeds_error_rate(circuit, settings)
    else:
        opens = is_new or is_out(circuit, failure.at)
    if not opens:
        return circuit
    openings = _increment(circuit.openings, is_new)
    length = _doubled_wait(settings.cooldown, openings, settings.longest)
    since = failure.sent if failure.reason == "timeout" else failure.at
    until = max(since + length, failure.at + min(length, settings.cooldown))
    return _extend_outage(attrs.evolve(circuit, openings=openings), failure, until)


def _exceeds_error_rate(circuit: Circuit, settings: CircuitSettings) -> bool:
    bad = sum(circuit.bad)
    attempts = bad + max(sum(circuit.good), 0)
    return attempts >= MIN_ATTEMPTS and bad >= settings.error_rate * attempts


def _extend_outage(circuit: Circuit, failure: Failure, until: float) -> Circuit:
    """Extend the outage to ``until`` if that is later, with its reason."""
    return attrs.evolve(circuit, until=until, reason=failure.reason) if until >= circuit.until else circuit


def _was_sent_while_available(circuit: Circuit, sent: float) -> bool:
    """Return whether a request was sent while the target was available."""
    return sent >= circuit.until - CLOCK_TOLERANCE


def _increment(times: int, is_new: bool) -> int:
    return min(times + 1, _MOST) if is_new else max(times, 1)


def _doubled_wait(first: float, times: int, longest: float) -> float:
    """Return ``first`` doubled each time, at most ``longest``; a limit on the doublings prevents overflow."""
    return min(first * 2.0 ** min(times - 1, 64), longest)


def _capped_wait(wait: float) -> float:
    return min(max(wait, 0.0), LONGEST_WAIT)


def _add_to_last(counts: tuple[int, ...], more: int) -> tuple[int, ...]:
    return (*counts[:-1], min(max(counts[-1] + more, -0x7FFF), 0x7FFF))
