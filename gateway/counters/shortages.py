"""Checks for room from a counter's known state, wherever it is stored. Pure. A debit of 0 always fits."""

from typing import Final

from gateway.counters.counter import Debit, RateCounter, Shortage
from gateway.counters.steps import State

_TOLERANCE: Final = 1e-6
"""Seconds: tolerance for floating-point sums."""


def seconds_short(rate: RateCounter, full: float, amount: int, now: float) -> float:
    """Return the seconds until ``amount`` fits into a rate, 0 if it fits now.

    The rate has refilled at the time ``full``. An amount larger than the burst fits when the bucket is full."""
    refill = rate.seconds / rate.amount
    wait = max(full, now) + min(amount, rate.burst) * refill - now - rate.burst * refill
    return wait if wait > _TOLERANCE else 0.0


def full_after_debit(rate: RateCounter, full: float, amount: int, now: float) -> float:
    """Return the time at which the bucket is full after a debit of ``amount``; negative amounts are returned."""
    refill = amount * rate.seconds / rate.amount
    return full + refill if amount < 0 or full > now else now + refill


def unrefilled_units(rate: RateCounter, full: float, now: float) -> int:
    """Return the units of a rate that have not refilled yet."""
    return max(0, round((full - now) * rate.amount / rate.seconds))


def rate_shortage(counter: RateCounter, debit: Debit, full: float, now: float) -> Shortage | None:
    """Return the shortage of a rate that has refilled at ``full``, ``None`` if the debit fits."""
    wait = seconds_short(counter, full, debit.amount, now) if debit.amount else 0.0
    return Shortage(debit, wait, unrefilled_units(counter, full, now), 0) if wait else None


def room_shortage(debit: Debit, most: int, used: int, held: int) -> Shortage | None:
    """Return the shortage of slots or a sum with ``used`` and ``held``, ``None`` if the debit fits."""
    if not debit.amount or used + held + debit.amount <= most:
        return None
    return Shortage(debit, None, used, held)


def shortage_of(debit: Debit, state: State, now: float) -> Shortage | None:
    """Return the shortage of any counter from the store's ``state``, ``None`` if the debit fits."""
    value, held, before, waiting = state
    if isinstance(debit.counter, RateCounter):
        return rate_shortage(debit.counter, debit, value, now)
    return room_shortage(debit, debit.counter.most, int(value) + before, held + waiting)
