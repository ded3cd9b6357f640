"""A database in PostgreSQL, for any number of processes and machines. Requires the extra ``postgres``.

A writer locks its tree's row in ``trigate_trees``. Writers of several trees lock them in one order, and evictions lock
only free ones, so deadlocks cannot occur."""

import contextlib
import os
import select
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Self, TypeAlias, TypeVar, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gateway.stores.database import CONNECTIONS, Database, DatabaseConnections, Session, SqlConnection, SqlNotation
from gateway.stores.errors import InDoubt, Unavailable
from gateway.stores.pool import ConnectionPool

T = TypeVar("T")
Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"


def _json_rows(fields: Mapping[str, str]) -> str:
    columns = ", ".join(f"{name} {kind}" for name, kind in fields.items())
    return f"SELECT {', '.join(fields)} FROM json_to_recordset(CAST(:rows AS json)) AS rows ({columns})"


_OWN_STRIPE: Final = "pg_backend_pid() %% 16"  # one row of totals would queue all writers
_IDENTITY: Final = "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"

NOTATION: Final = SqlNotation(
    prefix="trigate_",
    parameter=r"%(\1)s",
    each=r"SELECT unnest(CAST(:\1 AS \2[])) AS one",
    json_rows=_json_rows,
    words={
        "row_number": _IDENTITY,
        "serial": _IDENTITY,
        "node": "written",
        "texts": "text[]",
        "bytes": "bytea",
        "clustered": "",
        "create_total": """
            CREATE TABLE trigate_total (stripe integer PRIMARY KEY, bytes bigint NOT NULL);
            INSERT INTO trigate_total SELECT stripe, 0 FROM generate_series(0, 15) AS stripe
        """,
        "create_owners": """
            CREATE TABLE trigate_owners (
                owner text NOT NULL, stripe integer NOT NULL, bytes bigint NOT NULL,  -- an owner has their sum
                PRIMARY KEY (owner, stripe)
            );
            INSERT INTO trigate_owners SELECT owner, 0, sum(size) FROM trigate_nodes GROUP BY owner
        """,
        "where_first_stripe": "WHERE stripe = 0",
        "stripe_value": f"{_OWN_STRIPE},",
        "stripe_key": ", stripe",
        "of_stripe": f"AND stripe = {_OWN_STRIPE}",
        "keys": "(SELECT * FROM unnest(CAST(:owners AS text[]), CAST(:ids AS text[])) AS given (owner, id))",
        "items_of_node": "unnest(n.items) AS i (value)",
        "lock_trees": "FOR UPDATE OF t",
        "skip_locked": "FOR UPDATE SKIP LOCKED",
        # UNION ends circles; LIMIT makes each step look up one node, where the planner might scan the table.
        "chain": """
            WITH RECURSIVE way (id, before) AS (
                SELECT id, parent FROM trigate_nodes WHERE owner = :owner AND id = :id
                UNION
                SELECT n.id, n.parent FROM way, LATERAL (
                    SELECT id, parent FROM trigate_nodes WHERE owner = :owner AND id = way.before LIMIT 1
                ) n
            )
            SELECT found.* FROM way, LATERAL (
                SELECT n.id, n.owner, n.kind, n.body, n.parent, n.items
                FROM trigate_nodes n JOIN trigate_trees t ON t.tree = n.tree
                WHERE n.owner = :owner AND n.id = way.id AND t.used > :horizon LIMIT 1
            ) found
        """,
        # One owner after the other, in the first subquery's order, until one has such a tree: an outer ORDER BY would
        # read and lock a tree of each owner.
        "oldest": """
            SELECT found.tree FROM (
                SELECT owner FROM trigate_owners GROUP BY owner ORDER BY sum(bytes) DESC
            ) greedy, LATERAL (
                SELECT tree FROM trigate_trees t WHERE t.owner = greedy.owner AND tree <> ALL(CAST(:keep AS bigint[]))
                ORDER BY used, tree LIMIT 1 FOR UPDATE SKIP LOCKED
            ) found LIMIT 1
        """,
    },
)

MIGRATION_LOCK: Final = 7_482_111_963  # an arbitrary number
LIMIT: Final = 5.0  # seconds for an operation, including the wait for a connection
BULK_WRITES: Final = 12  # times the limit for bulk writes, such as thousands of keys with a few statements each
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


class PostgresDatabase(Database):
    """The database of a PostgreSQL server; an operation may take ``limit`` seconds.

    It connects on first use, and reconnects after an outage."""

    def __init__(self, connection_string: str, limit: float = LIMIT) -> None:
        # A statement times out before its connection is cut: then the server reports why and has stopped.
        open_server = partial(PostgresConnection, connection_string, BEGIN.format(milliseconds=int(limit * 800)))
        pool = ConnectionPool[SqlConnection](open_server, CONNECTIONS, limit)
        super().__init__(
            DatabaseConnections(open_server, pool, pool, psycopg.Error, reason_of, bulk_write_limit=limit * BULK_WRITES)
        )


class PostgresConnection(SqlConnection):
    """A connection to a server; each of its transactions begins with the statements ``begin``."""

    notation = NOTATION

    def __init__(self, connection_string: str, begin: str) -> None:
        super().__init__()
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

    def interrupt(self) -> bool:
        """Shut the connection down, which wakes the thread that waits for the server."""
        with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(self.db.fileno())) as sock:
            sock.shutdown(socket.SHUT_RDWR)
        return self.is_committing  # read last: a COMMIT that follows is not sent

    def close(self) -> None:
        self.db.close()

    def transact(self, work: Callable[[Self], T]) -> T:
        self.is_committing = False
        self.db.execute(self._begin)
        try:
            result = work(self)
            self.is_committing = True
            self.db.execute("COMMIT")
        except BaseException as error:
            if not self.db.closed:
                self.is_committing = False
                self.db.rollback()
            elif self.is_committing and isinstance(error, psycopg.Error):
                raise InDoubt(reason_of(error)) from error
            raise
        return result

    def read(self, work: Callable[[Session], T]) -> T:
        return self.write(work)

    def write(self, work: Callable[[Session], T]) -> T:
        for _ in range(ATTEMPTS):
            with contextlib.suppress(*SIMULTANEOUS):
                return self.transact(work)
        raise Unavailable("too many concurrent writes to the same row of the state storage")

    def schema_version(self) -> int:
        return cast("int", self.rows("SELECT version FROM {schema}")[0][0]) if self.has_table("schema") else 0

    def set_schema_version(self, version: int) -> None:
        if not self.has_table("schema"):
            self.rows("CREATE TABLE {schema} (version integer NOT NULL)")
            self.rows("INSERT INTO {schema} VALUES (0)")
        self.rows("UPDATE {schema} SET version = :version", version=version)

    def lock_schema(self) -> None:
        self.rows("SELECT pg_advisory_xact_lock(:lock)", lock=MIGRATION_LOCK)

    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        cursor = self.db.execute(NOTATION.render(statement), _parameters(values), binary=True)
        return cursor.fetchall() if cursor.description else []

    def run_many(self, statement: str, values: Sequence[Mapping[str, Any]]) -> None:
        with self.db.cursor() as cursor:
            cursor.executemany(NOTATION.render(statement), values)

    def run_scripts(self, scripts: Sequence[str]) -> None:
        """Run all ``scripts`` in one message: a distant server would not reply to each statement within the limit."""
        self.db.execute("\n;".join(map(NOTATION.render, scripts)))

    def has_table(self, table: str) -> bool:
        # Not by to_regclass, which within a transaction keeps its first result.
        query = "SELECT 1 FROM pg_class WHERE relname = :name AND pg_table_is_visible(oid)"
        return bool(self.rows(query, name=f"{NOTATION.prefix}{table}"))

    def allow(self, seconds: float) -> None:
        self.rows(f"SET LOCAL statement_timeout = {int(seconds * 800)}")

    def lock(self, table: str) -> None:
        self.rows(f"LOCK TABLE {{{table}}} IN SHARE ROW EXCLUSIVE MODE")


def _parameters(values: dict[str, Any]) -> Mapping[str, Any]:
    """Return ``values`` with ``keys`` as two arrays, of owners and of ids."""
    if (keys := values.get("keys")) is None:
        return values
    return {**values, "owners": [owner for owner, _ in keys], "ids": [id for _, id in keys]}


REASONS: Final[Mapping[type[psycopg.Error], str]] = {
    psycopg.errors.QueryCanceled: "responds too slowly",
    psycopg.errors.DiskFull: "is full",
    psycopg.errors.ReadOnlySqlTransaction: "is read-only",
    psycopg.ProgrammingError: "has tables trigate_* of an unexpected form, or the user lacks a permission",
}


def reason_of(error: psycopg.Error, what: str = "the state storage") -> str:
    """Return a description of the error without the server's text, which may contain its address or user."""
    return f"{what} {next((words for kind, words in REASONS.items() if isinstance(error, kind)), 'is unreachable')}"
