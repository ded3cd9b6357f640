"""The budget of one provider for additional requests: retries, fallbacks to it, and hedges."""

from typing import Final

SECONDS: Final = 10
ALWAYS_ALLOWED: Final = 30.0
"""Additional requests in ``SECONDS`` that are always allowed, so that a single failure can be retried."""


class RetryBudget:
    """The requests to a provider in each of the last ``SECONDS``: from clients, and additional ones.

    Times (``now``) are in seconds of any monotonic clock."""

    def __init__(self, workers: int = 1) -> None:
        """Share the requests that are always allowed with the other ``workers`` processes."""
        self._second = 0
        self._from_clients = [0] * SECONDS
        self._additional = [0] * SECONDS
        self._always_allowed = ALWAYS_ALLOWED / workers

    def count_client_request(self, now: float) -> None:
        """Count a client's request."""
        second = int(now)
        if second != self._second:
            self._advance(second)
        self._from_clients[second % SECONDS] += 1

    def count_additional(self, now: float) -> None:
        """Count an additional request."""
        second = int(now)
        if second != self._second:
            self._advance(second)
        self._additional[second % SECONDS] += 1

    def may_add(self, now: float, share: float) -> bool:
        """Return whether one more additional request is allowed: at most ``share`` of the clients' requests, plus
        ``ALWAYS_ALLOWED``."""
        if int(now) != self._second:
            self._advance(int(now))
        return sum(self._additional) + 1 <= share * sum(self._from_clients) + self._always_allowed

    def _advance(self, second: int) -> None:
        for passed in range(max(self._second, second - SECONDS) + 1, second + 1):
            self._from_clients[passed % SECONDS] = self._additional[passed % SECONDS] = 0
        self._second = max(self._second, second)
