"""Where the circuits of all places are kept: a table of rows by key."""

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Final, Protocol, TypeAlias

from gateway.health.circuit import CLOSED, LASTING, LONGEST_TOLD, Circuit
from gateway.shared.rows import Rows

KEPT: Final = 10_000
"""Rows of places that the configuration does not name: models of wildcard entries, and clients' own credentials."""

Change: TypeAlias = Callable[[Circuit], Circuit]
"""Pure: it may be called again for the state that another process has left meanwhile."""


class States(Protocol):
    """A table of circuits by keys of 16 bytes. Nothing is waited for."""

    def get(self, key: bytes, /) -> Circuit | None:
        """The circuit of ``key``, ``None`` where nothing is known."""
        ...

    def update(self, key: bytes, change: Change) -> tuple[Circuit, Circuit]:
        """Put ``change`` of the circuit of ``key`` in its place; what it was and what it is."""
        ...

    def name(self, keys: Collection[bytes]) -> None:
        """``keys`` are those of the configuration, which are never let go for the sake of others."""
        ...


class OwnStates:
    """The table of a process that has no others beside it."""

    def __init__(self, most: int = KEPT) -> None:
        self._rows: dict[bytes, Circuit] = {}
        self._named: frozenset[bytes] = frozenset()
        self._most = most
        self.get = self._rows.get

    def update(self, key: bytes, change: Change) -> tuple[Circuit, Circuit]:
        before = self._rows.pop(key, CLOSED)
        after = self._rows[key] = change(before)
        if len(self._rows) > self._most + len(self._named):
            del self._rows[next(old for old in self._rows if old not in self._named)]
        return before, after

    def name(self, keys: Collection[bytes]) -> None:
        self._named = frozenset(keys)


_UNNAMED: Final = LONGEST_TOLD + LASTING
_NAMED: Final = 2 * _UNNAMED
"""Seconds for which rows are kept that nobody changes: longer than a place can be out. Where there is no room those go
first whose time would be over first: so those that the configuration does not name."""


class RowStates:
    """The table of the workers of one machine, in rows that they share."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._named: frozenset[bytes] = frozenset()

    def get(self, key: bytes, /) -> Circuit | None:
        row = self._rows.read(key)
        return None if row is None else _unpacked(row)

    def update(self, key: bytes, change: Change) -> tuple[Circuit, Circuit]:
        before = after = CLOSED

        def step(row: bytes | None, now: float) -> bytes:
            nonlocal before, after
            before = CLOSED if row is None else _unpacked(row)
            after = change(before)
            return after.pack()

        self._rows.update(key, step, _NAMED if key in self._named else _UNNAMED)
        return before, after

    def name(self, keys: Collection[bytes]) -> None:
        self._named = frozenset(keys)


_unpacked = lru_cache(4096)(Circuit.unpack)
