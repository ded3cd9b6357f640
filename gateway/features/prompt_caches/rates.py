"""How often prefixes were requested within the last minute."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_MINUTE: Final = 60.0
_MOST: Final = 10_000


class RecentRequests:
    """Counts of requests by prefix in this process, in the current minute and the one before."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: OrderedDict[bytes, tuple[int, int, int]] = OrderedDict()

    def count(self, prefix: bytes) -> int:
        """Count a request with ``prefix``, and return how many there were in the last minute, this one included.

        Requests of the minute before count in proportion."""
        minute, second = divmod(self._clock(), _MINUTE)
        number, now, before = self._counts.pop(prefix, (int(minute), 0, 0))
        if number != int(minute):
            now, before = 0, now if number == int(minute) - 1 else 0
        self._counts[prefix] = int(minute), now + 1, before
        if len(self._counts) > _MOST:
            self._counts.popitem(last=False)
        return now + 1 + int(before * (1 - second / _MINUTE))
