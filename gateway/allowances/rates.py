"""The allowances of a holder's ``ratelimits``: rates, and its number of simultaneous requests."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import attrs

from gateway.allowances.allowance import Holder, Measure, counter_key
from gateway.config.allowances import Rate, RateLimits, RootLimit
from gateway.counters.counter import Counter, RateCounter, SlotCounter

LONGEST_BURST: Final = 60.0
"""A burst has at most the amount that refills in these seconds: a daily amount used immediately is no rate."""

_RATES: Final[tuple[Measure, ...]] = ("requests", "tokens", "input_tokens", "output_tokens")


@attrs.frozen(repr=False)
class RateAllowance:
    """The allowance of ``holder`` for a rate or for simultaneous requests; it has one counter for all times and
    runs."""

    holder: Holder
    measure: Measure
    text: str
    count_cached: bool
    _counter: Counter = attrs.field(alias="counter")

    def counter(self, at: float, run: str | None) -> Counter:
        return self._counter


def rate_allowances(holder: Holder, limits: RateLimits) -> Iterator[RateAllowance]:
    """Yield the allowances of ``holder`` in the order of the file, none without limits."""
    for measure in _RATES:
        rate: Rate | None = getattr(limits, measure)
        if rate is not None:
            yield RateAllowance(holder, measure, rate.text, limits.count_cached, rate_counter(holder, measure, rate))
    if limits.concurrent is not None:
        name = f"{holder}.concurrent"
        key = counter_key(f"{holder.counter_name}.concurrent")
        slots = SlotCounter(key, name, limits.concurrent, holder.is_unlisted)
        yield RateAllowance(holder, "concurrent", str(limits.concurrent), False, slots)


def rate_counter(holder: Holder, measure: Measure, rate: Rate) -> RateCounter:
    """Return the counter of a rate. Its burst is the amount for one unit of time, or for a minute if that is less, and
    at least 1."""
    name = f"{holder}.{measure}"
    burst = rate.amount if rate.seconds <= LONGEST_BURST else int(rate.amount * LONGEST_BURST / rate.seconds)
    key = counter_key(f"{holder.counter_name}.{measure} {rate.text}")
    return RateCounter(key, name, rate.amount, rate.seconds, max(1, burst), is_unlisted=holder.is_unlisted)


class RootLimits:
    """The header limits of a configuration.

    Header values are not stored: a counter is identified by the value's digest, and forgotten like other names that
    clients send."""

    def __init__(self, limits: Sequence[RootLimit] = ()) -> None:
        self._limits = tuple(limits)
        self._shared = {limit: _header_allowance(limit, limit.value) for limit in limits if limit.value is not None}

    def __bool__(self) -> bool:
        return bool(self._limits)

    @property
    def fixed_allowances(self) -> tuple[RateAllowance, ...]:
        """The allowances for configured values, which are known beforehand."""
        return tuple(self._shared.values())

    def of(
        self, models: Collection[str], headers: Sequence[tuple[str, str]], client: str | None = None
    ) -> tuple[RateAllowance, ...]:
        """Return the allowances for a request of ``client`` with these model names and ``headers`` (lower-case)."""
        return tuple(self._matching(models, headers, client or "")) if self._limits else ()

    def _matching(
        self, models: Collection[str], headers: Sequence[tuple[str, str]], client: str
    ) -> Iterator[RateAllowance]:
        sent = dict(headers)
        for limit in self._limits:
            value = sent.get(limit.header)
            if value is None or limit.model not in models:
                continue
            if limit.value is None:
                yield _header_allowance(limit, value, client)
            elif limit.value == value:
                yield self._shared[limit]


def _header_allowance(limit: RootLimit, value: str, chosen_by: str | None = None) -> RateAllowance:
    of_one = "" if limit.value is None else f"={value}"
    holder = Holder("ratelimits", f"{limit.model} by {limit.header}{of_one}")
    counter = rate_counter(holder, "tokens", limit.tokens)
    parts = ("each" if limit.value is None else "one", limit.model, limit.header, limit.tokens.text, value)
    key = counter_key("ratelimits " + "".join(f"{len(part)}:{part}" for part in parts))
    counter = attrs.evolve(counter, key=key, chosen_by=chosen_by)
    return RateAllowance(holder, "tokens", limit.tokens.text, False, counter)
