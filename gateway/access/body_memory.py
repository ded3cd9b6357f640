"""The memory of request bodies under way, in all and by client.

A body counts as it arrives, not by its ``content-length``. It counts until the request's text is released, which
happens when a streamed answer begins. Bodies of some ten kilobytes are not counted: ``limits.in_flight`` bounds them.
"""

from collections import defaultdict
from typing import Final

from gateway.config.settings import Config
from gateway.http.request_scope import RequestScope
from streams.errors import GatewayError

UNCOUNTED: Final = 64 * 1024
"""Bytes up to which a body is not counted."""

COPIES: Final = 3
"""Copies of a body in memory: as received, as sent to a provider and, if it is translated, up to three in between."""

ELEMENT: Final = 400
"""Bytes of memory that an element takes, decoded and translated; two thirds of what it takes where it is kept."""

_FULL: Final = "the bodies of requests under way fill the memory that the gateway's limits.bodies allows"
_SHARE: Final = "the bodies of the client's requests under way hold its share of memory, {} bytes: wait for an answer"
_WAIT: Final = (("retry-after", "1"),)


class BodyMemory:
    """The memory that bodies hold in this process, in all its configurations."""

    def __init__(self) -> None:
        self.taken = 0
        self.held: defaultdict[str, int] = defaultdict(int)

    def change(self, holder: str, by: int) -> None:
        """Count ``by`` bytes more (or fewer) for ``holder``."""
        self.taken += by
        self.held[holder] += by
        if not self.held[holder]:
            del self.held[holder]  # there may be any number of holders, where none needs a key


class BodyBudget:
    """The memory that bodies may hold by one configuration. A single body always fits, also into a client's share:
    ``limits.request_body`` and ``limits.elements`` bound it."""

    def __init__(self, config: Config, memory: BodyMemory) -> None:
        self.memory = memory
        self._most = config.limits.bodies
        several = len(config.client_keys) > 1
        self._share = config.limits.per_client.bodies or (self._most // 2 if several else self._most)
        self._shares = {key.name: own for key in config.client_keys if (own := key.limits.bodies) is not None}

    def check(self, holder: str, own: int, more: int) -> None:
        """Raise ``GatewayError`` where a request that holds ``own`` bytes for ``holder`` may not hold ``more`` beside:
        429 for a client with its share, 503 where there is not as much for all. ``""`` has no share of its own."""
        memory, share = self.memory, self._shares.get(holder, self._share)
        held = memory.held.get(holder, 0)
        if holder and held > own and held + more > share < self._most:
            raise GatewayError("rate_limited", _SHARE.format(share), headers=_WAIT)
        if memory.taken > own and memory.taken + more > self._most:
            raise GatewayError("overloaded", _FULL, headers=_WAIT)


class HeldBody:
    """The memory that one request's body holds: nothing at first, returned when ``scope`` releases the text."""

    __slots__ = ("_budget", "_holder", "_registered", "_scope", "_size")

    def __init__(self, budget: BodyBudget, holder: str, scope: RequestScope) -> None:
        self._budget = budget
        self._holder = holder
        self._scope = scope
        self._registered = False
        self._size = 0

    def hold(self, size: int) -> None:
        """Hold ``size`` bytes in all. Raises ``GatewayError`` (429, 503)."""
        more = size - self._size
        if more > 0:
            self._budget.check(self._holder, self._size, more)
        if not self._registered:
            self._registered = True
            self._scope.hold_text(self._give_back)
        self._budget.memory.change(self._holder, more)
        self._size = size

    def arrive(self, size: int) -> None:
        """Hold the ``size`` bytes that have arrived. Raises as ``hold`` does."""
        if size > UNCOUNTED or self._size:
            self.hold(size if size > UNCOUNTED else 0)

    def decode(self, size: int, elements: int) -> None:
        """Hold a body of ``size`` bytes and ``elements`` before it is decoded. Raises as ``hold`` does."""
        if size > UNCOUNTED:
            self.hold(COPIES * size + ELEMENT * elements)

    def _give_back(self) -> None:
        self._budget.memory.change(self._holder, -self._size)
        self._size = 0
