"""Raises and the audit in the tables of a database, with the tables of features whose rows change with clients.

Functions of ``RightsTables`` run in one transaction, and note their change. Versions without these tables ignore
them."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import zip_longest
from typing import Any, Final, LiteralString, TypeVar

import attrs

from configfile.wording import time_text
from gateway.features.admin.sweeping import sweep_regularly, sweep_rights
from gateway.features.known import features
from gateway.named_imports import import_named
from gateway.stores.database import AddedTables, Database
from gateway.stores.record_tables import (
    AUDIT,
    AUDIT_DIGESTS,
    AuditEntry,
    RecordTable,
    RightsTables,
    accept_any,
    changing,
    contains,
    like_pattern,
    reading,
)

T = TypeVar("T")

_DIGEST_TABLE: Final = AddedTables(
    "audit_digests",
    ("CREATE TABLE {audit_digests} (number bigint PRIMARY KEY, digest text NOT NULL)",),
    is_optional=True,
)
"""The digests of the audit's rows. Older versions write rows without a digest."""

_OWN: Final = (
    """
    CREATE TABLE {raises} (
        holder text PRIMARY KEY, budgets text NOT NULL, until double precision NOT NULL,
        at double precision NOT NULL, made_by text NOT NULL
    );
    CREATE TABLE {audit} (
        number bigint PRIMARY KEY, at double precision NOT NULL, who text NOT NULL, credential text NOT NULL,
        address text NOT NULL, request_id text NOT NULL, method text NOT NULL, path text NOT NULL,
        status integer NOT NULL, before text, after text
    );
    CREATE INDEX {audit_at} ON {audit} (at);
    CREATE TABLE {people_changes} (
        number bigint PRIMARY KEY, mark text NOT NULL, kind text NOT NULL, name text NOT NULL
    )
    """,
)
"""The scripts. Types and clauses are those that both databases understand."""


@cache
def rights_tables() -> AddedTables:
    """Return the tables. They have one version together, because all processes change them in one transaction.

    Without another feature, a database may have more of them."""
    others = [import_named(feature.client_tables) for feature in features() if feature.client_tables]
    scripts = tuple(";".join(filter(None, parts)) for parts in zip_longest(_OWN, *others))
    return AddedTables("people", scripts, is_optional=not others, further=_DIGEST_TABLE)


MOST_RAISES: Final = 10_000


@attrs.frozen(repr=False)
class Raise:
    """More budget for ``holder`` until a time: a client's name, or ``group:`` and a group's.

    Each of ``budgets``, such as ``40 usd/day``, replaces the amount of the same period."""

    holder: str
    budgets: tuple[str, ...]
    until: float
    at: float
    by: str


RAISES: Final = RecordTable("raises", Raise, ("holder",), {"by": "made_by"}, ("budgets",))


# Raises


def put_raise(
    tables: RightsTables,
    new: Raise,
    audit: AuditEntry | None = None,
    check: Callable[[Raise | None], None] = accept_any,
) -> Raise | None:
    """Store a raise in place of the holder's present one, which is returned, unless ``check(present)`` raises."""
    before = tables.find(RAISES, holder=new.holder)
    check(before)
    if before is None:
        tables.check_room("raises", MOST_RAISES, "raises")
    tables.put(RAISES, new)
    tables.note_change("raise", new.holder)
    tables.add_audit(audit, _audited_raise(before), _audited_raise(new))
    return before


def remove_raise(
    tables: RightsTables,
    holder: str,
    audit: AuditEntry | None = None,
    check: Callable[[Raise | None], None] = accept_any,
) -> Raise | None:
    """Remove the raise of a holder, and return it, unless ``check(present)`` raises."""
    before = tables.find(RAISES, holder=holder)
    check(before)
    if before is not None:
        tables.remove(RAISES, holder=holder)
        tables.note_change("raise", holder)
        tables.add_audit(audit, _audited_raise(before), None)
    return before


def groups_of_raised_people(tables: RightsTables) -> dict[str, str | None]:
    """Return the group of each person with a raise, at its last sign-in or token."""
    return dict(tables.select("SELECT p.name, p.client_group FROM {raises} r JOIN {people} p ON p.name = r.holder"))


def _audited_raise(present: Raise | None) -> dict[str, Any] | None:
    if present is None:
        return None
    return {
        "holder": present.holder,
        "budgets": list(present.budgets),
        "until": time_text(present.until),
        "by": present.by,
    }


# Audit


LAST_NUMBER: Final = 10**18 - 1


def list_audit(
    tables: RightsTables, after: int = 0, since: float = 0.0, until: float = 1e12, most: int = 100, *,
    newest: bool = False, who: str | None = None, search: str = "",
) -> tuple[AuditEntry, ...]:  # fmt: skip
    """Return the first ``most`` audit rows after number ``after`` from ``since`` to ``until``, the oldest first.

    With ``newest``, the rows before ``after``, the newest first. With ``who`` or ``search``, only those by this person,
    or with this text in the name or the path."""
    place = "number < :after" if newest else "number > :after"
    values: dict[str, Any] = {"after": after, "since": since, "until": until, "most": most}
    conditions = [place]
    if since > 0.0 or until < 1e12:  # otherwise databases would read all rows by time, and sort them
        conditions += ["at >= :since", "at < :until"]
    if who:
        conditions.append("who = :who")
        values["who"] = who
    if search:
        conditions.append(contains("who", "path"))
        values["search"] = like_pattern(search)
    order = "number DESC" if newest else "number"
    return tables.list(AUDIT, f"WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT :most", **values)


def list_digests(tables: RightsTables, numbers: Sequence[int]) -> Mapping[int, str]:
    """Return the digests of the audit rows ``numbers`` that have one."""
    rest = "WHERE number >= :first AND number <= :last"
    found = tables.list(AUDIT_DIGESTS, rest, first=min(numbers), last=max(numbers)) if numbers else ()
    return {one.number: one.digest for one in found}


def last_audit(tables: RightsTables, most: int) -> tuple[AuditEntry, ...]:
    """Return the last audit rows of changes, the oldest first."""
    return tables.list(AUDIT, "WHERE method <> 'GET' ORDER BY number DESC LIMIT :most", most=most)[::-1]


# The store


class RightsStore:
    """The tables of raises and of the audit in ``database``. Every method is one transaction, and may raise
    ``Unavailable``.

    ``audit`` of a change is its row in the audit, stored with the change: the store sets ``before`` and ``after``.
    ``check(present)`` is called in the transaction with the present record, ``None`` without one; it raises
    ``Changed`` to reject the change. Lists are in the order of a key, so they are stable while rows are added."""

    def __init__(self, database: Database) -> None:
        self.database: Final = database.part(rights_tables())

    # Raises

    put_raise = changing(put_raise)
    remove_raise = changing(remove_raise)

    async def raise_of(self, holder: str) -> Raise | None:
        return await self.find(RAISES, holder=holder)

    async def raises(self) -> tuple[Raise, ...]:
        return await self.list(RAISES, "ORDER BY holder")

    groups_of_raised_people = reading(groups_of_raised_people)

    # Audit

    add_audit = changing(RightsTables.add_audit)
    audit = reading(list_audit)
    audit_digests = reading(list_digests)
    last_audit = reading(last_audit)

    _sweep_rights = changing(sweep_rights)

    async def sweep_regularly(self) -> None:
        """Delete ended raises and old rows of the audit every few minutes, until cancelled. Never raises."""
        await sweep_regularly(self._sweep_rights)

    async def find(self, table: RecordTable[T], **where: str) -> T | None:
        return await self.database.read(lambda session: RightsTables(session).find(table, **where))

    async def list(self, table: RecordTable[T], order: LiteralString = "") -> tuple[T, ...]:
        """Return all records; some may have ended or expired."""
        return await self.database.read(lambda session: RightsTables(session).list(table, order))
