"""The circuit of one place: whether it is out, until when and why, and what leads there. Pure: a state and what happens
give the next state.

A place is out until a moment, and nothing but a later moment moves that (BerriAI/litellm#40130). What a provider says
of its rates and its time ends by itself; everything else ends with a trial: one real request finds out, and the others
wait for its end elsewhere. A state of one place fits into ``SIZE`` bytes, so that processes can share it.
"""

import struct
from typing import Final, Literal, TypeAlias, get_args

import attrs

from gateway.config.attempts import CircuitSettings
from streams.events import FailureReason

STEP: Final = 5.0
STEPS: Final = 6
"""The share of failures is that of the last ``STEPS`` times ``STEP`` seconds."""
FEWEST: Final = 10
"""Attempts of which a share says something."""

UNTOLD: Final = 5.0
"""Seconds for which a place is out that has refused a request for its rate and not said for how long, at first."""
LASTING: Final = 600.0
"""Seconds after which it is tried whether a quota, a credential or a model is there again that nobody has spoken of."""
APART: Final = 10.0
"""Seconds for which a credential that was refused is not sent again, also where there is nowhere else to go."""
LONGEST_TOLD: Final = 32 * 86400.0
"""Seconds: no provider's window is longer than a month, and what is longer is a mistake."""
TRYING: Final = 20
"""Seconds for which the others leave it to one request to try a place. One that is silent for longer keeps nobody away:
it may hang since before the place was well again, or wait for the whole answer of a model that reasons."""
EARLY: Final = 0.001
"""Seconds by which a clock may be behind the moment that somebody has waited for."""

Standing: TypeAlias = Literal["in", "out", "due", "tried"]
"""``due``: its time is over, and the next request tries it; ``tried``: one does."""

LATELY: Final = 2
"""Steps in which a place that is out must have answered well to be asked where all are out."""
IN_A_ROW: Final = 2
"""Times ``failures`` of the settings: a place that has failed so often in a row is gone."""

PROBES: Final = 2
"""Probes in a row that a server does not answer well until it is out: a busy one may be late for one."""

_MOST: Final = 255
_ROW: Final = struct.Struct(f"<ddQIHBBB{STEPS}h{STEPS}hI")
SIZE: Final = _ROW.size
"""Bytes of a packed state."""
_REASONS: Final[tuple[FailureReason | None, ...]] = (None, *get_args(FailureReason))
_NOTHING: Final = (0,) * STEPS
_NOT_OF_ITS_ANSWERS: Final[frozenset[FailureReason]] = frozenset(("rate_limited", "quota", "credential", "gone"))
"""Reasons by which a place would refuse the next request, too."""


@attrs.frozen
class Circuit:
    """The state of one place, by one clock. It is out ``until`` a moment for the ``reason`` of that moment, for those
    that have nowhere else to go until ``shut``; without a reason that is when it was out last. ``failures`` are
    those in a row, ``openings`` how often in a row it has been taken out for them, ``limits`` how often for its
    rate without a time. ``trial`` is the number of the request that tries it, 0 without one, and
    ``trial_until`` the second up to which it is left to that one. ``good`` and ``bad`` are the attempts of the
    last steps, up to number ``step``."""

    until: float = 0.0
    shut: float = 0.0
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
        """True if no trial is needed once its time is over."""
        return self.reason is None or self.reason == "rate_limited"

    def pack(self) -> bytes:
        """``SIZE`` bytes. All zeros are the state of a place of which nothing is known."""
        reason = _REASONS.index(self.reason)
        numbers = (self.failures, reason, self.openings, self.limits, *self.good, *self.bad, self.trial_until)
        return _ROW.pack(self.until, self.shut, self.trial, self.step, *numbers)

    @classmethod
    def unpack(cls, row: bytes) -> "Circuit":
        until, shut, trial, step, failures, reason, openings, limits, *counts = _ROW.unpack(row)
        good, bad, trial_until = tuple(counts[:STEPS]), tuple(counts[STEPS:-1]), counts[-1]
        return cls(until, shut, trial, step, failures, _REASONS[reason], openings, limits, good, bad, trial_until)


CLOSED: Final = Circuit()
"""The circuit of a place of which nothing is known, or nothing but good."""


@attrs.frozen
class Failure:
    """A failed attempt: why, and for how long the provider says so; ``at`` a moment, of a request that was ``sent`` at
    an earlier one. ``trial`` is its number if it was to try the place."""

    reason: FailureReason
    wait: float | None
    at: float
    sent: float
    trial: int = 0


def standing(circuit: Circuit, now: float) -> Standing:
    """Whether a place may be asked."""
    if circuit.reason is None:
        return "in"
    if is_out(circuit, now):
        return "out"
    if circuit.ends_by_itself:
        return "in"
    return "tried" if is_tried(circuit, now) else "due"


def is_tried(circuit: Circuit, now: float) -> bool:
    """True while one request finds out how the place is, or waits to do so."""
    return circuit.trial != 0 and now < circuit.trial_until


def is_out(circuit: Circuit, now: float) -> bool:
    """True if its time is not over."""
    return now < circuit.until - EARLY


def is_unsteady(circuit: Circuit, now: float, settings: CircuitSettings) -> bool:
    """Return whether the place answers well between its failures: it did so in the last seconds, and has not failed so
    often in a row that it may be gone."""
    if circuit.reason in _NOT_OF_ITS_ANSWERS or circuit.failures >= IN_A_ROW * settings.failures:
        return False
    passed = int(now // STEP) - circuit.step
    return passed < LATELY and sum(circuit.good[passed - LATELY :]) > 0


def is_shut(circuit: Circuit, now: float) -> bool:
    """True if it is of no use to ask, also where there is nowhere else to go."""
    return now < circuit.shut - EARLY


# Transitions


def with_trial(circuit: Circuit, now: float, trial: int) -> Circuit:
    """``trial`` tries the place, if it has to be tried and nobody does; it may still wait for the time to be over."""
    needed = circuit.reason is not None and (is_out(circuit, now) or not circuit.ends_by_itself)
    if not needed or is_tried(circuit, now):
        return circuit
    return attrs.evolve(circuit, trial=trial, trial_until=int(max(now, circuit.until)) + TRYING)


def without_trial(circuit: Circuit, trial: int) -> Circuit:
    """``trial`` has ended and said nothing: the next request may try."""
    return attrs.evolve(circuit, trial=0, trial_until=0) if trial and circuit.trial == trial else circuit


def after_good(circuit: Circuit, now: float, sent: float, trial: int = 0) -> Circuit:
    """A good answer has begun, to a request that was ``sent`` at a moment. It shortens no time; and one that was sent
    before the place was taken out says nothing of it."""
    if circuit.reason is None:
        return attrs.evolve(circuit, failures=0, openings=0, limits=0)
    is_trial = trial != 0 and circuit.trial == trial
    if is_out(circuit, now) or not (is_trial or _is_fresh(circuit, sent)):
        return attrs.evolve(without_trial(circuit, trial), failures=0)
    bad = circuit.bad if circuit.ends_by_itself else _NOTHING
    return Circuit(until=circuit.until, step=circuit.step, good=circuit.good, bad=bad)


def after_failure(circuit: Circuit, failure: Failure, settings: CircuitSettings) -> Circuit:
    """An attempt has failed for a reason that says something about the place."""
    news = _is_news(circuit, failure)
    circuit = without_trial(circuit, failure.trial)
    match failure.reason:
        case "rate_limited":
            return _limited(circuit, failure, news, settings)
        case "quota" | "credential" | "gone":
            return _lasting(circuit, failure)
        case _:
            return _broken(circuit, failure, news, settings)


def with_counts(circuit: Circuit, now: float, good: int, bad: int = 0) -> Circuit:
    """``good`` attempts more have begun well and ``bad`` have failed."""
    step = max(int(now // STEP), circuit.step)
    passed = _NOTHING[: step - circuit.step]
    goods, bads = (*circuit.good, *passed)[-STEPS:], (*circuit.bad, *passed)[-STEPS:]
    return attrs.evolve(circuit, step=step, good=_added(goods, good), bad=_added(bads, bad))


def reopened(circuit: Circuit, before: Circuit) -> Circuit:
    """The answer that made ``circuit`` good, from what it was ``before``, has broken off after it had begun: it was no
    good answer (a place that begins every answer and ends none is not well)."""
    return circuit if circuit.reason is not None or circuit.failures else attrs.evolve(before, trial=0, trial_until=0)


def claimed(circuit: Circuit, now: float, every: float) -> Circuit:
    """The circuit of a server that is probed ``every`` so many seconds: another one if it is now, ``circuit`` itself
    otherwise. Nobody is kept from a server by its probe alone, so ``shut`` is when the next one is due."""
    return attrs.evolve(circuit, shut=now + every) if now >= circuit.shut - EARLY else circuit


def after_probe(circuit: Circuit, reason: FailureReason | None, now: float, every: float) -> Circuit:
    """A server has answered its probe, ``None`` for well. It is out from the second failure in a row to the first good
    answer; nothing but the next probe ends that, unless it does not come."""
    if reason is None:
        return Circuit(shut=circuit.shut)
    failures = min(circuit.failures + 1, _MOST)
    circuit = attrs.evolve(circuit, failures=failures)
    return circuit if failures < PROBES else attrs.evolve(circuit, reason=reason, until=now + 2 * every)


def left_by(circuit: Circuit, process: int) -> Circuit:
    """The worker ``process`` has died, and whatever trial it had with it."""
    return without_trial(circuit, circuit.trial) if process_of(circuit.trial) == process else circuit


def first_trial(process: int) -> int:
    """The first number of the trials of ``process``: those of two never meet."""
    return (process << 32) + 1


def process_of(trial: int) -> int:
    """The process whose trial has this number."""
    return trial >> 32


def let_in(circuit: Circuit, now: float) -> Circuit:
    """Somebody may have set right what only people can set right: it is tried at once."""
    if circuit.reason not in ("credential", "gone") or not is_out(circuit, now):
        return circuit
    return attrs.evolve(circuit, until=now, shut=min(circuit.shut, now))


def _limited(circuit: Circuit, failure: Failure, news: bool, settings: CircuitSettings) -> Circuit:
    """It is out for the time that was told, and it is no failure: the place works."""
    if failure.wait is not None:
        until = failure.at + _told(failure.wait)
        return _out(attrs.evolve(circuit, shut=max(circuit.shut, until)), failure, until)
    limits = _once_more(circuit.limits, news)
    length = _doubled(UNTOLD, limits, settings.longest)
    return _out(attrs.evolve(circuit, limits=limits), failure, failure.at + length)


def _lasting(circuit: Circuit, failure: Failure) -> Circuit:
    if failure.reason == "credential":
        circuit = attrs.evolve(circuit, shut=max(circuit.shut, failure.at + APART))
    return _out(circuit, failure, failure.at + (LASTING if failure.wait is None else _told(failure.wait)))


def _broken(circuit: Circuit, failure: Failure, news: bool, settings: CircuitSettings) -> Circuit:
    """Count a failure that says nothing of its end. A request that has hung tells of the moment when it was sent, and
    nothing of the seconds since: the place may be well again."""
    if circuit.reason is None and not _is_fresh(circuit, failure.sent):
        return circuit  # it was sent before the place was out, and is well again
    failures = min(circuit.failures + 1, 0xFFFF)
    circuit = attrs.evolve(with_counts(circuit, failure.at, 0, 1), failures=failures)
    if circuit.ends_by_itself:
        opens = failures >= settings.failures or _too_many(circuit, settings)
    else:
        opens = news or is_out(circuit, failure.at)
    if not opens:
        return circuit
    openings = _once_more(circuit.openings, news)
    length = _doubled(settings.cooldown, openings, settings.longest)
    since = failure.sent if failure.reason == "timeout" else failure.at
    until = max(since + length, failure.at + min(length, settings.cooldown))
    return _out(attrs.evolve(circuit, openings=openings), failure, until)


def _too_many(circuit: Circuit, settings: CircuitSettings) -> bool:
    bad = sum(circuit.bad)
    attempts = bad + max(sum(circuit.good), 0)
    return attempts >= FEWEST and bad >= settings.error_rate * attempts


def _out(circuit: Circuit, failure: Failure, until: float) -> Circuit:
    """Out until the later of both moments, for the reason of that one."""
    return attrs.evolve(circuit, until=until, reason=failure.reason) if until >= circuit.until else circuit


def _is_fresh(circuit: Circuit, sent: float) -> bool:
    """True of a request that was sent when the place was not out."""
    return sent >= circuit.until - EARLY


def _is_news(circuit: Circuit, failure: Failure) -> bool:
    """True unless it is the known trouble that has failed a request: one that had been sent before the place was taken
    out, or that had nowhere else to go."""
    is_trial = failure.trial != 0 and circuit.trial == failure.trial
    return not is_out(circuit, failure.at) and (is_trial or _is_fresh(circuit, failure.sent))


def _once_more(times: int, news: bool) -> int:
    return min(times + 1, _MOST) if news else max(times, 1)


def _doubled(first: float, times: int, longest: float) -> float:
    """``first`` seconds, twice as long each time; a limit of the doublings keeps the number in bounds."""
    return min(first * 2.0 ** min(times - 1, 64), longest)


def _told(wait: float) -> float:
    return min(max(wait, 0.0), LONGEST_TOLD)


def _added(counts: tuple[int, ...], more: int) -> tuple[int, ...]:
    return (*counts[:-1], min(max(counts[-1] + more, -0x7FFF), 0x7FFF))
