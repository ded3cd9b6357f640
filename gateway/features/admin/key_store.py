"""Client keys created at run time, in the tables of a database: each client as text, and every change with its author.

The ``mark`` of the last change is random: a process detects changes by other processes, and restored backups, by a
different mark."""

import re
import secrets
from collections.abc import Callable, Sequence
from typing import Final, Literal, TypeAlias, TypeVar

import attrs

from gateway.stores.database import AddedTables, Database, Session
from gateway.stores.errors import Changed, StoreFull

T = TypeVar("T")

KeyEvent: TypeAlias = Literal["added", "changed", "rotated", "revoked"]

MOST_CLIENTS: Final = 10_000
"""The most stored clients."""

MOST_CHANGES: Final = 10_000
"""The most stored changes; the oldest are deleted."""


_MARK: Final = "SELECT number, mark FROM {key_changes} ORDER BY number DESC LIMIT 1"
_CLIENTS: Final = "SELECT name, item FROM {client_keys} ORDER BY name"
_ITEM: Final = "SELECT item FROM {client_keys} WHERE name = :name"
_HOLDER: Final = "SELECT name FROM {client_keys} WHERE item LIKE :pattern ESCAPE '!' AND name <> :name LIMIT 1"
_LAST_ABOUT: Final = "SELECT about FROM {key_changes} WHERE name = :name ORDER BY number DESC LIMIT 1"
_COUNT: Final = "SELECT count(*) FROM {client_keys}"
_REMOVE: Final = "DELETE FROM {client_keys} WHERE name = :name"
_LOG: Final = """
    INSERT INTO {key_changes} (at, made_by, event, name, about, mark)
    VALUES (:at, :by, :event, :name, :about, :mark)
"""
_FORGET: Final = "DELETE FROM {key_changes} WHERE number <= (SELECT max(number) FROM {key_changes}) - :kept"
_CHANGES: Final = """
    SELECT * FROM (
        SELECT number, at, made_by, event, name, about FROM {key_changes} WHERE number > :after
        ORDER BY number DESC LIMIT :most
    ) AS found ORDER BY number
"""


class KeyTaken(Exception):
    """An error: another client has the same key or certificate. Its argument is that client's name."""


@attrs.frozen(repr=False)
class StoredItem:
    """A stored client: its ``name``, and its settings as the text ``item``."""

    name: str
    item: str


@attrs.frozen(repr=False)
class KeyChange:
    """A change: its time (``at``, Unix seconds), its author (``by``), and the client's settings then, without keys."""

    number: int
    at: float
    by: str
    event: KeyEvent
    name: str
    about: str


@attrs.frozen(repr=False)
class KeyTable:
    """All clients, and the changes after a given one."""

    mark: str = ""
    last: int = 0
    clients: tuple[StoredItem, ...] = ()
    changes: tuple[KeyChange, ...] = ()


@attrs.frozen(repr=False)
class ItemChange:
    """A change of the item of ``name`` from ``expect`` to ``item``; ``None`` is no item.

    ``digests`` are those of keys, and other texts, that no other client may have. ``also`` writes to the database in
    the same transaction."""

    event: KeyEvent
    name: str
    expect: str | None
    item: str | None
    about: str
    digests: Sequence[str] = ()
    also: Callable[[Session], object] | None = None


class KeyStore:
    """The table of keys in a ``database``. Every method may raise ``Unavailable``.

    ``tables`` are those that ``also`` reads and writes in the same transactions."""

    def __init__(self, database: Database, tables: AddedTables | None = None) -> None:
        self.database: Final = database.part(tables)

    async def mark(self) -> str:
        """Return the mark of the last change, empty before the first."""
        return (await self.database.read(self._mark))[1]

    async def poll(self, also: Callable[[Session], T]) -> tuple[str, T]:
        """Return the mark of the last change, and the result of ``also`` in the same transaction."""
        return await self.database.read(lambda session: (self._mark(session)[1], also(session)))

    async def item(self, name: str) -> str | None:
        """Return the item of one client, ``None`` if it is not stored."""
        found = await self.database.read(lambda session: session.rows(_ITEM, name=name))
        return found[0][0] if found else None

    async def last_settings(self, name: str) -> str | None:
        """Return the settings without keys of the client in its last stored change, ``None`` without one."""
        found = await self.database.read(lambda session: session.rows(_LAST_ABOUT, name=name))
        return found[0][0] if found else None

    async def read(self, after: int | None = None) -> KeyTable:
        """Return all clients, and the changes after number ``after``."""
        return await self.database.read(lambda session: self._read(session, after))

    async def changes(self, most: int) -> tuple[KeyChange, ...]:
        """Return the last changes, the oldest first."""
        return await self.database.read(lambda session: self._changes(session, 0, most))

    async def change_all(self, changes: Sequence[ItemChange], *, at: float, by: str, is_patient: bool = False) -> None:
        """Make all ``changes`` or none, and store them. If ``is_patient``, they may be thousands, which takes long.

        Raises ``Changed`` with the name of a client whose stored item is not the expected one, ``KeyTaken``, and
        ``StoreFull``."""

        def work(session: Session) -> None:
            session.lock("client_keys")
            count = session.rows(_COUNT)[0][0]
            for change in changes:
                self._apply(session, change)
                count += (change.item is not None) - (change.expect is not None)
                if change.expect is None and count > MOST_CLIENTS:
                    raise StoreFull(f"there are {MOST_CLIENTS} stored clients, the maximum: revoke some")
                values = {"event": change.event, "name": change.name, "about": change.about}
                session.rows(_LOG, at=at, by=by, mark=secrets.token_hex(16), **values)
                if change.also is not None:
                    change.also(session)
            session.rows(_FORGET, kept=MOST_CHANGES)

        await self.database.write(work, bulk=is_patient)

    def _apply(self, session: Session, change: ItemChange) -> None:
        name = change.name
        there = session.rows(_ITEM, name=name)
        if (there[0][0] if there else None) != change.expect:
            raise Changed(name)
        for text in change.digests:
            escaped = re.sub("([!%_])", r"!\1", text)
            if holder := session.rows(_HOLDER, pattern=f"%{escaped}%", name=name):
                raise KeyTaken(holder[0][0])
        if change.item is None:
            session.rows(_REMOVE, name=name)
            return
        session.put("client_keys", ("name",), {"name": name, "item": change.item})

    def _mark(self, session: Session) -> tuple[int, str]:
        rows = session.rows(_MARK)
        return (rows[0][0], rows[0][1]) if rows else (0, "")

    def _read(self, session: Session, after: int | None) -> KeyTable:
        last, mark = self._mark(session)  # read first: later changes appear with the next mark
        clients = tuple(StoredItem(*row) for row in session.rows(_CLIENTS))
        return KeyTable(mark, last, clients, () if after is None else self._changes(session, after, MOST_CHANGES))

    def _changes(self, session: Session, after: int, most: int) -> tuple[KeyChange, ...]:
        return tuple(KeyChange(*row) for row in session.rows(_CHANGES, after=after, most=most))
