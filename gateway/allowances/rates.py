"""The allowances of a holder's ``ratelimits``: rates, and how many of its requests may be under way at once."""

from collections.abc import Iterator
from typing import Final

import attrs

from gateway.allowances.allowance import Holder, Measure
from gateway.allowances.counter_keys import counter_key
from gateway.config.allowances import Rate, RateLimits
from gateway.counters.counter import Counter, RateCounter, SlotCounter

LONGEST_BURST: Final = 60.0
"""Seconds: no more than this time refills may be used at once. Of a daily amount all at once would be no rate."""

_RATES: Final[tuple[Measure, ...]] = ("requests", "tokens", "input_tokens", "output_tokens")


@attrs.frozen
class RateAllowance:
    """What ``holder`` may use of a rate, or how many requests it may have under way: an ``Allowance``. It has the one
    counter, whatever the time and the run."""

    holder: Holder
    measure: Measure
    text: str
    count_cached: bool
    _counter: Counter = attrs.field(alias="counter")

    def counter(self, at: float, run: str | None) -> Counter:
        return self._counter


def rate_allowances(holder: Holder, limits: RateLimits) -> tuple[RateAllowance, ...]:
    """The allowances of ``holder``, in the order in which they are written; none where nothing is limited."""
    return tuple(_allowances(holder, limits))


def _allowances(holder: Holder, limits: RateLimits) -> Iterator[RateAllowance]:
    for measure in _RATES:
        rate: Rate | None = getattr(limits, measure)
        if rate is not None:
            yield RateAllowance(holder, measure, rate.text, limits.count_cached, rate_counter(holder, measure, rate))
    if limits.concurrent is not None:
        name = f"{holder}.concurrent"
        slots = SlotCounter(counter_key(name), name, limits.concurrent)
        yield RateAllowance(holder, "concurrent", str(limits.concurrent), False, slots)


def rate_counter(holder: Holder, measure: Measure, rate: Rate) -> RateCounter:
    """The counter of a rate. Its burst is the amount of one unit of time, at most that of a minute, at least 1."""
    name = f"{holder}.{measure}"
    burst = rate.amount if rate.seconds <= LONGEST_BURST else int(rate.amount * LONGEST_BURST / rate.seconds)
    return RateCounter(counter_key(f"{name} {rate.text}"), name, rate.amount, rate.seconds, max(1, burst))
