"""Byte values under keys, with expiry and atomic updates, in one process."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

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


class LocalRows:
    """A table in the memory of one process with at most ``most`` rows, by ``clock``."""

    def __init__(self, most: int, clock: Callable[[], float], *, most_of_owner: int | None = None) -> None:
        """Open an empty table. An owner has at most ``most_of_owner`` rows, even while others are free."""
        self._most = most
        self._most_of_owner = most if most_of_owner is None else most_of_owner
        self._clock = clock
        self._rows: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        self._by_owner: dict[bytes, OrderedDict[bytes, None]] = {}
        self._largest = b""  # about the owner with the most rows: it is compared with others when the table is full

    def read(self, key: bytes) -> bytes | None:
        row = self._rows.get(key)
        return None if row is None or row[1] <= self._clock() else row[0]

    def update(self, key: bytes, change: Change, keep: float) -> bytes | None:
        now = self._clock()
        row = self._rows.get(key)
        value = change(None if row is None or row[1] <= now else row[0], now)
        if value is None:
            self._remove(key)
        elif row is None:
            self._add(key, value, now + keep)
        else:
            self._rows[key] = value, now + keep
            self._rows.move_to_end(key)
            self._by_owner[key[:OWNER]].move_to_end(key)
        return value

    def _add(self, key: bytes, value: bytes, until: float) -> None:
        self._rows[key] = value, until
        if (own := self._by_owner.get(owner := key[:OWNER])) is None:
            own = self._by_owner[owner] = OrderedDict()
        own[key] = None
        if len(own) > self._most_of_owner:
            self._remove(next(iter(own)))
        elif len(self._rows) > self._most:
            oldest = next(iter(self._rows))
            self._largest = max(self._largest, oldest[:OWNER], key[:OWNER], key=self._number_of)
            # Its row unchanged for longest, which usually expires next
            self._remove(next(iter(self._by_owner[self._largest])))

    def _number_of(self, owner: bytes) -> int:
        return len(self._by_owner.get(owner, ()))

    def _remove(self, key: bytes) -> None:
        if self._rows.pop(key, None) is None:
            return
        owner = key[:OWNER]
        del self._by_owner[owner][key]
        if not self._by_owner[owner]:
            del self._by_owner[owner]
