"""A bounded mapping in one process whose entries belong to clients.

Without room, the client with the most entries loses its oldest one, so no client can remove those of others."""

from collections import OrderedDict
from collections.abc import Hashable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class OwnedEntries(Generic[K, V]):
    """At most ``most`` entries. An entry is as old as its last ``put``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries_of: dict[str, OrderedDict[K, V]] = {}
        self._count = 0
        self._largest: list[tuple[int, str]] = []
        """A heap of (-entries, owner), also with outdated, larger numbers; empty until there is no room."""

    def __bool__(self) -> bool:
        return bool(self._entries_of)

    def get(self, owner: str, key: K) -> V | None:
        own = self._entries_of.get(owner)
        return None if own is None else own.get(key)

    def put(self, owner: str, key: K, value: V) -> None:
        """Add or replace an entry, which becomes the newest of ``owner``."""
        own = self._entries_of.setdefault(owner, OrderedDict())
        is_new = key not in own
        own[key] = value
        own.move_to_end(key)
        if is_new:
            self._count += 1
            if self._largest:
                heappush(self._largest, (-len(own), owner))
        if self._count > self._most:
            self._drop_oldest()

    def remove(self, owner: str, key: K) -> None:
        """Remove an entry if it exists."""
        own = self._entries_of.get(owner)
        if own is not None and own.pop(key, None) is not None:
            self._count -= 1
            if not own:
                del self._entries_of[owner]

    def _drop_oldest(self) -> None:
        owner = self._largest_owner()
        own = self._entries_of[owner]
        own.popitem(last=False)
        self._count -= 1
        if not own:
            del self._entries_of[owner]

    def _largest_owner(self) -> str:
        """Return the owner with the most entries, in almost constant time."""
        if not self._largest or len(self._largest) > 2 * len(self._entries_of) + 64:
            self._largest = [(-len(own), owner) for owner, own in self._entries_of.items()]
            heapify(self._largest)
        while True:
            size, owner = self._largest[0]
            now = len(self._entries_of.get(owner, ()))
            if now == -size:
                return owner
            if now:
                heapreplace(self._largest, (-now, owner))
            else:
                heappop(self._largest)
