"""A store in this process's memory: it ends with the process, and other workers do not see it."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import attrs
import trio

from gateway.stores.errors import Changed
from gateway.stores.nodes import (
    Key,
    OwnerBytes,
    OwnerLimit,
    batch_of,
    chain_to,
    earliest_ancestors,
    joinable_keys,
    key_of,
    over_share_error,
    size_of,
    too_large_error,
)
from gateway.stores.store import Node, Size


@attrs.define(eq=False, repr=False)
class _Tree:
    """A tree of nodes of one ``owner``; ``used`` is the time of its last write, ``keys`` has those of its nodes."""

    owner: str
    used: float = 0.0
    bytes: int = 0
    keys: set[Key] = attrs.field(factory=set)


@attrs.frozen(repr=False)
class _StoredNode:
    node: Node
    tree: _Tree
    size: int


NODES_PER_TURN: Final = 1000
"""Nodes that are read or deleted before other tasks run: a conversation may have a hundred thousand."""


class MemoryStore:
    """A store of at most ``max_bytes``. Trees expire ``ttl`` seconds of ``clock`` after their last write.

    Methods complete, or are cancelled before they begin. Long reads and deletions let other tasks run
    meanwhile."""

    database = None

    def __init__(self, ttl: float, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._clock = clock
        self._bytes = 0
        self._nodes: dict[Key, _StoredNode] = {}
        self._items: dict[
            Key, dict[Key, None]
        ] = {}  # (owner, item) -> the nodes that contain it, in the order of writing
        self._trees: OrderedDict[_Tree, None] = OrderedDict()  # least recently written first
        self._trees_of: dict[str, OrderedDict[_Tree, None]] = {}  # by owner, in the same order
        self._owners = OwnerBytes()
        self._most_of: OwnerLimit = lambda _: math.inf

    async def put(self, nodes: Sequence[Node], expect: Node | None = None) -> None:
        await trio.lowlevel.checkpoint()
        batch = batch_of(nodes)
        self._expire()
        if expect is not None:
            there = self._get_live(key_of(expect))
            if there is None or there.body != expect.body:
                raise Changed
        homes = self._trees_for(batch)
        self._check_fits(batch, set(homes.values()))
        for key, node in batch.items():
            self._remove(key)
            self._add(node, homes[key])
        for tree in homes.values():
            tree.used = self._clock()
            for trees in (self._trees, self._trees_of.setdefault(tree.owner, OrderedDict())):
                trees[tree] = None
                trees.move_to_end(tree)
        for owner in {tree.owner for tree in homes.values()}:
            while self._owners.of(owner) > self._most_of(owner):
                self._remove_tree(next(iter(self._trees_of[owner])))
        while self._bytes > self._max_bytes:
            self._remove_tree(self._next_evicted(homes.values()))

    async def get(self, owner: str, id: str) -> Node | None:
        await trio.lowlevel.checkpoint()
        return self._get_live((owner, id))

    async def chain(self, owner: str, id: str) -> tuple[Node, ...]:
        await trio.lowlevel.checkpoint()
        way: dict[str, Node] = {}
        before: str | None = id
        while before is not None and before not in way and (node := self._get_live((owner, before))) is not None:
            way[before] = node
            before = node.parent
            if len(way) % NODES_PER_TURN == 0:  # a node that is removed meanwhile makes the chain empty
                await trio.lowlevel.checkpoint()
        return chain_to(way.values(), id)

    async def find(self, owner: str, items: Sequence[str]) -> Mapping[str, Node]:
        await trio.lowlevel.checkpoint()
        return {item: node for item in items if (node := self._latest_live((owner, item))) is not None}

    async def delete(self, owner: str, ids: Sequence[str]) -> int:
        await trio.lowlevel.checkpoint()
        keys = [(owner, id) for id in dict.fromkeys(ids)]
        there = [key for key in keys if self._get_live(key) is not None]
        for number, key in enumerate(there, 1):
            self._remove(key)
            if number % NODES_PER_TURN == 0:
                await trio.lowlevel.cancel_shielded_checkpoint()
        return len(there)

    async def sweep(self) -> int:
        await trio.lowlevel.checkpoint()
        return self._expire()

    def limit_owners(self, most: OwnerLimit) -> None:
        self._most_of = most

    async def size(self) -> Size:
        await trio.lowlevel.checkpoint()
        return Size(len(self._nodes), self._bytes, self._max_bytes)

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    # Reading

    def _get_live(self, key: Key) -> Node | None:
        stored = self._nodes.get(key)
        return None if stored is None or self._has_expired(stored.tree) else stored.node

    def _latest_live(self, item: Key) -> Node | None:
        return next((node for key in reversed(self._items.get(item, {})) if (node := self._get_live(key))), None)

    def _has_expired(self, tree: _Tree) -> bool:
        return tree.used + self._ttl <= self._clock()

    # Writing

    def _trees_for(self, batch: Mapping[Key, Node]) -> dict[Key, _Tree]:
        """Return the tree of each node of a write: an existing one that it joins, or a new one."""
        found: dict[Key, _Tree] = {}
        homes: dict[Key, _Tree] = {}
        for key, top in earliest_ancestors(batch).items():
            if (own := key_of(top)) not in found:
                there = (self._nodes[place].tree for place in joinable_keys(top) if self._get_live(place) is not None)
                found[own] = next(there, None) or _Tree(top.owner)
            homes[key] = found[own]
        return homes

    def _check_fits(self, batch: Mapping[Key, Node], homes: set[_Tree]) -> None:
        """Raise ``Unavailable`` if ``batch`` would not fit even without all other trees."""
        replaced = (
            stored.size for key in batch if (stored := self._nodes.get(key)) is not None and stored.tree in homes
        )
        left = sum(tree.bytes for tree in homes) - sum(replaced) + sum(map(size_of, batch.values()))
        if left > self._max_bytes:
            raise too_large_error(self._max_bytes)
        for owner in {tree.owner for tree in homes}:
            if left > (most := self._most_of(owner)):
                raise over_share_error(most)

    def _next_evicted(self, keep: Collection[_Tree]) -> _Tree:
        """Return the oldest tree of the owner with the most bytes, except those to ``keep``, the most recently
        written."""
        passed: set[str] = set()
        while (owner := self._owners.largest_owner(passed)) is not None:
            tree = next(iter(self._trees_of[owner]))
            if tree not in keep:
                return tree
            passed.add(owner)
        raise AssertionError("the nodes to keep fit")

    def _add(self, node: Node, tree: _Tree) -> None:
        key, size = key_of(node), size_of(node)
        self._nodes[key] = _StoredNode(node, tree, size)
        tree.keys.add(key)
        tree.bytes += size
        self._bytes += size
        self._owners.add(node.owner, size)
        for item in node.items:
            self._items.setdefault((node.owner, item), {})[key] = None

    def _remove(self, key: Key) -> None:
        stored = self._nodes.pop(key, None)
        if stored is None:
            return
        stored.tree.keys.remove(key)
        stored.tree.bytes -= stored.size
        self._bytes -= stored.size
        self._owners.add(stored.node.owner, -stored.size)
        if not stored.tree.keys:
            self._drop_tree(stored.tree)
        for item in dict.fromkeys(stored.node.items):
            holders = self._items[stored.node.owner, item]
            del holders[key]
            if not holders:
                del self._items[stored.node.owner, item]

    def _drop_tree(self, tree: _Tree) -> None:
        del self._trees[tree]
        del self._trees_of[tree.owner][tree]
        if not self._trees_of[tree.owner]:
            del self._trees_of[tree.owner]

    def _remove_tree(self, tree: _Tree) -> int:
        removed = len(tree.keys)
        for key in tuple(tree.keys):
            self._remove(key)
        return removed

    def _expire(self) -> int:
        removed = 0
        while self._trees and self._has_expired(oldest := next(iter(self._trees))):
            removed += self._remove_tree(oldest)
        return removed
