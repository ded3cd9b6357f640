"""The sections about keys: the clients of the file and of the storage, and the keys that a person made for itself."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.endpoints.console.api_calls import PageCall, with_name
from gateway.endpoints.console.form_values import join_list, models_text
from gateway.endpoints.console.parts import (
    NOTHING,
    Column,
    choice,
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
    yaml_text,
)
from gateway.endpoints.console.paths import GROUPS, KEYS, USAGE
from gateway.endpoints.html import Html, html, join_html

_KEY: Final = "/admin/v1/keys/{name}"
_COLUMNS: Final = (
    Column("Name"), Column("Group"), Column("Models"), Column("Budgets"), Column("Ends"), Column("Kept in"),
    Column("State"),
)  # fmt: skip
_OWN_COLUMNS: Final = (Column("Name"), Column("Made"), Column("Ends"), Column("Action"))
_STATES: Final = {"good": "valid", "ended": "expired", "refused": "does not fit the file"}
_NO_NEW: Final = Html("<p>A key of your own cannot create other keys: sign in to create one.</p>")
_ALL: Final = {"limit": "1000"}
"""The query of lists that the page shows whole: the ``after`` of a page is for the list of clients."""
_SHOWN: Final = ("group", "models", "budgets", "ratelimits", "until")
"""Settings with a field of their own in the form."""


async def clients(call: PageCall) -> Html:
    """Return the clients that the caller sees, or the client in the query."""
    if "name" in call.query:
        return await _client(call, call.query["name"])
    query = {name: call.query[name] for name in ("group", "state", "after") if call.query.get(name)}
    answer = await call.read("/admin/v1/keys", query)
    rows = [_row(row) for row in answer.value["data"]]
    shown = table("Clients and their keys", _COLUMNS, rows, empty="There is no client with a key.")
    new = await _new_form(call) if call.may("PUT", _KEY) else NOTHING
    return section("Keys of clients", new, shown, next_page(KEYS, answer, query))


def _row(row: Mapping[str, Any]) -> Sequence[object]:
    return (
        link(KEYS, row["name"], name=row["name"]), row["group"], _models(row), row["budgets"], moment(row["until"]),
        row["from"], _state(row),
    )  # fmt: skip


def _models(row: Mapping[str, Any]) -> object:
    if row["models"] is None:
        return "all of the group" if row["group"] else "all"
    return row["models"] or "none"


def _state(row: Mapping[str, Any]) -> Html:
    text = _STATES.get(row["state"], row["state"])
    return (
        html("{text}", text=text) if row["state"] == "good" else html('<strong class="bad">{text}</strong>', text=text)
    )


async def _client(call: PageCall, name: str) -> Html:
    path = with_name(_KEY, name)
    answer = await call.read(path)
    row = answer.value
    holder = row.get("person", name)
    why = (("Reason", row["why"]),) if "why" in row else ()
    about = facts((
        ("State", _state(row)), *why, ("Group", row["group"]), ("Models", _models(row)),
        ("Targets", row["only"] if row["only"] is not None else "all"), ("Budgets", row["budgets"]),
        ("Rates", yaml_text(row["ratelimits"]) if row["ratelimits"] else None), ("Ends", moment(row["until"])),
        ("Keys", [_key_text(key) for key in row["keys"]]), ("Kept in", row["from"]), ("Added", moment(row["added"])),
        ("Added by", row["by"]), *_own_key_facts(row), ("Usage", link(USAGE, "by model", key=holder, by="model")),
    ))  # fmt: skip
    forms = _file_part(row) if row["from"] == "file" else await _forms(call, row, dict(answer.headers).get("etag", ""))
    raising = NOTHING
    if call.may("PUT", "/admin/v1/raises/{holder}"):
        raising = html("<p>{link}</p>", link=link(GROUPS, "Raise its budgets", holder=holder))
    return section(name, about, forms, raising, html('<p><a href="{to}">All keys</a></p>', to=KEYS))


def _own_key_facts(row: Mapping[str, Any]) -> Sequence[tuple[str, object]]:
    """Return the facts about a key that a person has made; none for other clients."""
    return (("Person", row["label"]), ("Last used", moment(row["last_used"]))) if row["from"] == "person" else ()


def _key_text(key: Mapping[str, Any]) -> str:
    end = "" if key["until"] is None else f" until {key['until'].replace('T', ' ').removesuffix('Z')} UTC"
    return f"{'expired' if key['ended'] else 'valid'}{end}"


def _file_part(row: Mapping[str, Any]) -> Html:
    lines = {name: row[name] for name in ("group", "models", "only", "budgets", "ratelimits", "until")}
    return file_lines(lines, "client_keys", row["name"])


async def _forms(call: PageCall, row: Mapping[str, Any], etag: str) -> Html:
    """Return the forms that change a stored client. They contain its version, so an old page changes nothing."""
    name, hidden = row["name"], {"name": row["name"], "version": etag}
    found = []
    settings = row.get("settings", {})
    is_client = row["from"] != "person"
    if is_client and call.may("PUT", _KEY):
        fields = await _settings_fields(call, "change_key", settings)
        others = {key: value for key, value in settings.items() if key not in _SHOWN and key != "name"}
        kept = (
            html("<p>These other settings stay: <code>{text}</code></p>", text=yaml_text(others)) if others else NOTHING
        )
        change = form(KEYS, "change_key", "Store settings", *fields, hidden=hidden)
        is_open = call.form.get("action") == "change_key"
        found.append(details("Change settings", kept, change, is_open=is_open))
    if is_client and call.may("POST", f"{_KEY}/rotate"):
        duration = call.field_value("rotate_key", "keep_old", "24h")
        keep = field("keep-old", "keep_old", "The old keys stay valid for", duration,
                     is_required=True, hint="A duration, such as 24h; 0 ends them now.")  # fmt: skip
        found.append(details("New key", form(KEYS, "rotate_key", "Create a new key", keep, hidden=hidden)))
    if call.may("DELETE", _KEY) and (is_client or call.caller.role == "admin"):
        keys = "All keys of " if is_client else ""
        text = html(
            "<p>{keys}{name} stop{s} working within half a second. This cannot be undone.</p>",
            keys=keys, name=name, s="" if is_client else "s",
        )  # fmt: skip
        found.append(details("Revoke", text, form(KEYS, "revoke_key", f"Revoke {name}", hidden=hidden)))
    return join_html(found)


async def _new_form(call: PageCall) -> Html:
    name = field("new-name", "name", "Name", call.field_value("create_key", "name"), is_required=True,
                 hint="The client's name in logs and reports.")  # fmt: skip
    fields = await _settings_fields(call, "create_key", {"group": call.caller.group} if call.caller.group else {})
    return details("New key", form(KEYS, "create_key", "Create key", name, *fields),
                   is_open=call.form.get("action") == "create_key")  # fmt: skip


async def _settings_fields(call: PageCall, action: str, settings: Mapping[str, Any]) -> Sequence[Html]:
    """Return the fields of a client's settings, filled with those that it has or that a person typed."""
    rates = settings.get("ratelimits") or {}
    values = {
        "group": settings.get("group") or "", "models": models_text(settings.get("models")),
        "budgets": join_list(settings.get("budgets")), "requests": str(rates.get("requests", "")),
        "tokens": str(rates.get("tokens", "")), "until": settings.get("until") or "",
    }  # fmt: skip
    typed = {name: call.field_value(action, name, value) for name, value in values.items()}
    answer = await call.send("GET", "/admin/v1/groups", query=_ALL)
    names = [row["name"] for row in answer.value["data"]] if answer.status == 200 else []
    options = [("", "no group"), *((name, name) for name in dict.fromkeys((*names, typed["group"])) if name)]
    return (
        choice(f"{action}-group", "group", "Group", options, typed["group"]),
        field(f"{action}-models", "models", "Models", typed["models"],
              "Separated by commas. Empty allows all models of the group; the word none allows no model."),
        field(f"{action}-budgets", "budgets", "Budgets", typed["budgets"], "Such as 20 usd/day, 300 usd/month."),
        field(f"{action}-requests", "requests", "Request rate", typed["requests"], "Such as 60/m."),
        field(f"{action}-tokens", "tokens", "Token rate", typed["tokens"], "Such as 2M/m."),
        field(f"{action}-until", "until", "Ends", typed["until"], "A date such as 2027-12-31, or a time in UTC."),
    )  # fmt: skip


# Keys that a person made for itself


async def own(call: PageCall) -> Html:
    """Return the person's own keys, and the form of a new one."""
    answer = await call.read("/me/keys", _ALL)
    rows = [_own_row(row) for row in answer.value["data"]]
    me = await call.read("/me")
    is_own_key = me.value["credential"] == "own key"
    about, new = (_NO_NEW, NOTHING) if is_own_key else _own_form(call, me.value["own_keys"])
    return section("Your own keys", about, new, table("Keys that you made", _OWN_COLUMNS, rows,
                                                     empty="You have no key of your own."))  # fmt: skip


def _own_form(call: PageCall, limits: Mapping[str, Any] | None) -> tuple[Html, Html]:
    """Return the explanation and the form of a new own key; no form if the person's rule permits none."""
    if limits is None:
        return html("<p>Your rule permits no keys of your own: it has no <code>own_keys</code>.</p>"), NOTHING
    about = html(
        "<p>A key of your own is for programs that cannot sign in. It has your name, limits and budgets. You may have "
        "{most}, each for at most {longest}.</p>", most=limits["most"], longest=limits["longest"],
    )  # fmt: skip
    fields = (
        field("own-name", "name", "Name", call.field_value("make_own", "name"), is_required=True,
              hint="Such as laptop."),
        field("own-until", "until", "Ends on", call.field_value("make_own", "until"), kind="date",
              hint="Empty means as late as your rule permits."),
    )  # fmt: skip
    new = details("New key of your own", form(KEYS, "make_own", "Create your own key", *fields),
                  is_open=call.form.get("action") == "make_own")  # fmt: skip
    return about, new


def _own_row(row: Mapping[str, Any]) -> Sequence[object]:
    button = form(KEYS, "delete_own", f"Delete {row['name']}", hidden={"name": row["name"]})
    return row["name"], moment(row["made"]), moment(row["until"]), details("Delete", button)
