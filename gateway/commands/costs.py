"""``trigate costs``: sums up the stored ledger. It only reads, and gateways may write at the same time."""

import csv
import io
import math
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import attrs
import click
import msgspec
import trio

from gateway.commands.check import load_or_explain
from gateway.commands.terminal import columns, say
from gateway.config.loading import Config
from gateway.config.state_storage import StateStorage
from gateway.config.zones import zone_of
from gateway.kept_ledger.columns import DAY_SUM, LOST_COUNT, MARK_SECONDS
from gateway.kept_ledger.line import UNPRICED
from gateway.kept_ledger.table import (
    ATTEMPT_DIMENSIONS,
    Dimension,
    FoldedPart,
    LedgerSum,
    LedgerTable,
    open_table,
    sorted_by_cost,
    total,
)
from gateway.logs.masking import escape, escape_json
from gateway.stores.store import Unavailable
from providers.catalog.prices import Grade, grade_at

By: TypeAlias = Dimension | Literal["client", "day"]
Format: TypeAlias = Literal["table", "csv", "json"]
Period: TypeAlias = tuple[int, int]
"""A start and an exclusive end, in microseconds since 1970."""

GOOD, BAD_CONFIG, UNREADABLE = 0, 1, 2
TIMEOUT: Final = 120.0
"""The time limit for a database query, in seconds."""

LONGEST_KEEP: Final = 36525 * 86400.0
"""The longest supported ``ledger.keep`` in seconds, so that dates cannot overflow."""

SILENT: Final = int(3 * MARK_SECONDS * 1e6)
"""After so many microseconds without a mark, a process is assumed not to write its lines."""

_AGO: Final = re.compile(r"([0-9]{1,5})\s*([mhdw])")
_SPANS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_FIGURES: Final = ("requests", "failed", "input_tokens", "cached_tokens", "output_tokens")
_CACHE_FIGURES: Final = ("cache_write_tokens", "cached_share")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""First characters of formulas in spreadsheets; names of runs come from clients.

https://owasp.org/www-community/attacks/CSV_Injection"""


@attrs.frozen
class CostRow:
    """A line of the report: the values of its dimensions ``by``, and their sum."""

    by: tuple[str | None, ...]
    sum: LedgerSum

    @property
    def cached_share(self) -> float | None:
        """The share of input tokens read from a cache, ``None`` without input."""
        usage = self.sum.usage
        return usage.cache_read / usage.prompt if usage.prompt else None

    @property
    def grade(self) -> Grade:
        """The least exact grade of the parts. Parts without a price are missing from the sum."""
        return "exact" if self.sum.grade is None else grade_at(self.sum.grade)


@attrs.frozen
class CostReport:
    """Costs from ``since`` to before ``until``, grouped ``by`` dimensions; ``notes`` report missing data."""

    by: tuple[By, ...]
    since: datetime
    until: datetime
    timezone: str
    rows: tuple[CostRow, ...]
    total: CostRow
    notes: tuple[str, ...] = ()

    @property
    def counted(self) -> str:
        return "attempts" if ATTEMPT_DIMENSIONS.intersection(self.by) else "requests"


def run(path: Path | None, by: Sequence[By], since: str, until: str | None, form: Format) -> int:
    """Run ``trigate costs`` and return its exit status: 0, 1 for an invalid config, 2 if the ledger cannot be read.

    Raises ``click.UsageError``."""
    config = load_or_explain(path, within=("state_storage",))
    if config is None:
        return BAD_CONFIG
    zone = zone_of(config.timezone)
    now = datetime.now(zone)
    span = moment(since, now, "--since"), now if until is None else moment(until, now, "--until", end=True)
    if span[0] >= span[1]:
        raise click.UsageError(f"--since {since} must be before --until {until or 'now'}")
    dimensions = tuple(dict.fromkeys(by)) or (("key",) if config.client_keys else ("model",))
    try:
        found = trio.run(report, _open_ledger(config), dimensions, *span, config.timezone, now - _retention(config))
    except Unavailable as error:
        say(f"{config.path}: state_storage: {error}")
        return UNREADABLE
    click.echo(FORMATS[form](found), nl=False)
    if form == "csv":
        for note in found.notes:
            say(note)
    return GOOD


def _retention(config: Config) -> timedelta:
    """Return how long the ledger keeps its lines."""
    return timedelta(seconds=min((config.state_storage or StateStorage()).ledger.keep, LONGEST_KEEP))


def _open_ledger(config: Config) -> LedgerTable:
    """Open the ledger. Raises ``Unavailable``, with advice, if there is none."""
    storage = config.state_storage or StateStorage()
    if storage.path is not None and not storage.path.exists():
        raise Unavailable(f"{storage.path} does not exist: no gateway has stored anything yet")
    try:
        table = open_table(storage, TIMEOUT)
    except ImportError:
        raise Unavailable("type postgres needs another package: pip install 'trigate[postgres]'") from None
    if table is not None:
        return table
    if not storage.ledger.keep:
        raise Unavailable("ledger.keep is 0, so there is no ledger: remove it to keep the ledger for 400 days")
    such_as = "{type: sqlite, path: /var/lib/trigate/state.sqlite}"
    raise Unavailable(
        f"type {storage.type} stores no ledger; costs are only in the log and at /metrics: set "
        f"state_storage to {such_as} or to postgres, and restart the gateway"
    )


# When


def moment(text: str, now: datetime, option: str, *, end: bool = False) -> datetime:
    """Parse ``today``, a date, a date with a time, or a duration before ``now``.

    Durations in days and weeks start at midnight: ``7d`` is today and the six days before. With ``end``, a date means
    its end. Raises ``click.UsageError``."""
    if text.strip().lower() == "today":
        text = now.date().isoformat()
    if match := _AGO.fullmatch(text.strip()):
        return _time_ago(int(match[1]), match[2], now)
    try:
        found = datetime.fromisoformat(text.strip())
        if re.fullmatch(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}", text.strip()):
            return _midnight(found.date() + timedelta(days=1 if end else 0), now.tzinfo)
        return found if found.tzinfo is not None else found.replace(tzinfo=now.tzinfo)
    except (ValueError, OverflowError):
        such_as = "expected today, a duration such as 7d, 24h or 4w, or a date such as 2026-11-01"
        raise click.UsageError(f"{option} {text!r}: {such_as}") from None


def _time_ago(number: int, unit: str, now: datetime) -> datetime:
    if unit in "mh":
        return now - number * _SPANS[unit]
    return _midnight(now.date() - number * _SPANS[unit] + timedelta(days=1), now.tzinfo)


def _midnight(day: date, zone: tzinfo | None) -> datetime:
    return datetime.combine(day, time(), zone)


def days_between(since: datetime, until: datetime, zone: tzinfo) -> Iterator[tuple[str, Period]]:
    """Yield each day of ``zone`` between ``since`` and ``until``, with its part of that period."""
    begin, day = since, since.astimezone(zone).date()
    while begin < until:
        end = min(_midnight(day + timedelta(days=1), zone), until)
        yield day.isoformat(), (_microseconds(begin), _microseconds(end))
        begin, day = end, day + timedelta(days=1)


def _microseconds(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


# What


async def report(
    table: LedgerTable, by: tuple[By, ...], since: datetime, until: datetime, timezone: str, kept_from: datetime
) -> CostReport:
    """Return the costs in ``table``, and close the table. Raises ``Unavailable``.

    ``kept_from`` is the time before which the ledger keeps nothing."""
    dimensions: tuple[Dimension, ...] = tuple("key" if one == "client" else one for one in by if one != "day")
    try:
        days = [("", (_microseconds(since), _microseconds(until)))]
        if "day" in by:
            days = await _days_with_lines(table, since, until, zone_of(timezone))
        found = await table.sums(dimensions, [period for _, period in days])
        parts = await table.folded_parts((_microseconds(since), _microseconds(until)))
        broken = await table.gap_starts(
            (_microseconds(since), _microseconds(until)), _microseconds(datetime.now(since.tzinfo)) - SILENT
        )
    finally:
        await table.aclose()
    rows = [
        CostRow(_with_day(by, day, one.by), one)
        for (day, _), sums in zip(days, found, strict=True)
        for one in sorted_by_cost(sums)
        if by != ("day",) or one.requests
    ]
    notes = notes_of(parts, by, since, until, kept_from, broken)
    whole = total([row.sum for row in rows])
    if broken:
        whole = attrs.evolve(whole, grade=UNPRICED)
    return CostReport(by, since, until, timezone, tuple(rows), CostRow((), whole), notes)


async def _days_with_lines(
    table: LedgerTable, since: datetime, until: datetime, zone: tzinfo
) -> list[tuple[str, Period]]:
    """Return the days that can have lines: a report may start in 1970."""
    bounds = await table.time_bounds()
    if bounds is None:
        return []
    first, last = (datetime.fromtimestamp(at / 1e6, zone) for at in bounds)
    since = max(since, first - timedelta(seconds=1))
    return list(days_between(since, min(until, last + timedelta(seconds=1)), zone))


def _with_day(by: tuple[By, ...], day: str, values: tuple[str | None, ...]) -> tuple[str | None, ...]:
    """Return the values in the order of ``by``."""
    rest = iter(values)
    return tuple(day if one == "day" else next(rest) for one in by)


# How it looks


def _row_figures(row: CostRow) -> tuple[int, int, int, int, int]:
    found = row.sum
    return found.requests, found.failed, found.usage.prompt, found.usage.cache_read, found.usage.output


def as_csv(found: CostReport) -> str:
    """Return the report as CSV, exact to a nano-dollar; without totals, which a spreadsheet would add again."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    has_units = bool(found.total.sum.usage.units)
    units_head = ("units",) if has_units else ()
    head = (*found.by, found.counted, *_FIGURES[1:], "cost_usd", "cost_grade")
    writer.writerow((*head, *units_head, *_CACHE_FIGURES))
    for row in found.rows:
        names = [_csv_cell(value) for value in row.by]
        units = (";".join(f"{unit}={number}" for unit, number in row.sum.usage.units),) if has_units else ()
        share = "" if row.cached_share is None else f"{row.cached_share:.4f}"
        cost = f"{_dollars(row.sum.nanos):f}", row.grade
        writer.writerow((*names, *_row_figures(row), *cost, *units, row.sum.usage.cache_write, share))
    return text.getvalue()


def _csv_cell(value: str | None) -> str:
    text = escape(value or "")
    return f"'{text}" if text.startswith(_FORMULA) else text


def as_json(found: CostReport) -> str:
    """Return the report as a JSON object, with totals."""
    rows = [{**dict(zip(found.by, row.by, strict=True)), **_row_members(found, row)} for row in found.rows]
    content = {
        "since": found.since.isoformat(), "until": found.until.isoformat(), "timezone": found.timezone,
        "by": found.by,
        "rows": rows, "total": _row_members(found, found.total),
        **({"notes": found.notes} if found.notes else {}),
    }  # fmt: skip
    lines = msgspec.json.format(msgspec.json.encode(content), indent=2).decode().split("\n")
    return "\n".join(map(escape_json, lines)) + "\n"


def _row_members(found: CostReport, row: CostRow) -> dict[str, Any]:
    figures = zip((found.counted, *_FIGURES[1:]), _row_figures(row), strict=True)
    dollars = msgspec.Raw(f"{_dollars(row.sum.nanos):f}".encode())  # a Decimal would be encoded as 0E-9
    cost = {"cost_usd": dollars, "cost_nanos": row.sum.nanos, "cost_grade": row.grade}
    units = {"units": dict(row.sum.usage.units)} if row.sum.usage.units else {}
    share = None if row.cached_share is None else round(row.cached_share, 4)
    cache = dict(zip(_CACHE_FIGURES, (row.sum.usage.cache_write, share), strict=True))
    return {**dict(figures), **cache, **cost, **units}


def _dollars(nanos: int) -> Decimal:
    return Decimal(f"{nanos // 10**9}.{nanos % 10**9:09}")


_SIGNS: Final = {"exact": "", "estimated": "~", "at_least": "≥"}
_MEANINGS: Final = {
    "estimated": "~ estimated: token counts or prices are estimates",
    "at_least": "≥ lower bound: token counts or prices of some requests are unknown",
}
SUBSCRIPTION_CELL: Final = "subscription"
"""The cell instead of dollars if a subscription paid for the requests."""

_GAP: Final = "  "
_LEFT_OUT: Final = ("cached", "written")
"""Columns to omit on a narrow terminal, in this order; CSV and JSON always have them."""
SHORTEST: Final = 8
"""The minimum length of shortened names."""


def as_table(found: CostReport) -> str:
    """Return the report as a table; on a narrow terminal, shorten names, then omit the columns ``_LEFT_OUT``."""
    units = [unit for unit, _ in found.total.sum.usage.units]
    head = (
        *found.by,
        found.counted,
        "failed",
        "input",
        "cached",
        "cache%",
        "written",
        "output",
        *("searches" if unit == "search" else f"{unit}s" for unit in units),
        "usd",
    )
    rows = [(*_dimension_values(row), *_table_cells(row, units)) for row in found.rows]
    last = ("total", *[""] * (len(found.by) - 1), *_table_cells(found.total, units))
    names = [place for place, one in enumerate(found.by) if one != "day"]
    for number in range(len(_LEFT_OUT) + 1):
        table = _drop_columns(_LEFT_OUT[:number], [head, *rows, last])
        widths = _widths(table, names)
        if _total_width(widths) <= (columns(sys.stdout) or math.inf):
            break
    lines = [_heading(found), "", *(_table_line(row, widths, len(found.by)) for row in table)]
    lines.insert(-1, "─" * _total_width(widths))
    met = {row.grade for row in (*found.rows, found.total)}
    lines += ["", *(text for grade, text in _MEANINGS.items() if grade in met)] if met & _MEANINGS.keys() else []
    lines += ["", *found.notes] if found.notes else []
    return "\n".join(lines) + "\n"


def _heading(found: CostReport) -> str:
    since, until = (at.strftime("%Y-%m-%d %H:%M") for at in (found.since, found.until))
    return f"{since} to {until} ({found.timezone})"


def _dimension_values(row: CostRow) -> tuple[str, ...]:
    return tuple("-" if value is None else escape(value) for value in row.by)


def _table_cells(row: CostRow, units: Sequence[str]) -> tuple[str, ...]:
    """Return the cells of a row, with a column for each of ``units``, which are billed besides tokens."""
    requests, failed, input_tokens, cached, output = _row_figures(row)
    share = "-" if row.cached_share is None else f"{row.cached_share:.0%}"
    billed = [_short_number(dict(row.sum.usage.units).get(unit, 0)) for unit in units]
    return (
        f"{requests:,}",
        "-" if not requests else f"{failed / requests:.1%}",
        *(
            _short_number(input_tokens),
            _short_number(cached),
            share,
            _short_number(row.sum.usage.cache_write),
            _short_number(output),
        ),
        *billed,
        SUBSCRIPTION_CELL if row.grade == "subscription" else _SIGNS[row.grade] + _dollar_text(row.sum.nanos),
    )


def _dollar_text(nanos: int) -> str:
    """Return dollars, to a hundredth of a cent."""
    shown = _dollars(nanos).quantize(Decimal("0.0001"))
    return "<0.0001" if nanos and not shown else f"{shown:,f}"


def _short_number(number: int) -> str:
    """Return a number in about four characters, such as ``12.3M``."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= size * 10 or (number >= size and size > 1000):
            return f"{number / size:.1f}{letter}" if number < 1000 * size else f"{number // size:,}{letter}"
    return str(number)


def _drop_columns(left_out: Sequence[str], rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return ``rows``, the first of which is the header, without the columns in ``left_out``."""
    kept = [place for place, name in enumerate(rows[0]) if name not in left_out]
    return [tuple(row[place] for place in kept) for row in rows]


def _total_width(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _widths(rows: Sequence[tuple[str, ...]], names: Sequence[int]) -> list[int]:
    """Return the widths of all columns; on a narrow terminal, the columns ``names`` become narrower."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    width = columns(sys.stdout)
    while width is not None and names and _total_width(widths) > width:
        widest = max(names, key=lambda place: widths[place])
        if widths[widest] <= SHORTEST:
            break
        widths[widest] -= 1
    return widths


def _table_line(row: tuple[str, ...], widths: Sequence[int], names: int) -> str:
    cells = [
        _shorten_middle(text, width).ljust(width) if place < names else text.rjust(width)
        for place, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
    return _GAP.join(cells).rstrip()


def _shorten_middle(text: str, width: int) -> str:
    """Shorten ``text`` in the middle, because model names differ at the end."""
    end = (width - 1) * 2 // 3
    return text if len(text) <= width else f"{text[: width - 1 - end]}…{text[-end:]}"


FORMATS: Final = {"table": as_table, "csv": as_csv, "json": as_json}


def notes_of(
    parts: Sequence[FoldedPart],
    by: Sequence[str],
    since: datetime,
    until: datetime,
    kept_from: datetime,
    broken: Sequence[int] = (),
) -> tuple[str, ...]:
    """Return a note for each kind of missing data in the period.

    ``parts`` are the summary rows in the period, ``kept_from`` is the start of the ledger, ``broken`` are the times
    after which a process wrote no more lines."""
    gaps = (
        f"≥ requests after {_time_text(last, since)} may be missing: since then, one gateway has not written to the "
        "ledger. Their costs are in its log"
        for last in broken
    )
    return (*_notes(parts, by, since, until, kept_from), *gaps)


def _notes(
    parts: Sequence[FoldedPart], by: Sequence[str], since: datetime, until: datetime, kept_from: datetime
) -> Iterator[str]:
    if since < kept_from:
        yield f"the ledger starts at {kept_from:%Y-%m-%d %H:%M} (ledger.keep)"
    for part in parts:
        if part.level == LOST_COUNT:
            yield (
                f"≥ {part.exchanges:,} requests from {_time_text(part.first, since)} to {_time_text(part.last, since)} "
                "are missing: the database was unavailable. Their costs are in the log"
            )
        elif part.level == DAY_SUM and "run" in by:
            yield (
                f"the row - includes {part.exchanges:,} requests up to {_time_text(part.last, since)} whose runs were "
                "deleted to save space (ledger.max_bytes)"
            )
    if any(
        _microseconds(since) > part.first or _microseconds(until) <= part.last
        for part in parts
        if part.level != LOST_COUNT
    ):
        yield (
            "the ledger has only sums for some requests (ledger.max_bytes): a sum across the start or end of this "
            "report counts at its end time"
        )


def _time_text(micro: int, like: datetime) -> str:
    return f"{datetime.fromtimestamp(micro / 1e6, like.tzinfo):%Y-%m-%d %H:%M}"
