"""The limit on the share of hedges among the requests of a route."""

from typing import Final

from gateway.config.attempts import Hedge

MOST_SHARES: Final = 10_000

BURST: Final = 5.0
"""Unused hedges that a client may accumulate; a small number, so that a slow minute does not double the load."""


class HedgeShares:
    """The hedges of each client at each route, limited to a share of its requests. Not thread-safe."""

    def __init__(self) -> None:
        self._unused: dict[tuple[str, str | None], float] = {}

    def count_request(self, route: str, hedge: Hedge, client: str | None = None) -> None:
        """Count a request of ``client`` for ``route`` that may be hedged."""
        saved = self._unused.get((route, client))
        if saved is None:
            if len(self._unused) >= MOST_SHARES:
                del self._unused[next(iter(self._unused))]
            saved = 1.0  # so that a new or rare client has one
        self._unused[route, client] = min(BURST, saved + hedge.at_most)

    def claim(self, route: str, client: str | None = None) -> bool:
        """Take one hedge from the share of ``client``, if there is one, and return whether there was."""
        if self._unused.get((route, client), 0.0) < 1.0:
            return False
        self._unused[route, client] -= 1.0
        return True
