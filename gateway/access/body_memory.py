"""The memory of request bodies in progress, and of responses that the gateway reads completely, in total and by client.

A body counts as it arrives, not by its ``content-length``, until the request's text is released, which happens when a
streamed response begins. Small bodies are not counted: ``limits.in_flight`` bounds them.

A response is not refused after its provider generated it: beyond the client's share its reading waits, and the provider
with it, until another response of the client has been sent. One response of each client never waits, so each of them
ends."""

from typing import Final

from gateway.access.held_bytes import ByteShares, HeldBytes
from gateway.config.settings import Config
from gateway.http.request_scope import RequestScope
from streams.errors import GatewayError
from streams.pipe import Watch

UNCOUNTED: Final = 64 * 1024
"""The size in bytes up to which a body is not counted."""

COPIES: Final = 3
"""The copies of a body in memory: as received, as sent to a provider, and up to three between in a translation."""

ELEMENT: Final = 400
"""Bytes of memory per JSON element, decoded and translated; a stored element takes half as much again."""

_FULL: Final = "the bodies of running requests use all the memory of limits.bodies: try again later"
_SHARE: Final = "the bodies of the client's running requests use its share of memory, {} bytes: wait until one finishes"
_WAIT: Final = (("retry-after", "1"),)


class BodyBudget:
    """The memory that bodies may occupy under one configuration.

    A single body always fits, also into a client's share: ``limits.request_body`` and ``limits.elements`` bound it. The
    bytes by which the client with the most exceeds its share do not count for the others."""

    def __init__(self, config: Config, memory: HeldBytes) -> None:
        self.memory = memory
        self._most = config.limits.bodies
        self._shares = ByteShares(config, "bodies")

    def check(self, holder: str, own: int, more: int) -> None:
        """Check that a request with ``own`` bytes of ``holder`` may occupy ``more``.

        Raises ``GatewayError``: 429 if the client exceeds its share, 503 if all clients exceed the total. The holder
        ``""`` has no share."""
        if self._exceeds_share(holder, own, more):
            share = self._shares.most(holder, self._most)
            raise GatewayError("rate_limited", _SHARE.format(share), headers=_WAIT)
        if self.memory.total > own and self._exceeds_total(holder, more):
            raise GatewayError("overloaded", _FULL, headers=_WAIT)

    def has_room(self, holder: str, own: int, more: int) -> bool:
        """Return whether ``check`` would raise nothing."""
        exceeds_total = self.memory.total > own and self._exceeds_total(holder, more)
        return not exceeds_total and not self._exceeds_share(holder, own, more)

    def _exceeds_share(self, holder: str, own: int, more: int) -> bool:
        held, share = self.memory.held.get(holder, 0), self._shares.most(holder, self._most)
        return held > own and held + more > share < self._most

    def is_short(self, holder: str) -> bool:
        """Return whether ``holder`` uses more than half of its share, or all clients more than the total.

        Then memory that a request could do without must be freed, so that bodies still fit."""
        held, share = self.memory.held.get(holder, 0), self._shares.most(holder, self._most)
        return held > share // 2 or self._exceeds_total(holder, 0)

    def _exceeds_total(self, holder: str, more: int) -> bool:
        """Return whether all bodies, with ``more`` bytes of ``holder``, exceed the total."""
        total = self.memory.total + more
        return total > self._most and total - self._largest_excess(holder, more) > self._most

    def _largest_excess(self, holder: str, more: int) -> int:
        """Return the most bytes that one client with a share uses beyond it, with ``more`` bytes of ``holder``."""
        sizes = {**self.memory.held, holder: self.memory.held.get(holder, 0) + more}
        shares = {name: self._shares.most(name, self._most) for name in sizes}
        return max([0, *(sizes[name] - share for name, share in shares.items() if share < self._most)])


class HeldPieces:
    """The memory of a response that is kept for several requests, counted for one client at a time."""

    __slots__ = ("_budget", "_holder", "_size")

    def __init__(self, budget: BodyBudget, holder: str) -> None:
        self._budget = budget
        self._holder = holder
        self._size = 0

    @property
    def is_short(self) -> bool:
        """Whether the client has no more memory for pieces."""
        return self._budget.is_short(self._holder)

    def resize(self, size: int) -> None:
        """Set the memory to ``size`` bytes."""
        if size != self._size:
            self._budget.memory.change(self._holder, size - self._size)
            self._size = size

    def charge(self, holder: str) -> None:
        """Count the memory for ``holder`` from now on."""
        if holder != self._holder:
            size = self._size
            self.resize(0)
            self._holder = holder
            self.resize(size)


class HeldBody:
    """The memory of one request's body, freed when ``scope`` releases the request's text."""

    __slots__ = ("_budget", "_holder", "_is_registered", "_scope", "_size")

    def __init__(self, budget: BodyBudget, holder: str, scope: RequestScope) -> None:
        self._budget = budget
        self._holder = holder
        self._scope = scope
        self._is_registered = False
        self._size = 0

    def hold(self, size: int) -> None:
        """Set the memory of the body to ``size`` bytes. Raises ``GatewayError`` (429, 503)."""
        more = size - self._size
        if more > 0:
            self._budget.check(self._holder, self._size, more)
        if not self._is_registered:
            self._is_registered = True
            self._scope.hold_text(self._release)
        self._budget.memory.change(self._holder, more)
        self._size = size

    def arrive(self, size: int) -> None:
        """Count the ``size`` bytes that have arrived so far. Raises as ``hold`` does."""
        if size > UNCOUNTED or self._size:
            self.hold(size if size > UNCOUNTED else 0)

    def decode(self, size: int, elements: int) -> None:
        """Count a body of ``size`` bytes and ``elements`` before it is decoded. Raises as ``hold`` does."""
        if size > UNCOUNTED:
            self.hold(COPIES * size + ELEMENT * elements)

    def _release(self) -> None:
        self._budget.memory.change(self._holder, -self._size)
        self._size = 0


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
