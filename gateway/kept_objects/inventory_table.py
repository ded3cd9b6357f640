"""The inventory in a database."""

import math
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from gateway.kept_objects.inventory import (
    BILLED_BATCHES,
    MAX_IN_LIST,
    OVERHEAD,
    PAGE_SIZE,
    UNLISTED,
    Collection,
    KeptObject,
    NumberedObject,
    Order,
)
from gateway.named_imports import import_named
from gateway.stores.database import Database, Session
from gateway.stores.errors import InDoubt, Unavailable
from gateway.stores.nodes import OwnerLimit, is_storable

if TYPE_CHECKING:
    from gateway.stores.encrypted import BodyCipher

_CLAIM: Final = """
    INSERT INTO {kept_objects} (owner, collection, id, until, body) VALUES (:owner, :collection, :id, 0, :body)
    ON CONFLICT (owner, id) DO UPDATE SET until = excluded.until WHERE {kept_objects}.body = excluded.body RETURNING id
"""
"""Returns a row for the first claim, and for its repetition with the same mark as ``body``."""
_DROP_OLDEST: Final = """
    DELETE FROM {kept_objects} WHERE owner = :owner AND collection = :collection AND number <= (
        SELECT number FROM {kept_objects} WHERE owner = :owner AND collection = :collection
        ORDER BY number DESC LIMIT 1 OFFSET :most
    )
"""
_DROP_EXCESS: Final = """
    DELETE FROM {kept_objects} WHERE owner = :owner AND collection NOT IN (:unlisted) AND number <= (
        SELECT MAX(number) FROM (
            SELECT number, SUM(LENGTH(body) + LENGTH(id) + :overhead) OVER (ORDER BY number DESC) AS bytes
            FROM {kept_objects} WHERE owner = :owner
        ) AS sizes WHERE bytes > :most
    )
""".replace(":unlisted", ", ".join(f"'{name}'" for name in UNLISTED))
_SELECT: Final = "SELECT number, id, until, body FROM {kept_objects} WHERE owner = :owner AND collection = :collection"
_GET: Final = _SELECT + " AND id = :id"
_REMOVE: Final = "DELETE FROM {kept_objects} WHERE owner = :owner AND id = :id AND collection = :collection"
_READ_SOME: Final[Mapping[Order, str]] = {
    "asc": _SELECT + " AND number > :after_number ORDER BY number LIMIT :most",
    "desc": _SELECT + " AND number < :after_number ORDER BY number DESC LIMIT :most",
}
_STARTS: Final[Mapping[Order, int]] = {"asc": -1, "desc": 2**62}


class NoCipher:
    """A ``BodyCipher`` that returns bodies unencrypted."""

    def encrypt(self, body: bytes, context: bytes) -> bytes:
        return body

    def decrypt(self, encrypted: bytes, context: bytes) -> bytes | None:
        return encrypted


class InventoryTable:
    """An inventory in ``database``, which all processes share, with ``most`` objects in a collection of an owner."""

    def __init__(
        self, database: Database, cipher: "BodyCipher | NoCipher", most: int = MAX_IN_LIST, page_size: int = PAGE_SIZE
    ) -> None:
        self.page_size = page_size
        self.database: Final = database.part()
        self._cipher = cipher
        self._most = most
        self._most_of: OwnerLimit = lambda _: math.inf
        self._in_doubt: dict[tuple[str, tuple[str, ...]], bytes] = {}  # marks of claims that may be stored

    def limit_owners(self, most: OwnerLimit) -> None:
        self._most_of = most

    async def put(self, kept: KeptObject) -> None:
        body = self._cipher.encrypt(kept.body, _context_of(kept.owner, kept.collection, kept.id))
        list_key = {"owner": kept.owner, "collection": kept.collection}
        row = {**list_key, "id": kept.id, "until": kept.until, "body": body}

        def work(session: Session) -> None:
            session.put("kept_objects", ("owner", "id"), row, ("collection",))
            session.rows(_DROP_OLDEST, **list_key, most=self._most)
            if (most := self._most_of(kept.owner)) != math.inf:
                session.rows(_DROP_EXCESS, owner=kept.owner, overhead=OVERHEAD, most=int(most))

        await self.database.write(work)

    async def claim(self, owner: str, *ids: str) -> bool:
        list_key, key = {"owner": owner, "collection": BILLED_BATCHES}, (owner, ids)
        earlier = self._in_doubt.pop(key, None)  # no other request may claim with the same mark
        mark, is_in_doubt = earlier or secrets.token_bytes(16), earlier is not None

        def work(session: Session) -> bool:
            session.rows(_DROP_OLDEST, **list_key, most=self._most)
            return all(session.rows(_CLAIM, **list_key, id=f"{BILLED_BATCHES} {id}", body=mark) for id in ids)

        try:
            try:
                return await self.database.write(work)
            except InDoubt:
                is_in_doubt = True
                return await self.database.write(work)  # finds the mark if it was stored
        except BaseException:
            if is_in_doubt:
                self._in_doubt[key] = mark
            raise

    async def get(self, owner: str, collection: Collection, id: str) -> NumberedObject | None:
        rows = await self._read(_GET, owner=owner, collection=collection, id=id) if is_storable(id) else ()
        return self._numbered_object(owner, collection, rows[0]) if rows else None

    async def remove(self, owner: str, collection: Collection, id: str) -> None:
        await self.database.write(lambda session: session.rows(_REMOVE, owner=owner, collection=collection, id=id))

    async def read_some(
        self, owner: str, collection: Collection, after_number: int | None, order: Order
    ) -> Sequence[NumberedObject]:
        start = _STARTS[order] if after_number is None else after_number
        rows = await self._read(
            _READ_SOME[order], owner=owner, collection=collection, after_number=start, most=self.page_size
        )
        return [self._numbered_object(owner, collection, row) for row in rows]

    def _numbered_object(self, owner: str, collection: Collection, row: tuple[Any, ...]) -> NumberedObject:
        number, id, until, encrypted = row
        body = self._cipher.decrypt(bytes(encrypted), _context_of(owner, collection, id))
        if body is None:
            raise Unavailable("the inventory cannot be decrypted: it was written with another encryption_key")
        return NumberedObject(number, KeptObject(owner, collection, id, body, until))

    async def _read(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        return await self.database.read(lambda session: session.rows(statement, **values))


def _context_of(owner: str, collection: Collection, id: str) -> bytes:
    return "\0".join(("kept object", owner, collection, id)).encode("utf-8", "surrogatepass")


def cipher_for(keys: Sequence[bytes]) -> "BodyCipher | NoCipher":
    """Return the cipher with the configured ``keys``. Raises ``ImportError`` for a missing package."""
    if not keys:
        return NoCipher()
    cipher: BodyCipher = import_named("gateway.stores.encrypted:BodyCipher")(keys)
    return cipher
