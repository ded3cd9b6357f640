"""Queues for busy targets across all workers of a machine: fair between clients, in order wherever requests arrive."""

import hashlib
import itertools
import struct
from collections import Counter as Numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

import trio

from gateway.allowances.queue import TryReserve, pause_after
from gateway.counters.counter import Claim, Counters, Shortage
from gateway.routing.target import Target
from gateway.shared.rows import Change, Rows

_TICKET: Final = struct.Struct("=8sIIId")

BYTES: Final = _TICKET.size
"""The size of a ticket."""

MOST: Final = 800
"""The most requests that wait for one target in all workers; their tickets fit one row of the table ``queues``."""

GRACE: Final = 1.0
"""Seconds after a ticket's deadline until it counts as abandoned."""


class Ticket(NamedTuple):
    """A waiting request of ``client`` (a digest), valid until the workers' clock shows ``until``.

    ``seat`` and ``process`` identify its worker; ``number`` is unique there."""

    client: bytes
    seat: int
    process: int
    number: int
    until: float


IsAlive: TypeAlias = Callable[[int, int], bool]
"""A function that returns whether a worker with that seat and process id is running."""


class SharedLine:
    """The tickets in one row. Clients take turns; each client's tickets stay in order.

    Tickets of one client are adjacent, and those of the client whose turn it is come first."""

    def __init__(self, rows: Rows, name: str, is_alive: IsAlive, clock: Callable[[], float]) -> None:
        self._rows = rows
        self._key = hashlib.blake2b(name.encode(), digest_size=16, person=b"queue").digest()
        self._is_alive = is_alive
        self._clock = clock

    def tickets(self) -> list[Ticket]:
        """Return the tickets in the line, the one whose turn it is first."""
        value = self._rows.read(self._key)
        return [] if value is None else list(self._valid_tickets(value, self._clock()))

    def join(self, ticket: Ticket, size: int) -> bool:
        """Add ``ticket`` to the line of at most ``size``, and return whether there was room.

        If the line is full, the ticket returned by ``ticket_to_remove`` makes room."""
        joined = False

        def change(value: bytes | None, now: float) -> bytes | None:
            nonlocal joined
            tickets = [] if value is None else list(self._valid_tickets(value, now))
            if len(tickets) >= min(size, MOST):
                last = ticket_to_remove(tickets, ticket.client)
                if last is None:
                    return _pack_tickets(tickets)
                tickets.remove(last)
            joined = True
            own = [place for place, one in enumerate(tickets, 1) if one.client == ticket.client]
            tickets.insert(own[-1] if own else len(tickets), ticket)
            return _pack_tickets(tickets)

        self._update_row(change, ticket.until)
        return joined

    def leave(self, ticket: Ticket) -> None:
        """Remove ``ticket`` from any position. If it was its turn, the next client's turn begins."""

        def change(value: bytes | None, now: float) -> bytes | None:
            tickets = [] if value is None else list(self._valid_tickets(value, now))
            if ticket not in tickets:
                return _pack_tickets(tickets)
            was_first = tickets[0] == ticket
            tickets.remove(ticket)
            if was_first:
                others = [one for one in tickets if one.client != ticket.client]
                tickets = others + [one for one in tickets if one.client == ticket.client]
            return _pack_tickets(tickets)

        self._update_row(change, ticket.until)

    def _update_row(self, change: Change, until: float) -> None:
        """Update the row of tickets, and keep it until its last ticket expires."""
        keep = max([until, *(one.until for one in self.tickets())]) + GRACE - self._clock()
        self._rows.update(self._key, change, max(keep, GRACE))

    def _valid_tickets(self, value: bytes, now: float) -> Iterator[Ticket]:
        """Yield the tickets in ``value`` without expired ones and those of dead workers."""
        for fields in _TICKET.iter_unpack(value):
            ticket = Ticket(*fields)
            if ticket.until + GRACE > now and self._is_alive(ticket.seat, ticket.process):
                yield ticket


def ticket_to_remove(tickets: Sequence[Ticket], client: bytes) -> Ticket | None:
    """Return the ticket that a full line drops for a new ticket of ``client``.

    It is the last ticket of the client with the most tickets; ``None`` if dropping it would not be fairer."""
    counts: dict[bytes, int] = {}
    for one in tickets:
        counts[one.client] = counts.get(one.client, 0) + 1
    most = max(counts, key=lambda one: counts[one], default=client)
    if counts.get(most, 0) <= counts.get(client, 0) + 1:
        return None
    return next(one for one in reversed(tickets) if one.client == most)


def client_digest(client: str | None) -> bytes:
    """Return the eight bytes that represent ``client`` in a ticket."""
    return hashlib.blake2b(b"" if client is None else client.encode(), digest_size=8).digest()


def _pack_tickets(tickets: Sequence[Ticket]) -> bytes | None:
    return b"".join([_TICKET.pack(*one) for one in tickets]) or None


TURN: Final = 0.005
"""Seconds between checks of whose turn it is: another worker's request may have left the line."""


LOCAL_POLL: Final = 0.005
"""Seconds between checks for room that other workers free, if counters are in memory."""

REMOTE_POLL: Final = 0.05
"""Seconds between checks for room if counters are in a remote store: each check is a network request."""


class _LineWaiter:
    """A waiting request of this worker; ``wake`` is set when its turn or room may have come."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.wake = trio.Event()


class SharedQueues:
    """The ``Queues`` of one of several workers, with the shared-memory slot ``seat`` and process id ``process``.

    ``poll`` is the number of seconds between checks for room that other workers free."""

    def __init__(
        self,
        counters: Counters,
        rows: Rows,
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
        ] = {}  # waiting for their turn, by entry; the first checks for all
        self._trying: dict[_LineWaiter, frozenset[bytes]] = {}  # requests whose turn it is, and their missing counters
        counters.on_settled(self._wake_waiters)

    def waiting(self, target: Target) -> int:
        return len(self._line(target).tickets())

    @property
    def lengths(self) -> Mapping[str, int]:
        """The number of waiting requests of this worker by entry."""
        return {name: number for name, number in self._lengths.items() if number}

    def has_room(self, target: Target, client: str | None) -> bool:
        tickets = self._line(target).tickets()
        size = min(target.entry.queue.size, MOST)
        return len(tickets) < size or ticket_to_remove(tickets, client_digest(client)) is not None

    async def wait(
        self, target: Target, client: str | None, try_reserve: TryReserve, until: float
    ) -> Sequence[Shortage]:
        entry, line, now = target.entry, self._line(target), trio.current_time()
        until = min(until, now + entry.queue.wait)
        number = next(self._numbers) % 2**32
        ticket = Ticket(client_digest(client), self._seat, self._process, number, self._clock() + until - now)
        if not line.join(ticket, entry.queue.size):  # others may have joined since the caller checked
            return await try_reserve()
        waiter = _LineWaiter(ticket)
        self._lengths[entry.name] += 1
        try:
            with trio.move_on_at(until):
                await self._wait_for_turn(entry.name, line, waiter)
            while True:
                waiter.wake = trio.Event()
                short = await try_reserve()
                if not short or trio.current_time() >= until or ticket not in line.tickets():
                    return short
                self._trying[waiter] = frozenset(one.debit.counter.key for one in short)
                with trio.move_on_at(min(until, trio.current_time() + min(self._poll, pause_after(short)))):
                    await waiter.wake.wait()
        finally:
            self._lengths[entry.name] -= 1
            self._trying.pop(waiter, None)
            line.leave(ticket)
            self._wake_leader(entry.name)

    async def _wait_for_turn(self, name: str, line: SharedLine, waiter: _LineWaiter) -> None:
        """Wait until it is the turn of ``waiter``, or it was removed."""
        waiting = self._waiting.setdefault(name, {})
        waiting[waiter.ticket] = waiter
        try:
            while True:
                waiter.wake = trio.Event()
                tickets = line.tickets()
                if waiter.ticket not in tickets or tickets[0] == waiter.ticket:
                    return
                if next(iter(waiting.values())) is not waiter:
                    await waiter.wake.wait()
                    continue
                present = set(tickets)
                for ticket, other in waiting.items():
                    if ticket == tickets[0] or ticket not in present:
                        other.wake.set()
                with trio.move_on_after(TURN):
                    await waiter.wake.wait()
        finally:
            del waiting[waiter.ticket]
            if not waiting:
                del self._waiting[name]
            self._wake_leader(name)

    def _wake_leader(self, name: str) -> None:
        """Wake this worker's next request to check whose turn it is."""
        if waiting := self._waiting.get(name):
            next(iter(waiting.values())).wake.set()

    def _wake_waiters(self, claim: Claim, used: Sequence[int]) -> None:
        for waiter, short in self._trying.items():
            if any(debit.counter.key in short for debit in claim.debits):
                waiter.wake.set()

    def _line(self, target: Target) -> SharedLine:
        return SharedLine(self._rows, target.entry.name, self._is_alive, self._clock)
