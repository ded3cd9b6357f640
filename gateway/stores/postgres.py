"""State in PostgreSQL, for any number of processes on any number of machines. Needs the extra ``postgres``.

Who writes to a tree holds its row in ``trigate_trees``; whoever needs several takes them in one order, and whoever
makes room takes only what is free. So writers wait for each other, and not in a circle."""

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, LiteralString, TypeAlias, TypeVar, cast

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

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
from gateway.stores.pool import BlockingPool
from gateway.stores.store import Changed, Kind, Node, Size, Unavailable

T = TypeVar("T")
Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

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
)
"""One script for each version of the schema; the row in ``trigate_schema`` counts how many a database has seen."""

MIGRATION_LOCK: Final = 7_482_111_963  # any number that nobody else takes
CONNECTIONS: Final = 8
LIMIT: Final = 5.0  # seconds that an operation may take, with the wait for a connection
ATTEMPTS: Final = 5

# Over these goes what the connection string says. A machine that is gone without a word is noticed by tcp_user_timeout.
DEFAULTS: Final = {
    "application_name": "trigate", "connect_timeout": 3, "tcp_user_timeout": 4000, "keepalives_idle": 30,
}  # fmt: skip

# In every transaction and not as an option of the connection, which poolers such as PgBouncer refuse or share out.
BEGIN: Final = """
    BEGIN;
    SET LOCAL statement_timeout = {milliseconds};
    SET LOCAL idle_in_transaction_session_timeout = 10000
"""

TOGETHER: Final = (psycopg.errors.UniqueViolation, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
"""What two who write at once may cause; the second time the one sees what the other has done."""

NODE: Final = "n.id, n.owner, n.kind, n.body, n.parent, n.items"
LIVE: Final = "trigate_nodes n JOIN trigate_trees t ON t.tree = n.tree AND t.used > %(horizon)s"


class PostgresStore:
    """What has not been written to for ``ttl`` seconds of ``clock`` is not there. ``max_bytes`` (None: no limit) holds
    but for what is being written at this moment. Connects on first use, and again after the server has been away."""

    def __init__(
        self,
        connection_string: str,
        ttl: float,
        max_bytes: int | None,
        clock: Callable[[], float] = time.time,
        *,
        limit: float = LIMIT,
    ) -> None:
        self._ttl = ttl
        self._max_bytes = max_bytes
        self._clock = clock
        # A statement ends before its connection is cut: the server then says why, and has not gone on without us.
        self._begin = BEGIN.format(milliseconds=int(limit * 800))
        self._links = BlockingPool(partial(_Session, connection_string, self._begin), CONNECTIONS, limit)

    async def open(self) -> None:
        """Find out whether the server can be used. Raises ``Unavailable``."""
        await self._run(lambda db: None)

    async def put(self, nodes: Sequence[Node], expect: Node | None = None) -> None:
        batch = batch_of(nodes)
        if self._max_bytes is not None and sum(map(size_of, batch.values())) > self._max_bytes:
            raise too_large(self._max_bytes)
        await self._run(lambda db: self._put(db, batch, expect))

    async def get(self, owner: str, id: str) -> Node | None:
        return await self._run(lambda db: _live(db, (owner, id), self._horizon()))

    async def chain(self, owner: str, id: str) -> tuple[Node, ...]:
        return lineage(await self._run(lambda db: _way(db, owner, id, self._horizon())), id)

    async def find(self, owner: str, items: Sequence[str]) -> Mapping[str, Node]:
        wanted = keepable_only(items)
        return await self._run(lambda db: _find(db, owner, wanted, self._horizon())) if wanted else {}

    async def delete(self, owner: str, ids: Sequence[str]) -> int:
        wanted = keepable_only(ids)
        return await self._run(lambda db: _delete(db, owner, wanted, self._horizon())) if wanted else 0

    async def sweep(self) -> int:
        gone = 0
        for some in (self._expire, self._shrink):
            more = True
            while more:  # many short transactions
                more, count = await self._run(some)
                gone += count
        return gone

    async def size(self) -> Size:
        return Size(*await self._run(_counted), self._max_bytes)

    async def aclose(self) -> None:
        await self._links.aclose()

    async def _run(self, work: Callable[[Connection], T]) -> T:
        """``work`` in one transaction."""

        def in_transaction(session: _Session) -> T:
            for _ in range(ATTEMPTS):
                with contextlib.suppress(*TOGETHER), _transaction(session.db, self._begin):
                    return work(session.db)
            raise Unavailable("too many write to the same place of the state storage at once")

        try:
            return await self._links.run(in_transaction)
        except psycopg.Error as error:
            raise Unavailable(_reason(error)) from error

    def _horizon(self) -> float:
        """When what is over now was last written to."""
        return self._clock() - self._ttl

    # Writing

    def _put(self, db: Connection, batch: Mapping[Key, Node], expect: Node | None) -> None:
        horizon, now = self._horizon(), self._clock()
        first = dict.fromkeys(tops(batch).values())
        places = {*batch, *(place for top in first for place in hangs_on(top))}
        trees = _lock(db, {*places, key_of(expect)} if expect is not None else places, horizon)
        if expect is not None:
            there = _live(db, key_of(expect), horizon)
            if there is None or there.body != expect.body:
                raise Changed
        homes = _homes(db, batch, trees, now)
        old = _remove(db, "(owner, id) IN (SELECT * FROM unnest(%s::text[], %s::text[]))", _columns(batch))
        _insert(db, batch, homes)
        new = [size_of(node) for node in batch.values()]
        freed = self._evict(db, sum(new) - sum(old), set(homes.values()))
        _change_total(db, new, [*old, *freed])

    def _evict(self, db: Connection, added: int, keep: set[int]) -> list[int]:
        """Make room, and not by what is just being written. The sizes of the nodes that went."""
        freed: list[int] = []
        if self._max_bytes is None or (too_much := _counted(db)[1] + added - self._max_bytes) <= 0:
            return freed
        query = "SELECT sum(size)::bigint FROM trigate_nodes WHERE tree = ANY(%s)"
        if _number(db, query, (list(keep),)) > self._max_bytes:
            raise too_large(self._max_bytes)
        while sum(freed) < too_much and (tree := _oldest(db, keep)) is not None:
            freed += _remove_trees(db, [tree])
        return freed

    def _expire(self, db: Connection) -> tuple[bool, int]:
        """Whether there may be more, and how many nodes went."""
        query = "SELECT tree FROM trigate_trees WHERE used <= %s LIMIT 64 FOR UPDATE SKIP LOCKED"
        over = [tree for (tree,) in db.execute(query, (self._horizon(),))]
        sizes = _remove_trees(db, over)
        _change_total(db, gone=sizes)
        return len(over) == 64, len(sizes)

    def _shrink(self, db: Connection) -> tuple[bool, int]:
        if self._max_bytes is None or _counted(db)[1] <= self._max_bytes or (tree := _oldest(db, set())) is None:
            return False, 0
        sizes = _remove_trees(db, [tree])
        _change_total(db, gone=sizes)
        return True, len(sizes)


# One connection


class _Session:
    def __init__(self, connection_string: str, begin: str) -> None:
        self._begin = begin
        given: dict[str, Any] = conninfo_to_dict(connection_string)
        # Statements are not prepared on the server: behind a pooler the next one may meet another server process.
        self.db: Connection = psycopg.connect(
            make_conninfo(**{**DEFAULTS, **given}), autocommit=True, prepare_threshold=None
        )

    def prepare(self) -> None:
        _migrate(self.db, self._begin)

    def is_good(self) -> bool:
        """A server that ends says so, or its machine closes the connection: either can be read."""
        if self.db.closed:
            return False
        heard = select.poll()
        heard.register(self.db.fileno(), select.POLLIN)
        return not heard.poll(0)

    def cut(self) -> None:
        with contextlib.suppress(psycopg.Error, OSError):
            _shut_down(self.db.fileno())

    def close(self) -> None:
        self.db.close()


def _shut_down(fd: int) -> None:
    """The thread that waits for the server sees the connection's end."""
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _transaction(db: Connection, begin: str) -> Iterator[None]:
    db.execute(begin)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if not db.closed:
            db.rollback()
        raise


def _migrate(db: Connection, begin: str) -> None:
    if _version(db) == len(MIGRATIONS):
        return
    with _transaction(db, begin):
        db.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        version = _version(db)
        if version > len(MIGRATIONS):
            raise Unavailable("the state storage's tables were made by a newer version of trigate")
        if version == 0:
            db.execute("CREATE TABLE trigate_schema (version integer NOT NULL); INSERT INTO trigate_schema VALUES (0)")
        for script in MIGRATIONS[version:]:
            db.execute(script)
        db.execute("UPDATE trigate_schema SET version = %s", (len(MIGRATIONS),))


def _version(db: Connection) -> int:
    # Not by to_regclass, which in a transaction goes on believing that there is no such table.
    query = "SELECT count(*) FROM pg_class WHERE relname = 'trigate_schema' AND pg_table_is_visible(oid)"
    if not _number(db, query):
        return 0
    return _number(db, "SELECT version FROM trigate_schema")


REASONS: Final[Mapping[type[psycopg.Error], str]] = {
    psycopg.errors.QueryCanceled: "the state storage takes too long to answer",
    psycopg.errors.DiskFull: "the state storage is full",
    psycopg.errors.ReadOnlySqlTransaction: "the state storage can only be read",
    psycopg.ProgrammingError: "the state storage's tables are not as they should be, or a permission is missing",
}


def _reason(error: psycopg.Error) -> str:
    """The server's own words may name its address or its user."""
    return next((words for kind, words in REASONS.items() if isinstance(error, kind)), _DOWN)


_DOWN: Final = "the state storage cannot be reached"


# Reading


def _node(row: Sequence[Any]) -> Node:
    id, owner, kind, body, parent, items = row
    return Node(id, owner, cast("Kind", kind), body, parent, tuple(items))


def _rows(db: Connection, query: LiteralString, **values: Any) -> list[tuple[Any, ...]]:
    return db.execute(query, values, binary=True).fetchall()


def _live(db: Connection, key: Key, horizon: float) -> Node | None:
    if not keepable(key[1]):
        return None
    query: LiteralString = f"SELECT {NODE} FROM {LIVE} WHERE n.owner = %(owner)s AND n.id = %(id)s"
    rows = _rows(db, query, owner=key[0], id=key[1], horizon=horizon)
    return _node(rows[0]) if rows else None


def _way(db: Connection, owner: str, id: str, horizon: float) -> list[Node]:
    """The node and those before it, in any order, as far as they are there. UNION ends a circle; LIMIT has each step
    look one node up, where the planner might read the whole table again."""
    if not keepable(id):
        return []
    query: LiteralString = f"""
        WITH RECURSIVE way (id, before) AS (
            SELECT id, parent FROM trigate_nodes WHERE owner = %(owner)s AND id = %(id)s
            UNION
            SELECT n.id, n.parent FROM way, LATERAL (
                SELECT id, parent FROM trigate_nodes WHERE owner = %(owner)s AND id = way.before LIMIT 1
            ) n
        )
        SELECT found.* FROM way, LATERAL (
            SELECT {NODE} FROM {LIVE} WHERE n.owner = %(owner)s AND n.id = way.id LIMIT 1
        ) found
    """
    return [_node(row) for row in _rows(db, query, owner=owner, id=id, horizon=horizon)]


def _find(db: Connection, owner: str, items: Sequence[str], horizon: float) -> dict[str, Node]:
    query: LiteralString = f"""
        SELECT wanted, latest.written FROM unnest(%(items)s::text[]) AS wanted, LATERAL (
            SELECT max(n.written) AS written FROM trigate_items i JOIN ({LIVE}) ON n.written = i.written
            WHERE i.owner = %(owner)s AND i.item = wanted
        ) latest WHERE latest.written IS NOT NULL
    """
    latest = dict(_rows(db, query, owner=owner, items=items, horizon=horizon))
    query = f"SELECT n.written, {NODE} FROM trigate_nodes n WHERE n.written = ANY(%(written)s)"
    nodes = {row[0]: _node(row[1:]) for row in _rows(db, query, written=list(latest.values()))}
    return {item: nodes[written] for item, written in latest.items() if written in nodes}


def _counted(db: Connection) -> tuple[int, int]:
    """Nodes and bytes, without a look at what is kept."""
    row = db.execute("SELECT sum(nodes)::bigint, sum(bytes)::bigint FROM trigate_total").fetchone()
    return cast("tuple[int, int]", row)


def _number(db: Connection, query: LiteralString, values: Sequence[Any] = ()) -> int:
    """The one value of the one row that ``query`` gives."""
    row = db.execute(query, values).fetchone()
    assert row is not None
    return cast("int", row[0])


# Changing: each leaves the total to its caller


def _columns(keys: Iterable[Key]) -> tuple[list[str], list[str]]:
    both = list(keys)
    return [owner for owner, _ in both], [id for _, id in both]


def _lock(db: Connection, keys: Iterable[Key], horizon: float) -> dict[Key, int]:
    """The trees of those of ``keys`` that are live, which nobody else changes until the transaction ends."""
    query = """
        SELECT n.owner, n.id, t.tree, t.used > %s
        FROM unnest(%s::text[], %s::text[]) AS key (owner, id)
        JOIN trigate_nodes n ON n.owner = key.owner AND n.id = key.id JOIN trigate_trees t ON t.tree = n.tree
        ORDER BY t.tree FOR UPDATE OF t
    """
    return {(owner, id): tree for owner, id, tree, live in db.execute(query, (horizon, *_columns(keys))) if live}


def _homes(db: Connection, batch: Mapping[Key, Node], trees: Mapping[Key, int], now: float) -> dict[Key, int]:
    """The tree of each node of a write, written to just now; a new one where it hangs on nothing."""
    found: dict[Key, int] = {}
    homes: dict[Key, int] = {}
    for key, top in tops(batch).items():
        if (own := key_of(top)) not in found:
            tree = next((trees[place] for place in hangs_on(top) if place in trees), None)
            found[own] = _new_tree(db, now) if tree is None else tree
        homes[key] = found[own]
    query = "UPDATE trigate_trees SET used = %s WHERE tree = ANY(%s) AND used < %s"
    db.execute(query, (now, list(found.values()), now))
    return homes


def _new_tree(db: Connection, now: float) -> int:
    return _number(db, "INSERT INTO trigate_trees (used) VALUES (%s) RETURNING tree", (now,))


def _insert(db: Connection, batch: Mapping[Key, Node], homes: Mapping[Key, int]) -> None:
    rows = [
        (node.owner, node.id, node.kind, node.parent, homes[key], size_of(node), list(node.items), node.body)
        for key, node in batch.items()
    ]
    with db.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO trigate_nodes (owner, id, kind, parent, tree, size, items, body)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %b)",
            rows,
        )
    query = """
        INSERT INTO trigate_items SELECT DISTINCT n.owner, item, n.written
        FROM unnest(%s::text[], %s::text[]) AS key (owner, id)
        JOIN trigate_nodes n ON n.owner = key.owner AND n.id = key.id, unnest(n.items) AS item
    """
    db.execute(query, _columns(key for key, node in batch.items() if node.items))


def _remove(db: Connection, where: LiteralString, values: Sequence[Any]) -> list[int]:
    """The sizes of the nodes that went. A tree that is left empty goes when its time is over."""
    return [size for (size,) in db.execute(f"DELETE FROM trigate_nodes WHERE {where} RETURNING size", values)]


def _delete(db: Connection, owner: str, ids: Sequence[str], horizon: float) -> int:
    trees = _lock(db, [(owner, id) for id in ids], horizon)
    if not trees:
        return 0
    live = [id for _, id in trees]
    sizes = _remove(db, "owner = %s AND id = ANY(%s)", (owner, live))
    _change_total(db, gone=sizes)
    return len(sizes)


def _remove_trees(db: Connection, trees: list[int]) -> list[int]:
    """The sizes of the nodes that went with trees that are locked."""
    sizes = _remove(db, "tree = ANY(%s)", (trees,))
    db.execute("DELETE FROM trigate_trees WHERE tree = ANY(%s)", (trees,))
    return sizes


def _oldest(db: Connection, keep: set[int]) -> int | None:
    """The tree that was least recently written to, of those that nobody is writing to, locked."""
    query = """
        SELECT tree FROM trigate_trees WHERE tree <> ALL(%s::bigint[]) ORDER BY used, tree
        LIMIT 1 FOR UPDATE SKIP LOCKED
    """
    row = db.execute(query, (list(keep),)).fetchone()
    return None if row is None else cast("int", row[0])


def _change_total(db: Connection, come: Sequence[int] = (), gone: Sequence[int] = ()) -> None:
    """The sizes of nodes. As the last step: the row stays locked until the transaction ends."""
    query = "UPDATE trigate_total SET nodes = nodes + %s, bytes = bytes + %s WHERE stripe = pg_backend_pid() %% 16"
    db.execute(query, (len(come) - len(gone), sum(come) - sum(gone)))
