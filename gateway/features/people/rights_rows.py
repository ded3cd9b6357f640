"""People, blocks and own keys as rows. Each function runs in one transaction, and notes its change."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from configfile.wording import time_text
from gateway.features.people.records import BLOCKS, OWN_KEYS, PEOPLE, Block, OwnKey, SeenPerson
from gateway.features.people.session_rows import end_sessions
from gateway.stores.record_tables import AuditEntry, RightsTables, accept_any, contains, like_pattern

MOST_OWN_KEYS: Final = 20_000
"""The most own keys of all people: every process has them in memory."""
MOST_BLOCKS: Final = 50_000


# People


def put_person(tables: RightsTables, person: SeenPerson) -> None:
    """Store a person as seen, and its claims unless newer ones are stored.

    If it has own keys, other processes learn its new claims, and when it confirmed them."""
    before = tables.find(PEOPLE, name=person.name)
    if before is not None and person.claims_at < before.claims_at:
        tables.update(PEOPLE, {"name": person.name}, seen=max(person.seen, before.seen))
        return
    tables.put(PEOPLE, person, kept=("first",))
    is_news = before is not None and (before.claims, before.claims_at) != (person.claims, person.claims_at)
    if before is not None and is_news and own_keys_of(tables, person.name):
        tables.note_change("confirmed" if before.claims == person.claims else "own_key", person.name)


def put_people(tables: RightsTables, people: Sequence[SeenPerson]) -> None:
    """Store people as seen."""
    for person in people:
        put_person(tables, person)


def list_people(
    tables: RightsTables, after: str = "", most: int = 100, *, group: str | None = None, issuer: str | None = None,
    search: str = "", since: float = 0.0, until: float = 1e12, seen_before: float | None = None,
) -> tuple[SeenPerson, ...]:  # fmt: skip
    """Return the first ``most`` people after the name ``after``, in the order of their names.

    With ``group`` or ``issuer``, only those of that group at their last sign-in or token, or of that issuer. With
    ``search``, only those with this text in the name or label. With ``seen_before``, those seen last before this time,
    or then and with a name after ``after``, the latest first."""
    wanted = {"client_group": group, "issuer": issuer}
    values: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    conditions = [f"{name} = :{name}" for name in values] + ["seen >= :since", "seen < :until"]
    values |= {"after": after, "most": most, "since": since, "until": until}
    if search:
        conditions.append(contains("name", "label"))
        values["search"] = like_pattern(search)
    if seen_before is None:
        conditions.append("name > :after")
    else:
        conditions.append("(seen < :before OR (seen = :before AND name > :after))")
        values["before"] = seen_before
    order = "name" if seen_before is None else "seen DESC, name"
    return tables.list(PEOPLE, f"WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT :most", **values)


def forget_person(tables: RightsTables, name: str, audit: AuditEntry | None = None) -> bool:
    """Delete the label of a person, and the person unless it has an own key. Return whether it existed."""
    if tables.find(PEOPLE, name=name) is None:
        return False
    if own_keys_of(tables, name):
        tables.update(PEOPLE, {"name": name}, label="")
    else:
        tables.remove(PEOPLE, name=name)
    tables.add_audit(audit, {"name": name}, None)
    return True


# Blocks


def block_person(tables: RightsTables, block: Block, audit: AuditEntry | None = None) -> bool:
    """Block a person and end its sessions. Return false if it is blocked already; the older block remains."""
    if tables.find(BLOCKS, name=block.name) is not None:
        return False
    tables.check_room("people_blocks", MOST_BLOCKS, "blocks")
    tables.add(BLOCKS, block)
    end_sessions(tables, block.name, block.at)
    tables.note_change("block", block.name)
    tables.add_audit(audit, None, {"blocked": block.name, "by": block.by, "reason": block.reason})
    return True


def unblock_person(tables: RightsTables, name: str, audit: AuditEntry | None = None) -> bool:
    """Remove the block of a person. Return whether it was blocked."""
    block = tables.find(BLOCKS, name=name)
    if block is None:
        return False
    tables.remove(BLOCKS, name=name)
    tables.note_change("block", name)
    tables.add_audit(audit, {"blocked": name, "by": block.by, "reason": block.reason}, None)
    return True


# Own keys


def put_own_key(
    tables: RightsTables,
    person: SeenPerson,
    key: OwnKey,
    most: int,
    now: float,
    audit: AuditEntry | None = None,
    check: Callable[[OwnKey | None], None] = accept_any,
) -> bool:
    """Store an own key of ``person`` in place of the one with its name, and the person's present claims, unless
    ``check(present)`` raises.

    Return false, and store nothing, if the person has ``most`` other keys that have not expired at ``now``."""
    tables.select("DELETE FROM {own_keys} WHERE person = :person AND until <= :now", person=key.person, now=now)
    keys = own_keys_of(tables, key.person)
    before = next((one for one in keys if one.name == key.name), None)
    check(before)
    if len([one for one in keys if one.name != key.name]) >= most:
        return False
    if before is None:
        tables.check_room("own_keys", MOST_OWN_KEYS, "own keys")
    tables.put(OWN_KEYS, key, kept=("used",))
    tables.note_change("own_key", key.person)
    tables.add_audit(audit, _audited_own_key(before), _audited_own_key(key))
    put_person(tables, person)
    return True


def remove_own_key(tables: RightsTables, person: str, name: str, audit: AuditEntry | None = None) -> bool:
    """Remove an own key. Return whether it existed."""
    before = tables.find(OWN_KEYS, person=person, name=name)
    if before is None:
        return False
    tables.remove(OWN_KEYS, person=person, name=name)
    tables.note_change("own_key", person)
    tables.add_audit(audit, _audited_own_key(before), None)
    return True


def remove_own_keys(tables: RightsTables, person: str) -> None:
    """Remove all own keys of a person."""
    if own_keys_of(tables, person):
        tables.remove(OWN_KEYS, person=person)
        tables.note_change("own_key", person)


def own_keys_of(tables: RightsTables, person: str) -> tuple[OwnKey, ...]:
    """Return the own keys of a person by name; some may have expired."""
    return tables.list(OWN_KEYS, "WHERE person = :person ORDER BY name", person=person)


def key_uses(tables: RightsTables, digests: Sequence[str]) -> dict[str, float | None]:
    """Return the times of the last requests with own keys, by their digests."""
    if not digests:
        return {}
    values = {f"digest{number}": one for number, one in enumerate(digests)}
    wanted = ", ".join(f":{name}" for name in values)
    return dict(tables.select(f"SELECT digest, used FROM {{own_keys}} WHERE digest IN ({wanted})", **values))


def note_key_uses(tables: RightsTables, uses: Mapping[str, float]) -> None:
    """Store the times of the last requests with own keys, by their digests."""
    for digest, at in uses.items():
        tables.select(
            "UPDATE {own_keys} SET used = :at WHERE digest = :digest AND coalesce(used, 0) < :at", digest=digest, at=at
        )


def _audited_own_key(key: OwnKey | None) -> dict[str, Any] | None:
    return None if key is None else {"person": key.person, "name": key.name, "until": time_text(key.until)}
