"""Trees of nodes in database tables."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, cast

import msgspec

from gateway.stores.database import Database, Session
from gateway.stores.errors import Changed
from gateway.stores.nodes import (
    Key,
    OwnerLimit,
    batch_of,
    chain_to,
    earliest_ancestors,
    is_storable,
    joinable_keys,
    key_of,
    over_share_error,
    size_of,
    storable_ids,
    too_large_error,
)
from gateway.stores.store import Node, Size

Weight: TypeAlias = tuple[str, int]
"""A node's owner and size."""

TREES_AT_ONCE: Final = 64
"""Expired trees that one transaction of a sweep removes."""

# ``keys`` is a list of (owner, id); a node exists while its tree was used after ``horizon``. CROSS JOIN makes SQLite
# join in the written order: without statistics it may begin with all trees.
_NODE: Final = "n.id, n.owner, n.kind, n.body, n.parent, n.items"
_GET: Final = f"""
    SELECT {_NODE} FROM {{nodes}} n JOIN {{trees}} t ON t.tree = n.tree
    WHERE n.owner = :owner AND n.id = :id AND t.used > :horizon
"""
_CHAIN: Final = "{chain}"  # a node and all before it, in any order
_LATEST: Final = """
    SELECT wanted.one, (
        SELECT max(i.{node}) FROM {items} i CROSS JOIN {nodes} n CROSS JOIN {trees} t
        WHERE i.owner = :owner AND i.item = wanted.one AND n.{node} = i.{node} AND t.tree = n.tree AND t.used > :horizon
    ) FROM ({each items text}) AS wanted
"""
_NUMBERED: Final = f"SELECT n.{{node}}, {_NODE} FROM {{nodes}} n WHERE n.{{node}} IN ({{each numbers bigint}})"
_TREES: Final = """
    SELECT n.owner, n.id, n.tree, t.used > :horizon FROM {keys} AS key CROSS JOIN {nodes} n CROSS JOIN {trees} t
    WHERE n.owner = key.owner AND n.id = key.id AND t.tree = n.tree ORDER BY t.tree {lock_trees}
"""
_USE: Final = "UPDATE {trees} SET used = :now WHERE tree IN ({each trees bigint}) AND used < :now"
_ADD_TREE: Final = "INSERT INTO {trees} (owner, used) VALUES (:owner, :now) RETURNING tree"
_ADD: Final = """
    INSERT INTO {nodes} (tree, owner, id, kind, parent, size, items, body)
    VALUES (:tree, :owner, :id, :kind, :parent, :size, :items, :body)
"""
_ADD_ITEMS: Final = """
    INSERT INTO {items} SELECT DISTINCT n.owner, i.value, n.{node}
    FROM {keys} AS key CROSS JOIN {nodes} n CROSS JOIN {items_of_node} WHERE n.owner = key.owner AND n.id = key.id
"""
_REMOVE: Final = "DELETE FROM {nodes} WHERE (owner, id) IN (SELECT owner, id FROM {keys} AS key) RETURNING owner, size"
_REMOVE_TREES: Final = "DELETE FROM {nodes} WHERE tree IN ({each trees bigint}) RETURNING owner, size"
_DROP_TREES: Final = "DELETE FROM {trees} WHERE tree IN ({each trees bigint})"
_SIZE_OF_TREES: Final = """
    SELECT CAST(coalesce(sum(size), 0) AS bigint) FROM {nodes} WHERE tree IN ({each trees bigint})
"""
_OLDEST: Final = (
    "{oldest}"  # the oldest unlocked tree, but none of ``keep``, of the owner with the most bytes that has one
)
_OLDEST_OF: Final = """
    SELECT tree FROM {trees} WHERE owner = :owner AND tree NOT IN ({each keep bigint})
    ORDER BY used, tree LIMIT 1 {skip_locked}
"""
_EXPIRED: Final = "SELECT tree FROM {trees} WHERE used <= :horizon LIMIT :most {skip_locked}"
_TOTAL: Final = "SELECT CAST(sum(nodes) AS bigint), CAST(sum(bytes) AS bigint) FROM {total}"
_OWNED: Final = "SELECT CAST(coalesce(sum(bytes), 0) AS bigint) FROM {owners} WHERE owner = :owner"
_ADD_TO_OWNER: Final = """
    INSERT INTO {owners} VALUES (:owner, {stripe_value} :bytes)
    ON CONFLICT (owner{stripe_key}) DO UPDATE SET bytes = {owners}.bytes + excluded.bytes
"""
_DROP_OWNER: Final = "DELETE FROM {owners} WHERE owner = :owner AND bytes = 0 {of_stripe}"
_ADD_TO_TOTAL: Final = "UPDATE {total} SET nodes = nodes + :nodes, bytes = bytes + :bytes WHERE true {of_stripe}"


class SqlStore:
    """The ``Store`` of a ``database``. Trees expire ``ttl`` seconds of ``clock`` after their last write.

    It stores at most ``max_bytes`` (``None``: no limit), which writes of several processes at a time may exceed."""

    def __init__(
        self, database: Database, ttl: float, max_bytes: int | None, clock: Callable[[], float] = time.time
    ) -> None:
        self.database: Final = database
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._clock = clock
        self._most_of: OwnerLimit = lambda _: math.inf

    def limit_owners(self, most: OwnerLimit) -> None:
        self._most_of = most

    async def aclose(self) -> None:
        await self.database.aclose()

    async def open(self) -> None:
        """Check that the database is usable. Raises ``Unavailable``."""
        await self.database.read(lambda session: None)

    async def put(self, nodes: Sequence[Node], expect: Node | None = None) -> None:
        batch = batch_of(nodes)
        if self._max_bytes is not None and sum(map(size_of, batch.values())) > self._max_bytes:
            raise too_large_error(self._max_bytes)
        await self.database.write(lambda session: self._put(session, batch, expect))

    async def get(self, owner: str, id: str) -> Node | None:
        return await self.database.read(lambda session: self._get(session, (owner, id))) if is_storable(id) else None

    async def chain(self, owner: str, id: str) -> tuple[Node, ...]:
        if not is_storable(id):
            return ()
        rows = await self.database.read(
            lambda session: session.rows(_CHAIN, owner=owner, id=id, horizon=self._oldest_live_write())
        )
        return chain_to(map(self._node, rows), id)

    async def find(self, owner: str, items: Sequence[str]) -> Mapping[str, Node]:
        wanted = storable_ids(items)
        return await self.database.read(lambda session: self._find(session, owner, wanted)) if wanted else {}

    async def delete(self, owner: str, ids: Sequence[str]) -> int:
        wanted = [(owner, id) for id in storable_ids(ids)]
        return await self.database.write(lambda session: self._delete(session, wanted)) if wanted else 0

    async def sweep(self) -> int:
        removed = 0
        for choose in (self._expired_trees, self._beyond_limit):
            some = partial(self._remove_some, choose)
            while (count := await self.database.write(some, bulk=True)) is not None:  # a tree may be large
                removed += count
        return removed

    async def size(self) -> Size:
        return Size(*await self.database.read(self._total), self._max_bytes)

    def _oldest_live_write(self) -> float:
        """Return the time of the oldest write that keeps a tree alive."""
        return self._clock() - self._ttl

    # Reading

    def _get(self, session: Session, key: Key) -> Node | None:
        rows = session.rows(_GET, owner=key[0], id=key[1], horizon=self._oldest_live_write())
        return self._node(rows[0]) if rows else None

    def _find(self, session: Session, owner: str, items: list[str]) -> dict[str, Node]:
        rows = session.rows(_LATEST, owner=owner, items=items, horizon=self._oldest_live_write())
        latest = {item: number for item, number in rows if number is not None}
        rows = session.rows(_NUMBERED, numbers=list(latest.values())) if latest else []
        nodes = {number: self._node(row) for number, *row in rows}
        return {item: nodes[number] for item, number in latest.items() if number in nodes}

    def _total(self, session: Session) -> tuple[int, int]:
        """Return the total number of nodes and bytes, from a counter."""
        return cast("tuple[int, int]", session.rows(_TOTAL)[0])

    def _node(self, row: Sequence[Any]) -> Node:
        id, owner, kind, body, parent, items = row
        return Node(id, owner, kind, body, parent, _read_items(items))

    # Writing

    def _put(self, session: Session, batch: Mapping[Key, Node], expect: Node | None) -> None:
        first = earliest_ancestors(batch)
        places = {*batch, *(place for top in first.values() for place in joinable_keys(top))}
        trees = self._live_trees(session, {*places, key_of(expect)} if expect is not None else places)
        if expect is not None and ((there := self._get(session, key_of(expect))) is None or there.body != expect.body):
            raise Changed
        homes = self._trees_for(session, first, trees)
        old = session.rows(_REMOVE, keys=list(batch))
        session.run_many(_ADD, [_columns(node, homes[key]) for key, node in batch.items()])
        if holders := [key for key, node in batch.items() if node.items]:
            session.rows(_ADD_ITEMS, keys=holders)
        new = [(node.owner, size_of(node)) for node in batch.values()]
        self._update_owners(session, new, old)
        keep = list(set(homes.values()))
        freed = [one for owner in {owner for owner, _ in new} for one in self._enforce_share(session, owner, keep)]
        freed += self._evict(session, _bytes(new) - _bytes(old) - _bytes(freed), keep)
        self._update_total(session, new, [*old, *freed])

    def _live_trees(self, session: Session, keys: Iterable[Key]) -> dict[Key, int]:
        """Return and lock the existing trees of ``keys`` until the transaction ends."""
        rows = session.rows(_TREES, keys=list(keys), horizon=self._oldest_live_write())
        return {(owner, id): tree for owner, id, tree, live in rows if live}

    def _trees_for(self, session: Session, first: Mapping[Key, Node], trees: Mapping[Key, int]) -> dict[Key, int]:
        """Return the tree of each node of a write, marked as used: one that it joins, or a new one."""
        now, found = self._clock(), dict[Key, int]()
        for top in first.values():
            if (own := key_of(top)) not in found:
                tree = next((trees[place] for place in joinable_keys(top) if place in trees), None)
                found[own] = _add_tree(session, top.owner, now) if tree is None else tree
        session.rows(_USE, trees=list(found.values()), now=now)
        return {key: found[key_of(top)] for key, top in first.items()}

    def _enforce_share(self, session: Session, owner: str, keep: list[int]) -> list[Weight]:
        """Remove old trees of ``owner``, but none of ``keep``, until it is within its share."""
        freed: list[Weight] = []
        if (most := self._most_of(owner)) == math.inf:
            return freed
        while (too_much := session.rows(_OWNED, owner=owner)[0][0] > most) and (
            oldest := session.rows(_OLDEST_OF, owner=owner, keep=keep)
        ):
            freed += self._remove_trees(session, [tree for (tree,) in oldest])
        if too_much:
            raise over_share_error(most)
        return freed

    def _evict(self, session: Session, added: int, keep: list[int]) -> list[Weight]:
        """Remove old trees of the largest owners to make room, but none of ``keep``; return the removed nodes."""
        freed: list[Weight] = []
        if self._max_bytes is None or (too_much := self._total(session)[1] + added - self._max_bytes) <= 0:
            return freed
        if session.rows(_SIZE_OF_TREES, trees=keep)[0][0] > self._max_bytes:
            raise too_large_error(self._max_bytes)  # before it evicts all others in vain
        while _bytes(freed) < too_much and (oldest := self._oldest_trees(session, keep)):
            freed += self._remove_trees(session, oldest)
        return freed

    def _oldest_trees(self, session: Session, keep: list[int]) -> list[int]:
        return [tree for (tree,) in session.rows(_OLDEST, keep=keep)]

    def _remove_trees(self, session: Session, trees: list[int]) -> list[Weight]:
        removed = session.rows(_REMOVE_TREES, trees=trees)
        session.rows(_DROP_TREES, trees=trees)
        self._update_owners(session, removed=removed)
        return removed

    def _delete(self, session: Session, keys: list[Key]) -> int:
        """Delete nodes, and return their number. Empty trees remain until they expire."""
        there = list(self._live_trees(session, keys))
        removed = session.rows(_REMOVE, keys=there) if there else []
        self._update_owners(session, removed=removed)
        self._update_total(session, removed=removed)
        return len(removed)

    def _remove_some(self, choose: Callable[[Session], list[int]], session: Session) -> int | None:
        """Remove the trees that ``choose`` selects; return the number of their nodes, ``None`` without trees."""
        if not (trees := choose(session)):
            return None
        removed = self._remove_trees(session, trees)
        self._update_total(session, removed=removed)
        return len(removed)

    def _expired_trees(self, session: Session) -> list[int]:
        return [tree for (tree,) in session.rows(_EXPIRED, horizon=self._oldest_live_write(), most=TREES_AT_ONCE)]

    def _beyond_limit(self, session: Session) -> list[int]:
        full = self._max_bytes is not None and self._total(session)[1] > self._max_bytes
        return self._oldest_trees(session, []) if full else []

    def _update_owners(self, session: Session, added: Sequence[Weight] = (), removed: Sequence[Weight] = ()) -> None:
        """Update the owners' byte counts by these nodes."""
        for owner in sorted({owner for owner, _ in (*added, *removed)}):
            change = _bytes(one for one in added if one[0] == owner) - _bytes(one for one in removed if one[0] == owner)
            if change:
                session.rows(_ADD_TO_OWNER, owner=owner, bytes=change)
            if change < 0:
                session.rows(_DROP_OWNER, owner=owner)

    def _update_total(self, session: Session, added: Sequence[Weight] = (), removed: Sequence[Weight] = ()) -> None:
        if added or removed:
            session.rows(_ADD_TO_TOTAL, nodes=len(added) - len(removed), bytes=_bytes(added) - _bytes(removed))


def _add_tree(session: Session, owner: str, now: float) -> int:
    """Add an empty tree, and return its number."""
    return cast("int", session.rows(_ADD_TREE, owner=owner, now=now)[0][0])


def _read_items(value: Any) -> tuple[str, ...]:
    """Return the items in a column, which is an array or JSON."""
    return tuple(value) if isinstance(value, list) else msgspec.json.decode(value, type=tuple[str, ...])


def _bytes(nodes: Iterable[Weight]) -> int:
    return sum(size for _, size in nodes)


def _columns(node: Node, tree: int) -> dict[str, Any]:
    return {
        "tree": tree, "owner": node.owner, "id": node.id, "kind": node.kind, "parent": node.parent,
        "size": size_of(node), "items": list(node.items), "body": node.body,
    }  # fmt: skip
