"""Queues for busy targets: bounded, fair between clients, in order within a client."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import trio

from gateway.counters.counter import Claim, Counters, Shortage
from gateway.routing.target import Target

POLL: Final = 0.25
"""Seconds between attempts of the first in line when the wait is unknown: other processes also free room."""

LONGEST_POLL: Final = 1.0
"""Seconds between attempts at most: other requests free room sooner than a rate refills."""

TryReserve: TypeAlias = Callable[[], Awaitable[Sequence[Shortage]]]
"""A function that reserves what a request needs and returns its shortages, none if it succeeded."""


class Waiter:
    """A waiting request of ``client``; ``wake`` is set when its turn or room may have come."""

    def __init__(self, client: str | None) -> None:
        self.client = client
        self.wake = trio.Event()


class FairLine:
    """The requests that wait for one target. Pure. Clients take turns; each client's requests stay in order."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str | None, OrderedDict[Waiter, None]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter in self._clients.get(waiter.client, ())

    @property
    def first(self) -> Waiter | None:
        """The request whose turn it is."""
        for waiters in self._clients.values():
            return next(iter(waiters))
        return None

    def request_to_remove(self, client: str | None) -> Waiter | None:
        """Return the request to remove from a full line for a new one of ``client``.

        It is the last request of the client with the most requests, ``None`` if removal would not be fairer."""
        most = max(self._clients.values(), key=len, default=OrderedDict[Waiter, None]())
        return next(reversed(most)) if len(most) > len(self._clients.get(client, ())) + 1 else None

    def join(self, waiter: Waiter) -> None:
        self._clients.setdefault(waiter.client, OrderedDict())[waiter] = None
        self._size += 1

    def leave(self, waiter: Waiter) -> None:
        """Remove ``waiter`` from any position. If it was its turn, the next client's turn begins."""
        was_first = self.first is waiter
        waiters = self._clients[waiter.client]
        del waiters[waiter]
        self._size -= 1
        if not waiters:
            del self._clients[waiter.client]
        elif was_first:
            self._clients.move_to_end(waiter.client)


class Queueing(Protocol):
    """The queues of all targets whose entries have one. They outlive configurations; requests bring their own
    bounds."""

    def waiting(self, target: Target) -> int:
        """Return the number of requests that wait for ``target``.

        A new request joins them if there are any, so that it does not overtake them."""

    @property
    def lengths(self) -> Mapping[str, int]:
        """The number of waiting requests of this process by entry, without empty queues."""

    def has_room(self, target: Target, client: str | None) -> bool:
        """Return whether one more request of ``client`` may wait for ``target``."""

    async def wait(
        self, target: Target, client: str | None, try_reserve: TryReserve, until: float
    ) -> Sequence[Shortage]:
        """Wait for a turn and for room at ``target``, at most until ``until`` (trio's clock) or the queue's limit.

        Return the last shortages, none if ``try_reserve`` succeeded. ``try_reserve`` runs for one request of the queue
        at a time, and once for a request that was removed or timed out before its turn. On cancellation or an exception
        from ``try_reserve``, the request leaves the queue."""


class Queues:
    """The queues of a single-process gateway."""

    def __init__(self, counters: Counters) -> None:
        self._lines: dict[str, FairLine] = {}
        self._short: dict[str, frozenset[bytes]] = {}
        counters.on_settled(self._wake_waiters)

    def waiting(self, target: Target) -> int:
        line = self._lines.get(target.entry.name)
        return 0 if line is None else len(line)

    @property
    def lengths(self) -> Mapping[str, int]:
        return {name: len(line) for name, line in self._lines.items()}

    def has_room(self, target: Target, client: str | None) -> bool:
        line = self._lines.get(target.entry.name, FairLine())
        return len(line) < target.entry.queue.size or line.request_to_remove(client) is not None

    async def wait(
        self, target: Target, client: str | None, try_reserve: TryReserve, until: float
    ) -> Sequence[Shortage]:
        entry = target.entry
        if not self.has_room(target, client):  # others may have joined since the caller checked
            return await try_reserve()
        until = min(until, trio.current_time() + entry.queue.wait)
        line = self._lines.setdefault(entry.name, FairLine())
        waiter = Waiter(client)
        if len(line) >= entry.queue.size and (last := line.request_to_remove(client)) is not None:
            line.leave(last)
            last.wake.set()
        line.join(waiter)
        try:
            with trio.move_on_at(until):
                while waiter in line and line.first is not waiter:
                    waiter.wake = trio.Event()
                    await waiter.wake.wait()
            while True:
                waiter.wake = trio.Event()
                short = await try_reserve()
                if not short or waiter not in line or trio.current_time() >= until:
                    return short
                self._short[entry.name] = frozenset(one.debit.counter.key for one in short)
                with trio.move_on_at(min(until, trio.current_time() + pause_after(short))):
                    await waiter.wake.wait()
        finally:
            self._remove_waiter(entry.name, line, waiter)

    def _remove_waiter(self, name: str, line: FairLine, waiter: Waiter) -> None:
        if waiter not in line:  # it was removed for another request
            return
        line.leave(waiter)
        if (following := line.first) is not None:
            following.wake.set()
        else:
            del self._lines[name]
            self._short.pop(name, None)

    def _wake_waiters(self, claim: Claim, used: Sequence[int]) -> None:
        """Wake the first request of each queue for which ``claim`` has freed room."""
        for name, line in self._lines.items():
            short = self._short.get(name, frozenset())
            if line.first is not None and any(debit.counter.key in short for debit in claim.debits):
                line.first.wake.set()


def pause_after(short: Sequence[Shortage]) -> float:
    """Return the seconds until the next attempt."""
    waits = [one.wait for one in short if one.wait is not None]
    return min(max(waits), LONGEST_POLL) if waits else POLL
