"""People, blocks, raises and own keys as rows, and the deletion of what has expired. Each function runs in one
transaction, and notes its change."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.config.key_changes import time_text
from gateway.people.records import AuditEntry, Block, OwnKey, Raise, SeenPerson
from gateway.people.rows import PeopleTables, json_text
from gateway.people.session_rows import end_sessions

MOST_OWN_KEYS: Final = 20_000
"""The most own keys of all people: every process has them in memory."""
MOST_RAISES: Final = 10_000
MOST_BLOCKS: Final = 50_000

_PERSON: Final = "SELECT name, issuer, label, claims, client_group, role, first, seen, claims_at FROM {people}"
_BLOCK: Final = "SELECT name, at, made_by, reason FROM {people_blocks}"
_RAISE: Final = "SELECT holder, budgets, until, at, made_by FROM {raises}"
_OWN_KEY: Final = "SELECT person, name, digest, until, made, used FROM {own_keys}"


def accept_any(present: object) -> None:
    """Permit a change of any record: the default for checks."""


# People


def put_person(tables: PeopleTables, person: SeenPerson) -> None:
    """Store a person as seen, and its claims unless newer ones are stored.

    If it has own keys, other processes learn its new claims."""
    before = find_person(tables, person.name)
    if before is not None and person.claims_at < before.claims_at:
        seen = max(person.seen, before.seen)
        tables.select("UPDATE {people} SET seen = :seen WHERE name = :name", seen=seen, name=person.name)
        return
    tables.select(
        """
        INSERT INTO {people} VALUES (:name, :issuer, :label, :claims, :client_group, :role, :first, :seen, :claims_at)
        ON CONFLICT (name) DO UPDATE SET issuer = excluded.issuer, label = excluded.label, claims = excluded.claims,
        client_group = excluded.client_group, role = excluded.role, seen = excluded.seen,
        claims_at = excluded.claims_at
        """,
        name=person.name, issuer=person.issuer, label=person.label, claims=json_text(dict(person.claims)),
        client_group=person.group, role=person.role, first=person.first, seen=person.seen, claims_at=person.claims_at,
    )  # fmt: skip
    if before is not None and before.claims != person.claims and own_keys_of(tables, person.name):
        tables.note_change("own_key", person.name)


def find_person(tables: PeopleTables, name: str) -> SeenPerson | None:
    """Return the person with this name."""
    return tables.one_of(_person, f"{_PERSON} WHERE name = :name", name=name)


def list_people(
    tables: PeopleTables, after: str = "", most: int = 100, *, group: str | None = None, issuer: str | None = None
) -> tuple[SeenPerson, ...]:
    """Return the first ``most`` people after the name ``after``, in the order of their names.

    With ``group`` or ``issuer``, only those of that group at their last sign-in or token, or of that issuer."""
    wanted = {"client_group": group, "issuer": issuer}
    conditions = "".join(f" AND {name} = :{name}" for name, value in wanted.items() if value is not None)
    values = {name: value for name, value in wanted.items() if value is not None}
    statement = f"{_PERSON} WHERE name > :after{conditions} ORDER BY name LIMIT :most"
    return tables.all_of(_person, statement, after=after, most=most, **values)


def forget_person(tables: PeopleTables, name: str, audit: AuditEntry | None = None) -> bool:
    """Delete the label of a person, and the person unless it has an own key. Return whether it existed."""
    if find_person(tables, name) is None:
        return False
    if own_keys_of(tables, name):
        tables.select("UPDATE {people} SET label = '' WHERE name = :name", name=name)
    else:
        tables.select("DELETE FROM {people} WHERE name = :name", name=name)
    tables.add_audit(audit, {"name": name}, None)
    return True


def _person(name: str, issuer: str, label: str, claims: str, *others: Any) -> SeenPerson:
    found = json.loads(claims)
    return SeenPerson(name, issuer, label, found if isinstance(found, dict) else {}, *others)


# Blocks


def block_person(tables: PeopleTables, block: Block, audit: AuditEntry | None = None) -> bool:
    """Block a person and end its sessions. Return false if it is blocked already; the older block remains."""
    if find_block(tables, block.name) is not None:
        return False
    tables.check_room("people_blocks", MOST_BLOCKS, "blocks")
    tables.select(
        "INSERT INTO {people_blocks} VALUES (:name, :at, :made_by, :reason)",
        name=block.name, at=block.at, made_by=block.by, reason=block.reason,
    )  # fmt: skip
    end_sessions(tables, block.name, block.at)
    tables.note_change("block", block.name)
    tables.add_audit(audit, None, {"blocked": block.name, "by": block.by, "reason": block.reason})
    return True


def unblock_person(tables: PeopleTables, name: str, audit: AuditEntry | None = None) -> bool:
    """Remove the block of a person. Return whether it was blocked."""
    block = find_block(tables, name)
    if block is None:
        return False
    tables.select("DELETE FROM {people_blocks} WHERE name = :name", name=name)
    tables.note_change("block", name)
    tables.add_audit(audit, {"blocked": name, "by": block.by, "reason": block.reason}, None)
    return True


def find_block(tables: PeopleTables, name: str) -> Block | None:
    """Return the block of a person."""
    return tables.one_of(Block, f"{_BLOCK} WHERE name = :name", name=name)


def list_blocks(tables: PeopleTables) -> tuple[Block, ...]:
    """Return all blocks by name."""
    return tables.all_of(Block, f"{_BLOCK} ORDER BY name")


# Raises


def put_raise(
    tables: PeopleTables,
    new: Raise,
    audit: AuditEntry | None = None,
    check: Callable[[Raise | None], None] = accept_any,
) -> Raise | None:
    """Store a raise in place of the holder's present one, which is returned, unless ``check(present)`` raises."""
    before = find_raise(tables, new.holder)
    check(before)
    if before is None:
        tables.check_room("raises", MOST_RAISES, "raises")
    tables.select(
        """
        INSERT INTO {raises} VALUES (:holder, :budgets, :until, :at, :made_by)
        ON CONFLICT (holder) DO UPDATE SET budgets = excluded.budgets, until = excluded.until, at = excluded.at,
        made_by = excluded.made_by
        """,
        holder=new.holder, budgets=json_text(list(new.budgets)), until=new.until, at=new.at, made_by=new.by,
    )  # fmt: skip
    tables.note_change("raise", new.holder)
    tables.add_audit(audit, _audited_raise(before), _audited_raise(new))
    return before


def remove_raise(
    tables: PeopleTables,
    holder: str,
    audit: AuditEntry | None = None,
    check: Callable[[Raise | None], None] = accept_any,
) -> Raise | None:
    """Remove the raise of a holder, and return it, unless ``check(present)`` raises."""
    before = find_raise(tables, holder)
    check(before)
    if before is not None:
        tables.select("DELETE FROM {raises} WHERE holder = :holder", holder=holder)
        tables.note_change("raise", holder)
        tables.add_audit(audit, _audited_raise(before), None)
    return before


def find_raise(tables: PeopleTables, holder: str) -> Raise | None:
    """Return the raise of a holder, which may have ended."""
    return tables.one_of(_read_raise, f"{_RAISE} WHERE holder = :holder", holder=holder)


def list_raises(tables: PeopleTables) -> tuple[Raise, ...]:
    """Return all raises by holder; some may have ended."""
    return tables.all_of(_read_raise, f"{_RAISE} ORDER BY holder")


def groups_of_raised_people(tables: PeopleTables) -> dict[str, str | None]:
    """Return the group of each person with a raise, at its last sign-in or token."""
    return dict(tables.select("SELECT p.name, p.client_group FROM {raises} r JOIN {people} p ON p.name = r.holder"))


def _read_raise(holder: str, budgets: str, until: float, at: float, by: str) -> Raise:
    return Raise(holder, tuple(json.loads(budgets)), until, at, by)


def _audited_raise(present: Raise | None) -> dict[str, Any] | None:
    if present is None:
        return None
    return {
        "holder": present.holder,
        "budgets": list(present.budgets),
        "until": time_text(present.until),
        "by": present.by,
    }


# Own keys


def put_own_key(
    tables: PeopleTables, key: OwnKey, most: int, now: float, check: Callable[[OwnKey | None], None],
    audit: AuditEntry | None,
) -> bool:  # fmt: skip
    """Store an own key in place of the one with its name, unless ``check(present)`` raises.

    Return false, and store nothing, if the person has ``most`` other keys that have not expired at ``now``."""
    tables.select("DELETE FROM {own_keys} WHERE person = :person AND until <= :now", person=key.person, now=now)
    keys = own_keys_of(tables, key.person)
    before = next((one for one in keys if one.name == key.name), None)
    check(before)
    if len([one for one in keys if one.name != key.name]) >= most:
        return False
    if before is None:
        tables.check_room("own_keys", MOST_OWN_KEYS, "own keys")
    tables.select(
        """
        INSERT INTO {own_keys} (person, name, digest, until, made)
        VALUES (:person, :name, :digest, :until, :made) ON CONFLICT (person, name)
        DO UPDATE SET digest = excluded.digest, until = excluded.until, made = excluded.made
        """,
        person=key.person, name=key.name, digest=key.digest, until=key.until, made=key.made,
    )  # fmt: skip
    tables.note_change("own_key", key.person)
    tables.add_audit(audit, _audited_own_key(before), _audited_own_key(key))
    return True


def remove_own_key(tables: PeopleTables, person: str, name: str, audit: AuditEntry | None = None) -> bool:
    """Remove an own key. Return whether it existed."""
    before = next((one for one in own_keys_of(tables, person) if one.name == name), None)
    if before is None:
        return False
    tables.select("DELETE FROM {own_keys} WHERE person = :person AND name = :name", person=person, name=name)
    tables.note_change("own_key", person)
    tables.add_audit(audit, _audited_own_key(before), None)
    return True


def remove_own_keys(tables: PeopleTables, person: str) -> None:
    """Remove all own keys of a person."""
    if own_keys_of(tables, person):
        tables.select("DELETE FROM {own_keys} WHERE person = :person", person=person)
        tables.note_change("own_key", person)


def own_keys_of(tables: PeopleTables, person: str) -> tuple[OwnKey, ...]:
    """Return the own keys of a person by name; some may have expired."""
    return tables.all_of(OwnKey, f"{_OWN_KEY} WHERE person = :person ORDER BY name", person=person)


def list_own_keys(tables: PeopleTables) -> tuple[OwnKey, ...]:
    """Return the own keys of all people; some may have expired."""
    return tables.all_of(OwnKey, _OWN_KEY)


def note_key_uses(tables: PeopleTables, uses: Mapping[str, float]) -> None:
    """Store the times of the last requests with own keys, by their digests."""
    for digest, at in uses.items():
        tables.select(
            "UPDATE {own_keys} SET used = :at WHERE digest = :digest AND coalesce(used, 0) < :at", digest=digest, at=at
        )


def _audited_own_key(key: OwnKey | None) -> dict[str, Any] | None:
    return None if key is None else {"person": key.person, "name": key.name, "until": time_text(key.until)}


# Audit


_AUDIT: Final = """
    SELECT at, who, credential, address, request_id, method, path, status, before, after, number FROM {audit}
"""
_AUDIT_OF_TIME: Final = "WHERE number > :after AND at >= :since AND at < :until ORDER BY number LIMIT :most"


def list_audit(
    tables: PeopleTables, after: int = 0, since: float = 0.0, until: float = 1e12, most: int = 100
) -> tuple[AuditEntry, ...]:
    """Return the first ``most`` audit rows after number ``after`` from ``since`` to ``until``, the oldest first."""
    statement = f"{_AUDIT} {_AUDIT_OF_TIME}"
    return tables.all_of(AuditEntry, statement, after=after, since=since, until=until, most=most)


def last_audit(tables: PeopleTables, most: int) -> tuple[AuditEntry, ...]:
    """Return the last audit rows of changes, the oldest first."""
    statement = f"{_AUDIT} WHERE method <> 'GET' ORDER BY number DESC LIMIT :most"
    return tables.all_of(AuditEntry, statement, most=most)[::-1]
