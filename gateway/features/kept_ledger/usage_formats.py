"""Usage reports as CSV and JSON, exact to the nano-dollar."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from gateway.features.kept_ledger.usage import UsageQuery, UsageReport, UsageRow, named_values
from gateway.logs.masking import escape, escape_json
from gateway.viewing.money import dollar_text

CSV_COLUMNS: Final = ("requests", "failed", "input", "cached", "output", "usd", "grade")
"""The columns of a CSV report after those that it is grouped by."""

CACHE_COLUMNS: Final = ("cache_write", "cached_share", "cache_missed", "cache_lost_usd", "cache_unread_usd")
"""The columns of a CSV report about the providers' prompt caches."""

_JSON_FIGURES: Final = ("failed", "input_tokens", "cached_tokens", "output_tokens")
_FORMULA: Final = re.compile("(?:^|(?<=;))(?=[=+@\uff1d\uff0b\uff0d\uff20-])")
"""The beginning of a formula in a spreadsheet, also in full-width characters. Names of runs come from clients.

Where the decimal separator is a comma, spreadsheets split lines at ``;``, also within quotes:
https://owasp.org/www-community/attacks/CSV_Injection"""


def figures_of(row: UsageRow) -> tuple[int, int, int, int, int]:
    """Return the requests, failures, input tokens, cached tokens and output tokens of ``row``."""
    found = row.sum
    return found.requests, found.failed, found.usage.prompt, found.usage.cache_read, found.usage.output


def csv_cell(value: str | None) -> str:
    """Return text for a cell of a CSV file, which no spreadsheet takes for a formula."""
    return _FORMULA.sub("'", escape(value or ""))


def csv_text(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """Return a CSV file with the columns ``head``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def json_text(content: Any) -> str:
    """Return ``content`` as JSON for a terminal, which no text in it controls."""
    lines = msgspec.json.format(msgspec.json.encode(content), indent=2).decode().split("\n")
    return "\n".join(map(escape_json, lines)) + "\n"


def head_of(query: UsageQuery, by: Sequence[str]) -> dict[str, Any]:
    """Return the first members of a report in JSON."""
    since, until = query.since.isoformat(), query.until.isoformat()
    return {"since": since, "until": until, "timezone": query.timezone, "by": by}


def usd_value(nanos: int) -> msgspec.Raw:
    """Return nano-dollars as dollars in JSON; a Decimal would be encoded as 0E-9."""
    return msgspec.Raw(dollar_text(nanos).encode())


def as_csv(found: UsageReport) -> str:
    """Return the report as CSV, without totals, which a spreadsheet would add again."""
    has_units = bool(found.total.sum.usage.units)
    head = (*found.by, *CSV_COLUMNS, *(("units",) if has_units else ()), *CACHE_COLUMNS)
    head = (*head, *(() if found.list_prices is None else ("list_usd",)))
    rows = []
    for row in found.rows:
        names = [csv_cell(value) for value in row.by]
        units = (";".join(f"{unit}={number}" for unit, number in row.sum.usage.units),) if has_units else ()
        share = "" if row.cached_share is None else f"{row.cached_share:.4f}"
        figures = *figures_of(row), dollar_text(row.sum.nanos), row.grade
        verdicts = row.sum.prompt_cache
        missed = verdicts.missed, dollar_text(verdicts.nanos), dollar_text(verdicts.unread_nanos)
        cache = row.sum.usage.cache_write, share, *missed
        listed = found.list_price_of(row)
        rows.append((*names, *figures, *units, *cache, *(() if listed is None else (dollar_text(listed[0]),))))
    return csv_text(head, rows)


def as_json(found: UsageReport) -> str:
    """Return the report as a JSON object, with totals."""
    rows = [{**named_values(found.by, row.by, found.labels), **_row_members(found, row)} for row in found.rows]
    content = {
        **head_of(found.query, found.by),
        "rows": rows, "total": _row_members(found, found.total),
        **({"notes": found.notes} if found.notes else {}),
    }  # fmt: skip
    return json_text(content)


def _row_members(found: UsageReport, row: UsageRow) -> dict[str, Any]:
    figures = zip((found.count_name, *_JSON_FIGURES), figures_of(row), strict=True)
    cost = {"cost_usd": usd_value(row.sum.nanos), "cost_nanos": row.sum.nanos, "cost_grade": row.grade}
    units = {"units": dict(row.sum.usage.units)} if row.sum.usage.units else {}
    share = None if row.cached_share is None else round(row.cached_share, 4)
    verdicts = row.sum.prompt_cache
    cache = {
        "cache_write_tokens": row.sum.usage.cache_write, "cached_share": share,
        "cache_missed_tokens": verdicts.missed, "cache_lost_usd": usd_value(verdicts.nanos),
        "cache_unread_usd": usd_value(verdicts.unread_nanos),
    }  # fmt: skip
    listed = found.list_price_of(row)
    list_usd = {} if listed is None else {"list_usd": usd_value(listed[0])}
    return {**dict(figures), **cache, **cost, **list_usd, **units}
