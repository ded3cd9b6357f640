"""People: those whom the gateway has seen in the last 90 days, their blocks and sessions."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from configfile.wording import time_text
from gateway.features.admin.interface import AdminAnswer, AdminCall, is_newest_first, not_found, read_period, read_text
from gateway.features.people.records import Block, SeenPerson
from gateway.features.people.store import people_store
from streams.errors import GatewayError, invalid

if TYPE_CHECKING:
    from gateway.features.people.followed import FollowedPeople

_FIRST: Final = 1e12
_LONGEST_REASON: Final = 200


async def list_people(call: AdminCall) -> AdminAnswer:
    """List the people that the caller sees, by name, or the last seen first."""
    size, group, store = call.page_size, call.query.get("group"), await people_store(call)
    if not call.caller.sees_all:
        if group not in (None, call.caller.group):
            return AdminAnswer.page([])
        group = call.caller.group
    after, issuer, before = call.query.get("after", ""), call.query.get("issuer"), None
    if is_newest_first(call.query, "name"):
        before, after = _place_of(after)
    since, until = read_period(call.query, call.config)
    found = await store.people(
        after, size + 1, group=group, issuer=issuer, search=call.query.get("search", ""), since=since, until=until,
        seen_before=before,
    )  # fmt: skip
    page, block_of = found[:size], await _blocks(call)
    rows = [_row(person, block_of(person.name)) for person in page]
    if len(found) <= size:
        return AdminAnswer.page(rows)
    last = page[-1]
    return AdminAnswer.page(rows, last.name if before is None else f"{last.seen!r} {last.name}")


def _place_of(after: str) -> tuple[float, str]:
    """Return the time and name after which a page of the newest begins. Raises ``GatewayError`` (400)."""
    seen, _, name = after.partition(" ")
    try:
        return (float(seen), name) if after else (_FIRST, "")
    except ValueError:
        raise invalid("after must be the value of next in an earlier page", "after") from None


async def show_person(call: AdminCall) -> AdminAnswer:
    store, name = await people_store(call), call.names["name"]
    person = await store.person(name)
    if person is None or not call.caller.sees_group(person.group):
        raise _unknown(name)
    block_of = await _blocks(call)
    return AdminAnswer(_row(person, block_of(name)))


async def forget_person(call: AdminCall) -> AdminAnswer:
    """Forget the label of a person, which is for readers only."""
    store, name = await people_store(call), call.names["name"]
    if not await store.forget(name, call.audit_entry(204)):
        raise _unknown(name)
    return AdminAnswer(status=204)


async def block_person(call: AdminCall) -> AdminAnswer:
    """Reject all credentials of a person until it is unblocked, also those issued later."""
    body, name = await call.body("reason", is_optional=True), _person_name(call)
    reason = read_text(body, "reason") or ""
    if len(reason) > _LONGEST_REASON or not reason.isprintable():
        raise invalid(f"reason must have at most {_LONGEST_REASON} printable characters", "reason")
    store = await people_store(call)
    is_new = await store.block(Block(name, call.now, call.author, reason), call.audit_entry(201))
    block_of = await _blocks(call)
    return AdminAnswer({"name": name, **_block_members(block_of(name))}, 201 if is_new else 200)


async def unblock_person(call: AdminCall) -> AdminAnswer:
    """Accept the credentials of a blocked person again."""
    store, name = await people_store(call), _person_name(call)
    if not await store.unblock(name, call.audit_entry(204)):
        raise not_found(f"{name[:200]!r} is not blocked", "not_blocked")
    await call.apply_rights()
    return AdminAnswer(status=204)


async def end_sessions(call: AdminCall) -> AdminAnswer:
    store, name = await people_store(call), _person_name(call)
    if not await store.end_sessions(name, call.now, call.audit_entry(204)):
        raise not_found(f"{name[:200]!r} has no open session", "no_session")
    await call.apply_rights()
    return AdminAnswer(status=204)


def _person_name(call: AdminCall) -> str:
    """Return the person's name in the path. Raises ``GatewayError`` (404) if no issuer can have such a person."""
    name = call.names["name"]
    if not call.config.is_rule_name(name):
        raise _unknown(name)
    return name


def _unknown(name: str) -> GatewayError:
    return not_found(f"there is no person {name[:200]!r} that you may see", "unknown_person")


async def _blocks(call: AdminCall) -> Callable[[str], Block | None]:
    """Return a function that returns the block of a person, which this process follows."""
    await call.apply_rights()
    keys = call.admin.keys
    followed = None if keys is None else keys.other_rows
    if followed is not None:
        return cast("FollowedPeople", followed).block_of
    store = await people_store(call)
    return {block.name: block for block in await store.blocks()}.get


def _row(person: SeenPerson, block: Block | None) -> dict[str, Any]:
    return {
        "name": person.name,
        "label": person.label or None,
        "issuer": person.issuer,
        "group": person.group,
        "role": person.role,
        "first_seen": time_text(person.first),
        "last_seen": time_text(person.seen),
        **_block_members(block),
    }


def _block_members(block: Block | None) -> dict[str, Any]:
    if block is None:
        return {"blocked": False}
    return {"blocked": True, "blocked_at": time_text(block.at), "blocked_by": block.by, "reason": block.reason or None}
