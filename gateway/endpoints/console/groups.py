"""The sections about groups and raises."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.endpoints.console.api_calls import PageCall
from gateway.endpoints.console.me import level_table
from gateway.endpoints.console.parts import (
    NOTHING,
    Column,
    details,
    facts,
    field,
    file_lines,
    form,
    link,
    moment,
    next_page,
    section,
    table,
)
from gateway.endpoints.console.paths import GROUPS, KEYS, PEOPLE, USAGE
from gateway.endpoints.html import Html, html, join_html

_RAISE: Final = "/admin/v1/raises/{holder}"
_RAISES: Final = (
    Column("Client or group"), Column("Budgets until then"), Column("Ends"), Column("Since"), Column("By"),
    Column("Action"),
)  # fmt: skip


async def groups(call: PageCall) -> Html:
    """Return the groups that the caller sees."""
    query = {name: call.query[name] for name in ("after",) if name in call.query}
    answer = await call.read("/admin/v1/groups", query)
    rows = answer.value["data"]
    if not rows:
        return section("Groups", html('<p class="soft">You see no group.</p>'))
    return join_html([*map(_group, rows), next_page(GROUPS, answer, query)])


def _group(row: Mapping[str, Any]) -> Html:
    name = row["name"]
    about = facts((
        ("Models", row["models"] if row["models"] is not None else "all"),
        ("Targets", row["only"] if row["only"] is not None else "all"),
        ("Raises", f"up to {', '.join(row['raise_to'])}" if row["raise_to"] else "not permitted by the file"),
        ("Clients", link(KEYS, row["clients"], group=name)),
        ("People", link(PEOPLE, "show", group=name)),
        ("Usage", link(USAGE, "by client", group=name, by="key")),
    ))  # fmt: skip
    lines = {
        "models": row["models"], "only": row["only"], "ratelimits": row["ratelimits"],
        "budgets": [one["text"] for one in row["budgets"]], "raise_to": row["raise_to"],
    }  # fmt: skip
    change = details(f"Change {name}", file_lines(lines, "client_groups", name))
    return section(name, about, level_table(row, f"Limits and budgets of {name}"), change)


async def raises(call: PageCall) -> Html:
    """Return the raises that have not ended, and the form of a new one."""
    answer = await call.read("/admin/v1/raises")
    rows = [_raise_row(call, row) for row in answer.value["data"]]
    shown = table("Raises that have not ended", _RAISES, rows, empty="There is no raise.")
    return section("Raises", shown, raise_form(call) if call.may("PUT", _RAISE) else NOTHING)


def _raise_row(call: PageCall, row: Mapping[str, Any]) -> Sequence[object]:
    button = form(GROUPS, "end_raise", "End raise", hidden={"name": row["holder"]}, is_second=True)
    return (
        row["holder"], row["budgets"], moment(row["until"]), moment(row["at"]), row["by"],
        button if call.may("DELETE", _RAISE) else None,
    )  # fmt: skip


def raise_form(call: PageCall) -> Html:
    """Return the form of a raise, filled with the holder in the query."""
    holder = call.field_value("raise", "name", call.query.get("holder", ""))
    fields = (
        field("raise-name", "name", "Client, person or group", holder, is_required=True,
              hint="Such as ada, okta:00u1, or group:research for a whole group."),
        field("raise-budgets", "budgets", "Budgets", call.field_value("raise", "budgets"), is_required=True,
              hint="Such as 40 usd/day. A raise replaces the amount of the same period; the file limits it."),
        field("raise-until", "until", "Ends on", call.field_value("raise", "until"), is_required=True, kind="date",
              hint="At most 31 days ahead. It is the end of the day in UTC."),
    )  # fmt: skip
    is_open = bool(holder)
    return details("New raise", form(GROUPS, "raise", "Raise", *fields), is_open=is_open)
