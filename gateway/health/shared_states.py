"""The table of circuits that the workers of a process group have in common."""

from collections.abc import Collection
from functools import lru_cache
from typing import Final

from gateway.health.circuit import CLOSED, LONGEST_TOLD, Circuit, left_by
from gateway.health.states import Change
from gateway.shared.rows import Rows
from gateway.shared.shared_rows import SharedRows

_KEPT: Final = LONGEST_TOLD + 86400.0
"""Seconds for which a circuit is kept that nobody changes: longer than any may be out."""
_NAMED: Final = 2 * _KEPT
"""The same of those that the configuration names: where there is no room, others go first."""

_unpacked = lru_cache(4096)(Circuit.unpack)


class SharedStates:
    """Circuits in shared ``rows``. A change is one atomic step among all workers."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._named: frozenset[bytes] = frozenset()

    def get(self, key: bytes, /) -> Circuit | None:
        row = self._rows.read(key)
        return None if row is None else _unpacked(row)

    def update(self, key: bytes, change: Change) -> tuple[Circuit, Circuit]:
        before = after = CLOSED

        def next_row(row: bytes | None, _now: float) -> bytes:
            nonlocal before, after
            before = CLOSED if row is None else _unpacked(row)
            after = change(before)
            return after.pack()

        self._rows.update(key, next_row, _NAMED if key in self._named else _KEPT)
        return before, after

    def name(self, keys: Collection[bytes]) -> None:
        self._named = frozenset(keys)


def give_back_trials(rows: SharedRows, process: int) -> None:
    """Let somebody else try what the dead worker ``process`` was trying."""
    rows.sweep(lambda row: left_by(_unpacked(row), process).pack())
