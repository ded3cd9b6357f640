"""Counters in the memory of one process."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from gateway.counters.chosen import MOST_CHOSEN, ChosenKeys
from gateway.counters.counter import (
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

SWEEP_AFTER: Final = 256
"""New counters between searches for expired ones, or as many as exist if that is more, so that a flood of names does
not slow down others."""


@attrs.define(eq=False, repr=False)
class _State:
    """The state of a counter.

    ``full`` is the time at which a rate has refilled; ``used`` a sum; ``held`` its reservations or occupied slots;
    ``until`` its expiry, ``chosen_by`` the client that chose its value."""

    full: float = 0.0
    used: int = 0
    held: int = 0
    until: float = math.inf
    chosen_by: str | None = None


class LocalCounters:
    """The counters of one process, by ``clock`` (seconds)."""

    remote = None

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        most: int = MOST_CHOSEN,
    ) -> None:
        self._clock = clock
        self._now = now
        self._states: dict[bytes, _State] = {}
        self._chosen = ChosenKeys(most, clock, self._is_over, self._states.pop)
        self._new = 0
        self._sweep_after = SWEEP_AFTER
        self._open: set[str] = set()
        self._rolled: dict[bytes, tuple[int, int]] = {}  # used and held in earlier slices, by last key
        self._earlier: set[bytes] = set()  # the keys of these slices
        self._callbacks: list[OnSettled] = []

    def now(self) -> float:
        return self._now()

    async def reserve(self, claims: Sequence[Claim]) -> Sequence[Shortage]:
        now = self._clock()
        short = [
            found for claim in claims for one in claim.debits if (found := self._shortage_of(one, now)) is not None
        ]
        if short:
            return short
        for claim in claims:
            self._open.add(claim.id)
            for one in claim.debits:
                self._reserve(one, now)
        return ()

    def settle(self, claim: Claim, used: Sequence[int]) -> None:
        if claim.id not in self._open:
            return
        self._open.remove(claim.id)
        for debit, amount in zip(claim.debits, used, strict=True):
            self._settle(debit, bounded_amount(amount))
        for callback in self._callbacks:
            callback(claim, used)

    def level(self, counter: Counter) -> Level:
        if isinstance(counter, RateCounter):
            return Level(unrefilled_units(counter, self._full_time(counter), self._clock()))
        return Level(*self._used_and_held(counter))

    async def refresh(self, counters: Sequence[Counter]) -> bool:
        return True

    async def earlier_sums(self, counter: SumCounter) -> Sequence[int] | None:
        return [0 if (state := self._states.get(key)) is None else state.used for key in counter.earlier]

    def shortage_for(self, debit: Debit) -> Shortage | None:
        return self._shortage_of(debit, self._clock())

    @property
    def size(self) -> int:
        return len(self._states)

    def raise_to(self, counter: SumCounter, used: int) -> None:
        if not self._has_row(counter):
            return
        state = self._state(counter)
        state.used = max(state.used, used)
        self._invalidate_slices(counter)

    def hold(self, claim: Claim) -> None:
        """Reserve all debits of ``claim`` even without room."""
        self._open.add(claim.id)
        for one in claim.debits:
            self._reserve(one, self._clock())

    def fill(self, rate: RateCounter, full: float) -> None:
        """Set the time at which ``rate`` has refilled to at least ``full``."""
        state = self._state(rate)
        state.full = max(state.full, full)

    def on_settled(self, callback: OnSettled) -> None:
        self._callbacks.append(callback)

    def _shortage_of(self, debit: Debit, now: float) -> Shortage | None:
        counter = debit.counter
        if counter.chosen_by is not None and not self._has_row(counter):
            return Shortage(debit, NO_ROW_WAIT, 0, 0, "no_row")
        if isinstance(counter, RateCounter):
            return rate_shortage(counter, debit, self._full_time(counter), now)
        used, held = self._used_and_held(counter)
        return room_shortage(debit, counter.most, used, held)

    def _full_time(self, counter: RateCounter) -> float:
        state = self._states.get(counter.key)
        return 0.0 if state is None else state.full

    def _used_and_held(self, counter: SlotCounter | SumCounter) -> tuple[int, int]:
        state = self._states.get(counter.key)
        used, held = (0, 0) if state is None else (state.used, state.held)
        if isinstance(counter, SlotCounter):
            return used, held
        if used and state is not None and self._has_ended(counter, state):
            used = 0
        if counter.earlier:
            rolled = self._rolled.get(counter.key) or self._sum_earlier_slices(counter)
            return used + rolled[0], held + rolled[1]
        return used, held

    def _sum_earlier_slices(self, counter: SumCounter) -> tuple[int, int]:
        """Compute the amounts used and held in the earlier slices of a rolling period, and cache them.

        Clients may choose many counters, so the slices of these are not cached."""
        found = [state for key in counter.earlier if (state := self._states.get(key)) is not None]
        rolled = sum(one.used for one in found), sum(one.held for one in found)
        if counter.chosen_by is None:
            self._rolled[counter.key] = rolled
            self._earlier.update(counter.earlier)
        return rolled

    def _invalidate_slices(self, counter: SumCounter) -> None:
        if counter.key in self._earlier:
            self._rolled.clear()
            self._earlier.clear()

    def _reserve(self, debit: Debit, now: float) -> None:
        counter, state = debit.counter, self._state(debit.counter)
        if isinstance(counter, RateCounter):
            state.full = full_after_debit(counter, state.full, debit.amount, now)
            return
        state.held += debit.amount
        if isinstance(counter, SumCounter):
            self._invalidate_slices(counter)

    def _settle(self, debit: Debit, used: int) -> None:
        counter, state = debit.counter, self._state(debit.counter)
        if isinstance(counter, RateCounter):
            state.full = full_after_debit(counter, state.full, used - debit.amount, self._clock())
            return
        state.held -= debit.amount
        if isinstance(counter, SumCounter):
            state.used += used
            self._invalidate_slices(counter)

    def _state(self, counter: Counter) -> _State:
        state = self._states.get(counter.key)
        if state is None:
            state = self._states[counter.key] = self._new_state(counter)
        if state.chosen_by is not None:
            self._chosen.mark_used(counter.key, state.chosen_by)
            if isinstance(counter, SumCounter):
                if self._has_ended(counter, state):
                    state.used = 0
                state.until = max(state.until, counter.until)  # a run lasts while it is used
        return state

    def _has_ended(self, counter: SlotCounter | SumCounter, state: _State) -> bool:
        """Return whether a sum has expired and may restart under its key; configured sums do not."""
        return isinstance(counter, SumCounter) and counter.chosen_by is not None and state.until < self._now()

    def _new_state(self, counter: Counter) -> _State:
        self._new += 1
        if self._new >= self._sweep_after:
            self._drop_expired()
            self._new, self._sweep_after = 0, max(SWEEP_AFTER, len(self._states))
        if counter.chosen_by is not None:
            self._chosen.add(counter.key, counter.chosen_by)
        until = counter.until if isinstance(counter, SumCounter) else math.inf
        return _State(until=until, chosen_by=counter.chosen_by)

    def _has_row(self, counter: Counter) -> bool:
        """Return whether ``counter`` has a state, or may have one."""
        client = counter.chosen_by
        return client is None or counter.key in self._states or self._chosen.has_room(client)

    def _is_over(self, key: bytes) -> bool:
        """Return whether a counter that a client chose equals a new one."""
        state = self._states[key]
        return not state.held and (state.until < self._now() or (not state.used and state.full <= self._clock()))

    def _drop_expired(self) -> None:
        """Drop the states that have expired or equal those of new counters, because unlisted clients come and go."""
        now, moment = self._now(), self._clock()
        for key, state in tuple(self._states.items()):
            is_over = state.until < now or (not state.used and state.full <= moment)
            if is_over and not state.held and state.chosen_by is None:
                del self._states[key]
        self._chosen.drop_expired()
