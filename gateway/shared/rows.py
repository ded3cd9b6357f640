"""Byte values under keys, with expiry and atomic updates, in one process."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

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
        ...

    def update(self, key: bytes, change: Change, keep: float) -> bytes | None:
        """Update a row, keep it for ``keep`` seconds from now, and return its new value."""
        ...


class LocalRows(Generic[V]):
    """A table in the memory of one process with at most ``most`` rows, by ``clock``.

    A value may be any object, and takes the place of ``size_of(value)`` rows."""

    def __init__(
        self,
        most: int,
        clock: Callable[[], float],
        *,
        most_of_owner: int | None = None,
        size_of: Callable[[V], int] | None = None,
    ) -> None:
        """Open an empty table. An owner has at most ``most_of_owner`` rows, even while others are free."""
        self._most = most
        self._most_of_owner = most if most_of_owner is None else most_of_owner
        self._clock = clock
        self._size_of = size_of
        self._rows: OrderedDict[bytes, tuple[V, float, int]] = OrderedDict()
        self._by_owner: dict[bytes, OrderedDict[bytes, None]] = {}
        self._sizes: dict[bytes, int] = {}
        self._size = 0
        self._largest = b""  # probably the owner with the most rows; compared with others when the table is full

    def read(self, key: bytes) -> V | None:
        row = self._rows.get(key)
        return None if row is None or row[1] <= self._clock() else row[0]

    def update(self, key: bytes, change: Callable[[V | None, float], V | None], keep: float) -> V | None:
        now = self._clock()
        row = self._rows.get(key)
        value = change(None if row is None or row[1] <= now else row[0], now)
        if value is None:
            self._remove(key)
            return None
        size = 1 if self._size_of is None else self._size_of(value)
        if row is not None and row[2] == size:
            self._rows[key] = value, now + keep, size
            self._rows.move_to_end(key)
            self._by_owner[key[:OWNER]].move_to_end(key)
        else:
            self._remove(key)
            self._add(key, value, now + keep, size)
        return value

    def _add(self, key: bytes, value: V, until: float, size: int) -> None:
        self._rows[key] = value, until, size
        owner = key[:OWNER]
        if (own := self._by_owner.get(owner)) is None:
            own = self._by_owner[owner] = OrderedDict()
            self._sizes[owner] = 0
        own[key] = None
        self._sizes[owner] += size
        self._size += size
        while self._sizes.get(owner, 0) > self._most_of_owner:
            self._remove(next(iter(own)))
        while self._size > self._most:
            oldest = next(iter(self._rows))
            self._largest = max(self._largest, oldest[:OWNER], owner, key=self._number_of)
            # The row that is unchanged for the longest time usually expires next.
            self._remove(next(iter(self._by_owner[self._largest])))

    def _number_of(self, owner: bytes) -> int:
        return self._sizes.get(owner, 0)

    def _remove(self, key: bytes) -> None:
        if (row := self._rows.pop(key, None)) is None:
            return
        owner = key[:OWNER]
        del self._by_owner[owner][key]
        self._size -= row[2]
        self._sizes[owner] -= row[2]
        if not self._by_owner[owner]:
            del self._by_owner[owner], self._sizes[owner]
