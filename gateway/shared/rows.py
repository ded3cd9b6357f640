"""Byte values under keys, with expiry and atomic updates, in one process."""

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias, TypeVar

from gateway.shared.owned_entries import OwnedEntries

V = TypeVar("V")

OWNER: Final = 4
"""Bytes at the beginning of a key that identify its owner, such as the client whose conversation it is."""

Change: TypeAlias = Callable[[bytes | None, float], bytes | None]
"""A function from a row's value and the time to its new value; ``None`` is a missing row.

It is called once with the row locked, so it must be fast and do no I/O. Its exceptions reach the caller, and the row
stays unchanged."""


class Rows(Protocol):
    """A bounded table of byte values by 16-byte digests.

    If the table is full, a new row replaces one of the owner with more rows, so that one client's rows do not displace
    those of others. Fast; used from one thread."""

    def read(self, key: bytes) -> bytes | None:
        """Return the value of a row, ``None`` if it is missing or expired."""

    def update(self, key: bytes, change: Change, keep: float) -> bytes | None:
        """Update a row, keep it for ``keep`` seconds from now, and return its new value."""


class LocalRows(OwnedEntries[bytes, bytes, tuple[V, float]]):
    """A table in the memory of one process with at most ``most`` rows, by ``clock``.

    A value may be any object, and takes the place of ``size_of(value)`` rows. An owner has at most ``most_of_owner``
    rows, even while others are free. The oldest row usually expires next."""

    def __init__(
        self,
        most: int,
        clock: Callable[[], float],
        *,
        most_of_owner: int | None = None,
        size_of: Callable[[V], int] | None = None,
    ) -> None:
        super().__init__(most, most_of_owner=most_of_owner)
        self._clock = clock
        self._size_of_row = size_of

    def read(self, key: bytes) -> V | None:
        own = self._entries_of.get(key[:OWNER])
        row = None if own is None else own.get(key)
        return None if row is None or row[0][1] <= self._clock() else row[0][0]

    def update(self, key: bytes, change: Callable[[V | None, float], V | None], keep: float) -> V | None:
        now, owner = self._clock(), key[:OWNER]
        own = self._entries_of.get(owner)
        row = None if own is None else own.get(key)
        value = change(None if row is None or row[0][1] <= now else row[0][0], now)
        if value is None:
            self.remove(owner, key)
            return None
        size = 1 if self._size_of_row is None else self._size_of_row(value)
        if own is not None and row is not None and row[1] == size:  # requests do it often, and save a call
            own[key] = (value, now + keep), size
            own.move_to_end(key)
        else:
            self.put(owner, key, (value, now + keep), size)
        return value
