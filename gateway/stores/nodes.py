"""Properties of nodes that every store needs: their size, whether an id can be kept, the tree that a write belongs
to."""

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from gateway.stores.store import Node, Unavailable

Key: TypeAlias = tuple[str, str]
"""An owner and an id."""

NODE: Final = 512  # bytes beyond its text and body that a node takes, about, in memory as on disk
ITEM: Final = 128
LONGEST: Final = 512  # characters of an id: PostgreSQL's indexes end at 2,704 bytes


def key_of(node: Node) -> Key:
    return node.owner, node.id


def size_of(node: Node) -> int:
    """The bytes of a node, as ``max_bytes`` counts them."""
    words = (node.owner, node.id, node.parent or "", *node.items)
    return NODE + ITEM * len(node.items) + sum(map(len, words)) + len(node.body)


def keepable(id: str) -> bool:
    """Return True if every store can hold ``id``: PostgreSQL has no NUL in a text, and no text outside UTF-8."""
    if len(id) > LONGEST or "\0" in id:
        return False
    return id.isascii() or not any("\ud800" <= character <= "\udfff" for character in id)


def batch_of(nodes: Iterable[Node]) -> dict[Key, Node]:
    """Index the ``nodes`` of one write by their keys. Item ids that no store can hold are left out: a client chose
    them.

    Raises ``Unavailable`` for any other such id."""
    batch = {key_of(node): node for node in nodes}
    for key, node in batch.items():
        if not all(map(keepable, (*key, node.parent or ""))):
            raise Unavailable("an id that is no plain text of 512 characters at most cannot be kept")
        if not all(map(keepable, node.items)):
            batch[key] = attrs.evolve(node, items=tuple(filter(keepable, node.items)))
    return batch


def tops(batch: Mapping[Key, Node]) -> dict[Key, Node]:
    """For each key of a write its earliest ancestor within the write, which may be its own node."""
    found: dict[Key, Node] = {}
    for key in batch:
        way: list[Key] = []
        while key not in found:
            found[key] = node = batch[key]  # itself, until there is one before it
            way.append(key)
            above = (node.owner, node.parent or "")
            if node.parent is None or above not in batch:
                break
            key = above
        found.update(dict.fromkeys(way, found[key]))
    return found


def joins(top: Node) -> tuple[Key, ...]:
    """The keys of the stored nodes whose tree ``top`` joins, the first that is there: its parent, else the node that it
    replaces, because the root of a tree keeps its tree."""
    return ((top.owner, top.parent), key_of(top)) if top.parent is not None else (key_of(top),)


def lineage(nodes: Iterable[Node], id: str) -> tuple[Node, ...]:
    """The chain of ``nodes`` that ends with ``id``, the first one first; empty if one is missing or it is a circle."""
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


def too_large(max_bytes: int) -> Unavailable:
    return Unavailable(f"this is more than the state storage holds: its max_bytes is {max_bytes}")


def keepable_only(ids: Sequence[str]) -> list[str]:
    """The distinct ``ids`` that every store can hold: others cannot be there."""
    return [id for id in dict.fromkeys(ids) if keepable(id)]


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
