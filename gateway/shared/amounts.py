"""Integer amounts across the workers of a machine, by key: a total, and the amount that each worker holds.

Each worker holds amounts in its own cell, so that they vanish with a dead worker. A step changes several words
atomically: it writes them to a journal, commits the journal with one word, and then applies it. If a worker dies in
between, the next one to take the lock finishes. Counts of open requests are held amounts with a total of 0."""

import struct
import time
from collections.abc import Mapping
from typing import Final

from gateway.shared.layout import AMOUNT, GROUP, JOURNAL, KEY, KEYS, TOTAL, UNTIL, find_key
from gateway.shared.memory import SharedMemory

_STEP: Final = 10**9
"""Nanoseconds, more than a step takes."""

_MOST_CACHED: Final = 4096
"""Keys whose rows a worker remembers."""


class SharedAmounts:
    """Amounts by 16-byte digests, for the worker in ``seat``.

    Without room for another key, the next row to expire that no worker holds is replaced; rows with an odd expiry go
    first."""

    def __init__(self, memory: SharedMemory, seat: int) -> None:
        layout = memory.layout
        self._memory = memory
        self._map = memory.map
        self.words = memory.words
        self.own = AMOUNT + seat
        """The word of a row with this worker's amount."""
        self._row = layout.amount_words
        self._group = KEYS + GROUP * self._row * 8
        self._groups = layout.amount_rows // GROUP
        self._start = layout.amounts
        self._rows = layout.amounts + JOURNAL
        self._most = JOURNAL // 16 - 1
        self._cached: dict[bytes, tuple[int, int, memoryview[int]]] = {}

    def lock(self) -> None:
        """Wait for exclusive access, and finish a dead worker's step."""
        self._memory.lock(self._start)
        self._memory.replay()

    def unlock(self) -> None:
        self._memory.unlock(self._start)

    def find(self, key: bytes) -> int | None:
        """Return the number of the first word of the row of ``key``, ``None`` if there is none."""
        if (cached := self._cached.get(key)) is not None:
            at, row, _ = cached
            if self._map[at : at + KEY] == key:
                return row
        group = self._group_of(key)
        number = find_key(self._map, key, group)
        return None if number is None else self._remember(key, group, number)

    def held(self, row: int) -> int:
        """Return the amount in ``row`` held by all workers."""
        return sum(self.words[row + AMOUNT : row + self._row])

    def held_of_key(self, key: bytes) -> int:
        """Return the amount of ``key`` held by all workers."""
        if (cached := self._cached.get(key)) is not None and self._map[cached[0] : cached[0] + KEY] == key:
            return sum(cached[2])
        row = self.find(key)
        return 0 if row is None else self.held(row)

    # Under the lock

    def assign(self, key: bytes) -> int | None:
        """Assign a row with total 0 to the new ``key``; ``None`` if all its possible rows are held.

        It is reserved for a moment, so that the rest of the step does not take it."""
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
        """Write all of ``words`` by number, atomically even if this worker dies.

        Words beyond the journal's length form another step."""
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
        if len(self._cached) >= _MOST_CACHED:
            self._cached.clear()
        row = self._row_of(group, number)
        self._cached[key] = group + number * KEY, row, self.words[row + AMOUNT : row + self._row]
        return row


class SharedCounts:
    """Counts of open requests by 16-byte digests.

    Unused keys make room for others; without room, a key is not counted."""

    def __init__(self, amounts: SharedAmounts) -> None:
        self._amounts = amounts

    def count(self, key: bytes, /) -> int:
        """Return the count over all workers."""
        return self._amounts.held_of_key(key)

    def begin(self, key: bytes, /) -> None:
        """Add one."""
        amounts = self._amounts
        amounts.lock()
        try:
            if (row := amounts.find(key)) is not None or (row := amounts.assign(key)) is not None:
                amounts.words[row + amounts.own] += 1
        finally:
            amounts.unlock()

    def end(self, key: bytes, /) -> None:
        """Subtract one that this worker added.

        No lock is needed: no other worker writes the word, and the row keeps its key while it is above zero."""
        amounts = self._amounts
        if (row := amounts.find(key)) is not None and amounts.words[row + amounts.own]:
            amounts.words[row + amounts.own] -= 1
