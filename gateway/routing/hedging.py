"""Hedging: limits how often a second attempt starts while a slow first attempt is still running."""

from typing import Final

from gateway.config.attempts import Hedge

MOST_ROUTES: Final = 1000
BURST: Final = 5.0
"""Unused hedges that a route may accumulate; a small number, so that a slow minute does not double the load."""


class HedgeShares:
    """The hedges of each route, limited to its share of the requests. Not thread-safe."""

    def __init__(self) -> None:
        self._saved: dict[str, float] = {}

    def came(self, route: str, hedge: Hedge) -> None:
        """Count a request of ``route`` that may be hedged."""
        saved = self._saved.get(route)
        if saved is None:
            if len(self._saved) >= MOST_ROUTES:
                del self._saved[next(iter(self._saved))]
            saved = 1.0  # so that a new or rarely used route has one
        self._saved[route] = min(BURST, saved + hedge.at_most)

    def take(self, route: str) -> bool:
        """Take one hedge from the share of ``route``, if there is one, and return whether there was."""
        if self._saved.get(route, 0.0) < 1.0:
            return False
        self._saved[route] -= 1.0
        return True
