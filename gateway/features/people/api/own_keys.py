"""The keys that a person has made for itself, and its sessions."""

import re
from typing import Any, Final

import attrs

from configfile.kinds import spell_duration
from configfile.wording import time_text
from gateway.features.admin.interface import (
    AdminAnswer,
    AdminCall,
    check_unchanged_since,
    new_key,
    not_found,
    not_permitted,
    read_until,
)
from gateway.features.people.records import OwnKey, PersonSession, SeenPerson, digest_of
from gateway.features.people.rules import NotAdmitted, RuleBook
from gateway.features.people.settings import OwnKeyLimits, issuers_of
from gateway.features.people.store import people_store
from streams.errors import invalid

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_TOLERANCE: Final = 60.0
"""Seconds by which a requested end may be too late: the client's clock differs, and the request takes time."""


async def list_keys(call: AdminCall) -> AdminAnswer:
    """List the person's own keys that have not expired, by name."""
    store = await people_store(call)
    keys = [key for key in await store.own_keys(call.person) if key.until > call.now]
    page, following = call.page_of(keys, lambda key: key.name)
    return AdminAnswer.page([_key_row(key) for key in page], following)


async def put_key(call: AdminCall) -> AdminAnswer:
    """Create a key for the calling person, or change when an existing one expires, without a new secret.

    It has the person's rights, and never more. By default it is valid as long as the person's rule permits."""
    body = await call.body("until", is_optional=True)
    store, name = await people_store(call), call.names["name"]
    if call.caller.credential == "own key":
        raise not_permitted("a key of your own cannot create other keys: sign in, and use that session", "own_key")
    until = None if body.get("until") is None else _read_end(body["until"])
    before = next((key for key in await store.own_keys(call.person) if key.name == name and key.until > call.now), None)
    call.check_match(_version(before), "key")
    if not re.fullmatch(_NAME, name):
        raise invalid("name: the name is not valid: use up to 64 letters, digits, `.`, `_` and `-`", "name")
    person = await store.person(call.person)
    if person is None:
        raise not_permitted("the gateway does not know this person: sign in again", "own_keys")
    limits, secret = _limits_of(call, person), new_key() if before is None else ""
    key = before or OwnKey(call.person, name, digest_of(secret), call.now + limits.longest, call.now)
    if until is not None:
        key = attrs.evolve(key, until=_checked_end(until, limits, key.made, call.now))
    status = 201 if before is None else 200
    check, audit = check_unchanged_since(before, _version), call.audit_entry(status)
    if not await store.put_own_key(person, key, limits.most, call.now, audit, check):
        raise not_permitted(f"you have {limits.most} keys, the maximum: delete one first", "own_keys")
    await call.apply_rights()
    return AdminAnswer({**_key_row(key), **({"key": secret} if secret else {})}, status, stored=_version(key))


def _version(key: OwnKey | None) -> str | None:
    return None if key is None else f"{key.digest} {key.until}"


def _limits_of(call: AdminCall, person: SeenPerson) -> OwnKeyLimits:
    """Return the limits of the keys that ``person`` may make. Raises ``GatewayError`` (403) if it may make none."""
    try:
        _, rule = RuleBook(issuers_of(call.config)).admit(person.issuer, person.claims)
    except NotAdmitted as error:
        raise not_permitted(error.info.message, "own_keys") from None
    if rule.own_keys is None:
        raise not_permitted("your rule permits no keys of your own: its `own_keys` is not set", "own_keys")
    return rule.own_keys


def _checked_end(until: float, limits: OwnKeyLimits, made: float, now: float) -> float:
    """Return the end of a key made at ``made``. Raises ``GatewayError`` (400, 403)."""
    latest = made + limits.longest
    if until <= now:
        raise invalid("until: the key would end in the past: set a later time", "until")
    if until > latest + _TOLERANCE:
        latest_text = f"set a time until {time_text(latest)}"
        raise not_permitted(f"a key of your own may last {spell_duration(limits.longest)}: {latest_text}", "own_keys")
    return min(until, latest)


def _read_end(value: Any) -> float:
    """Return the requested end of a key in Unix seconds. Raises ``GatewayError`` (400)."""
    if not isinstance(value, str):
        raise invalid("until must be a time, such as 2026-12-05", "until")
    return read_until(value).timestamp()


async def delete_key(call: AdminCall) -> AdminAnswer:
    store, name = await people_store(call), call.names["name"]
    if not await store.remove_own_key(call.person, name, call.audit_entry(204)):
        raise not_found(f"you have no key {name[:200]!r} of your own", "unknown_key")
    await call.apply_rights()
    return AdminAnswer(status=204)


async def list_sessions(call: AdminCall) -> AdminAnswer:
    """List the person's open sessions, the oldest first."""
    store = await people_store(call)
    sessions = await store.sessions(call.person, call.now)
    rows = [_session_row(one, is_current=one.id == call.caller.credential_id) for one in sessions]
    return AdminAnswer.page(rows)


async def end_session(call: AdminCall) -> AdminAnswer:
    """End a session in every process."""
    store, id = await people_store(call), call.names["id"]
    if not await store.end_session(call.person, id, call.now, call.audit_entry(204)):
        raise not_found("you have no such open session", "unknown_session")
    await call.apply_rights()
    return AdminAnswer(status=204)


def _key_row(key: OwnKey) -> dict[str, Any]:
    used = None if key.used is None else time_text(key.used)
    return {"name": key.name, "until": time_text(key.until), "made": time_text(key.made), "last_used": used}


def _session_row(session: PersonSession, *, is_current: bool) -> dict[str, Any]:
    return {
        "id": session.id,
        "kind": session.kind,
        "program": session.program or None,
        "address": session.address or None,
        "began": time_text(session.began),
        "last_seen": time_text(session.seen),
        "until": time_text(session.until),
        "current": is_current,
    }
