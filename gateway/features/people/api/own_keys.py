"""The keys that a person has made for itself, and its sessions."""

from typing import Any

from configfile.wording import time_text
from gateway.features.admin.interface import (
    AdminAnswer,
    AdminCall,
    check_unchanged_since,
    not_found,
    not_permitted,
    read_until,
)
from gateway.features.people.opening import people_of
from gateway.features.people.own_keys import OwnKeyRefused
from gateway.features.people.records import OwnKey, PersonSession
from gateway.features.people.store import people_store
from streams.errors import GatewayError, invalid


async def list_keys(call: AdminCall) -> AdminAnswer:
    """List the person's own keys that have not expired, by name."""
    store = await people_store(call)
    keys = [key for key in await store.own_keys(call.person) if key.until > call.now]
    page, following = call.page_of(keys, lambda key: key.name)
    return AdminAnswer.page([_key_row(key) for key in page], following)


async def put_key(call: AdminCall) -> AdminAnswer:
    """Create a key for the calling person, or change when an existing one expires, without a new secret."""
    body = await call.body("until", is_optional=True)
    store, name, people = await people_store(call), call.names["name"], people_of(call.service.opened.features)
    assert people is not None, "a person has called"
    assert people.own_keys is not None, "there is a store"
    if call.caller.credential == "own key":
        raise not_permitted("a key of your own cannot create other keys: sign in, and use that session", "own_key")
    until = None if body.get("until") is None else _read_end(body["until"])
    before = next((key for key in await store.own_keys(call.person) if key.name == name and key.until > call.now), None)
    call.check_match(_version(before), "key")
    status = 201 if before is None else 200
    try:
        put = await people.own_keys.put(
            call.person, name, until, call.audit_entry(status), check_unchanged_since(before, _version)
        )
    except OwnKeyRefused as error:
        raise _refusal(error) from None
    await call.apply_rights()
    shown = {} if put.secret is None else {"key": put.secret}
    return AdminAnswer({**_key_row(put.key), **shown}, status, stored=_version(put.key))


def _version(key: OwnKey | None) -> str | None:
    return None if key is None else f"{key.digest} {key.until}"


def _refusal(error: OwnKeyRefused) -> GatewayError:
    """Return the error: 403 for a key that the person may not have, 400 for a value that none may have."""
    if error.param is None:
        return not_permitted(str(error), "own_keys")
    return invalid(f"{error.param}: {error}", error.param)


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
