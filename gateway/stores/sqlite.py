"""A store in one SQLite file, which several processes may share."""

import contextlib
import math
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, LiteralString, TypeVar, cast

import msgspec

from gateway.stores.pool import SILENT, ConnectionPool
from gateway.stores.private_file import create_private_file
from gateway.stores.sql import (
    LEDGER_COLUMNS,
    LEDGER_SCRIPTS,
    NODE,
    AddedTables,
    Dialect,
    Session,
    SqlNotation,
    SqlStore,
    Weight,
    add_tables,
    added_version,
)
from gateway.stores.store import Unavailable

T = TypeVar("T")


def _json_rows(fields: Mapping[str, str]) -> str:
    columns = ", ".join(f"json_extract(value, '$.{name}')" for name in fields)
    return f"SELECT {columns} FROM json_each(:rows) WHERE true"


NOTATION: Final = SqlNotation(
    "",
    r":\1",
    "SELECT 1",  # SQLite allows one write transaction at a time
    _json_rows,
    "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name",
    "WITHOUT ROWID",
)


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
    """
    ALTER TABLE trees ADD COLUMN owner TEXT NOT NULL DEFAULT '';
    UPDATE trees SET owner = coalesce((SELECT owner FROM nodes WHERE nodes.tree = trees.tree LIMIT 1), '');
    CREATE INDEX trees_owner ON trees (owner, used);
    CREATE TABLE owners (owner TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO owners SELECT owner, sum(size) FROM nodes GROUP BY owner;
    CREATE INDEX owners_bytes ON owners (bytes);
    """,
    """
    CREATE TABLE ledger (  -- a row for each attempt of an exchange, the first of them also for one without any
        began INTEGER NOT NULL,  -- microseconds since 1970
        line INTEGER NOT NULL, attempt INTEGER NOT NULL,
        request TEXT NOT NULL, client TEXT, client_group TEXT, run TEXT, asked TEXT, route TEXT,
        target TEXT, model TEXT, reason TEXT,
        input INTEGER NOT NULL, cache_read INTEGER NOT NULL, cache_write INTEGER NOT NULL, output INTEGER NOT NULL,
        nanos INTEGER NOT NULL, grade INTEGER, estimated INTEGER NOT NULL, delivered INTEGER NOT NULL,
        status INTEGER NOT NULL, ended TEXT NOT NULL,
        PRIMARY KEY (began, line, attempt)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE client_keys (name TEXT PRIMARY KEY, item TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE key_changes (
        number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, made_by TEXT NOT NULL, event TEXT NOT NULL,
        name TEXT NOT NULL, about TEXT NOT NULL, mark TEXT NOT NULL
    );
    """,
    """
    CREATE TABLE IF NOT EXISTS kept_objects (  -- what clients have made at providers, as they saw it last
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        owner TEXT NOT NULL, collection TEXT NOT NULL, id TEXT NOT NULL, until REAL NOT NULL, body BLOB NOT NULL,
        UNIQUE (owner, id)
    );
    CREATE INDEX IF NOT EXISTS kept_objects_listed ON kept_objects (owner, collection, number);
    """,
    *map(NOTATION.render, LEDGER_SCRIPTS),
)
"""One script per schema version; ``user_version`` counts those that a file has run."""

BUSY: Final = 5.0  # seconds that a write waits for others in this and other processes
LIMIT: Final = 9.0  # seconds for a whole operation, less than a request waits
EXIT_TIMEOUT: Final = 1.0  # seconds that an exiting process waits for others
READERS: Final = 4
JOURNAL: Final = 32 * 2**20  # bytes to which the journal is truncated

# With WAL, NORMAL survives the death of the process, FULL also a power cut. Clients continue turns that they know to be
# stored, so these must survive both. One fsync per turn is little: a turn takes seconds.
SETTINGS: Final = f"""
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA journal_size_limit = {JOURNAL};
"""

# Lists are passed as JSON: one parameter for any number of values. CROSS JOIN makes SQLite join in the written order:
# without statistics it may begin with all trees.
_KEY: Final = "SELECT json_extract(value, '$[0]') AS owner, json_extract(value, '$[1]') AS id FROM json_each(:keys)"
_NODES: Final = f"({_KEY}) key CROSS JOIN nodes n ON n.owner = key.owner AND n.id = key.id"

SQL: Final = Dialect(
    get=f"SELECT {NODE} FROM nodes n JOIN trees t USING (tree) WHERE n.owner = :owner AND id = :id AND used > :horizon",
    chain=f"""
        WITH RECURSIVE way (node, before) AS (
            SELECT node, parent FROM nodes WHERE owner = :owner AND id = :id
            UNION  -- which ends a circle
            SELECT n.node, n.parent FROM way JOIN nodes n ON n.owner = :owner AND n.id = way.before
        )
        SELECT {NODE} FROM way CROSS JOIN nodes n USING (node) CROSS JOIN trees USING (tree) WHERE used > :horizon
    """,
    latest="""
        SELECT item, max(node) FROM json_each(:items) CROSS JOIN items ON items.owner = :owner AND items.item = value
        CROSS JOIN nodes USING (node) CROSS JOIN trees USING (tree) WHERE used > :horizon GROUP BY item
    """,
    numbered=f"SELECT n.node, {NODE} FROM nodes n WHERE n.node IN (SELECT value FROM json_each(:numbers))",
    trees=f"SELECT n.owner, n.id, n.tree, t.used > :horizon FROM {_NODES} CROSS JOIN trees t ON t.tree = n.tree",
    use="UPDATE trees SET used = max(used, :now) WHERE tree IN (SELECT value FROM json_each(:trees))",
    add="""
        INSERT INTO nodes (tree, owner, id, kind, parent, size, items, body)
        VALUES (:tree, :owner, :id, :kind, :parent, :size, :items, :body)
    """,
    add_items=f"INSERT OR IGNORE INTO items SELECT n.owner, i.value, n.node FROM {_NODES}, json_each(n.items) i",
    remove=f"(owner, id) IN ({_KEY})",
    remove_trees="tree IN (SELECT value FROM json_each(:trees))",
    drop_trees="DELETE FROM trees WHERE tree IN (SELECT value FROM json_each(:trees))",
    size_of_trees="SELECT coalesce(sum(size), 0) FROM nodes WHERE tree IN (SELECT value FROM json_each(:trees))",
    # The column is computed for one owner after the other, until one has such a tree.
    oldest="""
        SELECT tree FROM (SELECT bytes, (
            SELECT tree FROM trees WHERE trees.owner = owners.owner AND tree NOT IN (SELECT value FROM json_each(:keep))
            ORDER BY used, tree LIMIT 1
        ) AS tree FROM owners) WHERE tree IS NOT NULL ORDER BY bytes DESC LIMIT 1
    """,
    oldest_of="""
        SELECT tree FROM trees WHERE owner = :owner AND tree NOT IN (SELECT value FROM json_each(:keep))
        ORDER BY used, tree LIMIT 1
    """,
    expired="SELECT tree FROM trees WHERE used <= :horizon LIMIT :most",
    total="SELECT nodes, bytes FROM total",
    owned="SELECT coalesce(sum(bytes), 0) FROM owners WHERE owner = :owner",
    add_to_owner="""
        INSERT INTO owners VALUES (:owner, :bytes) ON CONFLICT (owner) DO UPDATE SET bytes = bytes + excluded.bytes
    """,
    drop_owner="DELETE FROM owners WHERE owner = :owner AND bytes = 0",
    add_to_total="UPDATE total SET nodes = nodes + :nodes, bytes = bytes + :bytes",
    read_items=msgspec.json.Decoder(tuple[str, ...]).decode,
)


class SqliteStore(SqlStore):
    """A store in the file ``path``, opened on first use; its directory must exist.

    If the file is deleted, a new one is created."""

    def __init__(self, path: Path, ttl: float, max_bytes: int | None, clock: Callable[[], float] = time.time) -> None:
        super().__init__(SqliteDatabase(path), SQL, ttl, max_bytes, clock)


class SqliteDatabase:
    """The file ``path``, for the threads of one process; ``added`` are its additional tables."""

    notation = NOTATION

    def __init__(self, path: Path, added: AddedTables | None = None) -> None:
        self._open = partial(_File, path, added)
        # SQLite has one writer at a time: others wait here instead of in its lock.
        self._writer = ConnectionPool(self._open, 1, LIMIT)
        self._readers = ConnectionPool(self._open, READERS, LIMIT)

    async def aclose(self) -> None:
        await self._readers.aclose()
        await self._writer.aclose()

    async def read(self, work: Callable[[Session], T], *, limited: bool = True) -> T:
        return await self._run(self._readers, work, LIMIT if limited else math.inf)

    async def write(self, work: Callable[[Session], T], *, limited: bool = True) -> T:
        return await self._run(self._writer, partial(_in_transaction, work), LIMIT if limited else math.inf)

    def write_blocking(self, work: Callable[[Session], T]) -> T:
        try:
            with contextlib.closing(self._open()) as file:
                file.prepare()
                file.wait_for_others(time.monotonic() + EXIT_TIMEOUT)
                return _in_transaction(work, file)
        except sqlite3.Error as error:
            raise Unavailable(f"the state storage failed: {error}") from error

    async def _run(self, pool: "ConnectionPool[_File]", work: "Callable[[_File], T]", limit: float) -> T:
        until = time.monotonic() + BUSY

        def run(file: _File) -> T:
            file.wait_for_others(until)
            return work(file)

        try:
            return await pool.run(run, limit)
        except sqlite3.Error as error:
            raise Unavailable(f"the state storage failed: {error}") from error


class _File:
    """A connection that detects when its file was deleted: SQLite would continue writing to it.

    After ``given_up``, no task waits for its work, and nothing more may be written."""

    def __init__(self, path: Path, added: AddedTables | None = None) -> None:
        self._path = path
        self._added = added
        try:
            create_private_file(path)
        except OSError as error:
            raise Unavailable(f"cannot create the state storage's file: {error.strerror}") from error
        self.db = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        self.given_up = False
        self._inode = _inode(path)

    def prepare(self) -> None:
        _retry_while_busy(lambda: self.db.execute("PRAGMA journal_mode = WAL"))
        self.db.executescript(SETTINGS)
        if _version(self.db) != len(MIGRATIONS):
            _in_transaction(_migrate, self)
        for tables in (LEDGER_COLUMNS, self._added):
            if tables is not None and not self._has_added(tables):
                _in_transaction(partial(add_tables, tables=tables, notation=NOTATION), self)

    def _has_added(self, tables: AddedTables) -> bool:
        listed = self.rows("SELECT 1 FROM sqlite_master WHERE name = 'added_tables'")
        return bool(listed) and tables.is_complete(added_version(self, tables, NOTATION))

    def is_good(self) -> bool:
        return self._inode is not None and self._inode == _inode(self._path)

    def wait_for_others(self, until: float) -> None:
        """Let statements wait for other processes until ``until`` (of ``time.monotonic``)."""
        self.db.execute(f"PRAGMA busy_timeout = {max(0, int(1000 * (until - time.monotonic())))}")

    def interrupt(self) -> None:
        self.given_up = True
        self.db.interrupt()  # the running statement; between statements it has no effect

    def close(self) -> None:
        self.db.close()

    # For the store

    def rows(self, statement: LiteralString, **values: Any) -> list[tuple[Any, ...]]:
        return self.db.execute(statement, _parameters(values)).fetchall()

    def run_many(self, statement: LiteralString, values: Sequence[Mapping[str, Any]]) -> None:
        self.db.executemany(statement, map(_parameters, values))

    def delete_nodes(self, condition: LiteralString, **values: Any) -> list[Weight]:
        # Without RETURNING, which requires SQLite 3.35.
        if found := self.rows(f"SELECT owner, size FROM nodes WHERE {condition}", **values):
            self.rows(f"DELETE FROM nodes WHERE {condition}", **values)
        return cast("list[Weight]", found)

    def add_tree(self, owner: str, now: float) -> int:
        return cast("int", self.db.execute("INSERT INTO trees (owner, used) VALUES (?, ?)", (owner, now)).lastrowid)


def _parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: msgspec.json.encode(value).decode() if isinstance(value, list) else value
        for name, value in values.items()
    }


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _retry_while_busy(step: Callable[[], object]) -> None:
    """Repeat ``step`` while the file is busy: the change to WAL does not wait if two processes open a new file."""
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


def _migrate(file: _File) -> None:
    version = _version(file.db)
    if version > len(MIGRATIONS):
        raise Unavailable("the state storage's file is from a newer version of trigate")
    for script in MIGRATIONS[version:]:
        for statement in script.split(";"):  # ``executescript`` would end the transaction
            file.db.execute(statement)
    file.db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _version(db: sqlite3.Connection) -> int:
    return cast("int", db.execute("PRAGMA user_version").fetchone()[0])


def _in_transaction(work: Callable[[_File], T], file: _File) -> T:
    file.db.execute("BEGIN IMMEDIATE")  # a later lock could fail immediately
    try:
        result = work(file)
        if file.given_up:
            raise Unavailable(SILENT)
        file.db.execute("COMMIT")
    except BaseException:
        file.db.rollback()
        raise
    return result
