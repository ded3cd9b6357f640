"""The sections of the pages: what each reads from the API, for the macro of a template that shows it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

from gateway.config.kinds import zone_of
from gateway.features.admin.interface import AdminAnswer, in_thread
from gateway.features.people.console.api_calls import PageCall, with_name
from gateway.features.people.console.overview import days_query, overview
from gateway.features.people.console.parts import PARTS, next_link, shown_by
from gateway.features.people.html import Html

Section: TypeAlias = Callable[[PageCall], Awaitable[Html | AdminAnswer]]

_ALL: Final = {"limit": "1000"}
"""The query of lists that the page shows whole: the ``after`` of a page is for another list."""


def section_of(page: str, macro: str, source: str, names: Sequence[str] = ()) -> Section:
    """Return the section with a part of the list at ``source``, which ``names`` in the page's query select."""

    async def show(call: PageCall) -> Html:
        return await _list(call, page, macro, source, call.query_of(*names, "after"))

    return show


async def _list(
    call: PageCall, page: str, macro: str, source: str, selected: Mapping[str, str], **more: object
) -> Html:
    answer = await call.read(source, selected)
    emptied = {"since": ""} if call.query.get("since") == "" else {}  # an empty one is not the default
    following = next_link(call.path, answer, {**selected, **emptied})
    return await in_thread(partial(shown_by, page, macro, call, answer.value["data"], following, **more))


def _list_query(call: PageCall, *names: str) -> dict[str, str]:
    """Return the query of a list that a person searches and filters, the newest first."""
    return {"order": "newest", **call.query_of("search", "since", "until", "order", "after", *names)}


# The caller


async def rights(call: PageCall) -> Html:
    """Return the caller's rights, limits and budgets."""
    return shown_by("me", "rights", call, (await call.read("/me")).value)


async def limits(call: PageCall) -> Html:
    """Return the limits and budgets that apply to the caller."""
    return shown_by("me", "limits", call, (await call.read("/me")).value)


# Usage

_FIGURES: Final = ("requests", "failed", "input", "cached", "output", "usd", "grade")
_COUNTS: Final = frozenset(("input", "cached", "output"))
_TITLES: Final[Mapping[str, str]] = {
    "key": "Client", "client": "Client", "label": "Label", "group": "Group", "model": "Model", "target": "Target",
    "day": "Day", "month": "Month", "run": "Run", "endpoint": "Endpoint", "requests": "Requests", "failed": "Failed",
    "input": "Input tokens", "cached": "Cached tokens", "output": "Output tokens", "usd": "US dollars",
    "project": "Project", "grade": "Precision", "request_id": "Request", "upstream_request_id": "Provider's request",
}  # fmt: skip
_ABSENT: Final[Mapping[str, str]] = {
    "key": "no key", "client": "no key", "group": "no group", "model": "no model", "run": "no run",
    "project": "no project",
}  # fmt: skip

OWN_SUMS: Final = (
    ("model", "model"), ("run", "run"), ("project", "project"), ("day", "day"), ("day,model", "day and model"),
    ("month", "month"),
)  # fmt: skip
ALL_SUMS: Final = (
    ("group", "group"), ("key", "client"), ("group,key", "group and client"), ("model", "model"),
    ("key,model", "client and model"), ("run", "run"), ("project", "project"), ("day", "day"),
    ("day,key", "day and client"), ("month", "month"),
)  # fmt: skip

MOST_SHOWN: Final = 1000
"""The most rows of a report that the page shows: its HTML takes 0.1 ms and 700 bytes for each."""


def usage(source: str, title: str, groupings: Sequence[tuple[str, str]]) -> Section:
    """Return the section with the report of the API at ``source``, by the query of ``trigate costs``."""

    async def show(call: PageCall) -> Html | AdminAnswer:
        query = call.query_of("month", "since", "until", "by", "group", "key", "model", "format")
        if "month" in query:  # the form of a page with another period selects a month
            query = {name: value for name, value in query.items() if name not in ("since", "until")}
        heading, offered, with_names = title, groupings, source != "/me/usage"
        if call.is_local:
            heading, offered, with_names, query = "All requests", OWN_SUMS, False, {"by": OWN_SUMS[0][0], **query}
        answer = await call.read(source, query)
        if answer.text is not None:  # CSV
            return answer
        daily = await call.read(source, {**call.query_of("group", "key", "model"), **days_query(call)})
        report = await in_thread(partial(_report, call, answer.value, query, heading, offered, with_names))
        return Html("\n").join((overview(call, daily.value, query), report))

    return show


def _report(
    call: PageCall, report: Mapping[str, Any], query: Mapping[str, str], title: str,
    groupings: Sequence[tuple[str, str]], with_names: bool,
) -> Html:  # fmt: skip
    """Return the section with a report of the API. Slow for a long one."""
    has_labels = any(row.get("label") for row in report["data"]) and "label" not in report["by"]
    names = [*(report["by"] or ("all",)), *(("label",) if has_labels else ()), *_FIGURES]
    titles = {**_TITLES, **({"requests": "Attempts"} if {"model", "target"} & {*report["by"], *query} else {})}
    columns = [("#" if name in _FIGURES[:-1] else "") + titles.get(name, name) for name in names]
    rows = [[_value(row, name) for name in names] for row in report["data"][:MOST_SHOWN]]
    sums = [_value(report["total"], name) for name in _FIGURES]
    total = ["Total", *[Html("")] * (len(names) - len(sums) - 1), *sums]
    period = {name: query[name] for name in ("since", "until") if name in query}
    csv = f"{call.path}?{urlencode({**query, 'format': 'csv'})}"
    return shown_by(
        "usage", "report", call, title, report, columns, rows, total, query, period, groupings, with_names, csv
    )


def _value(row: Mapping[str, Any], name: str) -> object:
    value = row.get(name)
    if name == "usd":
        return "plan" if row["grade"] == "subscription" else PARTS.money(value)
    if name in _COUNTS:
        return PARTS.number(value)
    if isinstance(value, int):
        return f"{value:,}"
    return _ABSENT.get(name, value) if value is None else value


# Keys

_CLIENT: Final = "/admin/v1/keys/{name}"


async def clients(call: PageCall) -> Html:
    """Return the clients that the caller sees, or the client in the query."""
    groups: list[str] = []
    if call.may("PUT", _CLIENT):
        answer = await call.send("GET", "/admin/v1/groups", query=_ALL)
        groups = [row["name"] for row in answer.value["data"]] if answer.status == 200 else []
    if "name" in call.query:
        answer = await call.read(with_name(_CLIENT, call.query["name"]))
        return shown_by("keys", "client", call, answer.value, answer.tag, groups)
    query = _list_query(call, "who", "group", "state")
    return await _list(call, "keys", "clients", "/admin/v1/keys", query, groups=groups, query=query)


async def own_keys(call: PageCall) -> Html:
    """Return the person's own keys, and the form of a new one."""
    keys, me = await call.read("/me/keys", _ALL), await call.read("/me")
    return shown_by("keys", "own", call, keys.value["data"], me.value)


# People


async def people(call: PageCall) -> Html | AdminAnswer:
    """Return the people that the caller sees, or the person in the query."""
    if "name" not in call.query:
        query = _list_query(call, "group", "issuer")
        return await _list(call, "people", "people", "/admin/v1/people", query, query=query)
    answer = await call.read(with_name("/admin/v1/people/{name}", call.query["name"]))
    return shown_by("people", "person", call, answer.value)


# Audit

_DAYS: Final = timedelta(days=7)
"""The period that the page shows at first."""


async def changes(call: PageCall) -> Html:
    """Return the changes of a period, the newest first."""
    today = datetime.now(zone_of(call.config.timezone)).date()
    query = _list_query(call, "who")
    if "since" not in call.query:
        query["since"] = str(today - _DAYS)
    return await _list(call, "audit", "changes", "/admin/v1/audit", query, query=query)
