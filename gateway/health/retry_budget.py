"""The budget of one provider for requests that clients have not brought: retries, fallbacks onto it, and hedges."""

from typing import Final

SECONDS: Final = 10
BESIDE: Final = 30.0
"""Requests in ``SECONDS`` that are always there, so that a lone failure can be tried again."""


class RetryBudget:
    """What a provider has been sent in each of the last ``SECONDS``: ``brought`` by clients, and ``added`` to that. It
    knows no clock: ``now`` is any in seconds that does not go back."""

    def __init__(self, workers: int = 1) -> None:
        """``workers`` share what is always there."""
        self._second = 0
        self._brought = [0] * SECONDS
        self._added = [0] * SECONDS
        self._beside = BESIDE / workers

    def brought(self, now: float) -> None:
        """A client's request goes there."""
        second = int(now)
        if second != self._second:
            self._pass(second)
        self._brought[second % SECONDS] += 1

    def added(self, now: float) -> None:
        """One more goes there."""
        second = int(now)
        if second != self._second:
            self._pass(second)
        self._added[second % SECONDS] += 1

    def may_add(self, now: float, share: float) -> bool:
        """True while those that were added are less than ``share`` of those that clients have brought, and
        ``BESIDE``."""
        if int(now) != self._second:
            self._pass(int(now))
        return sum(self._added) + 1 <= share * sum(self._brought) + self._beside

    def _pass(self, second: int) -> None:
        for passed in range(max(self._second, second - SECONDS) + 1, second + 1):
            self._brought[passed % SECONDS] = self._added[passed % SECONDS] = 0
        self._second = max(self._second, second)
