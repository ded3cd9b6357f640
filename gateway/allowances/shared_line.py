"""The line of requests before one target, in memory that the workers of a machine share."""

import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

_TICKET: Final = struct.Struct("=8sIIId")

BYTES: Final = _TICKET.size
"""Bytes of a ticket."""

MOST: Final = 800
"""Requests that wait before one target in all workers. Their tickets fit into one row of the table ``queues``."""

KEPT: Final = 1.0
"""Seconds for which a ticket counts beyond its time, before it is taken for one that was forgotten."""


class Ticket(NamedTuple):
    """A request of ``client`` (a digest), which waits ``until`` a moment of the workers' clock. ``seat`` and
    ``process`` are those of its worker, ``number`` is its own there."""

    client: bytes
    seat: int
    process: int
    number: int
    until: float


IsAlive: TypeAlias = Callable[[int, int], bool]
"""Returns whether a worker with that seat and process id is running."""

Change: TypeAlias = Callable[[bytes | None, float], bytes | None]


class LineRows(Protocol):
    """The part of a table of shared rows that lines need."""

    def read(self, key: bytes) -> bytes | None: ...

    def update(self, key: bytes, change: Change, keep: float) -> bytes | None: ...


class SharedLine:
    """The tickets in one row. Clients take turns, however many tickets each has, and those of one client stay in their
    order: tickets of one client lie together, and the client whose turn it is lies first."""

    def __init__(self, rows: LineRows, name: str, is_alive: IsAlive, clock: Callable[[], float]) -> None:
        self._rows = rows
        self._key = hashlib.blake2b(name.encode(), digest_size=16, person=b"queue").digest()
        self._is_alive = is_alive
        self._clock = clock

    def tickets(self) -> list[Ticket]:
        """Return the tickets in the line, the one whose turn it is first."""
        value = self._rows.read(self._key)
        return [] if value is None else list(self._alive(value, self._clock()))

    def join(self, ticket: Ticket, size: int) -> bool:
        """Put ``ticket`` into the line of at most ``size``, where the last ticket of the client that has most gives its
        place up if that is fairer. Returns whether there was room."""
        joined = False

        def change(value: bytes | None, now: float) -> bytes | None:
            nonlocal joined
            tickets = [] if value is None else list(self._alive(value, now))
            if len(tickets) >= min(size, MOST):
                last = last_for(tickets, ticket.client)
                if last is None:
                    return _encoded(tickets)
                tickets.remove(last)
            joined = True
            own = [place for place, one in enumerate(tickets, 1) if one.client == ticket.client]
            tickets.insert(own[-1] if own else len(tickets), ticket)
            return _encoded(tickets)

        self._change(change, ticket.until)
        return joined

    def leave(self, ticket: Ticket) -> None:
        """Take ``ticket`` out, wherever it is. If it was its turn, it is the next client's now."""

        def change(value: bytes | None, now: float) -> bytes | None:
            tickets = [] if value is None else list(self._alive(value, now))
            if ticket not in tickets:
                return _encoded(tickets)
            was_first = tickets[0] == ticket
            tickets.remove(ticket)
            if was_first:
                others = [one for one in tickets if one.client != ticket.client]
                tickets = others + [one for one in tickets if one.client == ticket.client]
            return _encoded(tickets)

        self._change(change, ticket.until)

    def _change(self, change: Change, until: float) -> None:
        """Keep the row for as long as the longest of its tickets counts; a shorter one must not end it."""
        longest = max([until, *(one.until for one in self.tickets())]) + KEPT - self._clock()
        self._rows.update(self._key, change, max(longest, KEPT))

    def _alive(self, value: bytes, now: float) -> Iterator[Ticket]:
        """The tickets in ``value`` without those that nobody will take out: of dead workers."""
        for fields in _TICKET.iter_unpack(value):
            ticket = Ticket(*fields)
            if ticket.until + KEPT > now and self._is_alive(ticket.seat, ticket.process):
                yield ticket


def last_for(tickets: Sequence[Ticket], client: bytes) -> Ticket | None:
    """Return the ticket that gives its place up for one more of ``client``: the last of the client that has most;
    ``None`` where that would not make it fairer."""
    counts: dict[bytes, int] = {}
    for one in tickets:
        counts[one.client] = counts.get(one.client, 0) + 1
    most = max(counts, key=lambda one: counts[one], default=client)
    if counts.get(most, 0) <= counts.get(client, 0) + 1:
        return None
    return next(one for one in reversed(tickets) if one.client == most)


def client_digest(client: str | None) -> bytes:
    """Return the eight bytes that stand for ``client`` in a ticket."""
    return hashlib.blake2b(b"" if client is None else client.encode(), digest_size=8).digest()


def _encoded(tickets: Sequence[Ticket]) -> bytes | None:
    return b"".join([_TICKET.pack(*one) for one in tickets]) or None
