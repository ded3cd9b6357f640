"""Usage and costs for the HTTP API, by the query that ``trigate costs`` uses too."""

from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from functools import partial
from typing import Any, Final, cast, get_args

from configfile.wording import nearest
from gateway.config.kinds import zone_of
from gateway.config.settings import Config
from gateway.features.kept_ledger.statements import Filters
from gateway.features.kept_ledger.table import LedgerTable, TooManySums
from gateway.features.kept_ledger.usage import By, UsageQuery, UsageReport, UsageRow, named_values, query_in, read_usage
from gateway.features.kept_ledger.usage_formats import as_csv, figures_of, head_of
from gateway.viewing.money import dollar_text
from gateway.viewing.periods import month_bounds, parse_month, read_time
from streams.errors import invalid

_COLUMNS: Final[tuple[By, ...]] = get_args(By)
_FIGURES: Final = ("requests", "failed", "input", "cached", "output")
MOST_ROWS: Final = 10_000
"""The most rows of a report: clients choose the names of runs, and single requests are rows too."""


async def answer_usage(
    table: LedgerTable, config: Config, query: Mapping[str, str], only: Filters, default: tuple[By, ...]
) -> Callable[[], str | dict[str, Any]]:
    """Read the usage in ``table`` that ``query`` selects, and return the function that writes it as CSV or as an
    object. Raises ``GatewayError`` (400)."""
    form = query.get("format", "json")
    if form not in ("json", "csv"):
        raise invalid(f"format must be json or csv, not {form[:20]!r}", "format")
    try:
        report = await read_usage(table, query_of(config, query, only, default))
    except TooManySums as error:
        raise invalid(str(error), "by") from None
    return partial(as_csv if form == "csv" else _report_value, report)


def query_of(config: Config, query: Mapping[str, str], only: Filters, default: tuple[By, ...]) -> UsageQuery:
    """Return the query to the ledger that the parameters select. Raises ``GatewayError`` (400)."""
    zone = zone_of(config.timezone)
    now = datetime.now(zone)
    by = _columns(query, default)
    return query_in(config, now, _period(query, now, zone), by=by, only=only, most_rows=MOST_ROWS)


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


def _report_value(report: UsageReport) -> dict[str, Any]:
    return {
        **head_of(report.query, report.by),
        "data": [{**named_values(report.by, row.by, report.labels), **_row(row)} for row in report.rows],
        "total": _row(report.total), "notes": report.notes, "next": None,
    }  # fmt: skip


def _row(row: UsageRow) -> dict[str, Any]:
    figures = dict(zip(_FIGURES, figures_of(row), strict=True))
    units = {"units": dict(row.sum.usage.units)} if row.sum.usage.units else {}
    return {**figures, "usd": dollar_text(row.sum.nanos), "grade": row.grade, **units}
