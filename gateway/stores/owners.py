"""The bytes that each owner has in a store, and who has most."""

import heapq
from collections.abc import Callable, Collection
from typing import TypeAlias

from gateway.stores.store import Unavailable

OwnerLimit: TypeAlias = Callable[[str], float]
"""The bytes that an owner may have: what goes beyond takes the place of the owner's own oldest. ``math.inf`` is no
limit."""


class OwnerBytes:
    """The bytes of each owner, in memory. Whoever has most is found in a time that hardly grows with the number of
    owners."""

    def __init__(self) -> None:
        self._bytes: dict[str, int] = {}
        self._most: list[tuple[int, str]] = []
        """A heap with an entry for each owner of what it has, negative, or once had: older entries are more."""

    def of(self, owner: str) -> int:
        return self._bytes.get(owner, 0)

    def add(self, owner: str, size: int) -> None:
        """Count ``size`` bytes more, or less."""
        now = self._bytes[owner] = self._bytes.get(owner, 0) + size
        if not now:
            del self._bytes[owner]
        if size > 0:
            heapq.heappush(self._most, (-now, owner))
        if len(self._most) > 2 * len(self._bytes) + 64:
            self._most = [(-held, name) for name, held in self._bytes.items()]
            heapq.heapify(self._most)

    def greediest(self, without: Collection[str] = ()) -> str | None:
        """The owner that has most, but for those that are left out."""
        aside, found = [], None
        while self._most and found is None:
            size, owner = self._most[0]
            now = self.of(owner)
            if not now:
                heapq.heappop(self._most)
            elif now != -size:
                heapq.heapreplace(self._most, (-now, owner))
            elif owner in without:
                aside.append(heapq.heappop(self._most))
            else:
                found = owner
        for entry in aside:
            heapq.heappush(self._most, entry)
        return found


def beyond_share(most: float) -> Unavailable:
    return Unavailable(
        f"this is more than one client may keep: its share (limits.per_client.stored) is {most:.0f} bytes"
    )
