"""Queues before targets over all workers of a machine: fair between clients, and in order, wherever requests arrive."""

import itertools
from collections import Counter as Numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import trio

from gateway.allowances.queue import Try, pause_after
from gateway.allowances.shared_line import MOST, IsAlive, LineRows, SharedLine, Ticket, client_digest, last_for
from gateway.counters.counter import Claim, Counters, Shortage
from gateway.routing.target import Target

TURN: Final = 0.005
"""Seconds between two looks at whose turn it is: another worker's request may have left the line."""


LOCAL_POLL: Final = 0.005
"""Seconds after which room is looked for that another worker may have made, where they count in memory."""

REMOTE_POLL: Final = 0.05
"""The same where they count in a store of several gateways: each look is a step there."""


class _LineWaiter:
    """A request of this worker that waits. ``woken`` is set when it may be its turn, or there may be room."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.woken = trio.Event()


class SharedQueues:
    """The ``Queues`` of one of several workers, which has ``seat`` and is the process ``process``. ``poll`` are the
    seconds after which the request whose turn it is looks for room that another worker may have made."""

    def __init__(
        self,
        counters: Counters,
        rows: LineRows,
        seat: int,
        process: int,
        is_alive: IsAlive,
        clock: Callable[[], float],
        poll: float = LOCAL_POLL,
    ) -> None:
        self._rows = rows
        self._seat = seat
        self._process = process
        self._is_alive = is_alive
        self._clock = clock
        self._poll = poll
        self._numbers = itertools.count()
        self._lengths = Numbers[str]()
        self._waiting: dict[
            str, dict[Ticket, _LineWaiter]
        ] = {}  # for their turn, by entries; the first one looks for all
        self._trying: dict[_LineWaiter, frozenset[bytes]] = {}  # whose turn it is, and what they are short of
        counters.on_settled(self._settled)

    def waiting(self, target: Target) -> int:
        return len(self._line(target).tickets())

    @property
    def lengths(self) -> Mapping[str, int]:
        """How many requests of this worker wait at each entry."""
        return {name: number for name, number in self._lengths.items() if number}

    def has_room(self, target: Target, client: str | None) -> bool:
        tickets = self._line(target).tickets()
        size = min(target.entry.queue.size, MOST)
        return len(tickets) < size or last_for(tickets, client_digest(client)) is not None

    async def wait(self, target: Target, client: str | None, try_: Try, until: float) -> Sequence[Shortage]:
        entry, line, now = target.entry, self._line(target), trio.current_time()
        until = min(until, now + entry.queue.wait)
        number = next(self._numbers) % 2**32
        ticket = Ticket(client_digest(client), self._seat, self._process, number, self._clock() + until - now)
        if not line.join(ticket, entry.queue.size):  # others have come since it was asked for
            return await try_()
        waiter = _LineWaiter(ticket)
        self._lengths[entry.name] += 1
        try:
            with trio.move_on_at(until):
                await self._turn(entry.name, line, waiter)
            while True:
                waiter.woken = trio.Event()
                short = await try_()
                if not short or trio.current_time() >= until or ticket not in line.tickets():
                    return short
                self._trying[waiter] = frozenset(one.debit.counter.key for one in short)
                with trio.move_on_at(min(until, trio.current_time() + min(self._poll, pause_after(short)))):
                    await waiter.woken.wait()
        finally:
            self._lengths[entry.name] -= 1
            self._trying.pop(waiter, None)
            line.leave(ticket)
            self._wake_leader(entry.name)

    async def _turn(self, name: str, line: SharedLine, waiter: _LineWaiter) -> None:
        """Wait until it is the turn of ``waiter``, or it has lost its place."""
        waiting = self._waiting.setdefault(name, {})
        waiting[waiter.ticket] = waiter
        try:
            while True:
                waiter.woken = trio.Event()
                tickets = line.tickets()
                if waiter.ticket not in tickets or tickets[0] == waiter.ticket:
                    return
                if next(iter(waiting.values())) is not waiter:
                    await waiter.woken.wait()
                    continue
                there = set(tickets)
                for ticket, other in waiting.items():
                    if ticket == tickets[0] or ticket not in there:
                        other.woken.set()
                with trio.move_on_after(TURN):
                    await waiter.woken.wait()
        finally:
            del waiting[waiter.ticket]
            if not waiting:
                del self._waiting[name]
            self._wake_leader(name)

    def _wake_leader(self, name: str) -> None:
        """Have the next request of this worker look whose turn it is."""
        if waiting := self._waiting.get(name):
            next(iter(waiting.values())).woken.set()

    def _settled(self, claim: Claim) -> None:
        for waiter, short in self._trying.items():
            if any(debit.counter.key in short for debit in claim.debits):
                waiter.woken.set()

    def _line(self, target: Target) -> SharedLine:
        return SharedLine(self._rows, target.entry.name, self._is_alive, self._clock)
