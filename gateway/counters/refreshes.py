"""The counters whose levels the next steps request from the store."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

import attrs
import trio

from gateway.counters.counter import Counter

PER_STEP: Final = 500
"""Counters per step."""

MOST: Final = 10_000
"""Counters waiting for a step."""


@attrs.frozen(eq=False)
class StepRefreshes:
    """The counters that one step requests, and the events of tasks that wait for them."""

    counters: tuple[Counter, ...] = ()
    waiting: tuple[trio.Event, ...] = ()

    def release(self) -> None:
        """Wake the waiting tasks, which use the levels known so far."""
        for event in self.waiting:
            event.set()


class PendingRefreshes:
    """Counters to request, in order. Used from one thread."""

    def __init__(self) -> None:
        self._counters: dict[bytes, Counter] = {}
        self._waiting: list[trio.Event] = []

    def __bool__(self) -> bool:
        return bool(self._counters or self._waiting)

    def add(self, counters: Iterable[Counter]) -> None:
        """Request ``counters`` with the next step."""
        for counter in counters:
            if len(self._counters) < MOST:
                self._counters[counter.key] = counter

    def event(self) -> trio.Event:
        """Return an event that is set once all counters pending now are known, or the store is unavailable."""
        self._waiting.append(event := trio.Event())
        return event

    def take(self) -> StepRefreshes:
        """Remove and return the counters for the next step."""
        keys = list(islice(self._counters, PER_STEP))
        counters = tuple([self._counters.pop(key) for key in keys])
        if self._counters:
            return StepRefreshes(counters)
        waiting, self._waiting = tuple(self._waiting), []
        return StepRefreshes(counters, waiting)

    def put_back(self, refreshes: StepRefreshes) -> None:
        """Request ``refreshes`` again, because the store has not replied."""
        self.add(refreshes.counters)
        self._waiting[:0] = refreshes.waiting

    def release(self) -> None:
        """Wake all waiting tasks, which use the levels known so far."""
        StepRefreshes((), tuple(self._waiting)).release()
        self._waiting = []
