"""Limits concurrent upstream requests; excess requests queue."""

import math

import attrs
import trio

from gateway.upstream.errors import failure


@attrs.define(eq=False)
class Slot:
    """One request's share of the limit. ``waited`` says whether there was none when it came."""

    _limiter: trio.CapacityLimiter
    waited: bool = False

    def free(self) -> None:
        """Give it back, once."""
        self._limiter.release_on_behalf_of(self)


class ConcurrencyLimit:
    """``most`` requests at once, 0 for any number; every further one waits, ``patience`` seconds at most."""

    def __init__(self, most: int, patience: float) -> None:
        self._limiter = trio.CapacityLimiter(most or math.inf)
        self._patience = patience

    @property
    def most(self) -> float:
        """Infinite where any number may be under way."""
        return self._limiter.total_tokens

    def set_limit(self, most: int) -> None:
        """Allow ``most`` requests from now on: who waits is let in where there is room, and nobody is put out."""
        self._limiter.total_tokens = most or math.inf

    @property
    def taken(self) -> int:
        """Requests under way."""
        return self._limiter.borrowed_tokens

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._limiter.statistics().tasks_waiting

    async def take(self) -> Slot:
        """The next slot. Raises ``UpstreamError``; cancelled, it has taken none."""
        slot = Slot(self._limiter)
        try:
            self._limiter.acquire_on_behalf_of_nowait(slot)
        except trio.WouldBlock:
            slot.waited = True
        else:
            return slot
        with trio.move_on_after(self._patience):
            await self._limiter.acquire_on_behalf_of(slot)
            return slot
        raise failure("pool_timeout")
