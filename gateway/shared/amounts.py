"""Amounts of whole numbers over all the workers of one machine, by keys: of each a total, and what each worker holds.

Each worker holds in a cell of its own, so that what one held that dies goes with it, as with counts. A step changes any
number of words at once: they are written to a journal, which counts by the write of one word, and then to their places.
If a worker dies on the way, the next one to take the lock does the rest. Counts of requests under way are held amounts
with a total of 0.
"""

import struct
import time
from collections.abc import Mapping
from typing import Final

from gateway.shared.layout import AMOUNT, GROUP, JOURNAL, KEY, KEYS, TOTAL, UNTIL, find_key
from gateway.shared.memory import SharedMemory

_STEP: Final = 10**9
"""Nanoseconds: more than a step takes."""

_MOST_SEEN: Final = 4096
"""Keys of which a worker remembers where their rows are."""


class SharedAmounts:
    """Amounts by keys of 16 bytes, which are digests; for the worker that has ``seat``. Where there is no room for
    another key the row goes that would first, of those that nobody holds any of: with an odd moment before others."""

    def __init__(self, memory: SharedMemory, seat: int) -> None:
        layout = memory.layout
        self._memory = memory
        self._map = memory.map
        self.words = memory.words
        self.own = AMOUNT + seat
        """The word of a row for what this worker holds."""
        self._row = layout.amount_words
        self._group = KEYS + GROUP * self._row * 8
        self._groups = layout.amount_rows // GROUP
        self._start = layout.amounts
        self._rows = layout.amounts + JOURNAL
        self._most = JOURNAL // 16 - 1
        self._seen: dict[bytes, tuple[int, int, memoryview[int]]] = {}

    def lock(self) -> None:
        """Wait until no other worker changes anything; end what a dead one has begun."""
        self._memory.lock(self._start)
        self._memory.replay()

    def unlock(self) -> None:
        self._memory.unlock(self._start)

    def find(self, key: bytes) -> int | None:
        """The number of the first word of the row of ``key``."""
        if (seen := self._seen.get(key)) is not None:
            at, row, _ = seen
            if self._map[at : at + KEY] == key:
                return row
        group = self._group_of(key)
        number = find_key(self._map, key, group)
        return None if number is None else self._remember(key, group, number)

    def held(self, row: int) -> int:
        """What all workers hold."""
        return sum(self.words[row + AMOUNT : row + self._row])

    def held_of(self, key: bytes) -> int:
        """What all workers hold of ``key``."""
        if (seen := self._seen.get(key)) is not None and self._map[seen[0] : seen[0] + KEY] == key:
            return sum(seen[2])
        row = self.find(key)
        return 0 if row is None else self.held(row)

    # From here on it is locked

    def assign(self, key: bytes) -> int | None:
        """A row for ``key``, which has none: its total is 0. ``None`` where something is held of all that it could
        have. It is kept for a moment, so that the rest of a step does not take it."""
        group, now = self._group_of(key), time.monotonic_ns()
        free: list[tuple[bool, int, int]] = []
        for number in range(GROUP):
            row = self._row_of(group, number)
            if not self.held(row):
                until = self.words[row + UNTIL]
                free.append((until > now and not until % 2, until, number))
        if not free:
            return None
        *_, number = min(free)
        at, row = group + number * KEY, self._row_of(group, number)
        first, second = struct.unpack("=2Q", key)
        self.commit({row + UNTIL: now + _STEP, row + TOTAL: 0, at // 8: first, at // 8 + 1: second})
        return self._remember(key, group, number)

    def commit(self, words: Mapping[int, int]) -> None:
        """Write all of ``words``, by their numbers, so that others see all or nothing, also if this worker dies on the
        way. What is beyond the journal's length is a step of its own."""
        if len(words) > self._most:
            some = list(words.items())
            for first in range(0, len(some), self._most):
                self.commit(dict(some[first : first + self._most]))
            return
        flat = [number for word in words.items() for number in word]
        struct.pack_into(f"={len(flat)}Q", self._map, self._start + 8, *flat)
        journal = self._start // 8
        self.words[journal] = len(words)
        for word, number in words.items():
            self.words[word] = number
        self.words[journal] = 0

    def _group_of(self, key: bytes) -> int:
        return self._rows + int.from_bytes(key[:8], "little") % self._groups * self._group

    def _row_of(self, group: int, number: int) -> int:
        return (group + KEYS) // 8 + number * self._row

    def _remember(self, key: bytes, group: int, number: int) -> int:
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        row = self._row_of(group, number)
        self._seen[key] = group + number * KEY, row, self.words[row + AMOUNT : row + self._row]
        return row


class SharedCounts:
    """Counts of requests under way by keys of 16 bytes, which are digests. Keys that nobody counts for make room for
    others. Where there is no room, a key is not counted."""

    def __init__(self, amounts: SharedAmounts) -> None:
        self._amounts = amounts

    def count(self, key: bytes, /) -> int:
        """Return how many are under way in all workers."""
        return self._amounts.held_of(key)

    def begin(self, key: bytes, /) -> None:
        """Count one more."""
        amounts = self._amounts
        amounts.lock()
        try:
            if (row := amounts.find(key)) is not None or (row := amounts.assign(key)) is not None:
                amounts.words[row + amounts.own] += 1
        finally:
            amounts.unlock()

    def end(self, key: bytes, /) -> None:
        """Count one less of those that this worker has begun. It needs no lock: nobody else writes the word, and while
        it is above zero the row keeps its key."""
        amounts = self._amounts
        if (row := amounts.find(key)) is not None and amounts.words[row + amounts.own]:
            amounts.words[row + amounts.own] -= 1
