"""Queues before targets that are full: bounded, fair between clients, in order within one."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import trio

from gateway.counters.counter import Claim, Counters, Shortage
from gateway.routing.target import Target

POLL: Final = 0.25
"""Seconds after which whoever is first looks again, where nobody can tell when there is room: other processes make
some, too."""

LONGEST_POLL: Final = 1.0
"""Seconds after which it looks again in any case: what others give back comes sooner than a rate refills."""

Try: TypeAlias = Callable[[], Awaitable[Sequence[Shortage]]]
"""Takes what a request needs, and answers what it was short of; nothing where it was taken."""


class Waiter:
    """A request of ``client`` that waits. ``woken`` is set when it may be its turn, or there may be room."""

    def __init__(self, client: str | None) -> None:
        self.client = client
        self.woken = trio.Event()


class FairLine:
    """The requests that wait for one target, pure. Clients take turns, however many requests each has; the requests of
    one client stay in their order."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str | None, OrderedDict[Waiter, None]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter in self._clients.get(waiter.client, ())

    @property
    def first(self) -> Waiter | None:
        """Whose turn it is."""
        for waiters in self._clients.values():
            return next(iter(waiters))
        return None

    def last_for(self, client: str | None) -> Waiter | None:
        """Who gives its place up for one more request of ``client`` where all are taken: the last of the client that
        has most of them; ``None`` where that would not make it fairer."""
        most = max(self._clients.values(), key=len, default=OrderedDict[Waiter, None]())
        return next(reversed(most)) if len(most) > len(self._clients.get(client, ())) + 1 else None

    def join(self, waiter: Waiter) -> None:
        self._clients.setdefault(waiter.client, OrderedDict())[waiter] = None
        self._size += 1

    def leave(self, waiter: Waiter) -> None:
        """Take ``waiter`` out, wherever it stands. If it was its turn, it is the next client's now."""
        was_first = self.first is waiter
        waiters = self._clients[waiter.client]
        del waiters[waiter]
        self._size -= 1
        if not waiters:
            del self._clients[waiter.client]
        elif was_first:
            self._clients.move_to_end(waiter.client)


class Queueing(Protocol):
    """The queues of all targets whose entries have one. They outlive a configuration; each request brings the bounds of
    its own."""

    def waiting(self, target: Target) -> int:
        """The number of requests that wait for ``target``. While there are any a new one joins them: it would overtake
        them otherwise."""
        ...

    @property
    def lengths(self) -> Mapping[str, int]:
        """How many requests of this process wait at each entry, those left out at which none does."""
        ...

    def has_room(self, target: Target, client: str | None) -> bool:
        """Whether one more request of ``client`` may wait for ``target``."""
        ...

    async def wait(self, target: Target, client: str | None, try_: Try, until: float) -> Sequence[Shortage]:
        """Wait for a turn at ``target`` and for its room, for as long as its queue allows and at most ``until`` (of
        trio's clock). The answer is what was missing at last, and empty where ``try_`` has taken it. It is called for
        one request of the queue at a time; one that has lost its place to another client, or whose time is over without
        a turn, has it called once.

        Cancelled, or with an exception of ``try_``'s, the request has left the queue."""
        ...


class Queues:
    """The queues of a process that is alone."""

    def __init__(self, counters: Counters) -> None:
        self._lines: dict[str, FairLine] = {}
        self._short: dict[str, frozenset[bytes]] = {}
        counters.on_settled(self._settled)

    def waiting(self, target: Target) -> int:
        line = self._lines.get(target.entry.name)
        return 0 if line is None else len(line)

    @property
    def lengths(self) -> Mapping[str, int]:
        return {name: len(line) for name, line in self._lines.items()}

    def has_room(self, target: Target, client: str | None) -> bool:
        line = self._lines.get(target.entry.name, FairLine())
        return len(line) < target.entry.queue.size or line.last_for(client) is not None

    async def wait(self, target: Target, client: str | None, try_: Try, until: float) -> Sequence[Shortage]:
        entry = target.entry
        if not self.has_room(target, client):  # others have come since it was asked for
            return await try_()
        until = min(until, trio.current_time() + entry.queue.wait)
        line = self._lines.setdefault(entry.name, FairLine())
        waiter = Waiter(client)
        if len(line) >= entry.queue.size and (last := line.last_for(client)) is not None:
            line.leave(last)
            last.woken.set()
        line.join(waiter)
        try:
            with trio.move_on_at(until):
                while waiter in line and line.first is not waiter:
                    waiter.woken = trio.Event()
                    await waiter.woken.wait()
            while True:
                waiter.woken = trio.Event()
                short = await try_()
                if not short or waiter not in line or trio.current_time() >= until:
                    return short
                self._short[entry.name] = frozenset(one.debit.counter.key for one in short)
                with trio.move_on_at(min(until, trio.current_time() + pause_after(short))):
                    await waiter.woken.wait()
        finally:
            self._leave(entry.name, line, waiter)

    def _leave(self, name: str, line: FairLine, waiter: Waiter) -> None:
        if waiter not in line:  # another has its place
            return
        line.leave(waiter)
        if (following := line.first) is not None:
            following.woken.set()
        else:
            del self._lines[name]
            self._short.pop(name, None)

    def _settled(self, claim: Claim) -> None:
        """Wake who is first in each queue for which ``claim`` has made room."""
        for name, line in self._lines.items():
            short = self._short.get(name, frozenset())
            if line.first is not None and any(debit.counter.key in short for debit in claim.debits):
                line.first.woken.set()


def pause_after(short: Sequence[Shortage]) -> float:
    """The seconds after which to look again."""
    told = [one.wait for one in short if one.wait is not None]
    return min(max(told), LONGEST_POLL) if told else POLL
