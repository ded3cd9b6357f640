"""OpenCounts of what is under way, by keys: in one process, and over all the workers of one machine.

Each worker counts in a cell of its own, and what is told is the sum: so that a worker that dies takes along what it had
counted, and nobody has to know what that was.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Protocol

from gateway.shared.layout import GROUP, KEY
from gateway.shared.memory import Seat, SharedMemory


class OpenCounts(Protocol):
    """What is under way, by keys of 16 bytes, which are digests."""

    def total(self, key: bytes) -> int:
        """How much is under way."""
        ...

    def take(self, key: bytes) -> Callable[[], object]:
        """Count one more: what counts it down again, to be called once."""
        ...


class LocalCounts:
    """OpenCounts of one process. Keys without anything under way take no room."""

    def __init__(self) -> None:
        self._counts: Counter[bytes] = Counter()

    def total(self, key: bytes) -> int:
        return self._counts.get(key, 0)

    def take(self, key: bytes) -> Callable[[], object]:
        self._counts[key] += 1
        return partial(self._give_back, key)

    def _give_back(self, key: bytes) -> None:
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]


class SharedCounts:
    """OpenCounts of all workers, for the one that has ``seat``. Where there is no room for a key, it is not counted."""

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

    def total(self, key: bytes) -> int:
        if (row := self._row(key)) is None:
            return 0
        cell = self._first + row * self._seats
        return sum(self._cells[cell : cell + self._seats])

    def take(self, key: bytes) -> Callable[[], object]:
        group = self._group(key)
        self._memory.lock(group)
        try:
            row = self._row(key)
            if row is None and (row := self._free(group)) is None:
                return _nothing
            self._map[self._keys + row * KEY : self._keys + (row + 1) * KEY] = key
            cell = self._first + row * self._seats + self._seat
            self._cells[cell] += 1
        finally:
            self._memory.unlock(group)
        return partial(self._give_back, cell)

    def _give_back(self, cell: int) -> None:
        self._cells[cell] -= 1  # only this worker writes it, and while it is above zero the row keeps its key

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
        group = self._group(key)
        for row in range((group - self._keys) // KEY, (group - self._keys) // KEY + GROUP):
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


def _nothing() -> None:
    """What was not counted is not counted down."""
