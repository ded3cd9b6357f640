"""A bounded mapping in one process whose entries belong to clients.

Without room, the client with the most entries loses its oldest one, so no client can remove those of others."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class OwnedEntries(Generic[K, V]):
    """At most ``most`` entries. An entry is as old as its last ``put``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries_of: dict[str, OrderedDict[K, V]] = {}
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._entries_of)

    def get(self, owner: str, key: K) -> V | None:
        own = self._entries_of.get(owner)
        return None if own is None else own.get(key)

    def put(self, owner: str, key: K, value: V) -> None:
        """Add or replace an entry, which becomes the newest of ``owner``."""
        own = self._entries_of.setdefault(owner, OrderedDict())
        self._count += key not in own
        own[key] = value
        own.move_to_end(key)
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
        owner, own = max(self._entries_of.items(), key=lambda item: len(item[1]))
        own.popitem(last=False)
        self._count -= 1
        if not own:
            del self._entries_of[owner]
