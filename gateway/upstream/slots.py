"""How many requests to providers may be under way at once, and the line of those that wait for their turn."""

import math

import attrs
import httpcore2
import trio


@attrs.define(eq=False)
class Slot:
    """One request's. ``waited`` says whether there was none when it came."""

    _limiter: trio.CapacityLimiter
    waited: bool = False

    def free(self) -> None:
        """Give it back, once."""
        self._limiter.release_on_behalf_of(self)


class ConcurrencyLimit:
    """``most`` at once, 0 for any number; every further request waits, ``patience`` seconds at most."""

    def __init__(self, most: int, patience: float) -> None:
        self._limiter = trio.CapacityLimiter(most or math.inf)
        self._patience = patience

    @property
    def most(self) -> float:
        """Infinite where any number may be under way."""
        return self._limiter.total_tokens

    def bound(self, most: int) -> None:
        """As many from now on: who waits is let in where there is room, and nobody is put out."""
        self._limiter.total_tokens = most or math.inf

    @property
    def taken(self) -> int:
        return self._limiter.borrowed_tokens

    @property
    def waiting(self) -> int:
        return self._limiter.statistics().tasks_waiting

    async def take(self) -> Slot:
        """The next one. Raises ``httpcore2.PoolTimeout``; cancelled, it has taken none."""
        place = Slot(self._limiter)
        try:
            self._limiter.acquire_on_behalf_of_nowait(place)
        except trio.WouldBlock:
            place.waited = True
        else:
            return place
        with trio.move_on_after(self._patience):
            await self._limiter.acquire_on_behalf_of(place)
            return place
        raise httpcore2.PoolTimeout("as many requests are under way as may be")
