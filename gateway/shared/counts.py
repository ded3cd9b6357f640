"""Counts of what is under way over all the workers of one machine, by keys.

Each worker counts in a cell of its own, and what is told is the sum: so that a worker that dies takes along what it had
counted, and nobody has to know what that was.
"""

from gateway.shared.layout import GROUP, KEY
from gateway.shared.memory import Seat, SharedMemory


class SharedCounts:
    """What is under way, by keys of 16 bytes, which are digests; for the worker that has ``seat``. Keys that nobody
    counts for make room for others; where there is no room a key is not counted."""

    def __init__(self, memory: SharedMemory, seat: Seat) -> None:
        layout = memory.layout
        self._memory = memory
        self._map = memory.map
        self._cells = memory.cells
        self._seat = seat.number
        self._seats = layout.seats
        self._keys = layout.counted
        self._first = layout.cells // 4
        self._groups = layout.counts // GROUP
        self._known: dict[bytes, int] = {}  # rows, which are looked at again before they are believed
        self._most_known = layout.counts

    def count(self, key: bytes) -> int:
        """How much is under way, in all workers."""
        if (row := self._row(key)) is None:
            return 0
        cell = self._first + row * self._seats
        return sum(self._cells[cell : cell + self._seats])

    def begin(self, key: bytes) -> None:
        """Count one more."""
        group = self._group(key)
        self._memory.lock(group)
        try:
            row = self._row(key)
            if row is None and (row := self._free(group)) is None:
                return
            self._map[self._keys + row * KEY : self._keys + (row + 1) * KEY] = key
            self._cells[self._first + row * self._seats + self._seat] += 1
        finally:
            self._memory.unlock(group)

    def end(self, key: bytes) -> None:
        """Count one less of those that this worker has begun. It needs no lock: nobody else writes the cell, and while
        it is above zero the row keeps its key."""
        if (row := self._row(key)) is not None:
            cell = self._first + row * self._seats + self._seat
            self._cells[cell] -= self._cells[cell] > 0

    def _group(self, key: bytes) -> int:
        """Where the group begins in which ``key`` is, or would be."""
        return self._keys + int.from_bytes(key[:8], "little") % self._groups * GROUP * KEY

    def _row(self, key: bytes) -> int | None:
        """The number of the row of ``key``."""
        row = self._known.get(key)
        if row is not None:
            at = self._keys + row * KEY
            if self._map[at : at + KEY] == key:
                return row
        return self._find(key)

    def _find(self, key: bytes) -> int | None:
        first = (self._group(key) - self._keys) // KEY
        for row in range(first, first + GROUP):
            at = self._keys + row * KEY
            if self._map[at : at + KEY] == key:
                if len(self._known) >= self._most_known:
                    self._known.clear()
                self._known[key] = row
                return row
        return None

    def _free(self, group: int) -> int | None:
        """A row that nobody counts in, of a group that is locked."""
        first = (group - self._keys) // KEY
        for row in range(first, first + GROUP):
            cell = self._first + row * self._seats
            if not any(self._cells[cell : cell + self._seats]):
                return row
        return None
