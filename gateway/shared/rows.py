"""Rows of bytes under keys, which expire, and are changed in atomic steps: of one process here."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol, TypeAlias

Change: TypeAlias = Callable[[bytes | None, float], bytes | None]
"""From a row's value and the time to its next value; ``None`` is a row that is not there. Called once, with the row
locked: it is quick and does no I/O. What it raises goes to the caller, and nothing has changed."""


class Rows(Protocol):
    """Rows of bytes by keys of 16 bytes, which are digests. The number of rows is bounded: where there is no room those
    go that would expire next. All of it is quick, and used from one thread."""

    def read(self, key: bytes) -> bytes | None:
        """The value of a row."""
        ...

    def update(self, key: bytes, change: Change, keep: float) -> bytes | None:
        """Change a row, and keep it for ``keep`` seconds from now; the value that it has then."""
        ...


class LocalRows:
    """Rows in the memory of one process, at most ``most``, by ``clock``."""

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
        if len(self._rows) > self._most:  # the one that has not been changed for longest: it expires soon, as a rule
            self._rows.popitem(last=False)
