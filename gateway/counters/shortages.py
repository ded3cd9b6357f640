"""Whether there is room for a debit, pure: from what is known of its counter, wherever that is kept. For nothing there
is always room."""

from gateway.counters.counter import Debit, RateCounter, Shortage
from gateway.counters.rate import level_of, seconds_short
from gateway.counters.steps import State


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
