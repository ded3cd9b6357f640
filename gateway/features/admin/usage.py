"""Usage and costs, by the query that ``trigate costs`` uses too."""

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from functools import partial
from typing import Any, Final, cast, get_args

from configfile.wording import nearest
from gateway.config.zones import zone_of
from gateway.features.admin.calls import AdminAnswer, AdminCall, group_of, in_thread
from gateway.features.admin.errors import not_found, not_permitted
from gateway.features.admin.visibility import sees_group
from gateway.features.kept_ledger.feature import table_of
from gateway.features.kept_ledger.statements import Dimension, Filters
from gateway.features.kept_ledger.table import TooManySums
from gateway.features.kept_ledger.usage import By, UsageQuery, UsageReport, UsageRow, named_values, read_usage
from gateway.features.kept_ledger.usage_formats import as_csv, figures_of
from gateway.features.kept_ledger.usage_periods import month_bounds, parse_moment, parse_month
from gateway.ledger.money import dollar_text
from streams.errors import GatewayError, invalid

_COLUMNS: Final[tuple[By, ...]] = get_args(By)
_FIGURES: Final = ("requests", "failed", "input", "cached", "output")
_NO_LEDGER: Final = (
    "this gateway keeps no ledger: set `state_storage` to sqlite or postgres in the file; costs are only in the log"
)
_LONGEST_KEEP: Final = 36525 * 86400.0
MOST_ROWS: Final = 10_000
"""The most rows of a report: clients choose the names of runs, and single requests are rows too."""


async def show_own_usage(call: AdminCall) -> AdminAnswer:
    if call.caller.name is None:
        raise not_permitted("the ui_key has no usage of its own: use GET /admin/v1/usage", "no_client")
    return await _answer(call, {"key": (call.caller.name,)}, ("model",))


async def show_usage(call: AdminCall) -> AdminAnswer:
    """Show the usage of all clients, or for a lead of those in its group."""
    only: dict[Dimension, tuple[str | None, ...]] = {}
    if (group := call.query.get("group")) is not None:
        if not sees_group(call.caller, group) or group_of(call.config, group) is None:
            raise not_found(f"there is no group {group[:200]!r} that you may see", "unknown_group")
        only["group"] = (group,)
    elif call.caller.role == "lead":
        only["group"] = (call.caller.group,)
    for name in ("key", "model"):
        if (value := call.query.get(name)) is not None:
            only[name] = (value,)
    return await _answer(call, only, ("group",))


async def _answer(call: AdminCall, only: Filters, default: tuple[By, ...]) -> AdminAnswer:
    table = table_of(call.service.features)
    if table is None:
        raise GatewayError("not_found", _NO_LEDGER, code="no_ledger")
    form = call.query.get("format", "json")
    if form not in ("json", "csv"):
        raise invalid(f"format must be json or csv, not {form[:20]!r}", "format")
    try:
        report = await read_usage(table, query_of(call, only, default))
    except TooManySums as error:
        raise invalid(str(error), "by") from None
    if form == "csv":
        return AdminAnswer(text=await in_thread(partial(as_csv, report)), headers=_CSV)
    return AdminAnswer(await in_thread(partial(_report_value, report)))


_CSV: Final = (("content-type", "text/csv; charset=utf-8"), ("content-disposition", 'attachment; filename="usage.csv"'))


def query_of(call: AdminCall, only: Filters, default: tuple[By, ...]) -> UsageQuery:
    """Return the query to the ledger that the parameters select. Raises ``GatewayError`` (400)."""
    zone = zone_of(call.config.timezone)
    now = datetime.now(zone)
    since, until = _period(call.query, now, zone)
    storage = call.config.state_storage
    keep = 0.0 if storage is None else min(storage.ledger.keep, _LONGEST_KEEP)
    return UsageQuery(
        since=since, until=until, by=_columns(call.query, default), only=only, zone=zone,
        timezone=call.config.timezone, kept_from=now - timedelta(seconds=keep), most_rows=MOST_ROWS,
    )  # fmt: skip


def _columns(query: Mapping[str, str], default: tuple[By, ...]) -> tuple[By, ...]:
    if (text := query.get("by")) is None:
        return default
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in _COLUMNS:
            near = nearest(name[:100], _COLUMNS)
            advice = f"did you mean {near}?" if near else f"expected some of {', '.join(_COLUMNS)}"
            raise invalid(f"by: there is no column {name[:100]!r}; {advice}", "by")
    return cast("tuple[By, ...]", names)


def _period(query: Mapping[str, str], now: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the requested period: a month, ``since`` and ``until``, or this month."""
    if (month := query.get("month")) is not None:
        if "since" in query or "until" in query:
            raise invalid("month is a whole month: leave out since and until", "month")
        try:
            return parse_month(month, zone)
        except ValueError as error:
            raise invalid(f"month {month[:20]!r}: {error}", "month") from None
    since = month_bounds(now.date(), zone)[0] if "since" not in query else read_time(query["since"], now, "since")
    until = now if "until" not in query else read_time(query["until"], now, "until", end=True)
    if since.timestamp() >= until.timestamp():  # Python compares times of one zone by their clocks
        raise invalid("since must be before until", "since")
    return since, until


def read_time(text: str, now: datetime, name: str, *, end: bool = False) -> datetime:
    """Return a time in a query: a date, a time, or a duration before ``now``. Raises ``GatewayError`` (400)."""
    try:
        return parse_moment(text.replace(" ", "+") if "T" in text else text, now, end=end)  # "+" in a query is a space
    except ValueError as error:
        raise invalid(f"{name} {text[:40]!r}: {error}", name) from None


def _report_value(report: UsageReport) -> dict[str, Any]:
    query = report.query
    return {
        "since": query.since.isoformat(), "until": query.until.isoformat(), "timezone": query.timezone,
        "by": report.by,
        "data": [{**named_values(report.by, row.by, report.labels), **_row(row)} for row in report.rows],
        "total": _row(report.total), "notes": report.notes, "next": None,
    }  # fmt: skip


def _row(row: UsageRow) -> dict[str, Any]:
    figures = dict(zip(_FIGURES, figures_of(row), strict=True))
    units = {"units": dict(row.sum.usage.units)} if row.sum.usage.units else {}
    return {**figures, "usd": dollar_text(row.sum.nanos), "grade": row.grade, **units}
