"""A store in PostgreSQL, for any number of processes and machines. Requires the extra ``postgres``.

A writer locks its tree's row in ``trigate_trees``. Writers of several trees lock them in one order, and evictions lock
only free ones, so deadlocks cannot occur."""

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, LiteralString, Self, TypeAlias, TypeVar, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gateway.stores.pool import ConnectionPool
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
Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"


def _json_rows(fields: Mapping[str, str]) -> str:
    columns = ", ".join(f"{name} {kind}" for name, kind in fields.items())
    return f"SELECT {', '.join(fields)} FROM json_to_recordset(CAST(:rows AS json)) AS rows ({columns})"


NOTATION: Final = SqlNotation(
    "trigate_",
    r"%(\1)s",
    "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE",
    _json_rows,
    "SELECT 1 FROM pg_class WHERE relname = :name AND pg_table_is_visible(oid)",
)


MIGRATIONS: Final[tuple[LiteralString, ...]] = (
    """
    CREATE TABLE trigate_trees (
        tree bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        used double precision NOT NULL
    );
    CREATE INDEX ON trigate_trees (used);
    CREATE TABLE trigate_nodes (
        owner text NOT NULL, id text NOT NULL, kind text NOT NULL, parent text,
        tree bigint NOT NULL REFERENCES trigate_trees,
        written bigint GENERATED ALWAYS AS IDENTITY UNIQUE,  -- the higher one is the later one
        size bigint NOT NULL, items text[] NOT NULL, body bytea NOT NULL,
        PRIMARY KEY (owner, id)
    );
    CREATE INDEX ON trigate_nodes (tree);
    CREATE TABLE trigate_items (
        owner text NOT NULL, item text NOT NULL,
        written bigint NOT NULL REFERENCES trigate_nodes (written) ON DELETE CASCADE,
        PRIMARY KEY (owner, item, written)
    );
    CREATE INDEX ON trigate_items (written);
    CREATE TABLE trigate_total (stripe integer PRIMARY KEY, bytes bigint NOT NULL);  -- one row would queue all writers
    INSERT INTO trigate_total SELECT stripe, 0 FROM generate_series(0, 15) AS stripe;
    """,
    """
    ALTER TABLE trigate_total ADD COLUMN nodes bigint NOT NULL DEFAULT 0;
    UPDATE trigate_total SET nodes = (SELECT count(*) FROM trigate_nodes) WHERE stripe = 0;
    """,
    """
    ALTER TABLE trigate_trees ADD COLUMN owner text NOT NULL DEFAULT '';
    UPDATE trigate_trees t SET owner = n.owner FROM trigate_nodes n WHERE n.tree = t.tree;
    CREATE INDEX ON trigate_trees (owner, used, tree);
    CREATE TABLE trigate_owners (
        owner text NOT NULL, stripe integer NOT NULL, bytes bigint NOT NULL,  -- an owner has their sum
        PRIMARY KEY (owner, stripe)
    );
    INSERT INTO trigate_owners SELECT owner, 0, sum(size) FROM trigate_nodes GROUP BY owner;
    """,
    """
    CREATE TABLE trigate_ledger (  -- a row for each attempt of an exchange, the first of them also for one without any
        began bigint NOT NULL,  -- microseconds since 1970
        line bigint NOT NULL, attempt integer NOT NULL,
        request text NOT NULL, client text, client_group text, run text, asked text, route text,
        target text, model text, reason text,
        input bigint NOT NULL, cache_read bigint NOT NULL, cache_write bigint NOT NULL, output bigint NOT NULL,
        nanos bigint NOT NULL, grade integer, estimated integer NOT NULL, delivered integer NOT NULL,
        status integer NOT NULL, ended text NOT NULL,
        PRIMARY KEY (began, line, attempt)
    );
    """,
    """
    CREATE TABLE trigate_client_keys (name text PRIMARY KEY, item text NOT NULL);
    CREATE TABLE trigate_key_changes (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at double precision NOT NULL, made_by text NOT NULL,
        event text NOT NULL, name text NOT NULL, about text NOT NULL, mark text NOT NULL
    );
    """,
    """
    CREATE TABLE IF NOT EXISTS trigate_kept_objects (  -- what clients have made at providers, as they saw it last
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        owner text NOT NULL, collection text NOT NULL, id text NOT NULL, until double precision NOT NULL,
        body bytea NOT NULL,
        UNIQUE (owner, id)
    );
    CREATE INDEX IF NOT EXISTS trigate_kept_objects_listed
        ON trigate_kept_objects (owner, collection, number);
    """,
    *map(NOTATION.render, LEDGER_SCRIPTS),
)
"""One script per schema version; the row in ``trigate_schema`` counts those that a database has run."""

MIGRATION_LOCK: Final = 7_482_111_963  # an arbitrary number
CONNECTIONS: Final = 8
LIMIT: Final = 5.0  # seconds for an operation, including the wait for a connection
ATTEMPTS: Final = 5

# The connection string overrides these. tcp_user_timeout detects a machine that vanished silently.
DEFAULTS: Final = {
    "application_name": "trigate", "connect_timeout": 3, "tcp_user_timeout": 4000, "keepalives_idle": 30,
}  # fmt: skip

# Set in every transaction instead of in the connection's options, which poolers such as PgBouncer reject or mix up.
BEGIN: Final = """
    BEGIN;
    SET LOCAL statement_timeout = {milliseconds};
    SET LOCAL idle_in_transaction_session_timeout = 10000
"""

SIMULTANEOUS: Final = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
"""Errors from simultaneous writes; a second attempt sees the other's result."""

_KEYS: Final = "unnest(%(owners)s::text[], %(ids)s::text[])"
_LIVE: Final = "trigate_nodes n JOIN trigate_trees t ON t.tree = n.tree AND t.used > %(horizon)s"

SQL: Final = Dialect(
    get=f"SELECT {NODE} FROM {_LIVE} WHERE n.owner = %(owner)s AND n.id = %(id)s",
    # UNION ends circles; LIMIT makes each step look up one node, where the planner might scan the table.
    chain=f"""
        WITH RECURSIVE way (id, before) AS (
            SELECT id, parent FROM trigate_nodes WHERE owner = %(owner)s AND id = %(id)s
            UNION
            SELECT n.id, n.parent FROM way, LATERAL (
                SELECT id, parent FROM trigate_nodes WHERE owner = %(owner)s AND id = way.before LIMIT 1
            ) n
        )
        SELECT found.* FROM way, LATERAL (
            SELECT {NODE} FROM {_LIVE} WHERE n.owner = %(owner)s AND n.id = way.id LIMIT 1
        ) found
    """,
    latest=f"""
        SELECT wanted, latest.written FROM unnest(%(items)s::text[]) AS wanted, LATERAL (
            SELECT max(n.written) AS written FROM trigate_items i JOIN ({_LIVE}) ON n.written = i.written
            WHERE i.owner = %(owner)s AND i.item = wanted
        ) latest WHERE latest.written IS NOT NULL
    """,
    numbered=f"SELECT n.written, {NODE} FROM trigate_nodes n WHERE n.written = ANY(%(numbers)s::bigint[])",
    trees=f"""
        SELECT n.owner, n.id, t.tree, t.used > %(horizon)s FROM {_KEYS} AS key (owner, id)
        JOIN trigate_nodes n ON n.owner = key.owner AND n.id = key.id JOIN trigate_trees t ON t.tree = n.tree
        ORDER BY t.tree FOR UPDATE OF t
    """,
    use="UPDATE trigate_trees SET used = %(now)s WHERE tree = ANY(%(trees)s::bigint[]) AND used < %(now)s",
    add="""
        INSERT INTO trigate_nodes (tree, owner, id, kind, parent, size, items, body)
        VALUES (%(tree)s, %(owner)s, %(id)s, %(kind)s, %(parent)s, %(size)s, %(items)s, %(body)b)
    """,
    add_items=f"""
        INSERT INTO trigate_items SELECT DISTINCT n.owner, item, n.written FROM {_KEYS} AS key (owner, id)
        JOIN trigate_nodes n ON n.owner = key.owner AND n.id = key.id, unnest(n.items) AS item
    """,
    remove=f"(owner, id) IN (SELECT * FROM {_KEYS})",
    remove_trees="tree = ANY(%(trees)s::bigint[])",
    drop_trees="DELETE FROM trigate_trees WHERE tree = ANY(%(trees)s::bigint[])",
    size_of_trees="SELECT coalesce(sum(size), 0)::bigint FROM trigate_nodes WHERE tree = ANY(%(trees)s::bigint[])",
    # One owner after the other, in the first subquery's order, until one has such a tree: an outer ORDER BY would read
    # and lock a tree of each owner.
    oldest="""
        SELECT found.tree FROM (
            SELECT owner FROM trigate_owners GROUP BY owner ORDER BY sum(bytes) DESC
        ) greedy, LATERAL (
            SELECT tree FROM trigate_trees t WHERE t.owner = greedy.owner AND tree <> ALL(%(keep)s::bigint[])
            ORDER BY used, tree LIMIT 1 FOR UPDATE SKIP LOCKED
        ) found LIMIT 1
    """,
    oldest_of="""
        SELECT tree FROM trigate_trees WHERE owner = %(owner)s AND tree <> ALL(%(keep)s::bigint[])
        ORDER BY used, tree LIMIT 1 FOR UPDATE SKIP LOCKED
    """,
    expired="SELECT tree FROM trigate_trees WHERE used <= %(horizon)s LIMIT %(most)s FOR UPDATE SKIP LOCKED",
    total="SELECT sum(nodes)::bigint, sum(bytes)::bigint FROM trigate_total",
    owned="SELECT coalesce(sum(bytes), 0)::bigint FROM trigate_owners WHERE owner = %(owner)s",
    add_to_owner="""
        INSERT INTO trigate_owners VALUES (%(owner)s, pg_backend_pid() %% 16, %(bytes)s)
        ON CONFLICT (owner, stripe) DO UPDATE SET bytes = trigate_owners.bytes + excluded.bytes
    """,
    drop_owner="""
        DELETE FROM trigate_owners WHERE owner = %(owner)s AND stripe = pg_backend_pid() %% 16 AND bytes = 0
    """,
    add_to_total="""
        UPDATE trigate_total SET nodes = nodes + %(nodes)s, bytes = bytes + %(bytes)s
        WHERE stripe = pg_backend_pid() %% 16
    """,
    read_items=tuple,
)


class PostgresStore(SqlStore):
    """A store on a server. ``max_bytes`` may be exceeded by writes in progress.

    It connects on first use, and reconnects after an outage."""

    def __init__(
        self,
        connection_string: str,
        ttl: float,
        max_bytes: int | None,
        clock: Callable[[], float] = time.time,
        *,
        limit: float = LIMIT,
    ) -> None:
        super().__init__(PostgresDatabase(connection_string, limit=limit), SQL, ttl, max_bytes, clock)


class PostgresDatabase:
    """The database of a PostgreSQL server, with ``most`` simultaneous connections; an operation may take ``limit``
    seconds. ``added`` are its additional tables."""

    notation = NOTATION

    def __init__(
        self, connection_string: str, most: int = CONNECTIONS, limit: float = LIMIT, added: AddedTables | None = None
    ) -> None:
        # A statement times out before its connection is cut: then the server reports why and has stopped.
        self._open = partial(_Server, connection_string, BEGIN.format(milliseconds=int(limit * 800)), added)
        self._pool = ConnectionPool(self._open, most, limit)

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def read(self, work: Callable[[Session], T], *, limited: bool = True) -> T:
        return await self.write(work)

    async def write(self, work: Callable[[Session], T], *, limited: bool = True) -> T:
        try:
            return await self._pool.run(partial(_retry_on_conflict, work))
        except psycopg.Error as error:
            raise Unavailable(_reason(error)) from error

    def write_blocking(self, work: Callable[[Session], T]) -> T:
        try:
            with contextlib.closing(self._open()) as server:
                server.prepare()
                return _retry_on_conflict(work, server)
        except psycopg.Error as error:
            raise Unavailable(_reason(error)) from error


class PostgresConnection:
    """A connection to a server; each of its transactions begins with the statements ``begin``."""

    def __init__(self, connection_string: str, begin: str) -> None:
        self._begin = begin
        parameters: dict[str, Any] = conninfo_to_dict(connection_string)
        # Statements are not prepared on the server: through a pooler, the next one may use another server process.
        self.db: Connection = psycopg.connect(
            make_conninfo(**{**DEFAULTS, **parameters}), autocommit=True, prepare_threshold=None
        )

    def is_good(self) -> bool:
        """Return false if there is data to read: a server that stops sends a message or closes the connection."""
        if self.db.closed:
            return False
        poll = select.poll()
        poll.register(self.db.fileno(), select.POLLIN)
        return not poll.poll(0)

    def interrupt(self) -> None:
        """Shut the connection down, which wakes the thread that waits for the server."""
        with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(self.db.fileno())) as sock:
            sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.db.close()

    def transact(self, work: Callable[[Self], T]) -> T:
        """Return the result of ``work``, which runs in its own transaction."""
        self.db.execute(self._begin)
        try:
            result = work(self)
            self.db.execute("COMMIT")
        except BaseException:
            if not self.db.closed:
                self.db.rollback()
            raise
        return result


class _Server(PostgresConnection):
    """A connection to a server with a store's tables, and with those of ``added``."""

    def __init__(self, connection_string: str, begin: str, added: AddedTables | None = None) -> None:
        super().__init__(connection_string, begin)
        self._added = added

    def prepare(self) -> None:
        if _version(self.db) != len(MIGRATIONS):
            self.transact(_migrate)
        for tables in (LEDGER_COLUMNS, self._added):
            if tables is not None and not self._has_added(tables):
                self.transact(partial(_add_tables, tables))

    def _has_added(self, tables: AddedTables) -> bool:
        query: LiteralString = (
            "SELECT 1 FROM pg_class WHERE relname = 'trigate_added_tables' AND pg_table_is_visible(oid)"
        )
        return bool(self.rows(query)) and tables.is_complete(added_version(self, tables, NOTATION))

    def rows(self, statement: LiteralString, **values: Any) -> list[tuple[Any, ...]]:
        cursor = self.db.execute(statement, _parameters(values), binary=True)
        return cursor.fetchall() if cursor.description else []

    def run_many(self, statement: LiteralString, values: Sequence[Mapping[str, Any]]) -> None:
        with self.db.cursor() as cursor:
            cursor.executemany(statement, values)

    def delete_nodes(self, condition: LiteralString, **values: Any) -> list[Weight]:
        found = self.rows(f"DELETE FROM trigate_nodes WHERE {condition} RETURNING owner, size", **values)
        return cast("list[Weight]", found)

    def add_tree(self, owner: str, now: float) -> int:
        statement: LiteralString = "INSERT INTO trigate_trees (owner, used) VALUES (%(owner)s, %(now)s) RETURNING tree"
        return cast("int", self.rows(statement, owner=owner, now=now)[0][0])


def _parameters(values: dict[str, Any]) -> Mapping[str, Any]:
    """Return ``values`` with ``keys`` as two arrays, of owners and of ids."""
    if (keys := values.get("keys")) is None:
        return values
    return {**values, "owners": [owner for owner, _ in keys], "ids": [id for _, id in keys]}


def _retry_on_conflict(work: Callable[[Session], T], server: _Server) -> T:
    """Run ``work`` in a transaction, and again after a conflict with a simultaneous write."""
    for _ in range(ATTEMPTS):
        with contextlib.suppress(*SIMULTANEOUS):
            return server.transact(work)
    raise Unavailable("too many concurrent writes to the same row of the state storage")


def _add_tables(tables: AddedTables, server: _Server) -> None:
    server.db.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
    add_tables(server, tables, NOTATION)


def _migrate(server: _Server) -> None:
    db = server.db
    db.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
    version = _version(db)
    if version > len(MIGRATIONS):
        raise Unavailable("the state storage's tables are from a newer version of trigate")
    if version == 0:
        db.execute("CREATE TABLE trigate_schema (version integer NOT NULL); INSERT INTO trigate_schema VALUES (0)")
    for script in MIGRATIONS[version:]:
        db.execute(script)
    db.execute("UPDATE trigate_schema SET version = %s", (len(MIGRATIONS),))


def _version(db: Connection) -> int:
    # Not by to_regclass, which within a transaction keeps its first result.
    query = "SELECT 1 FROM pg_class WHERE relname = 'trigate_schema' AND pg_table_is_visible(oid)"
    if not db.execute(query).fetchall():
        return 0
    return cast("int", db.execute("SELECT version FROM trigate_schema").fetchall()[0][0])


REASONS: Final[Mapping[type[psycopg.Error], str]] = {
    psycopg.errors.QueryCanceled: "the state storage responds too slowly",
    psycopg.errors.DiskFull: "the state storage is full",
    psycopg.errors.ReadOnlySqlTransaction: "the state storage is read-only",
    psycopg.ProgrammingError: "the state storage's tables have an unexpected form, or the user lacks a permission",
}


def _reason(error: psycopg.Error) -> str:
    """Return a description of the error without the server's text, which may contain its address or user."""
    return next((words for kind, words in REASONS.items() if isinstance(error, kind)), _DOWN)


_DOWN: Final = "the state storage is unreachable"
