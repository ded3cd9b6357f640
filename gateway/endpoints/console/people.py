"""The sections about people: those of the last 90 days, and one person."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.endpoints.console.api_calls import PageCall, with_name
from gateway.endpoints.console.parts import (
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
from gateway.endpoints.console.paths import GROUPS, PEOPLE, USAGE
from gateway.endpoints.html import Html, html, join_html

_PERSON: Final = "/admin/v1/people/{name}"
_COLUMNS: Final = (
    Column("Name"), Column("Label"), Column("Group"), Column("Role"), Column("Last seen"), Column("State"),
)  # fmt: skip


async def people(call: PageCall) -> Html:
    """Return the people that the caller sees, or the person in the query."""
    if "name" in call.query:
        return await _person(call, call.query["name"])
    query = {name: call.query[name] for name in ("group", "issuer", "after") if call.query.get(name)}
    answer = await call.read("/admin/v1/people", query)
    rows = [_row(row) for row in answer.value["data"]]
    shown = table("People of the last 90 days", _COLUMNS, rows, empty="The gateway has seen nobody yet.")
    unseen = _block_form(call, "", "block-unseen") if call.may("PUT", f"{_PERSON}/block") else Html("")
    more = details("Block a person by name", unseen) if unseen else unseen
    return section("People of the last 90 days", shown, next_page(PEOPLE, answer, query), more)


def _row(row: Mapping[str, Any]) -> Sequence[object]:
    return (
        link(PEOPLE, row["name"], name=row["name"]), row["label"], row["group"], row["role"], moment(row["last_seen"]),
        _state(row),
    )  # fmt: skip


def _state(row: Mapping[str, Any]) -> Html:
    if row["blocked"]:
        return html('<strong class="bad">blocked</strong>')
    return html("active")


async def _person(call: PageCall, name: str) -> Html:
    answer = await call.read(with_name(_PERSON, name))
    row = answer.value
    pairs: list[tuple[str, object]] = [
        ("Label", row["label"]), ("Issuer", row["issuer"]), ("Group", row["group"]), ("Role", row["role"]),
        ("First seen", moment(row["first_seen"])), ("Last seen", moment(row["last_seen"])), ("State", _state(row)),
    ]  # fmt: skip
    if row["blocked"]:
        pairs += [
            ("Blocked", moment(row["blocked_at"])), ("Blocked by", row["blocked_by"]), ("Reason", row["reason"]),
        ]  # fmt: skip
    pairs.append(("Usage", link(USAGE, "by model", key=name, by="model")))
    if call.may("PUT", "/admin/v1/raises/{holder}"):
        pairs.append(("Budgets", link(GROUPS, "raise", holder=name)))
    rule = {"admit": [{"when": "…", **{key: row[key] for key in ("group", "role") if row[key]}}]}
    rights = details("Change the rights", file_lines(rule, "issuers", row["issuer"]))
    return section(
        name, facts(pairs), *_forms(call, row), rights, html('<p><a href="{to}">All people</a></p>', to=PEOPLE)
    )


def _forms(call: PageCall, row: Mapping[str, Any]) -> Sequence[Html]:
    """Return the forms that change a person."""
    name, hidden = row["name"], {"name": row["name"]}
    found = []
    if call.may("PUT", f"{_PERSON}/block") and not row["blocked"]:
        text = html("<p>All tokens, sessions and keys of this person stop working within half a second.</p>")
        found.append(details("Block", text, _block_form(call, name, "block")))
    if call.may("DELETE", f"{_PERSON}/block") and row["blocked"]:
        found.append(details("Unblock", form(PEOPLE, "unblock", f"Unblock {name}", hidden=hidden)))
    if call.may("DELETE", f"{_PERSON}/sessions"):
        text = html("<p>The person must sign in again. The person's own keys stay valid.</p>")
        found.append(details("End all sessions", text, form(PEOPLE, "end_sessions", "End all sessions", hidden=hidden)))
    if call.may("DELETE", _PERSON):
        text = html("<p>The label is deleted until the gateway sees the person again.</p>")
        found.append(details("Forget the label", text, form(PEOPLE, "forget", "Forget the label", hidden=hidden)))
    return (join_html(found),)


def _block_form(call: PageCall, name: str, id: str) -> Html:
    reason = field(f"{id}-reason", "reason", "Reason", call.field_value("block", "reason"),
                   hint="At most 200 characters. Auditors read it.")  # fmt: skip
    if name:
        return form(PEOPLE, "block", f"Block {name}", reason, hidden={"name": name})
    who = field(f"{id}-name", "name", "Name", call.field_value("block", "name"), is_required=True,
                hint="Such as okta:00u1, even if the gateway has not seen the person yet.")  # fmt: skip
    return form(PEOPLE, "block", "Block", who, reason)
