"""Counts of what is under way over all the workers of one machine, by keys.

Each worker counts in a cell of its own, and what is told is the sum: so that a worker that dies takes along what it had
counted, and nobody has to know what that was.
"""

import time

from gateway.shared.layout import GROUP, KEY, KEYS, REASSIGNED, find_key
from gateway.shared.memory import Seat, SharedMemory


class SharedCounts:
    """What is under way, by keys of 16 bytes, which are digests; for the worker that has ``seat``. Keys that nobody
    counts for make room for others; where there is no room a key is not counted."""

    def __init__(self, memory: SharedMemory, seat: Seat) -> None:
        layout = memory.layout
        self._memory = memory
        self._map = memory.map
        self._words = memory.words
        self._cells = memory.cells
        self._seat = seat.number
        self._seats = layout.seats
        self._keys = layout.counted
        self._first = layout.cells // 4
        self._groups = layout.counts // GROUP
        self._known: dict[bytes, memoryview[int]] = {}  # the cells of keys, until a row gets another one
        self._known_since = 0

    def count(self, key: bytes, /) -> int:
        """How much is under way, in all workers."""
        if self._words[REASSIGNED // 8] != self._known_since:
            self._known_since = self._words[REASSIGNED // 8]
            self._known.clear()
        cells = self._known.get(key)
        if cells is None:
            if (row := self._find(key, self._group(key))) is None:
                return 0
            cells = self._known[key] = self._cells_of(row)
        return sum(cells)

    def begin(self, key: bytes, /) -> None:
        """Count one more."""
        group = self._group(key)
        self._memory.lock(group)
        try:
            row = self._find(key, group)
            if row is None and (row := self._assign(key, group)) is None:
                return
            self._cells[self._first + row * self._seats + self._seat] += 1
        finally:
            self._memory.unlock(group)

    def end(self, key: bytes, /) -> None:
        """Count one less of those that this worker has begun. It needs no lock: nobody else writes the cell, and while
        it is above zero the row keeps its key."""
        if (row := self._find(key, self._group(key))) is not None:
            cell = self._first + row * self._seats + self._seat
            self._cells[cell] -= self._cells[cell] > 0

    def _group(self, key: bytes) -> int:
        """Where the group begins in which ``key`` is, or would be."""
        return self._keys + int.from_bytes(key[:8], "little") % self._groups * KEYS

    def _find(self, key: bytes, group: int) -> int | None:
        """The number of the row of ``key``."""
        number = find_key(self._map, key, group)
        return None if number is None else (group - self._keys) // KEY + number

    def _cells_of(self, row: int) -> "memoryview[int]":
        cell = self._first + row * self._seats
        return self._cells[cell : cell + self._seats]

    def _assign(self, key: bytes, group: int) -> int | None:
        """A row for ``key`` that nobody counts in, of a group that is locked."""
        first = (group - self._keys) // KEY
        for row in range(first, first + GROUP):
            if not any(self._cells_of(row)):
                at = self._keys + row * KEY
                self._map[at : at + KEY] = key
                self._words[REASSIGNED // 8] = time.monotonic_ns()
                return row
        return None
