"""State in one SQLite file, which several processes may share."""

import contextlib
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import msgspec

from gateway.stores.nodes import (
    Key,
    batch_of,
    hangs_on,
    keepable,
    keepable_only,
    key_of,
    lineage,
    size_of,
    too_large,
    tops,
)
from gateway.stores.pool import SILENT, BlockingPool
from gateway.stores.store import Changed, Kind, Node, Size, Unavailable

T = TypeVar("T")

MIGRATIONS: Final = (
    """
    CREATE TABLE trees (tree INTEGER PRIMARY KEY, used REAL NOT NULL);
    CREATE INDEX trees_used ON trees (used);
    CREATE TABLE nodes (
        node INTEGER PRIMARY KEY,  -- grows with every write: the higher one is the later one
        tree INTEGER NOT NULL REFERENCES trees,
        owner TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, parent TEXT,
        size INTEGER NOT NULL, items TEXT NOT NULL,
        body BLOB NOT NULL,  -- last: the columns before it are read without its pages
        UNIQUE (owner, id)
    );
    CREATE INDEX nodes_tree ON nodes (tree, size);
    CREATE TABLE items (
        owner TEXT NOT NULL, item TEXT NOT NULL, node INTEGER NOT NULL REFERENCES nodes ON DELETE CASCADE,
        PRIMARY KEY (owner, item, node)
    ) WITHOUT ROWID;
    CREATE INDEX items_node ON items (node);
    CREATE TABLE total (bytes INTEGER NOT NULL);
    INSERT INTO total VALUES (0);
    """,
    """
    ALTER TABLE total ADD COLUMN nodes INTEGER NOT NULL DEFAULT 0;
    UPDATE total SET nodes = (SELECT count(*) FROM nodes);
    """,
)
"""One script for each version of the schema; ``user_version`` counts how many a file has seen."""

BUSY: Final = 5.0  # seconds that a write waits for others: those of this process, and another process's
LIMIT: Final = 9.0  # seconds that an operation may take in all, less than a request waits for it
READERS: Final = 4
AT_ONCE: Final = 64  # trees that one transaction of a sweep removes
JOURNAL: Final = 32 * 2**20  # bytes that the journal is cut back to

# With WAL, NORMAL survives the death of the process, FULL that of the machine as well. A client is told that its turn
# is stored, and builds on it: that must hold after a power cut too. One fsync a turn is little, a turn takes seconds.
SETTINGS: Final = f"""
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA journal_size_limit = {JOURNAL};
"""

NODE: Final = "nodes.id, nodes.owner, nodes.kind, nodes.body, nodes.parent, nodes.items"


class SqliteStore:
    """At most ``max_bytes`` (None: no limit) in the file ``path``, whose directory must be there; what has not been
    written to for ``ttl`` seconds of ``clock`` is not there. Opened on first use; a file that has been taken away is
    begun anew."""

    def __init__(self, path: Path, ttl: float, max_bytes: int | None, clock: Callable[[], float] = time.time) -> None:
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._clock = clock
        # SQLite has one writer at a time: the others wait here, not in its lock.
        self._writer = BlockingPool(partial(_File, path), 1, LIMIT)
        self._readers = BlockingPool(partial(_File, path), READERS, LIMIT)

    async def open(self) -> None:
        """Find out whether the file can be used. Raises ``Unavailable``."""
        await self._run(self._writer, lambda db: None)

    async def put(self, nodes: Sequence[Node], expect: Node | None = None) -> None:
        batch = batch_of(nodes)
        await self._run(self._writer, lambda db: self._put(db, batch, expect))

    async def get(self, owner: str, id: str) -> Node | None:
        return await self._read(lambda db: _live(db, (owner, id), self._horizon()))

    async def chain(self, owner: str, id: str) -> tuple[Node, ...]:
        return lineage(await self._read(lambda db: _way(db, owner, id, self._horizon())), id)

    async def find(self, owner: str, items: Sequence[str]) -> Mapping[str, Node]:
        wanted = keepable_only(items)
        return await self._read(lambda db: _find(db, owner, wanted, self._horizon())) if wanted else {}

    async def delete(self, owner: str, ids: Sequence[str]) -> int:
        wanted = keepable_only(ids)
        return await self._run(self._writer, lambda db: _delete(db, owner, wanted, self._horizon())) if wanted else 0

    async def sweep(self) -> int:
        gone = 0
        for some in (self._expire, self._shrink):
            more = True
            while more:  # many short transactions: others come in between
                more, count = await self._run(self._writer, some, math.inf)  # a tree may be large, and nobody waits
                gone += count
        return gone

    async def size(self) -> Size:
        return Size(*await self._read(_counted), self._max_bytes)

    async def aclose(self) -> None:
        await self._readers.aclose()
        await self._writer.aclose()

    async def _read(self, work: "Callable[[_Database], T]") -> T:
        return await self._run(self._readers, work)

    async def _run(
        self, links: "BlockingPool[_File]", work: "Callable[[_Database], T]", limit: float | None = None
    ) -> T:
        until = time.monotonic() + BUSY
        try:
            return await links.run(lambda file: work(file.waiting(until)), limit)
        except sqlite3.Error as error:
            raise Unavailable(f"the state storage failed: {error}") from error

    def _horizon(self) -> float:
        """When what is over now was last written to."""
        return self._clock() - self._ttl

    # Writing, in one transaction each

    def _put(self, db: "_Database", batch: Mapping[Key, Node], expect: Node | None) -> None:
        new = sum(map(size_of, batch.values()))
        if self._max_bytes is not None and new > self._max_bytes:
            raise too_large(self._max_bytes)
        with _transaction(db):
            if expect is not None:
                there = _live(db, key_of(expect), self._horizon())
                if there is None or there.body != expect.body:
                    raise Changed
            homes = _homes(db, batch, self._horizon(), self._clock())
            for key in batch:
                _remove(db, "owner = ? AND id = ?", key)
            for key, node in batch.items():
                _insert(db, node, homes[key])
            _change_total(db, len(batch), new)
            self._make_room(db, set(homes.values()))

    def _make_room(self, db: sqlite3.Connection, keep: set[int]) -> None:
        """Not by what is just being written."""
        if self._max_bytes is None or _counted(db)[1] <= self._max_bytes:
            return
        kept = sum(_size_of_tree(db, tree) for tree in keep)
        if kept > self._max_bytes:  # else a write that fails anyway would go through the whole file first
            raise too_large(self._max_bytes)
        for tree in _oldest(db, keep):
            _remove_tree(db, tree)
            if _counted(db)[1] <= self._max_bytes:
                break

    def _expire(self, db: "_Database") -> tuple[bool, int]:
        """Whether there may be more, and how many nodes went."""
        with _transaction(db):
            over = db.execute("SELECT tree FROM trees WHERE used <= ? LIMIT ?", (self._horizon(), AT_ONCE)).fetchall()
            return len(over) == AT_ONCE, sum(_remove_tree(db, tree) for (tree,) in over)

    def _shrink(self, db: "_Database") -> tuple[bool, int]:
        with _transaction(db):
            if self._max_bytes is None or _counted(db)[1] <= self._max_bytes:
                return False, 0
            return True, _remove_tree(db, next(_oldest(db, set())))


# One connection


class _Database(sqlite3.Connection):
    """``given_up``: nobody waits any longer for what is done here, and nothing more is to be written."""

    given_up = False


class _File:
    """A connection, and which file it has: SQLite goes on writing to one that has been deleted, where nobody will find
    it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        _create(path)
        self.db = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False, factory=_Database)
        self._inode = _inode(path)

    def prepare(self) -> None:
        _retried(lambda: self.db.execute("PRAGMA journal_mode = WAL"))
        self.db.executescript(SETTINGS)
        _migrate(self.db)

    def is_good(self) -> bool:
        return self._inode is not None and self._inode == _inode(self._path)

    def waiting(self, until: float) -> _Database:
        """The connection, which waits for other processes until ``until`` (of ``time.monotonic``)."""
        self.db.execute(f"PRAGMA busy_timeout = {max(0, int(1000 * (until - time.monotonic())))}")
        return self.db

    def cut(self) -> None:
        self.db.given_up = True
        self.db.interrupt()  # what runs; between two statements it does nothing

    def close(self) -> None:
        self.db.close()


def _create(path: Path) -> None:
    """An empty file that nobody else can read; its journal gets the same mode. Only where there is none: to open and
    close one that is in use would drop this process's locks on it."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise Unavailable(f"the state storage's file cannot be made: {error.strerror}") from error


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _retried(step: Callable[[], object]) -> None:
    """The change to WAL does not wait its turn when two processes open a new file at once."""
    until = time.monotonic() + BUSY
    while True:
        try:
            step()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


def _migrate(db: _Database) -> None:
    if _version(db) == len(MIGRATIONS):
        return
    with _transaction(db):
        version = _version(db)
        if version > len(MIGRATIONS):
            raise Unavailable("the state storage's file was written by a newer version of trigate")
        for script in MIGRATIONS[version:]:
            for statement in _statements(script):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _version(db: sqlite3.Connection) -> int:
    return cast("int", db.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    """``executescript`` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextlib.contextmanager
def _transaction(db: _Database) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")  # a lock that is taken later may fail at once where another process has written
    try:
        yield
        if db.given_up:
            raise Unavailable(SILENT)
        db.execute("COMMIT")
    except BaseException:
        db.rollback()
        raise


# Reading. CROSS JOIN is SQLite's word for a join in the order that is written: without statistics it may begin with all
# trees.


def _node(row: Sequence[Any]) -> Node:
    id, owner, kind, body, parent, items = row
    return Node(id, owner, cast("Kind", kind), body, parent, msgspec.json.decode(items, type=tuple[str, ...]))


def _live(db: sqlite3.Connection, key: Key, horizon: float) -> Node | None:
    if not keepable(key[1]):
        return None
    query = f"SELECT {NODE} FROM nodes JOIN trees USING (tree) WHERE owner = ? AND id = ? AND used > ?"
    row = db.execute(query, (*key, horizon)).fetchone()
    return None if row is None else _node(row)


def _way(db: sqlite3.Connection, owner: str, id: str, horizon: float) -> list[Node]:
    """The node and those before it, in any order, as far as they are there. UNION ends a circle."""
    if not keepable(id):
        return []
    query = f"""
        WITH RECURSIVE way (node, before) AS (
            SELECT node, parent FROM nodes WHERE owner = :owner AND id = :id
            UNION
            SELECT nodes.node, nodes.parent FROM way JOIN nodes ON nodes.owner = :owner AND nodes.id = way.before
        )
        SELECT {NODE} FROM way CROSS JOIN nodes USING (node) CROSS JOIN trees USING (tree) WHERE used > :horizon
    """
    return [_node(row) for row in db.execute(query, {"owner": owner, "id": id, "horizon": horizon})]


def _find(db: sqlite3.Connection, owner: str, items: Sequence[str], horizon: float) -> dict[str, Node]:
    query = """
        SELECT item, max(node) FROM json_each(?) CROSS JOIN items ON items.owner = ? AND items.item = value
        CROSS JOIN nodes USING (node) CROSS JOIN trees USING (tree) WHERE used > ? GROUP BY item
    """
    latest = dict(db.execute(query, (_json(items), owner, horizon)).fetchall())
    query = f"SELECT node, {NODE} FROM nodes WHERE node IN (SELECT value FROM json_each(?))"
    nodes = {row[0]: _node(row[1:]) for row in db.execute(query, (_json(latest.values()),))}
    return {item: nodes[node] for item, node in latest.items() if node in nodes}


def _json(values: Iterable[Any]) -> str:
    """A parameter for any number of values."""
    return msgspec.json.encode(list(values)).decode()


# Changing


def _homes(db: sqlite3.Connection, batch: Mapping[Key, Node], horizon: float, now: float) -> dict[Key, int]:
    """The tree of each node of a write, written to just now; a new one where it hangs on nothing."""
    found: dict[Key, int] = {}
    homes: dict[Key, int] = {}
    for key, top in tops(batch).items():
        if (own := key_of(top)) not in found:
            trees = (_live_tree(db, place, horizon) for place in hangs_on(top))
            tree = next((tree for tree in trees if tree is not None), None)
            found[own] = _new_tree(db, now) if tree is None else tree
        homes[key] = found[own]
    db.executemany("UPDATE trees SET used = max(used, ?) WHERE tree = ?", [(now, tree) for tree in found.values()])
    return homes


def _live_tree(db: sqlite3.Connection, key: Key, horizon: float) -> int | None:
    query = "SELECT tree FROM nodes JOIN trees USING (tree) WHERE owner = ? AND id = ? AND used > ?"
    row = db.execute(query, (*key, horizon)).fetchone()
    return None if row is None else row[0]


def _new_tree(db: sqlite3.Connection, now: float) -> int:
    return cast("int", db.execute("INSERT INTO trees (used) VALUES (?)", (now,)).lastrowid)


def _insert(db: sqlite3.Connection, node: Node, tree: int) -> None:
    values = (tree, node.owner, node.id, node.kind, node.parent, size_of(node), _json(node.items), node.body)
    row = db.execute(
        "INSERT INTO nodes (tree, owner, id, kind, parent, size, items, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values
    ).lastrowid
    db.executemany("INSERT OR IGNORE INTO items VALUES (?, ?, ?)", [(node.owner, item, row) for item in node.items])


def _remove(db: sqlite3.Connection, where: str, values: Sequence[Any]) -> int:
    """How many nodes went. A tree that is left empty goes when its time is over."""
    count, size = db.execute(f"SELECT count(*), coalesce(sum(size), 0) FROM nodes WHERE {where}", values).fetchone()
    if count:
        db.execute(f"DELETE FROM nodes WHERE {where}", values)
        _change_total(db, -count, -size)
    return cast("int", count)


def _delete(db: _Database, owner: str, ids: Sequence[str], horizon: float) -> int:
    live = "(SELECT tree FROM trees WHERE used > ?)"
    where = f"owner = ? AND id IN (SELECT value FROM json_each(?)) AND tree IN {live}"
    with _transaction(db):
        return _remove(db, where, (owner, _json(ids), horizon))


def _remove_tree(db: sqlite3.Connection, tree: int) -> int:
    """How many nodes went."""
    gone = _remove(db, "tree = ?", (tree,))
    db.execute("DELETE FROM trees WHERE tree = ?", (tree,))
    return gone


def _oldest(db: sqlite3.Connection, keep: set[int]) -> Iterator[int]:
    """Trees to be removed one by one, the least recently written first."""
    query = "SELECT tree FROM trees WHERE tree NOT IN (SELECT value FROM json_each(?)) ORDER BY used, tree LIMIT 1"
    while (row := db.execute(query, (_json(keep),)).fetchone()) is not None:
        yield row[0]


def _size_of_tree(db: sqlite3.Connection, tree: int) -> int:
    return cast("int", db.execute("SELECT coalesce(sum(size), 0) FROM nodes WHERE tree = ?", (tree,)).fetchone()[0])


def _counted(db: sqlite3.Connection) -> tuple[int, int]:
    """Nodes and bytes, without a look at what is kept."""
    return cast("tuple[int, int]", db.execute("SELECT nodes, bytes FROM total").fetchone())


def _change_total(db: sqlite3.Connection, nodes: int, bytes: int) -> None:
    db.execute("UPDATE total SET nodes = nodes + ?, bytes = bytes + ?", (nodes, bytes))
