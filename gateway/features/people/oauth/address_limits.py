"""Limits of sign-in by address, because requests without a credential use the storage and may guess codes.

Events are counted over all workers and gateways that share counters. While these cannot count, each process counts
separately."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import attrs

from gateway.allowances.allowance import counter_key
from gateway.counters.counter import Counters, Debit, SumCounter, new_claim
from gateway.http.addresses import AddressCounts, counted_name
from streams.errors import GatewayError

WINDOW: Final = 600
"""Seconds in which the events of an address are counted."""

_SLICE: Final = 60
"""Seconds after which the events of an address are counted in another counter; a window has ten of them."""

MOST_GRANTS: Final = 30
"""Device codes that an address may request in that time."""
MOST_WRONG_CODES: Final = 10
"""Wrong user codes that an address may enter in that time."""
MOST_FAILURES: Final = 30
"""Failed sign-ins of an address in that time."""
MOST_RUNNING: Final = 32
"""Requests of an address that a process handles at the same time."""
MOST_FINISHING: Final = 16
"""Sign-ins of an address that a process completes at the same time."""

_STRANGERS: Final = "addresses of sign-ins"
"""The client that chooses these counters: strangers together, so that they leave room for those of others."""

_BUSY: Final = "too many simultaneous sign-ins from this address: try again in a few seconds"
_SOON: Final = 5


@attrs.define
class CountedAttempt:
    """A request that may become an event that counts."""

    counts: bool = False


class AddressLimit:
    """A limit on one kind of event by address, with the message for an address that exceeds it."""

    def __init__(self, name: str, most: int, message: str) -> None:
        self._name = f"sign_in.{name}"
        self._most = most
        self._message = message
        self._own_counts = AddressCounts(most, WINDOW)

    async def take(self, counters: Counters, address: str | None) -> None:
        """Count an event of ``address``. Raises ``GatewayError`` (429) for one too many."""
        async with self.attempt(counters, address) as attempt:
            attempt.counts = True

    @asynccontextmanager
    async def attempt(self, counters: Counters, address: str | None) -> AsyncIterator[CountedAttempt]:
        """Reserve an event of ``address`` during the block, which decides whether it counts.

        Simultaneous attempts are never more than the limit. Raises ``GatewayError`` (429) for one too many."""
        claim = new_claim(Debit(self._counter(counted_name(address or ""), counters.now()), 1))
        short = await counters.reserve((claim,))
        if short and short[0].cause == "no_room":
            raise self._error(WINDOW) if short[0].is_lasting else _too_many(_BUSY, _SOON)
        if short and (wait := self._own_counts.seconds_to_wait(address)):
            raise self._error(wait)
        attempt = CountedAttempt()
        try:
            yield attempt
        finally:
            if not short:
                counters.settle(claim, (int(attempt.counts),))
            elif attempt.counts:
                self._own_counts.count(address)

    def _counter(self, address: str, now: float) -> SumCounter:
        """Return the counter of the present slice of time, with which the earlier ones of the window count."""
        number = int(now // _SLICE)
        keys = [counter_key(f"{self._name}\0{address}\0{number - back}") for back in range(WINDOW // _SLICE + 1)]
        until = float((number + 1) * _SLICE + WINDOW)
        return SumCounter(keys[0], self._name, self._most, until, tuple(keys[1:]), chosen_by=_STRANGERS)

    def _error(self, wait: int) -> GatewayError:
        return _too_many(self._message, wait)


def _too_many(message: str, wait: int) -> GatewayError:
    return GatewayError("rate_limited", message, headers=(("retry-after", str(wait)),))


class AddressSlots:
    """A limit on simultaneous requests of a process by address, because they use the storage or contact an issuer."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running: Counter[str] = Counter()

    @contextmanager
    def hold(self, address: str | None) -> Iterator[None]:
        """Hold a slot of ``address`` during the block. Raises ``GatewayError`` (429) if none is free."""
        name = counted_name(address or "")
        if self._running[name] >= self._most:
            raise _too_many(_BUSY, _SOON)
        self._running[name] += 1
        try:
            yield
        finally:
            self._running[name] -= 1
            if not self._running[name]:
                del self._running[name]


class SignInLimits:
    """The limits by address, across configurations."""

    def __init__(self) -> None:
        self.grants = AddressLimit("grants", MOST_GRANTS, "too many sign-ins from this address: wait ten minutes")
        self.wrong_codes = AddressLimit(
            "wrong_codes", MOST_WRONG_CODES, "too many wrong codes from this address: wait ten minutes"
        )
        self.failures = AddressLimit(
            "failures", MOST_FAILURES, "too many failed sign-ins from this address: wait ten minutes"
        )
        self.running = AddressSlots(MOST_RUNNING)
        self.finishing = AddressSlots(MOST_FINISHING)
