"""The sections about usage and costs, by the query of the API and of ``trigate costs``."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

from gateway.endpoints.admin.calls import AdminAnswer, in_thread
from gateway.endpoints.console.api_calls import PageCall
from gateway.endpoints.console.parts import NOTHING, Column, choice, field, filters, money, notice, section, table
from gateway.endpoints.console.paths import USAGE
from gateway.endpoints.html import Html, html

_NAMES: Final = ("month", "since", "until", "by", "group", "key", "model", "format")
"""The parameters of the page, which are those of the API."""

_FIGURES: Final = ("requests", "failed", "input", "cached", "output", "usd", "grade")
_TITLES: Final[Mapping[str, str]] = {
    "key": "Client", "client": "Client", "label": "Label", "group": "Group", "model": "Model", "target": "Target",
    "day": "Day", "month": "Month", "run": "Run", "endpoint": "Endpoint", "requests": "Requests", "failed": "Failed",
    "input": "Input tokens", "cached": "Cached tokens", "output": "Output tokens", "usd": "US dollars",
    "grade": "Precision", "request_id": "Request", "upstream_request_id": "Provider's request",
}  # fmt: skip
_ABSENT: Final[Mapping[str, str]] = {"key": "no key", "client": "no key", "group": "no group", "model": "no model"}
_OWN: Final = (("model", "model"), ("day", "day"), ("day,model", "day and model"), ("month", "month"))
_ALL: Final = (
    ("group", "group"), ("key", "client"), ("group,key", "group and client"), ("model", "model"),
    ("key,model", "client and model"), ("day", "day"), ("day,key", "day and client"), ("month", "month"),
)  # fmt: skip

MOST_SHOWN: Final = 1000
"""The most rows that the page shows: its HTML takes 0.1 ms and 700 bytes for each."""

_CUT: Final = "This page shows the first {:,} of {:,} rows. The total and the CSV include all rows."


async def everyone(call: PageCall) -> Html | AdminAnswer:
    return await _usage(call, "/admin/v1/usage", "Usage of all clients that you see", _ALL)


async def own(call: PageCall) -> Html | AdminAnswer:
    return await _usage(call, "/me/usage", "Your usage", _OWN)


async def _usage(call: PageCall, path: str, title: str, groupings: Sequence[tuple[str, str]]) -> Html | AdminAnswer:
    query = {name: call.query[name] for name in _NAMES if call.query.get(name)}
    answer = await call.read(path, query)
    if answer.text is not None:  # CSV
        return answer
    return await in_thread(partial(_report_section, answer.value, query, path, title, groupings))


def _report_section(
    report: Mapping[str, Any], query: Mapping[str, str], path: str, title: str, groupings: Sequence[tuple[str, str]]
) -> Html:
    """Return the section with a report of the API. Slow for a long one."""
    columns = [*(report["by"] or ("all",)), *(("label",) if _has_labels(report) else ()), *_FIGURES]
    heads = [Column(_TITLES.get(name, name), name in _FIGURES[:-1]) for name in columns]
    rows = [[_value(row, name) for name in columns] for row in report["data"][:MOST_SHOWN]]
    hidden = len(report["data"]) - len(rows)
    total = [
        "Total",
        *(NOTHING for _ in columns[1 : -len(_FIGURES)]),
        *(_value(report["total"], name) for name in _FIGURES),
    ]
    caption = f"From {report['since'][:16].replace('T', ' ')} to {report['until'][:16].replace('T', ' ')}"
    csv = f"{USAGE}?{urlencode({**query, 'format': 'csv'})}"
    return section(
        title, _filters(query, report, groupings, with_names=path != "/me/usage"), *map(notice, report["notes"]),
        notice(_CUT.format(MOST_SHOWN, len(report["data"]))) if hidden else NOTHING,
        table(f"{caption}, {report['timezone']}", heads, rows, total, empty="There is no usage in this period.",
              is_titled=False),
        html('<p><a href="{to}">Download as CSV</a></p>', to=csv),
    )  # fmt: skip


def _has_labels(report: Mapping[str, Any]) -> bool:
    return any(row.get("label") for row in report["data"]) and "label" not in report["by"]


def _value(row: Mapping[str, Any], name: str) -> object:
    value = row.get(name)
    if name == "usd":
        return "plan" if row["grade"] == "subscription" else money(value)
    return _ABSENT.get(name, value) if value is None else value


def _filters(
    query: Mapping[str, str], report: Mapping[str, Any], groupings: Sequence[tuple[str, str]], *, with_names: bool
) -> Html:
    chosen = query.get("by", groupings[0][0])
    month = "" if "since" in query or "until" in query else report["since"][:7]
    options = groupings if any(chosen == value for value, _ in groupings) else ((chosen, chosen), *groupings)
    fields = [
        field("month", "month", "Month", month, kind="month"),
        choice("by", "by", "Sums by", options, chosen),
    ]
    if with_names:
        fields += [
            field(name, name, label, query.get(name, ""))
            for name, label in (("group", "Group"), ("key", "Client"), ("model", "Model"))
        ]
    period = {name: query[name] for name in ("since", "until") if name in query}
    return filters(USAGE, *fields, hidden=period)
