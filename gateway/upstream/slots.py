"""Limits concurrent upstream requests, and each client's share of them; excess requests queue."""

import math
from collections import OrderedDict, deque
from typing import Final, Protocol

import attrs
import trio

from gateway.upstream.errors import UpstreamError, failure
from streams.errors import GatewayError

NOBODY: Final = ""
"""The holder of slots for requests that belong to no client, such as probes. It has no share."""


class ConnectionShare(Protocol):
    """The limit of each client's slots."""

    def most(self, holder: str) -> float:
        """Return the number of slots that ``holder`` may have, infinite without a limit."""

    def refusal(self, holder: str) -> GatewayError:
        """Return the error for a request of ``holder``, which has its share."""


class Slot:
    """One request's slot, of ``holder``. ``waited`` is true if the request had to queue for it."""

    def __init__(self, limit: "ConcurrencyLimit", holder: str) -> None:
        self._limit = limit
        self.holder = holder
        self.waited = False

    def free(self) -> None:
        """Return the slot. Call it once."""
        self._limit.release(self.holder)


@attrs.define(eq=False, repr=False)
class _Waiter:
    slot: Slot
    granted: trio.Event = attrs.field(factory=trio.Event)


class ConcurrencyLimit:
    """At most ``most`` requests at the same time (0: any number); one more waits for up to ``patience`` seconds.

    A client that has its ``share`` waits for a slot of its own. A free slot goes to the waiting client that has the
    fewest, and among equals to the one whose last turn is longest ago."""

    def __init__(self, most: int, patience: float, share: ConnectionShare | None) -> None:
        self.most = most or math.inf
        """The limit; infinite where there is none."""
        self.taken_slots = 0
        """The number of requests that have a slot."""
        self._patience = patience
        self._share = share
        self._held: dict[str, int] = {}
        self._queues: OrderedDict[str, deque[_Waiter]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """The number of requests in the queue."""
        return sum(map(len, self._queues.values()))

    def set_limit(self, most: int) -> None:
        """Change the limit. Requests that have a slot keep it."""
        self.most = most or math.inf
        self._admit()

    def set_share(self, share: ConnectionShare) -> None:
        """Change the share of each client. Requests that have a slot keep it."""
        self._share = share
        self._admit()

    async def take(self, holder: str = NOBODY) -> Slot:
        """Return a slot for ``holder``, after a wait if there is none. Raises ``UpstreamError``; a cancelled call has
        taken no slot."""
        slot = Slot(self, holder)
        if self.taken_slots < self.most and not self._has_share(holder):
            self._grant(holder)
            return slot
        slot.waited = True
        await self._wait(_Waiter(slot))
        return slot

    async def _wait(self, waiter: _Waiter) -> None:
        holder = waiter.slot.holder
        self._queues.setdefault(holder, deque()).append(waiter)
        try:
            with trio.move_on_after(self._patience):
                await waiter.granted.wait()
        except BaseException:
            if waiter.granted.is_set():
                waiter.slot.free()
            else:
                self._remove_waiter(waiter)
            raise
        if waiter.granted.is_set():
            return
        self._remove_waiter(waiter)
        raise self._refusal(holder)

    def _refusal(self, holder: str) -> GatewayError:
        if self._share is not None and self._has_share(holder):
            return UpstreamError.of(self._share.refusal(holder).info)
        return failure("pool_timeout")

    def _remove_waiter(self, waiter: _Waiter) -> None:
        holder = waiter.slot.holder
        self._queues[holder].remove(waiter)
        if not self._queues[holder]:
            del self._queues[holder]

    def _has_share(self, holder: str) -> bool:
        if self._share is None or holder == NOBODY:
            return False
        return self._held.get(holder, 0) >= self._share.most(holder)

    def _grant(self, holder: str) -> None:
        self.taken_slots += 1
        self._held[holder] = self._held.get(holder, 0) + 1

    def release(self, holder: str) -> None:
        """Take back a slot of ``holder``; ``Slot.free`` calls it."""
        self.taken_slots -= 1
        self._held[holder] -= 1
        if not self._held[holder]:
            del self._held[holder]
        self._admit()

    def _admit(self) -> None:
        """Give the free slots to requests in the queue."""
        while self._queues and self.taken_slots < self.most:
            able = (holder for holder in self._queues if not self._has_share(holder))
            holder = min(able, key=lambda one: self._held.get(one, 0), default=None)
            if holder is None:
                return
            queue = self._queues[holder]
            self._grant(holder)
            queue.popleft().granted.set()
            self._queues.move_to_end(holder)
            if not queue:
                del self._queues[holder]
