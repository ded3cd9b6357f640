"""The keys of clients that are made while the gateway runs, in the tables of a database: what is said of each client,
as text that means nothing here, and every change with who made it.

A process that follows them asks for the ``mark`` of the last change, which is random: what another process has done, or
a backup that was put back, gives another one."""

import secrets
from typing import Final, Literal, LiteralString, TypeAlias

import attrs

from gateway.stores.sql import Database, Session
from gateway.stores.store import Changed, Unavailable

KeyEvent: TypeAlias = Literal["added", "changed", "rotated", "revoked"]

MOST: Final = 10_000
"""Clients that are kept at once."""

KEPT: Final = 10_000
"""Changes that are kept: the oldest ones go."""


@attrs.frozen(kw_only=True)
class KeyStatements:
    """The SQL of one database: statements with the parameters that each comment names, and what it gives."""

    lock: LiteralString  # nobody else changes anything until the transaction ends: numbers are seen in their order
    mark: LiteralString  # -> number and mark of the last change
    clients: LiteralString  # -> name, item
    item: LiteralString  # name -> item
    count: LiteralString  # -> how many clients there are
    put: LiteralString  # name, item
    remove: LiteralString  # name
    log: LiteralString  # at, by, event, name, about, mark
    forget: LiteralString  # kept: changes that are older than the last so many
    changes: LiteralString  # after, most -> number, at, by, event, name, about; of the last ones, in their order


@attrs.frozen
class StoredItem:
    """A client by its ``name``: what is said of it, in ``item``."""

    name: str
    item: str


@attrs.frozen
class KeyChange:
    """One change: ``at`` seconds since 1970, ``by`` whom, and what was said of the client then, without its keys."""

    number: int
    at: float
    by: str
    event: KeyEvent
    name: str
    about: str


@attrs.frozen
class KeyTable:
    """All clients, and the changes that were made after the one that was asked for."""

    mark: str = ""
    last: int = 0
    clients: tuple[StoredItem, ...] = ()
    changes: tuple[KeyChange, ...] = ()


class KeyStore:
    """The table of keys in a ``database``. Every method may raise ``Unavailable``."""

    def __init__(self, database: Database, sql: KeyStatements) -> None:
        self._database = database
        self._sql = sql

    async def aclose(self) -> None:
        await self._database.aclose()

    async def mark(self) -> str:
        """The mark of the last change, empty before the first one."""
        return (await self._database.read(self._mark))[1]

    async def read(self, after: int | None = None) -> KeyTable:
        """All clients, with the changes ``after`` the one of that number."""
        return await self._database.read(lambda session: self._read(session, after))

    async def changes(self, most: int) -> tuple[KeyChange, ...]:
        """The last changes, the oldest one first."""
        return await self._database.read(lambda session: self._changes(session, 0, most))

    async def change(
        self, event: KeyEvent, name: str, expect: str | None, item: str | None, *, at: float, by: str, about: str
    ) -> None:
        """Write ``item`` for ``name`` where ``expect`` stands, ``None`` for nothing, and that it was done. Raises
        ``Changed`` where something else stands there by now."""

        def work(session: Session) -> None:
            session.rows(self._sql.lock)
            there = session.rows(self._sql.item, name=name)
            if (there[0][0] if there else None) != expect:
                raise Changed
            if item is None:
                session.rows(self._sql.remove, name=name)
            else:
                self._put(session, name, item, new=expect is None)
            mark = secrets.token_hex(16)
            session.rows(self._sql.log, at=at, by=by, event=event, name=name, about=about, mark=mark)
            session.rows(self._sql.forget, kept=KEPT)

        await self._database.write(work)

    def _put(self, session: Session, name: str, item: str, new: bool) -> None:
        if new and session.rows(self._sql.count)[0][0] >= MOST:
            raise Unavailable(f"there are {MOST} stored keys already, which is the most: revoke some")
        session.rows(self._sql.put, name=name, item=item)

    def _mark(self, session: Session) -> tuple[int, str]:
        rows = session.rows(self._sql.mark)
        return (rows[0][0], rows[0][1]) if rows else (0, "")

    def _read(self, session: Session, after: int | None) -> KeyTable:
        last, mark = self._mark(session)  # first: what comes in between is seen with the next one
        clients = tuple(StoredItem(*row) for row in session.rows(self._sql.clients))
        return KeyTable(mark, last, clients, () if after is None else self._changes(session, after, KEPT))

    def _changes(self, session: Session, after: int, most: int) -> tuple[KeyChange, ...]:
        return tuple(KeyChange(*row) for row in session.rows(self._sql.changes, after=after, most=most))
