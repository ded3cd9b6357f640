"""``trigate costs``: sums up the stored ledger. It only reads, and gateways may write at the same time."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, tzinfo
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import attrs
import click
import trio

from configfile.document import ConfigError
from gateway.commands.check import load_or_explain
from gateway.commands.tables import TableColumn, table_lines
from gateway.commands.terminal import echo_styled, page, say, wrap_sentences
from gateway.config.kinds import zone_of
from gateway.config.settings import Config
from gateway.config.state_storage import StateStorage
from gateway.features.kept_ledger.commands.amounts import (
    MEANINGS,
    dollar_text,
    money_cell,
    name_cell,
    why_no_names,
)
from gateway.features.kept_ledger.settings import ledger_in
from gateway.features.kept_ledger.statements import DIMENSIONS, Dimension, Filters
from gateway.features.kept_ledger.table import LedgerTable
from gateway.features.kept_ledger.usage import (
    ByValues,
    ListPrice,
    UsageQuery,
    UsageReport,
    UsageRow,
    query_in,
    read_usage,
)
from gateway.features.kept_ledger.usage_formats import as_csv, as_json, figures_of
from gateway.open_store import open_keeping_database
from gateway.stores.errors import Unavailable
from gateway.viewing.money import SIGNS, dollars, short_number
from gateway.viewing.periods import parse_moment, parse_month
from providers.catalog.prices import SUBSCRIPTION_RANK, computed_cost, price_of
from streams.events import Usage

Format: TypeAlias = Literal["table", "csv", "json"]

GOOD, BAD_CONFIG, UNREADABLE = 0, 1, 2
TIMEOUT: Final = 120.0
"""The time limit for a database query, in seconds."""
STATUS_TIMEOUT: Final = 10.0
"""That for a query of ``trigate status``, which must show a locked database instead of waiting for it."""


@attrs.frozen
class CostOptions:
    """The options of ``trigate costs`` and ``cache``: a period, columns, and the wanted values as texts
    ``NAME=VALUE``."""

    by: Sequence[str] = ()
    since: str | None = None
    until: str | None = None
    month: str | None = None
    only: Sequence[str] = ()
    form: Format = "table"
    at_list_price: bool = False


def run(path: Path | None, **given: Any) -> int:
    """Run ``trigate costs`` and return its exit status: 0, 1 for an invalid config, 2 if the ledger cannot be read.

    Raises ``click.UsageError``."""
    config = load_or_explain(path, within=("state_storage", "secret_stores"), with_stored_secrets=True)
    if config is None:
        return BAD_CONFIG
    query = query_of(options := CostOptions(**given), config)
    try:
        found = trio.run(_read, config, query, options.at_list_price)
    except Unavailable as error:
        say(f"{config.path}: state_storage: {error.with_cause()}")
        return UNREADABLE
    echo_styled(FORMATS[options.form](found), nl=False)
    if options.only and not found.rows:
        say(f"no request of this period matches {' '.join(f'--only {one}' for one in options.only)}")
    if options.form == "csv":
        for note in found.notes:
            say(note)
    return GOOD


def spending_today(config: Config) -> tuple[str, str]:
    """Return the row of today's spending for ``trigate status``."""
    try:
        query = query_of(CostOptions(since="today", by=("day",)), config)
        total = trio.run(partial(_read, config, query, limit=STATUS_TIMEOUT)).total
    except Unavailable as error:
        return "spent", f"unknown: {error.with_cause()}"
    if total.grade == "subscription":
        return "spent", "nothing today besides a subscription"
    amount = dollars(total.sum.nanos)
    text = "less than $0.01" if 0 < amount < Decimal("0.01") else f"{SIGNS[total.grade]}${amount:.2f}"
    return "spent", f"{text} today"


def query_of(options: CostOptions, config: Config) -> UsageQuery:
    """Return the query of ``options``. Raises ``click.UsageError``."""
    zone = zone_of(config.timezone)
    now = datetime.now(zone)
    by = tuple(dict.fromkeys(options.by)) or (("key",) if config.client_keys else ("model",))
    return query_in(config, now, _period(options, now, zone), by=by, only=_filters(options.only))


def _period(options: CostOptions, now: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    since, until = options.since, options.until
    if options.month is not None:
        if since is not None or until is not None:
            raise click.UsageError("--month is a whole month: leave out --since and --until")
        try:
            return parse_month(options.month, zone)
        except ValueError as error:
            raise click.UsageError(f"--month {options.month!r}: {error}") from None
    since = "30d" if since is None else since
    span = _moment(since, now, "--since"), now if until is None else _moment(until, now, "--until", end=True)
    if span[0].timestamp() >= span[1].timestamp():  # Python compares times of one zone by their clocks
        raise click.UsageError(f"--since {since} must be before --until {until or 'now'}")
    return span


def _moment(text: str, now: datetime, option: str, *, end: bool = False) -> datetime:
    try:
        return parse_moment(text, now, end=end)
    except ValueError as error:
        raise click.UsageError(f"{option} {text!r}: {error}") from None


def _filters(texts: Sequence[str]) -> Filters:
    """Return the filters of ``--only``; several values of one name are alternatives. Raises ``click.UsageError``."""
    found: dict[Dimension, tuple[str | None, ...]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = "key" if name == "client" else name
        if not equals or name not in DIMENSIONS:
            raise click.UsageError(f"--only {text!r}: expected NAME=VALUE with one of {', '.join(DIMENSIONS)}")
        found[name] = (*found.get(name, ()), value or None)
    return found


async def _read(config: Config, query: UsageQuery, at_list_price: bool = False, limit: float = TIMEOUT) -> UsageReport:
    async with open_ledger(config, limit) as table:
        found = await read_usage(table, query)
        if not at_list_price:
            return found
        by_plan = {**query.only, "grade": (str(SUBSCRIPTION_RANK),)}
        plan = await read_usage(table, attrs.evolve(query, by=(*query.by, "model"), only=by_plan), found.labels)
    return attrs.evolve(found, list_prices=_list_prices(plan, len(query.by)))


def _list_prices(plan: UsageReport, width: int) -> dict[ByValues, ListPrice]:
    """Return what the usage of plans in ``plan`` would have cost, by the first ``width`` values of its rows.

    The size of a prompt can decide its price: each request counts with the mean of its row."""
    found: dict[ByValues, ListPrice] = {}
    for row in plan.rows:
        provider, _, model = (row.by[-1] or "").partition("/")
        price = price_of(_LISTED_AS.get(provider, provider), model)
        usage, number = row.sum.usage, max(row.sum.requests, 1)
        kinds = ("input", "cache_read", "cache_write", "output")
        mean = Usage(**{kind: getattr(usage, kind) // number for kind in kinds}, units=usage.units)
        if price is not None:
            above = next((one for least, one in reversed(price.above) if mean.prompt > least), price)
            price = attrs.evolve(above.with_cache_writes, above=())
        cost = computed_cost(price, usage)
        nanos, is_whole = found.get(row.by[:width], (0, True))
        found[row.by[:width]] = nanos + cost.nanos, is_whole and price is not None
    return found


@asynccontextmanager
async def open_ledger(config: Config, limit: float = TIMEOUT) -> AsyncIterator[LedgerTable]:
    """Open the ledger for the block, with ``limit`` seconds for a query. Raises ``Unavailable``, with advice, if there
    is none."""
    storage = config.state_storage or StateStorage()
    if storage.path is not None and not storage.path.exists():
        raise Unavailable(f"{storage.path.absolute()} does not exist: no gateway has stored anything there")
    if not ledger_in(storage).keep:
        raise Unavailable("ledger.keep is 0, so there is no ledger: remove it to keep the ledger for 400 days")
    async with AsyncExitStack() as stack:
        try:
            database = await stack.enter_async_context(open_keeping_database(config, limit))
        except ConfigError as error:
            mistake = error.mistakes[0]
            raise Unavailable(f"{mistake.found}: {mistake.expected}") from None
        if database is None:
            raise Unavailable(
                f"type {storage.type} stores no ledger; costs are only in the log and at /metrics: set state_storage "
                f"to {{type: sqlite, path: {_usual_file(config)}}} or to postgres, and restart the gateway"
            )
        yield LedgerTable(database)


def _usual_file(config: Config) -> Path:
    """Return where the ledger of a gateway with ``config`` could be: a person cannot write the place of a service."""
    folder = Path("/var/lib/trigate") if config.path is None else config.path.absolute().parent
    return (folder if folder.is_relative_to(os.path.expanduser("~")) else Path("/var/lib/trigate")) / "state.sqlite"


# How it looks

_LISTED_AS: Final = {"chatgpt": "openai"}
"""The providers whose list prices apply to the models of plans."""

_LEFT_OUT: Final = ("cached", "written", "missed", "lost usd")
"""Columns to omit on a narrow terminal, in this order; CSV and JSON always have them."""


def as_table(found: UsageReport) -> str:
    """Return the report as a table."""
    listed = [_list_cells(found, row) for row in found.rows]
    found = with_labels(found)
    units = [unit for unit, _ in found.total.sum.usage.units]
    has_verdicts = found.total.sum.prompt_cache.could > 0
    figures = (
        found.count_name,
        "failed",
        "input",
        "cached",
        "cache%",
        "written",
        "output",
        *("searches" if unit == "search" else f"{unit}s" for unit in units),
        *(("missed", "lost usd") if has_verdicts else ()),
        "usd",
        *(() if found.list_prices is None else ("plan at list price",)),
    )
    ranks = {name: rank for rank, name in enumerate(_LEFT_OUT, 1)}
    head = [
        *(TableColumn(name, "name") for name in found.by),
        *(TableColumn(name, "figure", ranks.get(name, 0)) for name in figures),
    ]
    rows = [
        (*map(name_cell, found.by, row.by), *_table_cells(row, units, has_verdicts), *cells)
        for row, cells in zip(found.rows, listed, strict=True)
    ]
    total = ("total", *[""] * (len(found.by) - 1), *_table_cells(found.total, units, has_verdicts))
    total = (*total, *_list_cells(found, found.total))
    met = {row.grade for row in (*found.rows, found.total)}
    meanings = [text for grade, text in MEANINGS.items() if grade in met]
    whys = why_no_names(found.by, [row.by for row in found.rows])
    return page([heading(found)], table_lines(head, rows, [total]), [*meanings, *whys], wrap_sentences(found.notes))


def _list_cells(found: UsageReport, row: UsageRow) -> tuple[str, ...]:
    """Return the cell of what a plan's use would have cost, if the report has it."""
    if (listed := found.list_price_of(row)) is None:
        return ()
    nanos, is_whole = listed
    return (("~" if is_whole else "≥") + dollar_text(nanos) if nanos or not is_whole else "-",)


def with_labels(found: UsageReport) -> UsageReport:
    """Return the report with a column of people's labels after that of their names, if it has any."""
    place = next((place for place, name in enumerate(found.by, 1) if name in ("key", "client")), None)
    if place is None or "label" in found.by or not any(map(found.label_of, found.rows)):
        return found
    by = (*found.by[:place], "label", *found.by[place:])
    rows = [attrs.evolve(row, by=(*row.by[:place], found.label_of(row), *row.by[place:])) for row in found.rows]
    return attrs.evolve(found, query=attrs.evolve(found.query, by=by), rows=tuple(rows))


def heading(found: UsageReport) -> str:
    query = found.query
    since, until = (at.strftime("%Y-%m-%d %H:%M") for at in (query.since, query.until))
    return f"{since} to {until} ({query.timezone})"


def _table_cells(row: UsageRow, units: Sequence[str], has_verdicts: bool) -> tuple[str, ...]:
    """Return the cells of a row, with a column for each of ``units``, which are billed besides tokens.

    ``has_verdicts`` adds the columns of tokens that providers' prompt caches missed, and of their loss."""
    requests, failed, input_tokens, cached, output = figures_of(row)
    share = "-" if row.cached_share is None else f"{row.cached_share:.0%}"
    lost = row.sum.prompt_cache
    billed = [short_number(dict(row.sum.usage.units).get(unit, 0)) for unit in units]
    return (
        f"{requests:,}",
        "-" if not requests else f"{failed / requests:.1%}",
        *(
            short_number(input_tokens),
            short_number(cached),
            share,
            short_number(row.sum.usage.cache_write),
            short_number(output),
        ),
        *billed,
        *((short_number(lost.missed), money_cell(lost.nanos, lost.grade)) if has_verdicts else ()),
        "subscription" if row.grade == "subscription" else SIGNS[row.grade] + dollar_text(row.sum.nanos),
    )


FORMATS: Final = {"table": as_table, "csv": as_csv, "json": as_json}
