"""The sections about the caller: its rights, limits and sessions."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.endpoints.console.api_calls import PageCall
from gateway.endpoints.console.parts import (
    NOTHING,
    Column,
    cell,
    facts,
    form,
    moment,
    money,
    notice,
    section,
    table,
)
from gateway.endpoints.console.paths import ME
from gateway.endpoints.html import Html, html, join_html

_LEVELS: Final = (
    Column("Limit"), Column("Applies to"), Column("Used", True), Column("Reserved", True), Column("At most", True),
    Column("Share"), Column("More at"),
)  # fmt: skip
_HOLDERS: Final = {"client": "the client", "group": "the whole group", "everybody": "everybody together"}
_SESSIONS: Final = (
    Column("Program"), Column("Kind"), Column("Address"), Column("Began"), Column("Last seen"), Column("Ends"),
    Column("Action"),
)  # fmt: skip


async def rights(call: PageCall) -> Html:
    """Return the caller's rights, limits and budgets."""
    answer = await call.read("/me")
    me = answer.value
    models = me["models"] or ("none",)
    about = facts((
        ("Name", me["name"] or "the operator"), ("Group", me["group"]), ("Role", me["role"]),
        ("Signed in with", me["credential"]), ("Ends", moment(me["ends"])), ("Models", models),
    ))  # fmt: skip
    shared = notice(_SHARED) if me["shared_limits"] else NOTHING
    return join_html((section("Your rights", about), section("Your limits and budgets", level_table(me), shared)))


_SHARED: Final = "Limits or budgets of all clients together also apply. Their use is not shown."


def level_table(levels: Mapping[str, Any], caption: str = "Limits and budgets") -> Html:
    """Return the table of limits and budgets with their use."""
    rows = [_level(one) for one in (*levels["budgets"], *levels["limits"])]
    return table(caption, _LEVELS, rows, empty="There are no own limits or budgets.")


def _level(level: Mapping[str, Any]) -> Sequence[object]:
    holder = _HOLDERS.get(level["holder"], level["holder"])
    if level["amount"] is None:
        return level["text"], holder, "each run has its own", None, None, None, None
    return (
        level["text"], holder, _figure(level, "used"), _figure(level, "reserved"), _amount(level),
        _share(level["used"], level["amount"]), moment(level["reset"]),
    )  # fmt: skip


def _figure(level: Mapping[str, Any], name: str) -> object:
    return money(level[name]) if level.get("unit") == "usd" else level[name]


def _amount(level: Mapping[str, Any]) -> Html:
    """Return the amount of a limit, and whether a raise has lifted it."""
    raised = html(" <strong>raised</strong>") if level.get("raised") else NOTHING
    return html("{amount}{raised}", amount=cell(_figure(level, "amount")), raised=raised)


def _share(used: Any, most: Any) -> Html:
    """Return the used share as a number, and as a bar for the eye."""
    percent = min(100, round(100 * float(used) / float(most))) if float(most) else 100
    return html('<meter min="0" max="100" value="{percent}" aria-hidden="true"></meter> {percent} %', percent=percent)


async def sessions(call: PageCall) -> Html:
    answer = await call.read("/me/sessions")
    rows = [_session(row) for row in answer.value["data"]]
    return section("Your sessions", table("Open sessions", _SESSIONS, rows, empty="You have no open session."))


def _session(row: Mapping[str, Any]) -> Sequence[object]:
    what = "Sign out here" if row["current"] else "End session"
    program = row["program"] or "unknown"
    button = form(ME, "end_session", what, hidden={"name": row["id"]}, is_second=True)
    return (
        html("<bdi>{program}</bdi>{mark}", program=program,
             mark=Html(' <strong>(this browser)</strong>') if row["current"] else Html("")),
        row["kind"], row["address"], moment(row["began"]), moment(row["last_seen"]), moment(row["until"]),
        button,
    )  # fmt: skip
