"""Raises: more budget for a client or a group until a time, within the ``raise_to`` that the file sets."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import attrs

from configfile.document import ConfigError
from configfile.keys import part_of
from configfile.wording import spell_time, time_text
from gateway.config.allowances import SpendingBudget
from gateway.config.clients import ClientGroup, ClientKey
from gateway.features.admin.calls import (
    AdminAnswer,
    AdminCall,
    check_unchanged_since,
    client_of,
    group_of,
    in_thread,
)
from gateway.features.admin.errors import mistakes_error, not_found, not_permitted
from gateway.features.admin.feature import RaiseRights
from gateway.features.admin.key_items import GROUP
from gateway.features.admin.pages import read_until
from gateway.features.admin.store import Raise
from gateway.features.admin.stored_clients import read_item
from streams.errors import GatewayError, invalid

LONGEST: Final = timedelta(days=31)
"""The longest time until a raise ends."""


def raise_to_of(holder: ClientKey | ClientGroup) -> Sequence[SpendingBudget]:
    """Return the highest amounts of raises that the file sets for ``holder``."""
    return part_of(holder, RaiseRights).raise_to


@attrs.frozen(eq=False, repr=False)
class RaiseHolder:
    """The holder of budgets: a client, a person, or a group, whose name begins with ``group:``. ``place`` is where the
    file sets its ``raise_to``."""

    name: str
    group: str | None
    budgets: Sequence[SpendingBudget]
    raise_to: Sequence[SpendingBudget]
    place: str
    is_group: bool = False


async def find_holder(call: AdminCall, name: str) -> RaiseHolder | None:
    """Return the holder with this name, ``None`` if there is none that the caller sees."""
    holder = _group(call, name) if name.startswith(GROUP) else await _client(call, name)
    return holder if holder is not None and call.caller.sees_group(holder.group) else None


def _group(call: AdminCall, name: str) -> RaiseHolder | None:
    group = group_of(call.config, name.removeprefix(GROUP))
    if group is None:
        return None
    place = f"client_groups: {group.name}"
    return RaiseHolder(name, group.name, group.budgets, raise_to_of(group), place, is_group=True)


async def _client(call: AdminCall, name: str) -> RaiseHolder | None:
    client = client_of(call.config, name)
    if client is not None:
        return _client_holder(name, client, f"client_keys: {name}")
    for part in call.parts:
        if (found := await part.find_client(call, name)) is not None:
            return _client_holder(name, *found)
    return None


def _client_holder(name: str, client: ClientKey, place: str) -> RaiseHolder:
    return RaiseHolder(name, client.group_name, client.budgets, raise_to_of(client), place)


async def list_raises(call: AdminCall) -> AdminAnswer:
    """List the raises that have not ended, by holder."""
    store, wanted = await call.rights(), call.query.get("group")
    present = [one for one in await store.raises() if one.until > call.now]
    if wanted is not None or not call.caller.sees_all:
        groups = {client.name: client.group_name for client in call.config.client_keys}
        groups |= {GROUP + group.name: group.name for group in call.config.client_groups}
        groups = {**await store.groups_of_raised_people(), **groups}
        own = [(one, groups.get(one.holder)) for one in present]
        present = [one for one, group in own if call.caller.sees_group(group) and wanted in (None, group)]
    page, following = call.page_of(present, lambda one: one.holder)
    return AdminAnswer.page([_row(one) for one in page], following)


async def show_raise(call: AdminCall) -> AdminAnswer:
    holder, store = await _visible_holder(call), await call.rights()
    found = await store.raise_of(holder.name)
    if found is None or found.until <= call.now:
        raise _no_raise_error(holder.name)
    return AdminAnswer(_row(found), stored=_text(found))


async def put_raise(call: AdminCall) -> AdminAnswer:
    """Raise budgets until a time, in place of the holder's present raise."""
    body = await call.body("budgets", "until")
    holder = await _changeable_holder(call)
    until = _parse_end(body.get("until"))
    budgets = await in_thread(partial(_read_budgets, body.get("budgets")))
    for i, budget in enumerate(budgets):
        _check_budget(holder, budget, f"budgets[{i}]")
    texts, store = tuple(budget.text for budget in budgets), await call.rights()
    before = await store.raise_of(holder.name)
    call.check_match(_text(before), "raise")
    if before is not None and (before.budgets, before.until) == (texts, until.timestamp()):
        return AdminAnswer(_row(before), stored=_text(before))
    new = Raise(holder.name, texts, until.timestamp(), call.now, call.author)
    is_new = before is None or before.until <= call.now
    status = 201 if is_new else 200
    await store.put_raise(new, call.audit_entry(status), check_unchanged_since(before))
    await call.apply_rights()
    return AdminAnswer(_row(new), status, stored=_text(new))


async def delete_raise(call: AdminCall) -> AdminAnswer:
    """End a raise. Its spending still counts."""
    holder, store = await _changeable_holder(call), await call.rights()
    before = await store.raise_of(holder.name)
    if before is None or before.until <= call.now:
        raise _no_raise_error(holder.name)
    call.check_match(_text(before), "raise")
    await store.remove_raise(holder.name, call.audit_entry(204), check_unchanged_since(before))
    await call.apply_rights()
    return AdminAnswer(status=204)


async def _visible_holder(call: AdminCall) -> RaiseHolder:
    """Return the holder in the path. Raises ``GatewayError`` (404) for one that the caller does not see."""
    name = call.names["holder"]
    holder = await find_holder(call, name)
    if holder is None:
        raise not_found(f"there is no client or group {name[:200]!r} that you may see", "unknown_holder")
    return holder


async def _changeable_holder(call: AdminCall) -> RaiseHolder:
    holder = await _visible_holder(call)
    if holder.is_group and call.caller.role == "lead":
        raise not_permitted("a lead raises the budgets of persons, not of a group: ask an admin", "group_holder")
    if not call.caller.sees_group(holder.group):
        raise not_permitted("this holder is not in your group", "other_group")
    return holder


def _parse_end(text: Any) -> datetime:
    """Return the end of a raise. Raises ``GatewayError`` (400)."""
    if not isinstance(text, str):
        raise invalid("until is required: the time when the raise ends, such as 2026-12-05", "until")
    found, now = read_until(text), datetime.now(UTC)
    if found <= now:
        raise invalid(f"until: {spell_time(found)} has passed", "until")
    if found > now + LONGEST:
        raise invalid(f"until: a raise ends within {LONGEST.days} days", "until", code="too_long")
    return found


def _read_budgets(texts: Any) -> Sequence[SpendingBudget]:
    """Return the budgets in a body. Raises ``GatewayError`` (400)."""
    if not isinstance(texts, list) or not texts:
        raise invalid('budgets must be a list, such as ["40 usd/day"]', "budgets")
    try:
        found = read_item("raise", {"budgets": texts}).budgets
    except ConfigError as error:
        raise mistakes_error(error) from None
    if len({(one.currency, one.period) for one in found}) != len(found):
        raise invalid("budgets: two amounts have the same period: remove one of them", "budgets")
    return found


def _check_budget(holder: RaiseHolder, budget: SpendingBudget, param: str) -> None:
    """Check an amount against the holder's budget and ``raise_to``. Raises ``GatewayError`` (400, 403)."""
    period = (budget.currency, budget.period)
    most = next((one for one in holder.raise_to if (one.currency, one.period) == period), None)
    own = next((one for one in holder.budgets if (one.currency, one.period) == period), None)
    if most is None:
        message = f"this budget cannot be raised: `raise_to` of {holder.place} in the file has no amount for its period"
        raise not_permitted(message, "no_raise_to", param)
    if budget.most > most.most:
        message = f"{budget.text} is more than {most.text}, the maximum in `raise_to` of {holder.place}"
        raise not_permitted(message, "beyond_raise_to", param)
    if own is None or budget.most <= own.most:
        present = "there is no budget for this period" if own is None else f"it is not more than {own.text}"
        raise invalid(f"{param}: {budget.text} raises nothing: {present}", param)


def _no_raise_error(name: str) -> GatewayError:
    return not_found(f"{name[:200]!r} has no raise", "no_raise")


def _row(present: Raise) -> dict[str, Any]:
    return {
        "holder": present.holder,
        "budgets": present.budgets,
        "until": time_text(present.until),
        "at": time_text(present.at),
        "by": present.by,
    }


def _text(present: Raise | None) -> str | None:
    return None if present is None else repr((present.holder, present.budgets, present.until, present.at))
