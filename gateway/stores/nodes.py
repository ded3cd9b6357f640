"""Properties of nodes that every store needs: their size, whether an id can be kept, the tree that a write belongs
to."""

from collections.abc import Iterable, Mapping, Sequence
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
