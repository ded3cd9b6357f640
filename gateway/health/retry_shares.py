"""The budget of one provider for additional requests: retries, fallbacks to it, and hedges. Each client has a share."""

from collections import OrderedDict
from typing import Final

SECONDS: Final = 10
ALWAYS_ALLOWED: Final = 30.0
"""Additional requests in ``SECONDS`` that are always allowed, so that a single failure can be retried."""
MOST_IDLE: Final = 64
"""Clients that may be stored without any request in the last ``SECONDS``."""


class _Window:
    """The requests of one client in each of the last ``SECONDS``: its own, and additional ones."""

    def __init__(self) -> None:
        self.second = 0
        self.from_clients = [0] * SECONDS
        self.additional = [0] * SECONDS

    def advance(self, second: int) -> None:
        for passed in range(max(self.second, second - SECONDS) + 1, second + 1):
            self.from_clients[passed % SECONDS] = self.additional[passed % SECONDS] = 0
        self.second = max(self.second, second)


class RetryShares:
    """The requests to a provider in the last ``SECONDS``, by client.

    ``ALWAYS_ALLOWED`` is divided equally among the clients that have had additional requests, and each client has at
    least one. So no client can exhaust another's share. Times (``now``) are in seconds of any monotonic clock."""

    def __init__(self, workers: int = 1) -> None:
        """Share the requests that are always allowed with the other ``workers`` processes."""
        self._windows: dict[str | None, _Window] = {}
        # The second of each client's last additional request, the oldest first. A dict is slow to empty from its front.
        self._retrying: OrderedDict[str | None, int] = OrderedDict()
        self._most = MOST_IDLE
        self._always_allowed = ALWAYS_ALLOWED / workers

    def __len__(self) -> int:
        """Return the number of stored clients."""
        return len(self._windows)

    def count_client_request(self, now: float, client: str | None = None) -> None:
        """Count a request of ``client``."""
        second = int(now)
        window = self._windows[client] if client in self._windows else self._add(client, second)
        if second != window.second:
            window.advance(second)
        window.from_clients[second % SECONDS] += 1

    def count_additional(self, now: float, client: str | None = None) -> None:
        """Count an additional request for ``client``."""
        second = int(now)
        window = self._windows[client] if client in self._windows else self._add(client, second)
        if second != window.second:
            window.advance(second)
        window.additional[second % SECONDS] += 1
        self._retrying[client] = second
        self._retrying.move_to_end(client)

    def may_add(self, now: float, share: float, client: str | None = None) -> bool:
        """Return whether ``client`` may have one more, in a time that does not depend on the number of clients.

        It may have ``share`` of its own requests, plus its part of those that are always allowed."""
        second = int(now)
        window = self._windows[client] if client in self._windows else self._add(client, second)
        window.advance(second)
        while self._retrying and next(iter(self._retrying.values())) <= second - SECONDS:
            self._retrying.popitem(last=False)
        others = len(self._retrying) - (client in self._retrying)
        always = self._always_allowed if not others else max(1.0, self._always_allowed / (others + 1))
        return sum(window.additional) + 1 <= share * sum(window.from_clients) + always

    def _add(self, client: str | None, second: int) -> _Window:
        if len(self._windows) >= self._most:
            self._windows = {one: w for one, w in self._windows.items() if w.second > second - SECONDS}
            self._most = max(MOST_IDLE, 2 * len(self._windows))
        window = self._windows[client] = _Window()
        return window
