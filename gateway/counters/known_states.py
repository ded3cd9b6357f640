"""The last known states of counters in a shared store."""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice, takewhile
from typing import Final

import attrs

from gateway.counters.counter import Counter, Debit, SumCounter
from gateway.counters.steps import State

_MOST: Final = 10_000
"""Counters whose last known state is remembered."""


@attrs.frozen(eq=False, repr=False)
class KnownState:
    """The last known state of ``counter``, received at ``received_at`` by the local clock."""

    counter: Counter
    state: State = (0, 0, 0, 0)
    received_at: float = 0.0

    def without(self, held: int) -> "KnownState":
        """Return the state after the end of a claim that held ``held``."""
        value, before, *earlier = self.state
        return attrs.evolve(self, state=(value, max(0, before - held), earlier[0], earlier[1]))

    @property
    def full(self) -> float:
        """The time at which a rate has refilled."""
        return self.state[0]

    @property
    def used_amount(self) -> int:
        """The used amount of a sum, earlier slices included."""
        return int(self.state[0]) + self.state[2]

    @property
    def held_amount(self) -> int:
        return self.state[1] + self.state[3]


class KnownStates:
    """The last known states by the keys of their counters, those received last at the end."""

    def __init__(self) -> None:
        self._states: OrderedDict[bytes, KnownState] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._states)

    def __iter__(self) -> Iterator[KnownState]:
        return iter(self._states.values())

    def get(self, key: bytes) -> KnownState | None:
        return self._states.get(key)

    def note(self, received: KnownState) -> None:
        """Note a state that was just received."""
        key = received.counter.key
        self._states[key] = received
        self._states.move_to_end(key)
        if len(self._states) > _MOST:
            self._states.popitem(last=False)

    def forget(self, counter: Counter) -> None:
        self._states.pop(counter.key, None)

    def release(self, debit: Debit) -> None:
        """Note that the claim with ``debit`` holds it no longer."""
        if (known := self._states.get(debit.counter.key)) is not None:
            self._states[debit.counter.key] = known.without(debit.amount)

    def received_before(self, limit: float, now: float, most: int) -> list[Counter]:
        """Return the counters of the ``most`` oldest states, if received before ``limit``. Forget those whose period is
        over at ``now``."""
        stale = list(islice(takewhile(lambda one: one.received_at < limit, self), most))
        over = [one.counter for one in stale if isinstance(one.counter, SumCounter) and one.counter.until <= now]
        for counter in over:
            self.forget(counter)
        return [one.counter for one in stale if one.counter.key in self._states]
