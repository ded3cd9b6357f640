"""A comparison as a table, as CSV and as JSON. Amounts in CSV and JSON are exact."""

from decimal import Decimal
from typing import Any, Final

from gateway.invoices.causes import MEANINGS
from gateway.invoices.comparison import InvoiceComparison, ModelDifference
from gateway.kept_ledger.usage_formats import csv_cell, csv_text, json_text
from gateway.logs.masking import escape

_INSEPARABLE: Final = (
    "* the invoice does not state these tokens, so price and quantity cannot be separated; the provider's usage report "
    "has them"
)
_COLUMNS: Final = ("provider", "model", "account", "invoice_usd", "ledger_usd", "difference_usd", "within")


def exact_text(usd: Decimal) -> str:
    """Return an amount with all its digits and without an exponent, at least two decimals."""
    text = f"{usd:f}"
    whole, point, decimals = text.partition(".")
    decimals = decimals.rstrip("0") if point else ""
    return f"{whole}.{decimals:0<2}"


def as_csv(found: InvoiceComparison) -> str:
    """Return a row for each model, with a column for each cause."""
    rows = []
    for row in found.rows:
        amounts = [exact_text(one) for one in (row.billed, row.own, row.difference)]
        causes = [exact_text(row.causes[cause]) if cause in row.causes else "" for cause in MEANINGS]
        names = [csv_cell(one) for one in (row.family, row.model, row.account)]
        rows.append((*names, *amounts, "yes" if row.is_within else "no", *causes))
    return csv_text((*_COLUMNS, *MEANINGS), rows)


def as_json(found: InvoiceComparison) -> str:
    """Return a JSON object with the causes of each row and day."""
    content = {
        "since": found.since.isoformat(), "until": found.until.isoformat(), "timezone": "UTC",
        "within": found.is_within, "complete": found.is_complete,
        "rows": [
            {"provider": row.family, "model": row.model, "account": row.account, **_members(row),
             "price_and_quantity_separated": not row.is_inseparable,
             "days": [
                 {"day": None if day.day is None else day.day.isoformat(), "invoice_usd": exact_text(day.billed),
                  "ledger_usd": exact_text(day.own), "difference_usd": exact_text(day.billed - day.own),
                  "causes": {cause: exact_text(usd) for cause, usd in day.causes.items()}}
                 for day in row.days
             ]}
            for row in found.rows
        ],
        "total": _members(found.total), "notes": list(found.notes),
    }  # fmt: skip
    return json_text(content)


def _members(row: ModelDifference) -> dict[str, Any]:
    return {
        "invoice_usd": exact_text(row.billed), "ledger_usd": exact_text(row.own),
        "difference_usd": exact_text(row.difference), "within": row.is_within,
        "causes": {cause: exact_text(usd) for cause, usd in row.causes.items()},
    }  # fmt: skip


def as_table(found: InvoiceComparison) -> str:
    """Return a table with the causes below each model."""
    last = found.until.toordinal() - found.since.toordinal() - 1
    days = f"{found.since} to {found.since.fromordinal(found.since.toordinal() + last)} (UTC)"
    head = ("provider", "model", "account", "invoice", "ledger", "difference", "")
    rows = [head, *(_cells(row) for row in (*found.rows, found.total))]
    has_accounts = any(row.account for row in found.rows)
    rows = rows if has_accounts else [(*row[:2], *row[3:]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = 3 if has_accounts else 2
    lines = [days, "", _line(rows[0], widths, texts)]
    for row, cells in zip((*found.rows, found.total), rows[1:], strict=True):
        if row.family == "total":
            lines.append("─" * (sum(widths) + 2 * (len(widths) - 1)))
        lines.append(_line(cells, widths, texts))
        lines += [f"  {cause:<13}{_money(usd):>14}" for cause, usd in _by_size(row)]
    met = {cause for row in found.rows for cause in row.causes}
    lines += ["", *(f"{cause}: {meaning}" for cause, meaning in MEANINGS.items() if cause in met)] if met else []
    if any(row.is_inseparable for row in found.rows):
        lines += ["", _INSEPARABLE]
    lines += ["", *found.notes] if found.notes else []
    return "\n".join([*lines, "", _verdict(found)]) + "\n"


def _verdict(found: InvoiceComparison) -> str:
    if not found.rows and not found.is_complete:
        return "nothing was compared"
    missing = "" if found.is_complete else "; pages are missing"
    return f"{'within' if found.is_within else 'beyond'} tolerance{missing}"


def _by_size(row: ModelDifference) -> list[tuple[str, Decimal]]:
    return sorted(row.causes.items(), key=lambda one: -abs(one[1]))


def _cells(row: ModelDifference) -> tuple[str, ...]:
    mark = "" if row.is_within else "!"
    mark += "*" if row.is_inseparable else ""
    names = [escape(one) for one in (row.family, row.model or "-", row.account or "-")]
    if row.family == "total":
        names = ["total", "", ""]
    return (*names, _money(row.billed, sign=False), _money(row.own, sign=False), _money(row.difference), mark)


def _money(usd: Decimal, *, sign: bool = True) -> str:
    shown = usd.quantize(Decimal("0.0001"))
    if usd and not shown:
        return "<0.0001" if usd > 0 else ">-0.0001"
    return f"{shown:+,f}" if sign and shown else f"{shown:,f}"


def _line(cells: tuple[str, ...], widths: list[int], texts: int) -> str:
    padded = [
        text.ljust(width) if place < texts else text.rjust(width)
        for place, (text, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()
