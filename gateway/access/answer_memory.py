"""The memory of responses that the gateway reads completely, by client, together with that of bodies.

A response is not refused after its provider generated it: beyond the client's share its reading waits, and the provider
with it, until another response of the client has been sent. One response of each client never waits, so each of them
ends."""

from typing import Final

from gateway.access.body_memory import UNCOUNTED, BodyBudget
from gateway.http.request_scope import RequestScope
from streams.pipe import Watch

RESPONSE_COPIES: Final = 2
"""The copies of a response in memory: as received, and as sent to the client."""

STEP: Final = 256 * 1024
"""Bytes of a response that are counted before they are read."""


class AnswerMemory:
    """The memory of one response of ``holder``, counted until ``scope`` ends.

    ``next_size`` is the size in bytes beyond which ``reach`` must be called again."""

    __slots__ = ("_budget", "_held", "_holder", "_scope", "next_size")

    def __init__(self, budget: BodyBudget, holder: str, scope: RequestScope) -> None:
        self.next_size = UNCOUNTED
        self._budget = budget
        self._holder = holder
        self._scope = scope
        self._held = 0

    async def reach(self, size: int, watch: Watch) -> None:
        """Count ``size`` bytes of the response, which were read. If the client has no memory left, wait for it.

        A wait does not count as silence of the provider, which ``watch`` limits."""
        if size <= self.next_size:
            return
        most = size + STEP
        if not self._may_grow(RESPONSE_COPIES * most - self._held):
            watch.pause()
            while not self._may_grow(RESPONSE_COPIES * most - self._held):
                await self._budget.memory.wait_for_release()
            watch.restart_idle_limit()
        if not self._held:
            self._scope.hold(self.release)
        self._resize(RESPONSE_COPIES * most)
        self.next_size = most

    def release(self) -> None:
        """Count the response no longer."""
        if self._budget.memory.unlimited.get(self._holder) is self:
            del self._budget.memory.unlimited[self._holder]
        self._resize(0)

    def _may_grow(self, more: int) -> bool:
        """Return whether the response may occupy ``more`` bytes, also because it is the client's unlimited one."""
        if self._budget.has_room(self._holder, self._held, more):
            return True
        return self._budget.memory.unlimited.setdefault(self._holder, self) is self

    def _resize(self, size: int) -> None:
        more, self._held = size - self._held, size
        self._budget.memory.change(self._holder, more)
