"""Plano's ``ratelimits`` of the root: tokens for the requests to a model, by the value of a header."""

from collections.abc import Collection, Iterator, Sequence

import attrs

from gateway.allowances.allowance import Holder
from gateway.allowances.counter_keys import counter_key
from gateway.allowances.rates import RateAllowance, rate_counter
from gateway.config.allowances import RootLimit
from gateway.config.settings import Config


class RootLimits:
    """The limits of a configuration. They keep nothing of the values that clients send: a value's counter is named by
    its digest, and forgotten like those of other names of clients."""

    def __init__(self, limits: Sequence[RootLimit] = ()) -> None:
        self._limits = tuple(limits)
        self._shared = {limit: _allowance(limit, limit.value) for limit in limits if limit.value is not None}

    def __bool__(self) -> bool:
        return bool(self._limits)

    @property
    def fixed(self) -> tuple[RateAllowance, ...]:
        """The allowances that are known beforehand: of one value each."""
        return tuple(self._shared.values())

    def of(self, models: Collection[str], headers: Sequence[tuple[str, str]]) -> tuple[RateAllowance, ...]:
        """The allowances of a request for a model of these names; names of ``headers`` are in lower case."""
        return tuple(self._found(models, headers)) if self._limits else ()

    def _found(self, models: Collection[str], headers: Sequence[tuple[str, str]]) -> Iterator[RateAllowance]:
        sent = dict(headers)
        for limit in self._limits:
            value = sent.get(limit.header)
            if value is None or limit.model not in models:
                continue
            if limit.value is None:
                yield _allowance(limit, value)
            elif limit.value == value:
                yield self._shared[limit]


def root_allowances(config: Config | None) -> RootLimits:
    return RootLimits(() if config is None else config.header_limits)


def _allowance(limit: RootLimit, value: str) -> RateAllowance:
    of_one = "" if limit.value is None else f"={value}"
    holder = Holder("ratelimits", f"{limit.model} by {limit.header}{of_one}")
    counter = rate_counter(holder, "tokens", limit.tokens)
    key = counter_key(f"{counter.name} {limit.tokens} {value}")
    counter = attrs.evolve(counter, key=key, by_clients=limit.value is None)
    return RateAllowance(holder, "tokens", limit.tokens.text, False, counter)
