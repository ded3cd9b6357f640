"""Whether there is room for a debit, pure: from what is known of its counter, wherever that is kept. For nothing there
is always room."""

from typing import Final

from gateway.counters.counter import Debit, RateCounter, Shortage
from gateway.counters.steps import State

_TOLERANCE: Final = 1e-6
"""Seconds: what is added up in floating point is never exact."""


def seconds_short(rate: RateCounter, full: float, amount: int, now: float) -> float:
    """The seconds after which a debit of ``amount`` passes; 0 where it does now. ``full`` is the moment at which the
    bucket is full. One larger than the burst passes when it is full."""
    refill = rate.seconds / rate.amount
    wait = max(full, now) + min(amount, rate.burst) * refill - now - rate.burst * refill
    return wait if wait > _TOLERANCE else 0.0


def debited(rate: RateCounter, full: float, amount: int, now: float) -> float:
    """The moment at which the bucket is full after a debit of ``amount``; a negative one goes back."""
    refill = amount * rate.seconds / rate.amount
    return full + refill if amount < 0 or full > now else now + refill


def level_of(rate: RateCounter, full: float, now: float) -> int:
    """The units that have not refilled yet."""
    return max(0, round((full - now) * rate.amount / rate.seconds))


def rate_shortage(counter: RateCounter, debit: Debit, full: float, now: float) -> Shortage | None:
    """``full`` is the moment at which the rate has refilled."""
    wait = seconds_short(counter, full, debit.amount, now) if debit.amount else 0.0
    return Shortage(debit, wait, level_of(counter, full, now), 0) if wait else None


def room_shortage(debit: Debit, most: int, used: int, held: int) -> Shortage | None:
    """Of slots, and of sums: all that counts against it is ``used`` for good or ``held``."""
    if not debit.amount or used + held + debit.amount <= most:
        return None
    return Shortage(debit, None, used, held)


def shortage_of(debit: Debit, state: State, now: float) -> Shortage | None:
    """Of any counter, from what a store says of it."""
    value, held, before, waiting = state
    if isinstance(debit.counter, RateCounter):
        return rate_shortage(debit.counter, debit, value, now)
    return room_shortage(debit, debit.counter.most, int(value) + before, held + waiting)
