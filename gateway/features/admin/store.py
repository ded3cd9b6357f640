"""Stores raises and the audit in the tables of a database.

Every method is one transaction, and may raise ``Unavailable``."""

from typing import Final, LiteralString, TypeVar

from gateway.features.admin import rights_rows
from gateway.features.admin.rights_rows import RAISES, Raise
from gateway.features.admin.tables import rights_tables
from gateway.stores.database import Database
from gateway.stores.record_tables import RecordTable, RightsTables, changing, reading

T = TypeVar("T")


class RightsStore:
    """The tables of raises and of the audit in ``database``.

    ``audit`` of a change is its row in the audit, stored with the change: the store sets ``before`` and ``after``.
    ``check(present)`` is called in the transaction with the present record, ``None`` without one; it raises
    ``Changed`` to reject the change. Lists are in the order of a key, so they are stable while rows are added."""

    def __init__(self, database: Database) -> None:
        self.database: Final = database.part(rights_tables())

    # Raises

    put_raise = changing(rights_rows.put_raise)
    remove_raise = changing(rights_rows.remove_raise)

    async def raise_of(self, holder: str) -> Raise | None:
        return await self.find(RAISES, holder=holder)

    async def raises(self) -> tuple[Raise, ...]:
        return await self.list(RAISES, "ORDER BY holder")

    groups_of_raised_people = reading(rights_rows.groups_of_raised_people)

    # Audit

    add_audit = changing(RightsTables.add_audit)
    audit = reading(rights_rows.list_audit)
    audit_digests = reading(rights_rows.list_digests)
    last_audit = reading(rights_rows.last_audit)

    async def find(self, table: RecordTable[T], **where: str) -> T | None:
        return await self.database.read(lambda session: RightsTables(session).find(table, **where))

    async def list(self, table: RecordTable[T], order: LiteralString = "") -> tuple[T, ...]:
        """Return all records; some may have ended or expired."""
        return await self.database.read(lambda session: RightsTables(session).list(table, order))
