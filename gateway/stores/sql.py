"""Trees of nodes in database tables: one algorithm over each database's statements."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, LiteralString, Protocol, TypeAlias, TypeVar, cast

import attrs

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
from gateway.stores.store import Changed, Node, Size, Unavailable

T = TypeVar("T")

Weight: TypeAlias = tuple[str, int]
"""A node's owner and size."""

TREES_AT_ONCE: Final = 64
"""Expired trees that one transaction of a sweep removes."""

NODE: Final = "n.id, n.owner, n.kind, n.body, n.parent, n.items"
"""The columns of a node that statements select."""


_TABLE: Final = re.compile(r"\{(\w+)\}")
_PARAMETER: Final = re.compile(r":(\w+)")


@attrs.frozen(eq=False, repr=False)
class SqlNotation:
    """The SQL notation of one database.

    ``prefix`` begins its table names, ``parameter`` is the form of a parameter, ``lock`` starts a transaction with
    exclusive writes to a table. ``json_rows`` returns a SELECT over the parameter ``rows``, a JSON list of objects, by
    member names and types. ``table_query`` returns a row if the table ``name`` exists. ``clustered`` ends the
    definition of a table whose rows are stored in the order of its key."""

    prefix: str
    parameter: str
    lock: str
    json_rows: Callable[[Mapping[str, str]], str]
    table_query: str
    clustered: str = ""

    def render(self, statement: str) -> str:
        """Return ``statement`` with ``:name`` parameters and ``{name}`` tables in this notation."""
        return _PARAMETER.sub(self.parameter, _TABLE.sub(rf"{self.prefix}\1", statement))

    def has_table(self, session: "Session", table: str) -> bool:
        """Return whether ``table`` exists: some tables are created with their first row."""
        return bool(session.rows(self.render(self.table_query), name=f"{self.prefix}{table}"))

    def lock_statement(self, table: str) -> str:
        """Return the statement that blocks other writers of ``table`` until the transaction ends."""
        return self.lock.format(table=f"{self.prefix}{table}")


@attrs.frozen(eq=False, repr=False)
class AddedTables:
    """Tables or columns that older versions do not know. They have their own version, so older versions still work.

    Each of ``scripts`` is for both databases: it uses types and clauses that both understand, and ``{name}`` tables.
    ``is_optional``: this version works without the scripts that a newer version has run, because they only add columns
    that may be empty."""

    name: str
    scripts: tuple[LiteralString, ...]
    is_optional: bool = False

    def is_complete(self, version: int) -> bool:
        """Return whether a database with ``version`` already has these tables, so that no script has to run."""
        return version == len(self.scripts) or (self.is_optional and version > len(self.scripts))

    def statements_after(self, version: int, notation: SqlNotation) -> tuple[str, ...]:
        """Return the statements that bring the tables from ``version`` to the newest one.

        Raises ``Unavailable`` if ``version`` is newer."""
        if version > len(self.scripts):
            raise Unavailable(f"the {self.name} tables of the state storage are from a newer version of trigate")
        scripts = (notation.render(script) for script in self.scripts[version:])
        return tuple(one for script in scripts for one in script.split(";") if one.strip())


CREATE_ADDED: Final = "CREATE TABLE IF NOT EXISTS {added_tables} (name text PRIMARY KEY, version integer NOT NULL)"
ADDED_VERSION: Final = "SELECT version FROM {added_tables} WHERE name = :name"
SET_ADDED: Final = """
    INSERT INTO {added_tables} VALUES (:name, :version) ON CONFLICT (name) DO UPDATE SET version = excluded.version
"""


def add_tables(session: "Session", tables: AddedTables, notation: SqlNotation) -> None:
    """Create or update ``tables`` in the transaction of ``session``. Raises ``Unavailable`` for a newer version."""
    session.rows(notation.render(CREATE_ADDED))
    version = added_version(session, tables, notation)
    if tables.is_complete(version):
        return
    for statement in tables.statements_after(version, notation):
        session.rows(statement)
    statement = notation.render(SET_ADDED)
    session.rows(statement, name=tables.name, version=len(tables.scripts))


def added_version(session: "Session", tables: AddedTables, notation: SqlNotation) -> int:
    """Return the version of ``tables`` in the database, whose table of versions exists."""
    rows = session.rows(notation.render(ADDED_VERSION), name=tables.name)
    return cast("int", rows[0][0]) if rows else 0


LEDGER_SCRIPTS: Final = (
    """
    ALTER TABLE {ledger} ADD COLUMN endpoint text;  -- and beside tokens
    ALTER TABLE {ledger} ADD COLUMN images bigint NOT NULL DEFAULT 0;
    ALTER TABLE {ledger} ADD COLUMN seconds bigint NOT NULL DEFAULT 0;
    ALTER TABLE {ledger} ADD COLUMN characters bigint NOT NULL DEFAULT 0;
    ALTER TABLE {ledger} ADD COLUMN searches bigint NOT NULL DEFAULT 0;
    ALTER TABLE {ledger} ADD COLUMN pages bigint NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE {ledger} ADD COLUMN last bigint;  -- of a sum: when its last exchange began
    ALTER TABLE {ledger} ADD COLUMN level integer;
    ALTER TABLE {ledger} ADD COLUMN exchanges bigint;
    ALTER TABLE {ledger} ADD COLUMN failures bigint;
    ALTER TABLE {ledger} ADD COLUMN attempts bigint;
    ALTER TABLE {ledger} ADD COLUMN attempt_failures bigint;
    CREATE INDEX {ledger_sums} ON {ledger} (level, began) WHERE level IS NOT NULL;
    """,
)
"""The scripts of both databases for columns added to the ledger later."""

LEDGER_COLUMNS: Final = AddedTables(
    "ledger_columns",
    (
        """
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_could bigint;
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_read bigint;
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_missed bigint;
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_nanos bigint;
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_grade integer;
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_idle bigint;
        ALTER TABLE {ledger} ADD COLUMN cause text;
        ALTER TABLE {ledger} ADD COLUMN cause_tokens bigint;
        ALTER TABLE {ledger} ADD COLUMN cause_nanos bigint;
        ALTER TABLE {ledger} ADD COLUMN second_cause text;
        ALTER TABLE {ledger} ADD COLUMN second_tokens bigint;
        ALTER TABLE {ledger} ADD COLUMN second_nanos bigint;
        """,
        """
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_unread bigint;
        ALTER TABLE {ledger} ADD COLUMN prompt_cache_unkeyed bigint;
        """,
    ),
    is_optional=True,
)
"""The ledger's columns about prompt caches. An older version leaves them NULL, so they raise no schema version."""


@attrs.frozen(eq=False, repr=False, kw_only=True)
class Dialect:
    """The SQL statements of one database; comments list their parameters and results.

    ``keys`` is a list of (owner, id); a node exists while its tree was used after ``horizon``."""

    get: LiteralString  # owner, id, horizon -> NODE
    chain: LiteralString  # owner, id, horizon -> NODE of that node and all before it, in any order
    latest: LiteralString  # owner, items, horizon -> item, number of the last written node with it
    numbered: LiteralString  # numbers -> number, NODE
    trees: LiteralString  # keys, horizon -> owner, id, tree, whether it still exists; locks the trees
    use: LiteralString  # trees, now
    add: LiteralString  # tree, owner, id, kind, parent, size, items, body
    add_items: LiteralString  # keys
    remove: LiteralString  # keys; the condition of a deletion
    remove_trees: LiteralString  # trees; the condition of a deletion
    drop_trees: LiteralString  # trees
    size_of_trees: LiteralString  # trees -> bytes
    oldest: LiteralString  # keep -> the oldest unlocked tree of the owner with the most bytes that has one
    oldest_of: LiteralString  # owner, keep -> the owner's least recently used unlocked tree
    expired: LiteralString  # horizon, most -> trees
    total: LiteralString  # -> nodes, bytes
    owned: LiteralString  # owner -> bytes
    add_to_owner: LiteralString  # owner, bytes
    drop_owner: LiteralString  # owner, deleted if it has no bytes left
    add_to_total: LiteralString  # nodes, bytes; the last step, because others wait for it from here on
    read_items: Callable[[Any], tuple[str, ...]]  # a node's items from the column's value


class Session(Protocol):
    """A connection to the database, used by one thread."""

    def rows(self, statement: LiteralString, **values: Any) -> list[tuple[Any, ...]]: ...

    def run_many(self, statement: LiteralString, values: Sequence[Mapping[str, Any]]) -> None: ...

    def delete_nodes(self, condition: LiteralString, **values: Any) -> "list[Weight]":
        """Delete the nodes that meet the condition, and return their weights."""
        ...

    def add_tree(self, owner: str, now: float) -> int:
        """Add an empty tree, and return its number."""
        ...


class Database(Protocol):
    """A database with a pool of connections. Both methods of use raise ``Unavailable``."""

    notation: SqlNotation

    async def read(self, work: Callable[[Session], T], *, limited: bool = True) -> T:
        """Run the read-only ``work`` in a thread; unless ``limited``, without a time limit."""
        ...

    async def write(self, work: Callable[[Session], T], *, limited: bool = True) -> T:
        """Run ``work`` in a thread in one transaction; unless ``limited``, without a time limit."""
        ...

    def write_blocking(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in one transaction over a new connection in this thread, because the process is about to
        exit."""
        ...

    async def aclose(self) -> None: ...


class SqlStore:
    """The ``Store`` of a ``database``. Trees expire ``ttl`` seconds of ``clock`` after their last write.

    It stores at most ``max_bytes`` (``None``: no limit)."""

    def __init__(
        self, database: Database, sql: Dialect, ttl: float, max_bytes: int | None, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._sql = sql
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._clock = clock
        self._most_of: OwnerLimit = lambda _: math.inf

    def limit_owners(self, most: OwnerLimit) -> None:
        self._most_of = most

    async def aclose(self) -> None:
        await self._database.aclose()

    async def open(self) -> None:
        """Check that the database is usable. Raises ``Unavailable``."""
        await self._database.read(lambda session: None)

    async def put(self, nodes: Sequence[Node], expect: Node | None = None) -> None:
        batch = batch_of(nodes)
        if self._max_bytes is not None and sum(map(size_of, batch.values())) > self._max_bytes:
            raise too_large_error(self._max_bytes)
        await self._database.write(lambda session: self._put(session, batch, expect))

    async def get(self, owner: str, id: str) -> Node | None:
        return await self._database.read(lambda session: self._get(session, (owner, id))) if is_storable(id) else None

    async def chain(self, owner: str, id: str) -> tuple[Node, ...]:
        if not is_storable(id):
            return ()
        rows = await self._database.read(
            lambda session: session.rows(self._sql.chain, owner=owner, id=id, horizon=self._oldest_live_write())
        )
        return chain_to(map(self._node, rows), id)

    async def find(self, owner: str, items: Sequence[str]) -> Mapping[str, Node]:
        wanted = storable_ids(items)
        return await self._database.read(lambda session: self._find(session, owner, wanted)) if wanted else {}

    async def delete(self, owner: str, ids: Sequence[str]) -> int:
        wanted = [(owner, id) for id in storable_ids(ids)]
        return await self._database.write(lambda session: self._delete(session, wanted)) if wanted else 0

    async def sweep(self) -> int:
        removed = 0
        for choose in (self._expired_trees, self._beyond_limit):
            some = partial(self._remove_some, choose)
            while (
                count := await self._database.write(some, limited=False)
            ) is not None:  # a tree may be large, and no request waits
                removed += count
        return removed

    async def size(self) -> Size:
        return Size(*await self._database.read(self._total), self._max_bytes)

    def _oldest_live_write(self) -> float:
        """Return the time of the oldest write that keeps a tree alive."""
        return self._clock() - self._ttl

    # Reading

    def _get(self, session: Session, key: Key) -> Node | None:
        rows = session.rows(self._sql.get, owner=key[0], id=key[1], horizon=self._oldest_live_write())
        return self._node(rows[0]) if rows else None

    def _find(self, session: Session, owner: str, items: list[str]) -> dict[str, Node]:
        latest = dict(session.rows(self._sql.latest, owner=owner, items=items, horizon=self._oldest_live_write()))
        rows = session.rows(self._sql.numbered, numbers=list(latest.values())) if latest else []
        nodes = {number: self._node(row) for number, *row in rows}
        return {item: nodes[number] for item, number in latest.items() if number in nodes}

    def _total(self, session: Session) -> tuple[int, int]:
        """Return the total number of nodes and bytes, from a counter."""
        return cast("tuple[int, int]", session.rows(self._sql.total)[0])

    def _node(self, row: Sequence[Any]) -> Node:
        id, owner, kind, body, parent, items = row
        return Node(id, owner, kind, body, parent, self._sql.read_items(items))

    # Writing

    def _put(self, session: Session, batch: Mapping[Key, Node], expect: Node | None) -> None:
        first = earliest_ancestors(batch)
        places = {*batch, *(place for top in first.values() for place in joinable_keys(top))}
        trees = self._live_trees(session, {*places, key_of(expect)} if expect is not None else places)
        if expect is not None and ((there := self._get(session, key_of(expect))) is None or there.body != expect.body):
            raise Changed
        homes = self._trees_for(session, first, trees)
        old = session.delete_nodes(self._sql.remove, keys=list(batch))
        session.run_many(self._sql.add, [_columns(node, homes[key]) for key, node in batch.items()])
        if holders := [key for key, node in batch.items() if node.items]:
            session.rows(self._sql.add_items, keys=holders)
        new = [(node.owner, size_of(node)) for node in batch.values()]
        self._update_owners(session, new, old)
        keep = list(set(homes.values()))
        freed = [one for owner in {owner for owner, _ in new} for one in self._enforce_share(session, owner, keep)]
        freed += self._evict(session, _bytes(new) - _bytes(old) - _bytes(freed), keep)
        self._update_total(session, new, [*old, *freed])

    def _live_trees(self, session: Session, keys: Iterable[Key]) -> dict[Key, int]:
        """Return and lock the existing trees of ``keys`` until the transaction ends."""
        rows = session.rows(self._sql.trees, keys=list(keys), horizon=self._oldest_live_write())
        return {(owner, id): tree for owner, id, tree, live in rows if live}

    def _trees_for(self, session: Session, first: Mapping[Key, Node], trees: Mapping[Key, int]) -> dict[Key, int]:
        """Return the tree of each node of a write, marked as used: one that it joins, or a new one."""
        now, found = self._clock(), dict[Key, int]()
        for top in first.values():
            if (own := key_of(top)) not in found:
                tree = next((trees[place] for place in joinable_keys(top) if place in trees), None)
                found[own] = session.add_tree(top.owner, now) if tree is None else tree
        session.rows(self._sql.use, trees=list(found.values()), now=now)
        return {key: found[key_of(top)] for key, top in first.items()}

    def _enforce_share(self, session: Session, owner: str, keep: list[int]) -> list[Weight]:
        """Remove old trees of ``owner``, but none of ``keep``, until it is within its share."""
        freed: list[Weight] = []
        if (most := self._most_of(owner)) == math.inf:
            return freed
        while (too_much := session.rows(self._sql.owned, owner=owner)[0][0] > most) and (
            oldest := session.rows(self._sql.oldest_of, owner=owner, keep=keep)
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
        if session.rows(self._sql.size_of_trees, trees=keep)[0][0] > self._max_bytes:
            raise too_large_error(self._max_bytes)  # before it evicts all others in vain
        while _bytes(freed) < too_much and (oldest := self._oldest_trees(session, keep)):
            freed += self._remove_trees(session, oldest)
        return freed

    def _oldest_trees(self, session: Session, keep: list[int]) -> list[int]:
        return [tree for (tree,) in session.rows(self._sql.oldest, keep=keep)]

    def _remove_trees(self, session: Session, trees: list[int]) -> list[Weight]:
        removed = session.delete_nodes(self._sql.remove_trees, trees=trees)
        session.rows(self._sql.drop_trees, trees=trees)
        self._update_owners(session, removed=removed)
        return removed

    def _delete(self, session: Session, keys: list[Key]) -> int:
        """Delete nodes, and return their number. Empty trees remain until they expire."""
        there = list(self._live_trees(session, keys))
        removed = session.delete_nodes(self._sql.remove, keys=there) if there else []
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
        return [
            tree for (tree,) in session.rows(self._sql.expired, horizon=self._oldest_live_write(), most=TREES_AT_ONCE)
        ]

    def _beyond_limit(self, session: Session) -> list[int]:
        full = self._max_bytes is not None and self._total(session)[1] > self._max_bytes
        return self._oldest_trees(session, []) if full else []

    def _update_owners(self, session: Session, added: Sequence[Weight] = (), removed: Sequence[Weight] = ()) -> None:
        """Update the owners' byte counts by these nodes."""
        for owner in sorted({owner for owner, _ in (*added, *removed)}):
            change = _bytes(one for one in added if one[0] == owner) - _bytes(one for one in removed if one[0] == owner)
            if change:
                session.rows(self._sql.add_to_owner, owner=owner, bytes=change)
            if change < 0:
                session.rows(self._sql.drop_owner, owner=owner)

    def _update_total(self, session: Session, added: Sequence[Weight] = (), removed: Sequence[Weight] = ()) -> None:
        if added or removed:
            session.rows(self._sql.add_to_total, nodes=len(added) - len(removed), bytes=_bytes(added) - _bytes(removed))


def _bytes(nodes: Iterable[Weight]) -> int:
    return sum(size for _, size in nodes)


def _columns(node: Node, tree: int) -> dict[str, Any]:
    return {
        "tree": tree, "owner": node.owner, "id": node.id, "kind": node.kind, "parent": node.parent,
        "size": size_of(node), "items": list(node.items), "body": node.body,
    }  # fmt: skip
