"""Counters in memory that the workers of a machine share: no server, no wait.

Reservations are in cells of each worker, so that they are released however the worker ends. Rates are refill times in
whole nanoseconds."""

import functools
import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Final

from gateway.counters.counter import (
    MOST_TOTAL,
    NO_ROW_WAIT,
    Claim,
    Counter,
    Debit,
    Level,
    OnSettled,
    RateCounter,
    Shortage,
    SlotCounter,
    SumCounter,
    bounded_amount,
)
from gateway.counters.shortages import full_after_debit, rate_shortage, room_shortage, unrefilled_units
from gateway.shared.amounts import AmountTable, SharedAmounts
from gateway.shared.layout import GROUP, TOTAL, UNTIL

_NANO: Final = 10**9
_FOR_EVER: Final = 1e9  # seconds that fit into a word: thirty years
_MARGIN: Final = 60.0
"""Seconds that a sum is stored after its expiry, in case the clock of periods is set back."""
_MOST_OF_CLIENT: Final = GROUP // 2
"""The most live counters that one client may choose in a group of rows."""


class WorkerCounters:
    """Counters in ``amounts``, by ``clock``, which all workers share; ``wall`` is the clock of periods."""

    remote = None

    def __init__(
        self,
        amounts: SharedAmounts,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._amounts = amounts
        self._clock = clock
        self._wall = wall
        self._open: set[str] = set()
        self._callbacks: list[OnSettled] = []

    def now(self) -> float:
        return self._wall()

    async def reserve(self, claims: Sequence[Claim]) -> Sequence[Shortage]:
        amounts = self._amounts
        amounts.lock()
        try:
            step = _Step(amounts, self._clock(), self._wall())
            short = [found for claim in claims for one in claim.debits if (found := step.take(one)) is not None]
            if short:
                return short
            amounts.commit(step.words)
        finally:
            amounts.unlock()
        for claim in claims:
            self._open.add(claim.id)
        return ()

    def settle(self, claim: Claim, used: Sequence[int]) -> None:
        if claim.id not in self._open:
            return
        self._open.remove(claim.id)
        amounts = self._amounts
        amounts.lock()
        try:
            step = _Step(amounts, self._clock(), self._wall())
            for debit, amount in zip(claim.debits, used, strict=True):
                step.settle(debit, bounded_amount(amount))
            amounts.commit(step.words)
        finally:
            amounts.unlock()
        for callback in self._callbacks:
            callback(claim, used)

    def level(self, counter: Counter) -> Level:
        if isinstance(counter, RateCounter):
            return Level(unrefilled_units(counter, self._full_time(counter), self._clock()))
        return Level(*_used_of(self._amounts, counter))

    async def refresh(self, counters: Sequence[Counter]) -> bool:
        return True

    async def earlier_sums(self, counter: SumCounter) -> Sequence[int] | None:
        table, words = _table_of(self._amounts, counter), self._amounts.words
        return [0 if (row := table.find(key)) is None else words[row + TOTAL] for key in counter.earlier]

    def shortage_for(self, debit: Debit) -> Shortage | None:
        counter = debit.counter
        if isinstance(counter, RateCounter):
            return rate_shortage(counter, debit, self._full_time(counter), self._clock())
        return room_shortage(debit, counter.most, *_used_of(self._amounts, counter))

    def raise_to(self, counter: SumCounter, used: int) -> None:
        amounts = self._amounts
        amounts.lock()
        try:
            step = _Step(amounts, self._clock(), self._wall())
            step.raise_to(counter, used)
            amounts.commit(step.words)
        finally:
            amounts.unlock()

    def on_settled(self, callback: OnSettled) -> None:
        self._callbacks.append(callback)

    def _full_time(self, rate: RateCounter) -> float:
        row = _table_of(self._amounts, rate).find(rate.key)
        return 0.0 if row is None else self._amounts.words[row + TOTAL] / _NANO


class _Step:
    """Changes to ``words`` that take effect together, at the time ``now``."""

    def __init__(self, amounts: SharedAmounts, now: float, wall: float) -> None:
        self._amounts = amounts
        self._now = now
        self._margin = now - wall + _MARGIN
        self.words: dict[int, int] = {}

    def take(self, debit: Debit) -> Shortage | None:
        """Reserve ``debit``, or return its shortage."""
        counter, amounts = debit.counter, self._amounts
        if (row := self._find_or_assign(counter, _MOST_OF_CLIENT)) is None:
            return Shortage(debit, NO_ROW_WAIT, 0, 0, "no_row")
        if isinstance(counter, RateCounter):
            short = rate_shortage(counter, debit, self._total(row) / _NANO, self._now)
            if short is None:
                self._debit(counter, row, debit.amount)
            return short
        before, mine = amounts.words[row + amounts.own], self._held_amount(row)
        used, held = _used_of(amounts, counter, row)
        if counter.chosen_by is not None and self._has_ended(row):
            used = self.words[row + TOTAL] = 0  # the next run of that name
        short = room_shortage(debit, counter.most, used, held + mine - before)
        if short is None:
            self.words[row + amounts.own] = mine + debit.amount
            if isinstance(counter, SumCounter):
                self._keep(counter, row)
        return short

    def settle(self, debit: Debit, used: int) -> None:
        counter, amounts = debit.counter, self._amounts
        if (row := self._find_or_assign(counter)) is None:
            return
        if isinstance(counter, RateCounter):
            self._debit(counter, row, used - debit.amount)
            return
        held = self._held_amount(row) - debit.amount
        self.words[row + amounts.own] = held if held > 0 else 0
        if isinstance(counter, SumCounter):
            self.words[row + TOTAL] = min(self._total(row) + used, MOST_TOTAL)
            self._keep(counter, row)

    def raise_to(self, counter: SumCounter, used: int) -> None:
        if (row := self._find_or_assign(counter, _MOST_OF_CLIENT)) is not None:
            self.words[row + TOTAL] = max(self._total(row), min(used, MOST_TOTAL))
            self._keep(counter, row)

    def _find_or_assign(self, counter: Counter, most: int = GROUP) -> int | None:
        """Return the row of ``counter``; ``None`` without a row for a new counter.

        A client may choose ``most`` counters in each group of rows, so that the others find room."""
        table = _table_of(self._amounts, counter)
        if (row := table.find(counter.key)) is not None or counter.chosen_by is None:
            return table.assign(counter.key) if row is None else row
        return table.assign(counter.key, _owner_digest(counter.chosen_by), most=most)

    def _has_ended(self, row: int) -> bool:
        return self._amounts.words[row + UNTIL] < self._now * _NANO and not self._amounts.chosen.held_amount(row)

    def _total(self, row: int) -> int:
        word = row + TOTAL
        return self.words[word] if word in self.words else self._amounts.words[word]

    def _held_amount(self, row: int) -> int:
        word = row + self._amounts.own
        return self.words[word] if word in self.words else self._amounts.words[word]

    def _debit(self, rate: RateCounter, row: int, amount: int) -> None:
        if amount:
            full = int(min(full_after_debit(rate, self._total(row) / _NANO, amount, self._now), _FOR_EVER) * _NANO)
            self.words[row + TOTAL] = self.words[row + UNTIL] = full if full > 0 else 0

    def _keep(self, counter: SumCounter, row: int) -> None:
        until = int(min(counter.until + self._margin, _FOR_EVER) * _NANO)
        if until > self._amounts.words[row + UNTIL] + _NANO:
            self.words[row + UNTIL] = until


def _used_of(amounts: SharedAmounts, counter: SlotCounter | SumCounter, row: int | None = None) -> tuple[int, int]:
    """Return the amounts of ``counter`` used and held; ``row`` is its row if known."""
    table = _table_of(amounts, counter)
    if row is None:
        row = table.find(counter.key)
    used, held = (0, 0) if row is None else (amounts.words[row + TOTAL], table.held_amount(row))
    if isinstance(counter, SumCounter) and counter.earlier:
        for key in counter.earlier:
            if (row := table.find(key)) is not None:
                used += amounts.words[row + TOTAL]
                held += table.held_amount(row)
    return used, held


def _table_of(amounts: SharedAmounts, counter: Counter) -> AmountTable:
    if counter.chosen_by is not None:
        return amounts.chosen
    return amounts.unlisted if counter.is_unlisted else amounts.configured


@functools.lru_cache(4096)
def _owner_digest(client: str) -> int:
    """Return a word that represents ``client`` in a row."""
    return int.from_bytes(hashlib.blake2b(client.encode(errors="surrogatepass"), digest_size=8).digest(), "little")
