"""The store of all circuits: a table of rows by key."""

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Final, Protocol, TypeAlias

from gateway.health.circuit import CLOSED, LASTING_COOLDOWN, LONGEST_WAIT, Circuit
from gateway.shared.rows import Rows

LONGEST_NAME: Final = 200
"""Characters of the name of a place. A client chooses that of a wildcard's model, which may have megabytes."""

MOST_UNLISTED: Final = 10_000
"""Rows of places that the configuration does not list: models of wildcard entries, and clients' own credentials."""

Change: TypeAlias = Callable[[Circuit], Circuit]
"""A pure change of a circuit, called again if another process changed the circuit meanwhile."""


class States(Protocol):
    """A table of circuits by 16-byte key. Never waits."""

    def get(self, key: bytes, /) -> Circuit | None:
        """Return the circuit of ``key``, ``None`` if it is unknown."""

    def update(self, key: bytes, change: Change) -> tuple[Circuit, Circuit]:
        """Replace the circuit of ``key`` by the result of ``change``, and return the old and the new one."""

    def set_listed(self, keys: Collection[bytes]) -> None:
        """Mark ``keys`` as those of the configuration, which are never dropped to make room."""


class LocalStates:
    """The table of a single process."""

    def __init__(self, most: int = MOST_UNLISTED) -> None:
        self._rows: dict[bytes, Circuit] = {}
        self._listed: frozenset[bytes] = frozenset()
        self._most = most
        self.get = self._rows.get

    def update(self, key: bytes, change: Change) -> tuple[Circuit, Circuit]:
        before = self._rows.pop(key, CLOSED)
        after = self._rows[key] = change(before)
        if len(self._rows) > self._most + len(self._listed):
            del self._rows[next(old for old in self._rows if old not in self._listed)]
        return before, after

    def set_listed(self, keys: Collection[bytes]) -> None:
        self._listed = frozenset(keys)


_KEEP_UNLISTED: Final = LONGEST_WAIT + LASTING_COOLDOWN
_KEEP_LISTED: Final = 2 * _KEEP_UNLISTED
"""Seconds for which unchanged rows are stored, longer than any outage. Without room, rows that expire first go first,
so unlisted ones."""


class SharedStates:
    """The table shared by the workers of a machine."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._listed: frozenset[bytes] = frozenset()

    def get(self, key: bytes, /) -> Circuit | None:
        row = self._rows.read(key)
        return None if row is None else _unpack_cached(row)

    def update(self, key: bytes, change: Change) -> tuple[Circuit, Circuit]:
        before = after = CLOSED

        def step(row: bytes | None, now: float) -> bytes:
            nonlocal before, after
            before = CLOSED if row is None else _unpack_cached(row)
            after = change(before)
            return after.pack()

        self._rows.update(key, step, _KEEP_LISTED if key in self._listed else _KEEP_UNLISTED)
        return before, after

    def set_listed(self, keys: Collection[bytes]) -> None:
        self._listed = frozenset(keys)


_unpack_cached = lru_cache(4096)(Circuit.unpack)
