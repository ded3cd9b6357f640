"""Byte values under keys, with expiry and atomic updates, in one process."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol, TypeAlias

Change: TypeAlias = Callable[[bytes | None, float], bytes | None]
"""A function from a row's value and the time to its new value; ``None`` is a missing row.

It is called once with the row locked, so it must be fast and do no I/O. Its exceptions reach the caller, and the row
stays unchanged."""


class Rows(Protocol):
    """A bounded table of byte values by 16-byte digests.

    Without room, the next rows to expire are replaced. Fast; used from one thread."""

    def read(self, key: bytes) -> bytes | None:
        """Return the value of a row, ``None`` if it is missing or expired."""
        ...

    def update(self, key: bytes, change: Change, keep: float) -> bytes | None:
        """Update a row, keep it for ``keep`` seconds from now, and return its new value."""
        ...


class LocalRows:
    """A table in the memory of one process with at most ``most`` rows, by ``clock``."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most = most
        self._clock = clock
        self._rows: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()

    def read(self, key: bytes) -> bytes | None:
        return self._value(key, self._clock())

    def update(self, key: bytes, change: Change, keep: float) -> bytes | None:
        now = self._clock()
        value = change(self._value(key, now), now)
        self._put(key, value, now + keep)
        return value

    def _value(self, key: bytes, now: float) -> bytes | None:
        value, until = self._rows.get(key, (None, 0.0))
        return value if until > now else None

    def _put(self, key: bytes, value: bytes | None, until: float) -> None:
        self._rows.pop(key, None)
        if value is not None:
            self._rows[key] = value, until
        if len(self._rows) > self._most:  # the row unchanged for longest, which usually expires next
            self._rows.popitem(last=False)
