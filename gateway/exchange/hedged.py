"""Hedges: a second function starts if the first is slow, and the first result wins; and the limit on their share."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypeVar

import trio

from gateway.config.attempts import Hedge

T = TypeVar("T")

Contender: TypeAlias = Callable[[], Awaitable[T | None]]
"""A function that returns a result, or ``None`` after a failure. Cancellation leaves nothing open."""


async def run_hedged(
    first: Contender[T], delay: float, second: Callable[[], Awaitable[Contender[T] | None]]
) -> T | None:
    """Return the result of ``first`` or of the second function, whichever comes first; ``None`` if both fail.

    ``second()`` is called when ``first`` has run for ``delay`` seconds, and returns the second function or ``None``.
    The slower function is cancelled, and has ended when this returns. A result is lost if this is cancelled at the same
    time, so a function that opens something has to keep track of it."""
    results: list[T] = []
    ended = trio.Event()

    async def run(contender: Contender[T]) -> None:
        result = await contender()
        ended.set()
        if result is not None:
            results.append(result)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, first)
        with trio.move_on_after(delay):
            await ended.wait()
        if not ended.is_set() and (second_contender := await second()) is not None:
            nursery.start_soon(run, second_contender)
    return results[0] if results else None


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
