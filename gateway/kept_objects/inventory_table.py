"""The inventory in a database."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from gateway.config.state_storage import StateStorage
from gateway.kept_objects.inventory import (
    AT_ONCE,
    MOST,
    PAID,
    Collection,
    Inventory,
    KeptObject,
    MemoryInventory,
    NumberedObject,
    Order,
)
from gateway.stores.sql import Database, Session
from gateway.stores.store import Unavailable

T = TypeVar("T")

_PUT: Final = """
    INSERT INTO {kept_objects} (owner, collection, id, until, body) VALUES (:owner, :collection, :id, :until, :body)
    ON CONFLICT (owner, id) DO UPDATE SET until = excluded.until, body = excluded.body
"""
_CLAIM: Final = """
    INSERT INTO {kept_objects} (owner, collection, id, until, body) VALUES (:owner, :collection, :id, 0, :body)
    ON CONFLICT (owner, id) DO NOTHING RETURNING id
"""
_CUT: Final = """
    DELETE FROM {kept_objects} WHERE owner = :owner AND collection = :collection AND number <= (
        SELECT number FROM {kept_objects} WHERE owner = :owner AND collection = :collection
        ORDER BY number DESC LIMIT 1 OFFSET :most
    )
"""
_FOUND: Final = "SELECT number, id, until, body FROM {kept_objects} WHERE owner = :owner AND collection = :collection"
_GET: Final = _FOUND + " AND id = :id"
_REMOVE: Final = "DELETE FROM {kept_objects} WHERE owner = :owner AND id = :id AND collection = :collection"
_SOME: Final[Mapping[Order, str]] = {
    "asc": _FOUND + " AND number > :behind ORDER BY number LIMIT :most",
    "desc": _FOUND + " AND number < :behind ORDER BY number DESC LIMIT :most",
}
_ENDS: Final[Mapping[Order, int]] = {"asc": -1, "desc": 2**62}


class Cipher(Protocol):
    """Encryption of bodies, each bound to its context."""

    def encrypt(self, body: bytes, context: bytes) -> bytes: ...

    def decrypt(self, encrypt: bytes, context: bytes) -> bytes | None:
        """Return the decrypted body, ``None`` if it is unreadable."""
        ...


class NoCipher:
    """A cipher that changes nothing."""

    def encrypt(self, body: bytes, context: bytes) -> bytes:
        return body

    def decrypt(self, encrypt: bytes, context: bytes) -> bytes | None:
        return encrypt


class InventoryTable:
    """The inventory in ``database``, common to all its processes, with ``most`` objects in a list."""

    def __init__(self, database: Database, cipher: Cipher, most: int = MOST, at_once: int = AT_ONCE) -> None:
        self.at_once = at_once
        self._database = database
        self._cipher = cipher
        self._most = most

    async def put(self, kept: KeptObject) -> None:
        body = self._cipher.encrypt(kept.body, _context_of(kept.owner, kept.collection, kept.id))
        of = {"owner": kept.owner, "collection": kept.collection}

        def work(run: Callable[..., list[tuple[Any, ...]]]) -> None:
            run(_PUT, **of, id=kept.id, until=kept.until, body=body)
            run(_CUT, **of, most=self._most)

        await self._write(work)

    async def claim(self, owner: str, id: str) -> bool:
        of = {"owner": owner, "collection": PAID}

        def work(run: Callable[..., list[tuple[Any, ...]]]) -> bool:
            run(_CUT, **of, most=self._most)
            return bool(run(_CLAIM, **of, id=f"{PAID} {id}", body=b""))

        return await self._write(work)

    async def get(self, owner: str, collection: Collection, id: str) -> NumberedObject | None:
        rows = await self._read(_GET, owner=owner, collection=collection, id=id)
        return self._numbered_object(owner, collection, rows[0]) if rows else None

    async def remove(self, owner: str, collection: Collection, id: str) -> None:
        await self._write(lambda run: run(_REMOVE, owner=owner, collection=collection, id=id))

    async def some(
        self, owner: str, collection: Collection, behind: int | None, order: Order
    ) -> Sequence[NumberedObject]:
        start = _ENDS[order] if behind is None else behind
        rows = await self._read(_SOME[order], owner=owner, collection=collection, behind=start, most=self.at_once)
        return [self._numbered_object(owner, collection, row) for row in rows]

    async def aclose(self) -> None:
        await self._database.aclose()

    def _numbered_object(self, owner: str, collection: Collection, row: tuple[Any, ...]) -> NumberedObject:
        number, id, until, encrypt = row
        body = self._cipher.decrypt(bytes(encrypt), _context_of(owner, collection, id))
        if body is None:
            raise Unavailable("the inventory cannot be decrypted: it was written with another encryption_key")
        return NumberedObject(number, KeptObject(owner, collection, id, body, until))

    async def _read(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return await self._database.read(lambda session: self._run(session, statement, **values))

    async def _write(self, work: Callable[[Callable[..., list[tuple[Any, ...]]]], T]) -> T:
        return await self._database.write(
            lambda session: work(lambda statement, **values: self._run(session, statement, **values))
        )

    def _run(self, session: Session, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return session.rows(self._database.notation.render(statement), **values)


def _context_of(owner: str, collection: Collection, id: str) -> bytes:
    return "\0".join(("kept object", owner, collection, id)).encode("utf-8", "surrogatepass")


CONNECTIONS, SECONDS = 2, 5.0
"""The number of connections to a server, and its time limit in seconds."""


def open_inventory(storage: StateStorage | None, workers_file: str | None) -> Inventory | None:
    """Return the inventory in the state storage's database, ``None`` if nothing is stored.

    ``workers_file`` is the file that the workers of a machine share if the storage is in memory. It connects on first
    use. Raises ``ImportError`` for a missing package."""
    storage = storage or StateStorage()
    match storage.type:
        case "memory" if workers_file is None:
            return MemoryInventory()
        case "memory" | "sqlite":
            from gateway.stores.sqlite import SqliteDatabase

            path = storage.path if storage.type == "sqlite" else Path(workers_file or "")
            assert path is not None
            return InventoryTable(SqliteDatabase(path), _cipher(storage.encryption_key))
        case "postgres":
            from gateway.stores.postgres import PostgresDatabase

            assert storage.connection_string is not None
            database = PostgresDatabase(storage.connection_string, CONNECTIONS, SECONDS)
            return InventoryTable(database, _cipher(storage.encryption_key))
        case "none":
            return None


def _cipher(keys: Sequence[bytes]) -> Cipher:
    if not keys:
        return NoCipher()
    from gateway.stores.encrypted import BodyCipher

    return BodyCipher(keys)
