"""The counters whose states the next steps ask the store for."""

from collections.abc import Iterable
from itertools import islice
from typing import Final

import attrs
import trio

from gateway.counters.counter import Counter

AT_ONCE: Final = 500
"""Counters in one step."""

MOST: Final = 10_000
"""Counters that wait for a step."""


@attrs.frozen(eq=False)
class StepLooks:
    """The counters that one step asks for, and the events of those who wait for its answer."""

    counters: tuple[Counter, ...] = ()
    waiting: tuple[trio.Event, ...] = ()

    def release(self) -> None:
        """Let those who wait go on with what is known."""
        for event in self.waiting:
            event.set()


class PendingLooks:
    """A set of counters, in the order in which they were wanted. Used from one thread."""

    def __init__(self) -> None:
        self._wanted: dict[bytes, Counter] = {}
        self._waiting: list[trio.Event] = []

    def __bool__(self) -> bool:
        return bool(self._wanted or self._waiting)

    def want(self, counters: Iterable[Counter]) -> None:
        """Ask for ``counters`` with the next step."""
        for counter in counters:
            if len(self._wanted) < MOST:
                self._wanted[counter.key] = counter

    def event(self) -> trio.Event:
        """Return an event that is set once all counters that are wanted now were heard of, or the store is away."""
        self._waiting.append(event := trio.Event())
        return event

    def take(self) -> StepLooks:
        """Return what the next step asks for."""
        keys = list(islice(self._wanted, AT_ONCE))
        counters = tuple([self._wanted.pop(key) for key in keys])
        if self._wanted:
            return StepLooks(counters)
        waiting, self._waiting = tuple(self._waiting), []
        return StepLooks(counters, waiting)

    def put_back(self, taken: StepLooks) -> None:
        """Ask for ``taken`` once more: the store has not answered."""
        self.want(taken.counters)
        self._waiting[:0] = taken.waiting

    def release(self) -> None:
        """Let everybody go on with what is known."""
        StepLooks((), tuple(self._waiting)).release()
        self._waiting = []
