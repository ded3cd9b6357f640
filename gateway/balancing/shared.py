"""The pins and the open answers that the workers of a process group have in common."""

import hashlib
from collections.abc import Callable
from functools import lru_cache

from gateway.balancing.loads import MOST_PLACES, Place
from gateway.balancing.pins import Pin
from gateway.shared.counts import SharedCounts
from gateway.shared.rows import Rows


class SharedPins:
    """Pins in shared ``rows``. There they have the time of ``clock``, which all processes have in common, whichever
    their users have."""

    def __init__(self, rows: Rows, clock: Callable[[], float]) -> None:
        self._rows = rows
        self._clock = clock

    def get(self, key: bytes, now: float) -> Pin | None:
        if (row := self._rows.read(key)) is None:
            return None
        pin = Pin.unpack(row)
        return Pin(pin.member, now + pin.until - self._clock())

    def put(self, key: bytes, pin: Pin, now: float) -> None:
        lifetime = pin.until - now
        row = Pin(pin.member, self._clock() + lifetime).pack()
        self._rows.update(key, lambda _old, _now: row, lifetime)


class SharedOpenCounts:
    """The numbers of open answers in all workers."""

    def __init__(self, counts: SharedCounts) -> None:
        self._counts = counts

    def add(self, place: Place, change: int) -> None:
        tell = self._counts.begin if change > 0 else self._counts.end
        for _ in range(abs(change)):
            tell(_key(place))

    def count(self, place: Place) -> int:
        return self._counts.count(_key(place))


@lru_cache(MOST_PLACES)
def _key(place: Place) -> bytes:
    return hashlib.blake2b(repr(place).encode(), digest_size=16).digest()
