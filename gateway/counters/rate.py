"""Rates, pure: a bucket that refills evenly, as the moment at which it is full.

That moment is all there is to remember (the generic cell rate algorithm, ITU-T I.371): a debit moves it on, what goes
back moves it back, and once it has passed the bucket is full, whatever happened before.
"""

from typing import Final

from gateway.counters.counter import RateCounter

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
