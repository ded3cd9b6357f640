"""A database that the parts of a process share: its connections, its notation of SQL, and the tables of each part."""

import contextlib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final, Self, TypeVar, cast

import attrs
import msgspec
import trio

from gateway.stores.errors import InDoubt, Unavailable
from gateway.stores.pool import ConnectionPool
from gateway.stores.schema import SCHEMA

T = TypeVar("T")

CONNECTIONS: Final = 10
"""The most connections of a process to a server, or that read a file."""

SHARE: Final = 6
"""The most connections that one part uses at a time: its slow statements delay no other part."""

BULK: Final = 2
"""The most connections for bulk work of all parts, such as sums over the ledger, in addition to a part's share."""

BUSY: Final = 5.0
"""Seconds that a statement waits for the locks of other processes."""

EXIT_TIMEOUT: Final = 1.0
"""Seconds that an exiting process waits for others."""

_EACH: Final = re.compile(r"\{each (\w+) (\w+)\}")
_WORD: Final = re.compile(r"\{(\w+)\}")
_PARAMETER: Final = re.compile(r":(\w+)")


@attrs.frozen(eq=False, repr=False)
class SqlNotation:
    """The SQL notation of one database.

    In statements for all databases, ``{each NAME TYPE}`` is a SELECT of the column ``one`` with the elements of the
    list ``:NAME``, ``{WORD}`` is one of ``words`` or the name of a table or an index, and ``:NAME`` a parameter.

    ``prefix`` begins table names, ``each`` and ``parameter`` are the forms of the others. ``json_rows`` returns a
    SELECT over the parameter ``rows``, a JSON list of objects, by member names and types."""

    prefix: str
    parameter: str
    each: str
    json_rows: Callable[[Mapping[str, str]], str]
    words: Mapping[str, str]

    def render(self, statement: str) -> str:
        """Return ``statement`` in this notation."""
        return _render(self, statement)


@lru_cache(maxsize=1024)
def _render(notation: SqlNotation, statement: str) -> str:
    words, prefix = notation.words, notation.prefix
    statement = _EACH.sub(notation.each, statement)
    statement = _WORD.sub(lambda found: words.get(found[1], f"{prefix}{found[1]}"), statement)
    return _PARAMETER.sub(notation.parameter, statement)


@attrs.frozen(eq=False, repr=False)
class AddedTables:
    """Tables or columns that older versions do not know. They have their own version, so older versions still work.

    ``is_optional``: this version works without the scripts that a newer version has run, because they only add columns
    that may be empty. ``further`` are tables with a version of their own that are always created with these."""

    name: str
    scripts: tuple[str, ...]
    is_optional: bool = False
    further: "AddedTables | None" = None

    def is_complete(self, version: int) -> bool:
        """Return whether a database with ``version`` already has these tables, so that no script has to run."""
        return version == len(self.scripts) or (self.is_optional and version > len(self.scripts))


class Session(ABC):
    """A connection to the database, used by one thread. Statements are in the notation for all databases."""

    notation: SqlNotation

    @abstractmethod
    def rows(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Run ``statement``, and return its rows."""

    @abstractmethod
    def run_many(self, statement: str, values: Sequence[Mapping[str, Any]]) -> None:
        """Run ``statement`` with each of ``values``."""

    @abstractmethod
    def has_table(self, table: str) -> bool: ...

    @abstractmethod
    def allow(self, seconds: float) -> None:
        """Let the next statements of this transaction take ``seconds``, if the database limits their time."""

    @abstractmethod
    def lock(self, table: str) -> None:
        """Block other writers of ``table`` until the transaction ends."""

    def put(self, table: str, key: Sequence[str], values: Mapping[str, Any], kept: Sequence[str] = ()) -> None:
        """Write a row in place of the one with its ``key``, but keep that one's columns ``kept``."""
        changed = ", ".join(f"{one} = excluded.{one}" for one in values if one not in (*key, *kept))
        self.insert(table, values, f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changed}")

    def add_missing(self, table: str, types: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Write those of ``rows`` that the table does not have yet; ``types`` are those of all columns."""
        selection = self.notation.json_rows(types)
        statement = f"INSERT INTO {{{table}}} ({', '.join(types)}) {selection} ON CONFLICT DO NOTHING"
        self.rows(statement, rows=msgspec.json.encode(rows).decode())

    def insert(self, table: str, values: Mapping[str, Any], rest: str = "") -> None:
        """Write a new row; ``rest`` ends the statement."""
        names = ", ".join(f":{one}" for one in values)
        self.rows(f"INSERT INTO {{{table}}} ({', '.join(values)}) VALUES ({names}) {rest}", **values)


class SqlConnection(Session):
    """A connection of a pool to a database with ``schema``, and with the tables of the parts that have used it."""

    def __init__(self, schema: Sequence[str] = SCHEMA) -> None:
        self.is_committing = False
        """True if the COMMIT of the transaction was sent, so it may succeed without an answer."""
        self._schema = schema
        self._complete: set[AddedTables] = set()

    @abstractmethod
    def transact(self, work: Callable[[Self], T]) -> T:
        """Return the result of ``work``, which runs in its own transaction."""

    @abstractmethod
    def read(self, work: Callable[[Session], T]) -> T:
        """Return the result of ``work``, which only reads."""

    @abstractmethod
    def write(self, work: Callable[[Session], T]) -> T:
        """Return the result of ``work`` in a transaction, which may be repeated after a conflict."""

    @abstractmethod
    def is_good(self) -> bool: ...

    @abstractmethod
    def interrupt(self) -> bool: ...

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def schema_version(self) -> int:
        """Return the number of scripts of the schema that the database has run."""

    @abstractmethod
    def set_schema_version(self, version: int) -> None: ...

    def wait_for_others(self, until: float) -> None:
        """Let statements wait for other processes until ``until`` (of ``time.monotonic``)."""

    def allow(self, seconds: float) -> None:
        pass

    def lock_schema(self) -> None:
        """Block changes of the tables by other processes until the transaction ends."""

    def prepare(self) -> None:
        if self.schema_version() != len(self._schema):
            self.transact(SqlConnection._migrate)

    def add_tables(self, tables: AddedTables) -> None:
        """Create or update ``tables``, if no earlier call has. Raises ``Unavailable`` for a newer version."""
        if tables in self._complete:
            return
        if not (self.has_table("added_tables") and tables.is_complete(self._version_of(tables))):
            self.transact(partial(SqlConnection._add_tables, tables=tables))
        if tables.further is not None:
            self.add_tables(tables.further)
        self._complete.add(tables)

    def _migrate(self) -> None:
        self.lock_schema()
        version = self.schema_version()
        if version > len(self._schema):
            raise Unavailable("the state storage is from a newer version of trigate")
        self.run_scripts(self._schema[version:])
        self.set_schema_version(len(self._schema))

    def _add_tables(self, tables: AddedTables) -> None:
        self.lock_schema()
        self.rows("CREATE TABLE IF NOT EXISTS {added_tables} (name text PRIMARY KEY, version integer NOT NULL)")
        version = self._version_of(tables)
        if tables.is_complete(version):
            return
        if version > len(tables.scripts):
            raise Unavailable(f"the {tables.name} tables of the state storage are from a newer version of trigate")
        self.run_scripts(tables.scripts[version:])
        self.put("added_tables", ("name",), {"name": tables.name, "version": len(tables.scripts)})

    def _version_of(self, tables: AddedTables) -> int:
        """Return the version of ``tables`` in the database, whose table of versions exists."""
        rows = self.rows("SELECT version FROM {added_tables} WHERE name = :name", name=tables.name)
        return cast("int", rows[0][0]) if rows else 0

    def run_scripts(self, scripts: Sequence[str]) -> None:
        """Run the statements of ``scripts``, which change tables."""
        for script in scripts:
            for statement in self.notation.render(script).split(";"):
                if statement.strip():
                    self.rows(statement)


C = TypeVar("C", bound=SqlConnection)


@attrs.frozen(eq=False, repr=False)
class DatabaseConnections:
    """The connections of a process to one database.

    ``readers`` and ``writers`` are pools, the same one if both have equal connections. ``open`` opens a connection for
    an exiting process. ``reason`` describes an ``error`` of the driver. ``bulk_read_limit`` and ``bulk_write_limit``
    are the time limits for bulk work in seconds; ``None`` is the pool's."""

    open: Callable[[], SqlConnection]
    readers: ConnectionPool[SqlConnection]
    writers: ConnectionPool[SqlConnection]
    error: type[Exception]
    reason: Callable[[Any], str]
    bulk_read_limit: float | None = None
    bulk_write_limit: float | None = None
    bulk: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(BULK))


class Database:
    """A database, as one part of the process uses it. Every use may raise ``Unavailable``.

    The parts share the ``connections``. Each has its own ``tables``, which are created with its first use, and uses at
    most ``SHARE`` of the connections at a time."""

    def __init__(self, connections: DatabaseConnections, tables: AddedTables | None = None) -> None:
        self._connections = connections
        self._tables = tables
        self._share = trio.CapacityLimiter(SHARE)

    def part(self, tables: AddedTables | None = None) -> "Database":
        """Return this database for another part with these ``tables``."""
        return Database(self._connections, tables)

    async def read(self, work: Callable[[Session], T], *, bulk: bool = False, limit: float | None = None) -> T:
        """Run the read-only ``work`` in a thread. ``bulk`` work may take long, on a server ``limit`` seconds, leaves
        connections to requests, and is abandoned on cancellation."""
        connections = self._connections
        limit = connections.bulk_read_limit or limit if bulk else None
        try:
            return await self._run(connections.readers, lambda connection: connection.read(work), bulk, limit, bulk)
        except InDoubt as error:
            raise Unavailable(str(error)) from error.__cause__

    async def write(self, work: Callable[[Session], T], *, bulk: bool = False) -> T:
        """Run ``work`` in a thread in one transaction; ``bulk`` as for ``read``. Raises ``InDoubt`` if it may be
        done."""
        connections = self._connections
        limit = connections.bulk_write_limit if bulk else None
        return await self._run(connections.writers, lambda connection: connection.write(work), bulk, limit)

    def write_blocking(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in one transaction over a new connection in this thread, because the process is about to
        exit."""
        try:
            with contextlib.closing(self._connections.open()) as connection:
                connection.prepare()
                return self._use(connection, lambda one: one.write(work), time.monotonic() + EXIT_TIMEOUT)
        except self._connections.error as error:
            raise Unavailable(self._connections.reason(error)) from error

    async def aclose(self) -> None:
        """Close the connections of all parts."""
        await self._connections.readers.aclose()
        await self._connections.writers.aclose()

    async def _run(
        self,
        pool: ConnectionPool[SqlConnection],
        step: Callable[[SqlConnection], T],
        bulk: bool,
        limit: float | None,
        can_abandon: bool = False,
    ) -> T:
        connections, until = self._connections, time.monotonic() + BUSY
        share = connections.bulk if bulk else self._share
        try:
            return await pool.run(
                lambda connection: self._use(connection, step, until),
                limit,
                share if pool is connections.readers else None,  # a single writer has no shares
                can_abandon=can_abandon,
            )
        except connections.error as error:
            raise Unavailable(connections.reason(error)) from error

    def _use(self, connection: SqlConnection, step: Callable[[SqlConnection], T], until: float) -> T:
        connection.is_committing = False
        connection.wait_for_others(until)
        if self._tables is not None:
            connection.add_tables(self._tables)
        return step(connection)
