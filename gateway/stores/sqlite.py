"""A database in one SQLite file, which several processes may share."""

import contextlib
import math
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar, cast

import msgspec

from gateway.stores.database import (
    BUSY,
    CONNECTIONS,
    Database,
    DatabaseConnections,
    Session,
    SqlConnection,
    SqlNotation,
)
from gateway.stores.errors import Unavailable
from gateway.stores.planted_files import refuse_planted
from gateway.stores.pool import SILENT, ConnectionPool
from gateway.stores.schema import SCHEMA

T = TypeVar("T")


def _json_rows(fields: Mapping[str, str]) -> str:
    columns = ", ".join(f"json_extract(value, '$.{name}')" for name in fields)
    return f"SELECT {columns} FROM json_each(:rows) WHERE true"


# Lists are passed as JSON: one parameter for any number of values.
NOTATION: Final = SqlNotation(
    prefix="",
    parameter=r":\1",
    each=r"SELECT value AS one FROM json_each(:\1)",
    json_rows=_json_rows,
    words={
        "row_number": "INTEGER PRIMARY KEY",
        "serial": "INTEGER PRIMARY KEY AUTOINCREMENT",
        "node": "node",
        "texts": "text",
        "bytes": "blob",
        "clustered": "WITHOUT ROWID",
        "create_total": "CREATE TABLE total (bytes bigint NOT NULL); INSERT INTO total VALUES (0)",
        "create_owners": """
            CREATE TABLE owners (owner text PRIMARY KEY, bytes bigint NOT NULL) WITHOUT ROWID;
            INSERT INTO owners SELECT owner, sum(size) FROM nodes GROUP BY owner;
            CREATE INDEX owners_bytes ON owners (bytes)
        """,
        "where_first_stripe": "",
        "stripe_value": "",
        "stripe_key": "",
        "of_stripe": "",
        "keys": """(
            SELECT json_extract(value, '$[0]') AS owner, json_extract(value, '$[1]') AS id FROM json_each(:keys)
        )""",
        "items_of_node": "json_each(n.items) i",
        "lock_trees": "",
        "skip_locked": "",
        "chain": """
            WITH RECURSIVE way (node, before) AS (
                SELECT node, parent FROM nodes WHERE owner = :owner AND id = :id
                UNION  -- which ends a circle
                SELECT n.node, n.parent FROM way JOIN nodes n ON n.owner = :owner AND n.id = way.before
            )
            SELECT n.id, n.owner, n.kind, n.body, n.parent, n.items
            FROM way CROSS JOIN nodes n USING (node) CROSS JOIN trees USING (tree) WHERE used > :horizon
        """,
        # The column is computed for one owner after the other, until one has such a tree.
        "oldest": """
            SELECT tree FROM (SELECT bytes, (
                SELECT tree FROM trees
                WHERE trees.owner = owners.owner AND tree NOT IN (SELECT value FROM json_each(:keep))
                ORDER BY used, tree LIMIT 1
            ) AS tree FROM owners) WHERE tree IS NOT NULL ORDER BY bytes DESC LIMIT 1
        """,
    },
)

LIMIT: Final = 9.0  # seconds for a whole operation, less than a request waits
JOURNAL: Final = 32 * 2**20  # bytes to which the journal is truncated

# With WAL, NORMAL survives the death of the process, FULL also a power cut. Clients continue turns that they know to be
# stored, so these must survive both. One fsync per turn is little: a turn takes seconds.
SETTINGS: Final = f"""
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA journal_size_limit = {JOURNAL};
"""


class SqliteDatabase(Database):
    """The file ``path``, opened on first use; its directory must exist. If it is deleted, a new one is created."""

    def __init__(
        self, path: Path, *, settings: str = SETTINGS, schema: Sequence[str] = SCHEMA, limit: float | None = None
    ) -> None:
        """Open the file with a script of ``settings`` for each connection, its ``schema``, and the ``limit`` in
        seconds of an operation."""
        open_file = partial(_File, path, settings, schema)
        # SQLite has one writer at a time: others wait here instead of in its lock.
        limit = LIMIT if limit is None else limit
        readers, writer = (ConnectionPool[SqlConnection](open_file, most, limit) for most in (CONNECTIONS, 1))
        super().__init__(DatabaseConnections(open_file, readers, writer, sqlite3.Error, _reason, math.inf, math.inf))


def _reason(error: sqlite3.Error) -> str:
    return f"the state storage failed: {error}"


class _File(SqlConnection):
    """A connection that detects when its file was deleted: SQLite would continue writing to it.

    After ``given_up``, no task waits for its work, and nothing more may be written."""

    notation = NOTATION

    def __init__(self, path: Path, settings: str, schema: Sequence[str]) -> None:
        super().__init__(schema)
        self._settings = settings
        self._path = path
        try:
            refuse_planted(path)
            with contextlib.suppress(FileExistsError):  # opening and closing it would drop this process's locks on it
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as error:
            raise Unavailable(f"cannot create the state storage's file: {error.strerror}") from error
        self.db = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        self.given_up = False
        self._inode = _inode(path)

    def prepare(self) -> None:
        self.db.executescript(self._settings)
        _retry_while_busy(lambda: self.db.execute("PRAGMA journal_mode = WAL"))
        super().prepare()

    def is_good(self) -> bool:
        return self._inode is not None and self._inode == _inode(self._path)

    def wait_for_others(self, until: float) -> None:
        self.db.execute(f"PRAGMA busy_timeout = {max(0, int(1000 * (until - time.monotonic())))}")

    def interrupt(self) -> bool:
        self.given_up = True
        self.db.interrupt()  # the running statement; between statements it has no effect
        return self.is_committing

    def close(self) -> None:
        self.db.close()

    def schema_version(self) -> int:
        return cast("int", self.db.execute("PRAGMA user_version").fetchone()[0])

    def set_schema_version(self, version: int) -> None:
        self.db.execute(f"PRAGMA user_version = {version}")

    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return self.db.execute(NOTATION.render(statement), _parameters(values)).fetchall()

    def run_many(self, statement: str, values: Sequence[Mapping[str, Any]]) -> None:
        self.db.executemany(NOTATION.render(statement), map(_parameters, values))

    def has_table(self, table: str) -> bool:
        return bool(self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name", name=table))

    def lock(self, table: str) -> None:
        pass  # SQLite allows one write transaction at a time

    def read(self, work: Callable[[Session], T]) -> T:
        return work(self)

    def write(self, work: Callable[[Session], T]) -> T:
        return self.transact(work)

    def transact(self, work: Callable[[Self], T]) -> T:
        self.is_committing = False
        self.db.execute("BEGIN IMMEDIATE")  # a later lock could fail immediately
        try:
            result = work(self)
            self.is_committing = True  # set first: an interruption either sees it or stops the COMMIT
            if self.given_up:
                raise Unavailable(SILENT)
            self.db.execute("COMMIT")
        except BaseException:
            self.db.rollback()
            raise
        return result


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
