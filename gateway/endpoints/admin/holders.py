"""The holders of raises: clients by name, people, and groups as ``group:NAME``."""

from collections.abc import Sequence

import attrs

from gateway.config.allowances import SpendingBudget
from gateway.config.clients import ClientKey
from gateway.endpoints.admin.calls import AdminCall, client_of, group_of
from gateway.endpoints.admin.key_items import GROUP
from gateway.endpoints.admin.visibility import sees_group
from gateway.people.rules import NotAdmitted, RuleBook


@attrs.frozen(eq=False, repr=False)
class RaiseHolder:
    """The holder of budgets. ``place`` is where the file sets its ``raise_to``."""

    name: str
    group: str | None
    budgets: Sequence[SpendingBudget]
    raise_to: Sequence[SpendingBudget]
    place: str
    is_group: bool = False


async def find_holder(call: AdminCall, name: str) -> RaiseHolder | None:
    """Return the holder with this name, ``None`` if there is none that the caller sees."""
    holder = _group(call, name) if name.startswith(GROUP) else await _client(call, name)
    return holder if holder is not None and sees_group(call.caller, holder.group) else None


def _group(call: AdminCall, name: str) -> RaiseHolder | None:
    group = group_of(call.config, name.removeprefix(GROUP))
    if group is None:
        return None
    place = f"client_groups: {group.name}"
    return RaiseHolder(name, group.name, group.budgets, group.raise_to, place, is_group=True)


async def _client(call: AdminCall, name: str) -> RaiseHolder | None:
    client = client_of(call.config, name)
    if client is not None:
        return _client_holder(name, client, f"client_keys: {name}")
    seen = await (await call.people()).person(name)
    if seen is None:
        return None
    try:
        person, rule = RuleBook(call.config.issuers).admit(seen.issuer, seen.claims)
    except NotAdmitted:  # a person whom the rules no longer admit has no budget
        return None
    if rule.client is None or person.name != name:
        return None
    return _client_holder(name, rule.client, f"issuers: {seen.issuer}, admit[{person.rule}]")


def _client_holder(name: str, client: ClientKey, place: str) -> RaiseHolder:
    return RaiseHolder(name, client.group_name, client.budgets, client.raise_to, place)
