"""The report of ``trigate reconcile`` for terminals."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from gateway.commands.tables import TableColumn, table_lines
from gateway.commands.terminal import page, wrap_sentences
from gateway.features.kept_ledger.invoices.comparison import MEANINGS, InvoiceComparison, ModelDifference

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
