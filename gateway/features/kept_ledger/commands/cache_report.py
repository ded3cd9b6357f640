"""``trigate cache`` over the kept ledger: what providers' prompt caches missed, why, and what that cost.

It only reads, and gateways may write at the same time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import click
import trio

from gateway.commands.check import load_or_explain
from gateway.commands.tables import TableColumn, table_lines
from gateway.commands.terminal import echo_styled, page, say, wrap_sentences
from gateway.config.settings import Config
from gateway.features.kept_ledger.commands.amounts import MEANINGS, money_cell, name_cell, why_no_names
from gateway.features.kept_ledger.commands.cache_advice import LEAST_NANOS, advise
from gateway.features.kept_ledger.commands.costs import (
    BAD_CONFIG,
    GOOD,
    UNREADABLE,
    CostOptions,
    heading,
    open_ledger,
    query_of,
)
from gateway.features.kept_ledger.prompt_cache_usage import (
    CAUSE,
    CacheReport,
    CacheRow,
    as_csv,
    as_json,
    read_prompt_caches,
)
from gateway.features.kept_ledger.table import CauseSum
from gateway.features.kept_ledger.usage import UsageQuery
from gateway.logs.masking import escape
from gateway.stores.errors import Unavailable
from gateway.viewing.money import short_number
from providers.catalog.prices import NANOS, grade_at

SINCE: Final = "7d"
"""The default period."""


def run(path: Path | None, **given: Any) -> int:
    """Run ``trigate cache`` and return its exit status: 0, 1 for an invalid config, 2 if the ledger cannot be read.

    Raises ``click.UsageError``."""
    config = load_or_explain(path, within=("state_storage", "secret_stores"), with_stored_secrets=True)
    if config is None:
        return BAD_CONFIG
    options = CostOptions(**given)
    known = [name for name in options.by if name != CAUSE]
    query = query_of(attrs.evolve(options, by=known, since=options.since or SINCE), config)
    query = attrs.evolve(query, by=query.by if known or not options.by else ())
    try:
        found, advice = trio.run(_read, config, query, tuple(dict.fromkeys(options.by)) or query.by)
    except Unavailable as error:
        say(f"{config.path}: state_storage: {error.with_cause()}")
        return UNREADABLE
    if options.form == "json":
        click.echo(as_json(found, advice), nl=False)
        return GOOD
    echo_styled(as_csv(found) if options.form == "csv" else as_table(found, advice), nl=False)
    if options.form == "csv":
        for note in (*advice, *found.usage.notes):
            say(note)
    return GOOD


async def _read(config: Config, query: UsageQuery, by: tuple[str, ...]) -> tuple[CacheReport, tuple[str, ...]]:
    async with open_ledger(config) as table:
        found = await read_prompt_caches(table, query, by)
        (clients,) = await table.causes(("key",), [query.period], only=query.only)
        expiries = () if query.only else await table.expiries(query.period)
        unkeyed = () if query.only else await table.requests_without_key(query.period)
        return found, tuple(advise(clients, expiries, unkeyed, config))


# How it looks


_NOTHING: Final = (
    "no request of this period could have read from a prompt cache: the gateway compares prompts of 2,000 bytes or more"
)
_NO_CAUSE: Final = "no request of this period missed enough of a prompt cache to have a cause: leave out --by cause"
_MOST_UNREAD: Final = 5
_LISTED: Final = 4
"""Causes that a row lists."""


def as_table(found: CacheReport, advice: Sequence[str] = ()) -> str:
    """Return the report as a table, with ``advice`` below it."""
    grades = {grade_at(row.sum.grade) for row in found.rows if row.sum.grade is not None}
    unread = [] if found.is_by_cause else _unread_writes(found)
    return page(
        [heading(found.usage)],
        _rows(found) if found.rows else wrap_sentences([_NO_CAUSE if found.is_by_cause else _NOTHING]),
        [f"unread writes: {', '.join(unread)}"] if unread else [],
        [text for grade, text in MEANINGS.items() if grade in grades],
        why_no_names(found.by, [row.by for row in found.rows]),
        wrap_sentences(f"advice: {line}" for line in advice),
        wrap_sentences(found.usage.notes),
    )


def _unread_writes(found: CacheReport) -> list[str]:
    """Return the names of the rows that paid a cent or more for entries that were never read, with the amount."""
    rows = [row for row in found.rows if row.sum.unread_nanos >= LEAST_NANOS]
    rows.sort(key=lambda row: -row.sum.unread_nanos)
    texts = [f"{escape(' '.join(_names(found, row)))} {row.sum.unread_nanos / NANOS:,.2f} usd" for row in rows]
    return [*texts[:_MOST_UNREAD], *([f"+{len(texts) - _MOST_UNREAD}"] if len(texts) > _MOST_UNREAD else [])]


def _rows(found: CacheReport) -> list[str]:
    by = _by(found)
    figures = ("missed", "lost usd") if found.is_by_cause else ("input", "could", "read", "share", "lost usd")
    columns = [*(TableColumn(name, "name") for name in by), *(TableColumn(name, "figure") for name in figures)]
    total = ("total", *[""] * (len(by) - 1), *_cells(found, found.total))
    rows = [(*_names(found, row), *_cells(found, row)) for row in found.rows]
    if not found.is_by_cause:
        columns.append(TableColumn("because"))
        rows = [(*cells, _causes_text(row.causes)) for cells, row in zip(rows, found.rows, strict=True)]
        total = (*total, "")
    return table_lines(columns, rows, [total] if len(rows) > 1 else [])


def _by(found: CacheReport) -> tuple[str, ...]:
    """Return the columns of names, with the labels of people if there are any."""
    if not any(map(found.label_of, found.rows)):
        return found.by
    return (*found.by, "label")


def _names(found: CacheReport, row: CacheRow) -> tuple[str, ...]:
    names = (*row.by, *((found.label_of(row),) if len(_by(found)) > len(found.by) else ()))
    return tuple(name_cell(column, name) for column, name in zip(_by(found), names, strict=True))


def _cells(found: CacheReport, row: CacheRow) -> tuple[str, ...]:
    lost = money_cell(row.sum.nanos, row.sum.grade)
    if found.is_by_cause:
        return short_number(row.sum.missed), lost
    share = "-" if row.share is None else f"{int(row.share * 100)}%"  # 99.9 % is not everything
    return short_number(row.input), short_number(row.sum.could), short_number(row.sum.read), share, lost


def _causes_text(causes: Sequence[CauseSum]) -> str:
    """Return the first causes with their dollars, those without a loss with their tokens."""
    parts = [f"{one.cause} {_amount(one)}" for one in causes]
    return ", ".join(parts[:_LISTED]) + (f", +{len(parts) - _LISTED}" if len(parts) > _LISTED else "")


def _amount(cause: CauseSum) -> str:
    if not cause.tokens:
        return "(no count)"  # the provider reported none
    if not cause.nanos:
        return f"{short_number(cause.tokens)} tokens"
    return f"{cause.nanos / 10**9:,.2f}" if cause.nanos >= 10**7 else f"{cause.nanos / NANOS:.4f}"
