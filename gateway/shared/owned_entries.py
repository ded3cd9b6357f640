"""A bounded mapping in one process whose entries belong to clients.

Without room, the client with the most loses its oldest entry, so no client can remove those of others."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import Generic, TypeVar

O = TypeVar("O", bound=Hashable)  # noqa: E741 -- an owner
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class OwnedEntries(Generic[O, K, V]):
    """Entries of together at most ``most``. An entry is as old as its last ``put``.

    An owner has at most ``most_of_owner``, even while there is room. ``on_drop`` is called with the values that make
    room."""

    def __init__(
        self,
        most: int,
        *,
        most_of_owner: int | None = None,
        on_drop: Callable[[V], object] = lambda value: None,
    ) -> None:
        self._most = most
        self._most_of_owner = most if most_of_owner is None else most_of_owner
        self._on_drop = on_drop
        self._entries_of: dict[O, OrderedDict[K, tuple[V, int]]] = {}
        self._sizes: dict[O, int] = {}
        self._size = 0
        self._numbers = count()
        self._largest: list[tuple[int, int, O]] = []
        """A heap of (-size, number, owner), also with outdated, larger sizes; empty until there is no room."""

    def __bool__(self) -> bool:
        return bool(self._entries_of)

    def __iter__(self) -> Iterator[V]:
        return (value for own in self._entries_of.values() for value, _ in own.values())

    def get(self, owner: O, key: K) -> V | None:
        own = self._entries_of.get(owner)
        found = None if own is None else own.get(key)
        return None if found is None else found[0]

    def find(self, key: K) -> V | None:
        """Return an entry of any owner with this ``key``."""
        return next((own[key][0] for own in self._entries_of.values() if key in own), None)

    def put(self, owner: O, key: K, value: V, size: int = 1) -> None:
        """Add or replace an entry of this ``size``, which becomes the newest of ``owner``."""
        own = self._entries_of.get(owner)
        if own is None:
            own = self._entries_of[owner] = OrderedDict()
            self._sizes[owner] = 0
        before = own.get(key)
        own[key] = value, size
        if before is not None:
            own.move_to_end(key)
            size -= before[1]
        if not size:
            return
        self._sizes[owner] += size
        self._size += size
        if size > 0 and self._largest:
            heappush(self._largest, (-self._sizes[owner], next(self._numbers), owner))
            if len(self._largest) > 2 * len(self._sizes) + 64:  # removed entries leave their tuples
                self._largest.clear()
        while self._sizes.get(owner, 0) > self._most_of_owner:
            self._drop_oldest(owner)
        while self._size > self._most:
            self._drop_oldest(self._largest_owner())

    def remove(self, owner: O, key: K) -> None:
        """Remove an entry if it exists."""
        own = self._entries_of.get(owner)
        if own is not None and (found := own.pop(key, None)) is not None:
            self._note_removed(owner, found[1])

    def take_next(self) -> V:
        """Remove and return an owner's oldest entry. Owners take turns, however many entries each has."""
        owner, own = next(iter(self._entries_of.items()))
        _, (value, size) = own.popitem(last=False)
        self._entries_of[owner] = self._entries_of.pop(owner)
        self._note_removed(owner, size)
        return value

    def clear(self) -> None:
        """Drop all entries."""
        for owner in tuple(self._entries_of):
            while owner in self._entries_of:
                self._drop_oldest(owner)

    def _drop_oldest(self, owner: O) -> None:
        _, (value, size) = self._entries_of[owner].popitem(last=False)
        self._note_removed(owner, size)
        self._on_drop(value)

    def _note_removed(self, owner: O, size: int) -> None:
        self._size -= size
        self._sizes[owner] -= size
        if not self._entries_of[owner]:
            del self._entries_of[owner], self._sizes[owner]

    def _largest_owner(self) -> O:
        """Return the owner with the most, in almost constant time."""
        if not self._largest:
            self._largest = [(-size, next(self._numbers), owner) for owner, size in self._sizes.items()]
            heapify(self._largest)
        while True:
            size, _, owner = self._largest[0]
            now = self._sizes.get(owner, 0)
            if now == -size:
                return owner
            if now:
                heapreplace(self._largest, (-now, next(self._numbers), owner))
            else:
                heappop(self._largest)
