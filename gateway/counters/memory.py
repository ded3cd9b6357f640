"""Counters in the memory of one process."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from gateway.counters.counter import Claim, Counter, Debit, Level, RateCounter, Shortage, SlotCounter, SumCounter, Tell
from gateway.counters.rate import debited, level_of, seconds_short

MOST_COUNTERS: Final = 100_000
"""Counters that are kept: runs have any names. Those that were used longest ago are forgotten, but for what is held."""


@attrs.define(eq=False)
class _State:
    """``full`` is the moment at which a rate has refilled; ``used`` a sum, ``held`` what is reserved of it, or the
    slots that are taken."""

    full: float = 0.0
    used: int = 0
    held: int = 0


class LocalCounters:
    """Counters of one process, by ``clock`` (seconds)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = MOST_COUNTERS) -> None:
        self._clock = clock
        self._most = most
        self._states: OrderedDict[bytes, _State] = OrderedDict()
        self._open: set[str] = set()
        self._tell: list[Tell] = []

    async def reserve(self, claims: Sequence[Claim]) -> Sequence[Shortage]:
        now = self._clock()
        short = [found for claim in claims for one in claim.debits if (found := self._short(one, now)) is not None]
        if short:
            return short
        for claim in claims:
            self._open.add(claim.id)
            for one in claim.debits:
                self._take(one, now)
        return ()

    def settle(self, claim: Claim, used: Sequence[int]) -> None:
        if claim.id not in self._open:
            return
        self._open.remove(claim.id)
        for debit, amount in zip(claim.debits, used, strict=True):
            self._settle(debit, amount)
        for tell in self._tell:
            tell(claim)

    def level(self, counter: Counter) -> Level:
        if isinstance(counter, RateCounter):
            return Level(level_of(counter, self._full(counter), self._clock()))
        return Level(*self._used(counter))

    def room(self, debit: Debit) -> Shortage | None:
        return self._short(debit, self._clock())

    def on_settled(self, tell: Tell) -> None:
        self._tell.append(tell)

    def _short(self, debit: Debit, now: float) -> Shortage | None:
        counter = debit.counter
        if isinstance(counter, RateCounter):
            full = self._full(counter)
            wait = seconds_short(counter, full, debit.amount, now)
            return Shortage(debit, wait, level_of(counter, full, now), 0) if wait else None
        used, held = self._used(counter)
        if used + held + debit.amount <= counter.most:
            return None
        return Shortage(debit, None, used, held)

    def _full(self, counter: RateCounter) -> float:
        state = self._states.get(counter.key)
        return 0.0 if state is None else state.full

    def _used(self, counter: SlotCounter | SumCounter) -> tuple[int, int]:
        state = self._states.get(counter.key)
        used, held = (0, 0) if state is None else (state.used, state.held)
        if isinstance(counter, SumCounter) and counter.earlier:
            for key in counter.earlier:
                if (state := self._states.get(key)) is not None:
                    used += state.used
                    held += state.held
        return used, held

    def _take(self, debit: Debit, now: float) -> None:
        state = self._state(debit.counter.key)
        if isinstance(debit.counter, RateCounter):
            state.full = debited(debit.counter, state.full, debit.amount, now)
        else:
            state.held += debit.amount

    def _settle(self, debit: Debit, used: int) -> None:
        counter, state = debit.counter, self._state(debit.counter.key)
        match counter:
            case RateCounter():
                state.full = debited(counter, state.full, used - debit.amount, self._clock())
            case SlotCounter():
                state.held -= debit.amount
            case SumCounter():
                state.held -= debit.amount
                state.used += used

    def _state(self, key: bytes) -> _State:
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = _State()
            if len(self._states) > self._most:
                self._forget()
        else:
            self._states.move_to_end(key)
        return state

    def _forget(self) -> None:
        """Make room: for nothing that is held somebody still has to settle."""
        oldest = next((key for key, state in self._states.items() if not state.held), None)
        if oldest is not None:
            del self._states[oldest]
