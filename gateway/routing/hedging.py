"""Hedging: limits how often a second attempt starts while a slow first attempt is still running."""

from typing import Final

from gateway.config.attempts import Hedge

MOST_ROUTES: Final = 1000
BURST: Final = 5.0
"""Unused hedges that a route may accumulate; a small number, so that a slow minute does not double the load."""


class HedgeShares:
    """The hedges of each route, limited to its share of the requests. Not thread-safe."""

    def __init__(self) -> None:
        self._unused: dict[str, float] = {}

    def count_request(self, route: str, hedge: Hedge) -> None:
        """Count a request of ``route`` that may be hedged."""
        saved = self._unused.get(route)
        if saved is None:
            if len(self._unused) >= MOST_ROUTES:
                del self._unused[next(iter(self._unused))]
            saved = 1.0  # so that a new or rarely used route has one
        self._unused[route] = min(BURST, saved + hedge.at_most)

    def claim(self, route: str) -> bool:
        """Use one hedge of the share of ``route``; return whether one was available."""
        if self._unused.get(route, 0.0) < 1.0:
            return False
        self._unused[route] -= 1.0
        return True
