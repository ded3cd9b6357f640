"""The keys that a person has made for itself, and its sessions."""

from datetime import UTC, datetime
from typing import Any

from configfile.wording import spell_time
from gateway.endpoints.admin.calls import NO_CONTENT, AdminAnswer, AdminCall, apply_people
from gateway.endpoints.admin.errors import not_found
from gateway.endpoints.admin.pages import page_of, page_value
from gateway.people.records import OwnKey, PersonSession


async def list_keys(call: AdminCall) -> AdminAnswer:
    """List the person's own keys that have not expired, by name."""
    store = await call.people()
    keys = [key for key in await store.own_keys(call.person) if key.until > call.now]
    page, following = page_of(keys, call.query, lambda key: key.name)
    return AdminAnswer(page_value([_key_row(key) for key in page], following))


async def delete_key(call: AdminCall) -> AdminAnswer:
    """Delete a key of one's own."""
    store, name = await call.people(), call.names["name"]
    if not await store.remove_own_key(call.person, name, call.audit_entry(204)):
        raise not_found(f"you have no key {name[:200]!r} of your own", "unknown_key")
    await apply_people(call)
    return NO_CONTENT


async def list_sessions(call: AdminCall) -> AdminAnswer:
    """List the person's open sessions, the oldest first."""
    store = await call.people()
    sessions = await store.sessions(call.person, call.now)
    rows = [_session_row(one, is_current=one.id == call.caller.credential_id) for one in sessions]
    return AdminAnswer(page_value(rows, None))


async def end_session(call: AdminCall) -> AdminAnswer:
    """End a session in every process."""
    store, id = await call.people(), call.names["id"]
    if not await store.end_session(call.person, id, call.now, call.audit_entry(204)):
        raise not_found("you have no such open session", "unknown_session")
    await apply_people(call)
    return NO_CONTENT


def _key_row(key: OwnKey) -> dict[str, Any]:
    return {"name": key.name, "until": _time(key.until), "made": _time(key.made)}


def _session_row(session: PersonSession, *, is_current: bool) -> dict[str, Any]:
    return {
        "id": session.id,
        "kind": session.kind,
        "program": session.program or None,
        "address": session.address or None,
        "began": _time(session.began),
        "last_seen": _time(session.seen),
        "until": _time(session.until),
        "current": is_current,
    }


def _time(seconds: float) -> str:
    return spell_time(datetime.fromtimestamp(int(seconds), UTC))
