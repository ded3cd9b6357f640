"""``trigate people``: lists and blocks people, ends their sessions, and shows the audit.

The people themselves are at the issuers; the state storage has what the gateway has seen of them."""

import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import click

from configfile.wording import nearest, time_text
from gateway.commands.storage_changes import CommandFailed, made_by, on_storage, print_changes, print_rows
from gateway.commands.tables import TableColumn
from gateway.commands.terminal import count_text, say
from gateway.config.settings import Config
from gateway.features.people.records import Block, OwnKey, SeenPerson
from gateway.features.people.seen import FLUSH_SECONDS
from gateway.features.people.settings import issuers_of
from gateway.features.people.store import PeopleStore
from gateway.open_store import open_keeping_database
from gateway.stores.record_tables import AuditEntry, chain_digest

_NO_PEOPLE: Final = "{}: this configuration has no `issuers`, so it has no people"
_NO_STORAGE: Final = (
    "{}: this type of `state_storage` cannot store people: set `type: sqlite` with a path, or `type: postgres`"
)
_AT_ONCE: Final = 1000


@attrs.frozen
class OpenedPeople:
    """A configuration with issuers, and its store of people."""

    config: Config
    store: PeopleStore

    def check_name(self, name: str) -> None:
        """Check that ``name`` can be a person's. Raises ``CommandFailed``."""
        issuer, colon, subject = name.partition(":")
        names = [one.name for one in issuers_of(self.config)]
        if colon and subject and issuer in names:
            return
        near = nearest(issuer, names) if colon else None
        advice = f"did you mean {near}:{subject}?" if near else f"write {names[0]}:ID; trigate people list shows all"
        raise CommandFailed(f"{name[:200]} is not a person of an issuer; {advice}")

    async def valid_keys(self, name: str) -> Sequence[OwnKey]:
        """Return the keys that the person ``name`` has made and that have not expired."""
        return [key for key in await self.store.own_keys(name) if key.until > time.time()]


@asynccontextmanager
async def _open_people(config: Config) -> AsyncIterator[OpenedPeople]:
    if not issuers_of(config):
        raise CommandFailed(_NO_PEOPLE.format(config.path))
    async with open_keeping_database(config) as database:
        if database is None:
            raise CommandFailed(_NO_STORAGE.format(config.path))
        yield OpenedPeople(config, PeopleStore(database))


_on_people: Final = on_storage(_open_people)
"""Makes a command that works with the people of a configuration."""

_PEOPLE_COLUMNS: Final = (
    TableColumn("name", "name"), *map(TableColumn, ("label", "group", "role", "state")), TableColumn("seen", "word"),
)  # fmt: skip


@_on_people
async def show_list(opened: OpenedPeople, as_json: bool) -> None:
    """Run ``trigate people list``."""
    blocks = {block.name: block for block in await opened.store.blocks()}
    rows: list[dict[str, Any]] = []
    while people := await opened.store.people(rows[-1]["name"] if rows else "", _AT_ONCE):
        rows += [_person_row(person, is_blocked=person.name in blocks) for person in people]
    listed = {row["name"] for row in rows}
    unseen = {"label": "", "group": None, "role": "user", "state": "blocked", "seen": None}
    rows += [{**unseen, "name": name} for name in blocks if name not in listed]
    print_rows(rows, _PEOPLE_COLUMNS, as_json)


def _person_row(person: SeenPerson, *, is_blocked: bool) -> dict[str, Any]:
    return {
        "name": person.name,
        "label": person.label,
        "group": person.group,
        "role": person.role,
        "state": "blocked" if is_blocked else "good",
        "seen": time_text(person.seen),
    }


_UNSEEN: Final = (
    " No person of this name is known: check it. Gateways store new people up to "
    f"{FLUSH_SECONDS:g} seconds after their first request."
)


@_on_people
async def block(opened: OpenedPeople, name: str, reason: str, by: str | None) -> None:
    """Run ``trigate people block``."""
    opened.check_name(name)
    new = Block(name, time.time(), made_by(by), reason)
    if not await opened.store.block(new, _entry(f"people block {name}", by)):
        raise CommandFailed(f"{name} is blocked already")
    unseen = "" if await opened.store.person(name) else _UNSEEN
    say(f"Blocked {name}; gateways reject all tokens and keys of this person within half a second.{unseen}")


@_on_people
async def unblock(opened: OpenedPeople, name: str, by: str | None) -> None:
    """Run ``trigate people unblock``."""
    if not await opened.store.unblock(name, _entry(f"people unblock {name}", by)):
        raise CommandFailed(f"{name[:200]} is not blocked; trigate people list shows all")
    keys = await opened.valid_keys(name)
    again = f" Keys of the person that work again: {_key_list(keys)}. To revoke one: {_REVOKE}." if keys else ""
    say(f"Unblocked {name}; the person must sign in again.{again}")


_REVOKE: Final = "trigate people revoke-key NAME KEY"


@_on_people
async def revoke_key(opened: OpenedPeople, name: str, key: str, by: str | None) -> None:
    """Run ``trigate people revoke-key``."""
    opened.check_name(name)
    if not await opened.store.remove_own_key(name, key, _entry(f"people revoke-key {name} {key}", by)):
        keys = await opened.valid_keys(name)
        advice = f"its keys are {_key_list(keys)}" if keys else "the person has no valid key"
        raise CommandFailed(f"{name} has no key {key[:200]}: {advice}")
    say(f"Revoked the key {key} of {name}; gateways reject it within half a second. Running requests still finish.")


def _key_list(keys: Sequence[OwnKey]) -> str:
    return ", ".join(f"{key.name} (until {time_text(key.until)})" for key in keys)


@_on_people
async def sign_out(opened: OpenedPeople, name: str, by: str | None) -> None:
    """Run ``trigate people sign-out``."""
    opened.check_name(name)
    ended = await opened.store.end_sessions(name, time.time(), _entry(f"people sign-out {name}", by))
    say(f"Ended {count_text(ended, 'session')} of {name}. The person may sign in again.")


@_on_people
async def forget(opened: OpenedPeople, name: str, by: str | None) -> None:
    """Run ``trigate people forget``."""
    if not await opened.store.forget(name, _entry(f"people forget {name}", by)):
        raise CommandFailed(f"the gateway knows no person {name[:200]}; trigate people list shows all")
    say(f"Forgot the label of {name}. The ledger keeps its costs under that name.")


@_on_people
async def history(opened: OpenedPeople, last: int, as_json: bool) -> None:
    """Run ``trigate people history``."""
    rows = [_audit_row(entry) for entry in await opened.store.last_audit(last)]
    print_changes(rows, _HISTORY_COLUMNS, as_json)


@_on_people
async def audit(opened: OpenedPeople, verify: bool, expect: str | None) -> None:
    """Run ``trigate people audit``. Raises ``CommandFailed`` if the chain of digests is broken."""
    expected = _parse_expected(expect)
    faults, count, last, number = list[str](), 0, "", 0
    while page := await opened.store.audit(number, most=_AT_ONCE):
        digests = await opened.store.audit_digests([entry.number for entry in page])
        for entry in page:
            own = digests.get(entry.number)
            if number and entry.number != number + 1:
                faults.append(f"rows {number + 1} to {entry.number - 1} are missing")
            elif own is None and last:
                faults.append(f"row {entry.number} has no digest: an older trigate wrote it, or somebody else")
            elif own is not None and own != chain_digest(last, entry) and (count or entry.number == 1):
                faults.append(f"row {entry.number} of {time_text(entry.at)} was changed, or the row before it")
            if expected is not None and expected[0] == entry.number and expected[1] != own:
                faults.append(f"row {entry.number} has another digest than expected")
            number, last, count = entry.number, own or "", count + 1
    if expected is not None and expected[0] > number:
        faults.append(f"the audit ends at row {number}, before row {expected[0]}")
    if faults:
        more = f"\nand {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise CommandFailed("the audit is broken:\n" + "\n".join(faults[:_MOST_FAULTS]) + more)
    click.echo(f"The audit of {count_text(count, 'row')} is whole.")
    if last:
        click.echo(f"Note the last digest elsewhere. Later, check it with --expect {number}:{last}")


_MOST_FAULTS: Final = 20


def _parse_expected(text: str | None) -> tuple[int, str] | None:
    """Return the number and the digest in ``--expect``."""
    if text is None:
        return None
    number, colon, digest = text.partition(":")
    if not (colon and number.isascii() and number.isdigit() and re.fullmatch(r"[0-9a-f]{64}", digest)):
        raise CommandFailed(f"--expect {text[:100]!r}: write NUMBER:DIGEST, as --verify has printed it")
    return int(number), digest


_HISTORY_COLUMNS: Final = (
    TableColumn("at", "word"), TableColumn("who", "name"), *map(TableColumn, ("address", "call", "status", "change")),
)  # fmt: skip


def _audit_row(entry: AuditEntry) -> dict[str, Any]:
    return {
        "at": time_text(entry.at),
        "who": entry.who,
        "credential": entry.credential,
        "address": entry.address,
        "call": f"{entry.method} {entry.path}".strip(),
        "status": entry.status,
        "before": None if entry.before is None else json.loads(entry.before),
        "after": None if entry.after is None else json.loads(entry.after),
    }


def _entry(command: str, by: str | None) -> AuditEntry:
    """Return the row in the audit for a command."""
    return AuditEntry.of_command(command, time.time(), made_by(by))
