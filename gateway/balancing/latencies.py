"""The times to first content of one target's streams, as they were lately."""

from collections import deque
from collections.abc import Sequence
from math import ceil
from typing import Final

WINDOW: Final = 300.0
"""Seconds for which a time counts."""
MOST_TIMES: Final = 256
"""Times that are kept of a target, the newest."""

RECENT, FRESH, ENOUGH = 20.0, 60.0, 3
"""A target is as fast as it was in the ``RECENT`` seconds, or at its ``ENOUGH`` newest streams where these are no older
than ``FRESH``: so that one is back soon that is fast again, of whose many slow streams the window is still full."""

TYPICAL: Final = 0.9
_PAUSE: Final = 1.0
"""Seconds between two calculations where many streams begin: nobody waits for one who only asks."""


class FirstContents:
    """Times to first content, and the typical one of them."""

    def __init__(self) -> None:
        self._times: deque[tuple[float, float]] = deque(maxlen=MOST_TIMES)
        self.typical = 0.0
        """Seconds within which 9 of 10 streams began; to be believed for ``WINDOW`` seconds."""
        self.newest = self._calculated = float("-inf")
        """The moment of the last one."""

    def add(self, seconds: float, now: float, *, at_least: bool = False) -> None:
        """A stream began after ``seconds``. Of one that was given up without content (``at_least``) it is only known
        that it was none of the fast ones."""
        if at_least and self.newest > now - WINDOW:
            seconds = max(seconds, self.typical)
        self._times.append((now, seconds))
        self.newest = now
        if now - self._calculated >= _PAUSE or len(self._times) <= 8 * ENOUGH:
            self._calculated = now
            self.typical = self._calculate(now)

    def percentile(self, share: float, now: float) -> float | None:
        """Seconds within which the ``share`` of the streams of the last 5 minutes began; ``None`` without any."""
        times = [seconds for at, seconds in self._times if at > now - WINDOW]
        return _percentile(times, share) if times else None

    def _calculate(self, now: float) -> float:
        times = [seconds for at, seconds in self._times if at > now - WINDOW]
        lately = sum(at > now - RECENT for at, _ in self._times)
        if lately < ENOUGH and len(times) >= ENOUGH and self._times[-ENOUGH][0] > now - FRESH:
            lately = ENOUGH
        typical = _percentile(times, TYPICAL)
        return typical if lately < ENOUGH else min(typical, _percentile(times[-lately:], TYPICAL))


def _percentile(times: Sequence[float], share: float) -> float:
    return sorted(times)[ceil(share * len(times)) - 1]
