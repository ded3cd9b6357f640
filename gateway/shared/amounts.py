"""Integer amounts across the workers of a machine, by key: a total, and the amount that each worker holds.

Each worker holds amounts in its own cell, so that they vanish with a dead worker. A step changes several words
atomically: it writes them to a journal, commits the journal with one word, and then applies it. If a worker dies in
between, the next one to take the lock finishes. Counts of open requests are held amounts with a total of 0."""

import struct
import time
from collections.abc import Callable, Mapping
from typing import Final

from gateway.shared.layout import AMOUNT, GROUP, JOURNAL, KEY, KEYS, OWNER, TOTAL, UNTIL, find_key
from gateway.shared.memory import SharedMemory

_STEP: Final = 10**9
"""Nanoseconds, more than a step takes."""

_MOST_CACHED: Final = 4096
"""Keys whose rows a worker remembers."""


class SharedAmounts:
    """Amounts in several tables, for the worker in ``seat``. A step may change rows of all of them."""

    def __init__(self, memory: SharedMemory, seat: int) -> None:
        self._memory = memory
        self._map = memory.map
        self.words = memory.words
        self.own = AMOUNT + seat
        """The word of a row with this worker's amount."""
        self._start = memory.layout.amounts
        self._most = JOURNAL // 16 - 1
        self.configured = AmountTable(memory, "configured", self.commit)
        self.chosen = AmountTable(memory, "chosen", self.commit)
        self.unlisted = AmountTable(memory, "unlisted", self.commit)
        self.open = AmountTable(memory, "open", self.commit)

    def lock(self) -> None:
        """Wait for exclusive access, and finish a dead worker's step."""
        self._memory.lock(self._start)
        self._memory.replay()

    def unlock(self) -> None:
        self._memory.unlock(self._start)

    # Under the lock

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


class AmountTable:
    """Amounts by 16-byte digests in the table ``name``.

    A key may be in either of two groups, so that groups fill evenly. A row makes room for another key only when it has
    expired and no worker holds an amount in it."""

    def __init__(self, memory: SharedMemory, name: str, commit: Callable[[Mapping[int, int]], None]) -> None:
        layout = memory.layout
        self._memory = memory
        self._map = memory.map
        self._words = memory.words
        self._commit = commit
        self._row = layout.amount_words
        self._group = layout.amount_group
        self._number = layout.amount_rows[name] // GROUP
        self._rows = layout.amount_table(name)
        self._cached: dict[bytes, tuple[int, int, memoryview[int]]] = {}
        self._groups: dict[bytes, tuple[int, int]] = {}

    def find(self, key: bytes) -> int | None:
        """Return the number of the first word of the row of ``key``, ``None`` if there is none."""
        if (cached := self._cached.get(key)) is not None:
            at, row, _ = cached
            if self._map[at : at + KEY] == key:
                return row
        for group in self._groups.get(key) or self._groups_of(key):
            if self._map.find(key, group, group + KEYS) < 0:
                continue  # without a call: most slices of rolling budgets have no row
            if (number := find_key(self._map, key, group)) is not None:
                return self._remember(key, group, number)
        return None

    def held_amount(self, row: int) -> int:
        """Return the amount in ``row`` held by all workers."""
        return sum(self._words[row + AMOUNT : row + self._row])

    def held_of_key(self, key: bytes) -> int:
        """Return the amount of ``key`` held by all workers."""
        if (cached := self._cached.get(key)) is not None and self._map[cached[0] : cached[0] + KEY] == key:
            return sum(cached[2])
        row = self.find(key)
        return 0 if row is None else self.held_amount(row)

    def assign(self, key: bytes, owner: int = 0, keep: int = _STEP, most: int = GROUP) -> int | None:
        """Assign a row with total 0 to the new ``key``. Requires the lock of the amounts.

        Return ``None`` if both groups of the key are full, or have ``most`` live rows of ``owner``. The row is kept for
        ``keep`` nanoseconds, so that the rest of the step does not take it."""
        now = time.monotonic_ns()
        best: list[tuple[int, int]] = []
        for group in self._groups_of(key):
            free: list[tuple[int, int]] = []
            of_owner = 0
            for number in range(GROUP):
                row = self._row_of(group, number)
                if self._words[row + UNTIL] <= now and not self.held_amount(row):
                    free.append((group, number))
                else:
                    of_owner += self._words[row + OWNER] == owner
            if len(free) > len(best) and of_owner < most:
                best = free
        if not best:
            return None
        group, number = best[0]
        at, row = group + number * KEY, self._row_of(group, number)
        first, second = struct.unpack("=2Q", key)
        fresh = {row + UNTIL: now + keep, row + TOTAL: 0, row + OWNER: owner}
        self._commit({**fresh, at // 8: first, at // 8 + 1: second})
        return self._remember(key, group, number)

    def _groups_of(self, key: bytes) -> tuple[int, int]:
        """Return the positions of the two groups that may contain ``key``."""
        found = self._groups.get(key)
        if found is None:
            if len(self._groups) >= _MOST_CACHED:
                self._groups.clear()
            one, two = (self._rows + made % self._number * self._group for made in self._memory.hashes_of(key))
            found = self._groups[key] = one, two
        return found

    def _row_of(self, group: int, number: int) -> int:
        return (group + KEYS) // 8 + number * self._row

    def _remember(self, key: bytes, group: int, number: int) -> int:
        if len(self._cached) >= _MOST_CACHED:
            self._cached.clear()
        row = self._row_of(group, number)
        self._cached[key] = group + number * KEY, row, self._words[row + AMOUNT : row + self._row]
        return row


class SharedCounts:
    """Counts of open requests by 16-byte digests.

    Unused keys make room for others; without room, a key is not counted."""

    def __init__(self, amounts: SharedAmounts) -> None:
        self._amounts = amounts
        self._table = amounts.open

    def count(self, key: bytes, /) -> int:
        """Return the count over all workers."""
        return self._table.held_of_key(key)

    def begin(self, key: bytes, /) -> None:
        """Add one."""
        amounts, table = self._amounts, self._table
        amounts.lock()
        try:
            if (row := table.find(key)) is not None or (row := table.assign(key, keep=0)) is not None:
                amounts.words[row + amounts.own] += 1
        finally:
            amounts.unlock()

    def end(self, key: bytes, /) -> None:
        """Subtract one that this worker added.

        No lock is needed: no other worker writes the word, and the row keeps its key while it is above zero."""
        amounts = self._amounts
        if (row := self._table.find(key)) is not None and amounts.words[row + amounts.own]:
            amounts.words[row + amounts.own] -= 1
