"""``trigate reconcile``: compares providers' invoices with the stored ledger. It only reads."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, timedelta
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Final, Literal, TypeAlias

import attrs
import click
import trio

from gateway.commands.check import load_or_explain
from gateway.commands.tables import TableColumn, table_lines
from gateway.commands.terminal import echo_styled, page, say, wrap_sentences
from gateway.config.settings import Config
from gateway.features.kept_ledger.commands.costs import open_ledger
from gateway.features.kept_ledger.invoices.comparison import (
    MEANINGS,
    InvoiceComparison,
    ModelDifference,
    Tolerance,
    compare,
)
from gateway.features.kept_ledger.invoices.formats import as_csv, as_json
from gateway.features.kept_ledger.invoices.line import UnreadableInvoice
from gateway.features.kept_ledger.invoices.reading import ReadFiles, read_files
from gateway.features.kept_ledger.invoices.sums import Invoice, OwnSide, read_own_side
from gateway.stores.errors import Unavailable
from gateway.viewing.periods import parse_month

WITHIN, UNREADABLE, BEYOND = 0, 1, 3
_TOLERANCE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(%|usd)\s*", re.I)
LONGEST_PERIOD: Final = timedelta(days=800)
_DIGITS: Final = 100
"""Digits of sums: enough for exact sums of any amounts in invoices."""

Format: TypeAlias = Literal["table", "csv", "json"]


def run(
    files: Sequence[Path], path: Path | None, month: str | None = None, tolerance: Sequence[str] = (),
    form: Format = "table",
) -> int:  # fmt: skip
    """Run ``trigate reconcile`` and return its exit status: 0 within tolerance, 1 if something cannot be read, 3
    otherwise. Raises ``click.UsageError``."""
    accepted = parse_tolerance(tolerance)
    days = None if month is None else _month_days(month)
    config = load_or_explain(path, within=("state_storage",))
    if config is None:
        return UNREADABLE
    try:
        with localcontext(prec=_DIGITS):
            found = _compare(files, config, days, accepted)
            echo_styled(FORMATS[form](found), nl=False)
    except UnreadableInvoice as error:
        say(str(error))
        return UNREADABLE
    except Unavailable as error:
        say(f"{config.path}: state_storage: {error.with_cause()}")
        return UNREADABLE
    if form == "csv":
        for note in found.notes:
            say(note)
    return WITHIN if found.is_within else BEYOND


def parse_tolerance(texts: Sequence[str]) -> Tolerance:
    """Return the tolerance of texts such as ``2%`` and ``0.50usd``. Raises ``click.UsageError``."""
    found = Tolerance()
    for text in texts:
        if (match := _TOLERANCE.fullmatch(text)) is None or len(text) > 20:
            raise click.UsageError(f"--tolerance {text!r}: expected a part or an amount, such as 2% or 0.50usd")
        if match[2] == "%":
            found = attrs.evolve(found, share=Decimal(match[1]) / 100)
        else:
            found = attrs.evolve(found, usd=Decimal(match[1]))
    return found


def _month_days(text: str) -> tuple[date, date]:
    try:
        since, until = parse_month(text, UTC)
    except ValueError as error:
        raise click.UsageError(f"--month {text!r}: {error}") from None
    return since.date(), until.date()


def _compare(
    files: Sequence[Path], config: Config, month: tuple[date, date] | None, tolerance: Tolerance
) -> InvoiceComparison:
    since, until = month or _days_of(files)
    own = trio.run(_read_ledger, config, since, until)
    found = ReadFiles()
    invoice = Invoice(own, since, until)
    for line in read_files(files, found):
        invoice.add(line)
    notes = [*(f"{path}: {report}" for path, report in found.formats.items()), *found.notes]
    if found.other_rows:
        notes.append(f"{found.other_rows:,} rows of services without models were ignored")
    return compare(invoice, tolerance, notes, is_complete=found.is_complete)


def _days_of(files: Sequence[Path]) -> tuple[date, date]:
    """Return the days that the files cover, the end exclusive. Raises ``UnreadableInvoice``."""
    first, last = None, None
    for line in read_files(files, ReadFiles()):
        day = line.day or line.since
        first, last = min(first or day, day), max(last or day, day)
    if first is None or last is None:
        raise UnreadableInvoice("the files have no charges for models: give the pages that list models")
    if last - first > LONGEST_PERIOD or last.year == date.max.year:  # no day follows the last one
        raise UnreadableInvoice(f"the files cover {first} to {last}; choose a month with --month")
    return first, last + timedelta(days=1)


async def _read_ledger(config: Config, since: date, until: date) -> OwnSide:
    async with open_ledger(config) as table:
        return await read_own_side(table, since, until)


# How it looks


_INSEPARABLE: Final = (
    "* the invoice does not state these tokens, so price and quantity cannot be separated; the provider's usage report "
    "has them"
)


def as_table(found: InvoiceComparison) -> str:
    """Return a table with the causes below each model."""
    last = found.until.toordinal() - found.since.toordinal() - 1
    days = f"{found.since} to {found.since.fromordinal(found.since.toordinal() + last)} (UTC)"
    columns = (
        *(TableColumn(name, "name") for name in ("provider", "model")),
        *(TableColumn(title, "figure") for title in ("invoice", "ledger", "difference")),
        TableColumn("", "word"),
    )
    rows = [cells for row in found.rows for cells in _rows((row.family, row.model or "-"), row)]
    table = table_lines(columns, rows, [*_rows(("total", ""), found.total)])
    met = {cause for row in found.rows for cause in row.causes}
    meanings = [f"{cause}: {meaning}" for cause, meaning in MEANINGS.items() if cause in met]
    remarks = [_INSEPARABLE] if any(row.is_inseparable for row in found.rows) else []
    notes = (wrap_sentences(sentences) for sentences in (meanings, remarks, found.notes))
    return page([days], table, *notes, [_verdict(found)])


def _verdict(found: InvoiceComparison) -> str:
    if not found.rows and not found.is_complete:
        return "nothing was compared"
    missing = "" if found.is_complete else "; parts of the invoice are missing"
    return f"{'within' if found.is_within else 'beyond'} tolerance{missing}"


def _rows(names: tuple[str, ...], row: ModelDifference) -> Iterator[tuple[str, ...]]:
    """Yield the amounts of a model, then each cause, the largest first."""
    mark = ("" if row.is_within else "!") + ("*" if row.is_inseparable else "")
    yield (*names, _money(row.billed, sign=False), _money(row.own, sign=False), _money(row.difference), mark)
    for cause, usd in sorted(row.causes.items(), key=lambda one: -abs(one[1])):
        yield (f"  {cause}", *[""] * (len(names) + 1), _money(usd), "")


def _money(usd: Decimal, *, sign: bool = True) -> str:
    shown = usd.quantize(Decimal("0.0001"))
    if usd and not shown:
        return "<0.0001" if usd > 0 else ">-0.0001"
    return f"{shown:+,f}" if sign and shown else f"{shown:,f}"


FORMATS: Final = {"table": as_table, "csv": as_csv, "json": as_json}
