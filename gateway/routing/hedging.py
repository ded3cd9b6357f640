"""Hedging: whether a second attempt may be sent beside a slow first one, and how often that is done."""

from typing import Final

from gateway.config.attempts import Hedge

MOST_ROUTES: Final = 1000
BURST: Final = 5.0
"""Hedges that a route may have saved up: few enough that a bad minute does not double what is asked."""


class HedgeShares:
    """The hedges of each route within its share of requests. Used from one thread only."""

    def __init__(self) -> None:
        self._saved: dict[str, float] = {}

    def came(self, route: str, hedge: Hedge) -> None:
        """A request of ``route`` has come that may be hedged."""
        saved = self._saved.get(route)
        if saved is None:
            if len(self._saved) >= MOST_ROUTES:
                del self._saved[next(iter(self._saved))]
            saved = 1.0  # so that a route that is new, or seldom asked, has one
        self._saved[route] = min(BURST, saved + hedge.at_most)

    def take(self, route: str) -> bool:
        """Whether one more may be sent now, which is taken from the share."""
        if self._saved.get(route, 0.0) < 1.0:
            return False
        self._saved[route] -= 1.0
        return True
