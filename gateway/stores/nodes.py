"""Properties of nodes that every store needs: sizes, storable ids, and the tree that a write joins."""

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from gateway.stores.errors import Unavailable
from gateway.stores.store import Node

Key: TypeAlias = tuple[str, str]
"""An owner and an id."""

NODE: Final = 512  # approximate overhead of a node in bytes, in memory and on disk
ITEM: Final = 128
LONGEST: Final = 512  # characters of an id: PostgreSQL's index entries end at 2,704 bytes


def key_of(node: Node) -> Key:
    """Return the key of ``node``, which is unique in a store."""
    return node.owner, node.id


def size_of(node: Node) -> int:
    """Return the size of a node in bytes, as ``max_bytes`` counts it."""
    words = (node.owner, node.id, node.parent or "", *node.items)
    return NODE + ITEM * len(node.items) + sum(map(len, words)) + len(node.body)


def is_storable(id: str) -> bool:
    """Return whether every store can store ``id``: PostgreSQL rejects NUL and text outside UTF-8."""
    if len(id) > LONGEST or "\0" in id:
        return False
    return id.isascii() or not any("\ud800" <= character <= "\udfff" for character in id)


def batch_of(nodes: Iterable[Node]) -> dict[Key, Node]:
    """Index the ``nodes`` of one write by key, without item ids that no store can store: clients choose them.

    Raises ``Unavailable`` for other such ids."""
    batch = {key_of(node): node for node in nodes}
    for key, node in batch.items():
        if not all(map(is_storable, (*key, node.parent or ""))):
            raise Unavailable("cannot store this id: expected plain text of at most 512 characters")
        if not all(map(is_storable, node.items)):
            batch[key] = attrs.evolve(node, items=tuple(filter(is_storable, node.items)))
    return batch


def earliest_ancestors(batch: Mapping[Key, Node]) -> dict[Key, Node]:
    """Return, for each key of a write, its earliest ancestor within the write, which may be its own node."""
    found: dict[Key, Node] = {}
    for key in batch:
        way: list[Key] = []
        while key not in found:
            found[key] = node = batch[key]  # itself, until an earlier one is found
            way.append(key)
            above = (node.owner, node.parent or "")
            if node.parent is None or above not in batch:
                break
            key = above
        found.update(dict.fromkeys(way, found[key]))
    return found


def joinable_keys(top: Node) -> tuple[Key, ...]:
    """Return the keys of stored nodes whose tree ``top`` may join, the first existing one counts.

    They are its parent, or the node that it replaces: a new root keeps its tree."""
    return ((top.owner, top.parent), key_of(top)) if top.parent is not None else (key_of(top),)


def chain_to(nodes: Iterable[Node], id: str) -> tuple[Node, ...]:
    """Return the chain of ``nodes`` that ends with ``id``, the first node first; empty if a node is missing or in a
    circle."""
    known = {node.id: node for node in nodes}
    way: list[Node] = []
    before: str | None = id
    while before is not None:
        node = known.pop(before, None)
        if node is None:
            return ()
        way.append(node)
        before = node.parent
    return tuple(reversed(way))


def too_large_error(max_bytes: int) -> Unavailable:
    return Unavailable(f"this is larger than the state storage: its max_bytes is {max_bytes}")


def storable_ids(ids: Sequence[str]) -> list[str]:
    """Return the distinct ``ids`` that stores can store: no others can exist."""
    return [id for id in dict.fromkeys(ids) if is_storable(id)]


OwnerLimit: TypeAlias = Callable[[str], float]
"""A function that returns the bytes that an owner may store; writes beyond delete the owner's oldest. ``math.inf``: no
limit."""


class OwnerBytes:
    """The bytes of each owner in memory. Finding the largest owner takes almost constant time."""

    def __init__(self) -> None:
        self._bytes: dict[str, int] = {}
        self._most: list[tuple[int, str]] = []
        """A heap of (-bytes, owner), also with outdated, larger entries."""

    def of(self, owner: str) -> int:
        return self._bytes.get(owner, 0)

    def add(self, owner: str, size: int) -> None:
        """Add ``size`` bytes, which may be negative."""
        now = self._bytes[owner] = self._bytes.get(owner, 0) + size
        if not now:
            del self._bytes[owner]
        if size > 0:
            heapq.heappush(self._most, (-now, owner))
        if len(self._most) > 2 * len(self._bytes) + 64:
            self._most = [(-held, name) for name, held in self._bytes.items()]
            heapq.heapify(self._most)

    def largest_owner(self, without: Collection[str] = ()) -> str | None:
        """Return the owner with the most bytes, except those in ``without``."""
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


def over_share_error(most: float) -> Unavailable:
    return Unavailable(
        f"this is larger than the storage of one client: its share (limits.per_client.stored) is {most:.0f} bytes"
    )
