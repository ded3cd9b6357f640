"""The budget of one provider for additional requests: retries, fallbacks to it, and hedges."""

from typing import Final

SECONDS: Final = 10
BESIDE: Final = 30.0
"""Additional requests in ``SECONDS`` that are always allowed, so that a single failure can be retried."""


class RetryBudget:
    """The requests to a provider in each of the last ``SECONDS``: ``brought`` by clients, and ``added`` to these. Times
    (``now``) are in seconds of any clock that does not go back."""

    def __init__(self, workers: int = 1) -> None:
        """``workers`` share the requests that are always allowed."""
        self._second = 0
        self._brought = [0] * SECONDS
        self._added = [0] * SECONDS
        self._beside = BESIDE / workers

    def brought(self, now: float) -> None:
        """Count a client's request."""
        second = int(now)
        if second != self._second:
            self._pass(second)
        self._brought[second % SECONDS] += 1

    def added(self, now: float) -> None:
        """Count an additional request."""
        second = int(now)
        if second != self._second:
            self._pass(second)
        self._added[second % SECONDS] += 1

    def may_add(self, now: float, share: float) -> bool:
        """Return whether one more may be added: at most ``share`` of the clients' requests, and ``BESIDE``."""
        if int(now) != self._second:
            self._pass(int(now))
        return sum(self._added) + 1 <= share * sum(self._brought) + self._beside

    def _pass(self, second: int) -> None:
        for passed in range(max(self._second, second - SECONDS) + 1, second + 1):
            self._brought[passed % SECONDS] = self._added[passed % SECONDS] = 0
        self._second = max(self._second, second)
