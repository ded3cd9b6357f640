"""Groups with their settings, limits and budgets."""

from typing import Any

from gateway.allowances.allowance import Holder
from gateway.config.clients import ClientGroup
from gateway.features.admin.calls import AdminAnswer, AdminCall, group_of
from gateway.features.admin.client_rows import limit_texts
from gateway.features.admin.errors import not_found
from gateway.features.admin.levels import level_rows
from gateway.features.admin.raises import raise_to_of


async def list_groups(call: AdminCall) -> AdminAnswer:
    """List the groups that the caller sees, by name."""
    groups = [group for group in call.config.client_groups if call.caller.sees_group(group.name)]
    page, following = call.page_of(groups, lambda group: group.name)
    return AdminAnswer.page([await _row(call, group) for group in page], following)


async def show_group(call: AdminCall) -> AdminAnswer:
    name = call.names["name"]
    group = group_of(call.config, name)
    if group is None or not call.caller.sees_group(name):
        raise not_found(f"there is no group {name[:200]!r} that you may see", "unknown_group")
    return AdminAnswer(await _row(call, group))


async def _row(call: AdminCall, group: ClientGroup) -> dict[str, Any]:
    allowances = call.service.allowances
    holder = Holder("client_groups", group.name)
    shown = allowances.of_settings(holder, group)
    return {
        "name": group.name,
        "models": group.models,
        "only": group.only,
        "ratelimits": limit_texts(group.ratelimits),
        "raise_to": [budget.text for budget in raise_to_of(group)],
        "clients": sum(client.group_name == group.name for client in call.config.client_keys),
        **await level_rows(shown, allowances),
    }
