"""Usage and costs that a caller may see, which the kept ledger reports."""

from typing import Final

from gateway.features.admin.calls import AdminAnswer, AdminCall, group_of, in_thread
from gateway.features.admin.errors import not_found, not_permitted
from streams.errors import GatewayError

_NO_LEDGER: Final = (
    "this gateway keeps no ledger: set `state_storage` to sqlite or postgres in the file; costs are only in the log"
)


async def show_own_usage(call: AdminCall) -> AdminAnswer:
    if call.caller.name is None:
        raise not_permitted("the ui_key has no usage of its own: use GET /admin/v1/usage", "no_client")
    return await _answer(call, {"key": (call.caller.name,)}, ("model",))


async def show_usage(call: AdminCall) -> AdminAnswer:
    """Show the usage of all clients, or for a lead of those in its group."""
    only: dict[str, tuple[str | None, ...]] = {}
    if (group := call.query.get("group")) is not None:
        if not call.caller.sees_group(group) or group_of(call.config, group) is None:
            raise not_found(f"there is no group {group[:200]!r} that you may see", "unknown_group")
        only["group"] = (group,)
    elif call.caller.role == "lead":
        only["group"] = (call.caller.group,)
    for name in ("key", "model"):
        if (value := call.query.get(name)) is not None:
            only[name] = (value,)
    return await _answer(call, only, ("group",))


_CSV: Final = (("content-type", "text/csv; charset=utf-8"), ("content-disposition", 'attachment; filename="usage.csv"'))


async def _answer(call: AdminCall, only: dict[str, tuple[str | None, ...]], default: tuple[str, ...]) -> AdminAnswer:
    features = call.service.opened.features
    if "kept_ledger" in features:
        from gateway.features.kept_ledger.feature import answer_usage, table_of  # imported only where it is needed

        if (table := table_of(features)) is not None:
            found = await in_thread(await answer_usage(table, call.config, call.query, only, default))
            return AdminAnswer(text=found, headers=_CSV) if isinstance(found, str) else AdminAnswer(found)
    raise GatewayError("not_found", _NO_LEDGER, code="no_ledger")
