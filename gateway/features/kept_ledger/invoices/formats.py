"""A comparison as CSV and as JSON, with exact amounts."""

from decimal import Decimal
from typing import Any, Final

from gateway.features.kept_ledger.invoices.comparison import MEANINGS, InvoiceComparison, ModelDifference
from gateway.features.kept_ledger.usage_formats import csv_cell, csv_text, json_text

_COLUMNS: Final = ("provider", "model", "invoice_usd", "ledger_usd", "difference_usd", "within")


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
        names = [csv_cell(one) for one in (row.family, row.model)]
        rows.append((*names, *amounts, "yes" if row.is_within else "no", *causes))
    return csv_text((*_COLUMNS, *MEANINGS), rows)


def as_json(found: InvoiceComparison) -> str:
    """Return a JSON object with the causes of each row, and the sums of each day that differs."""
    content = {
        "since": found.since.isoformat(), "until": found.until.isoformat(), "timezone": "UTC",
        "within": found.is_within, "complete": found.is_complete,
        "rows": [
            {"provider": row.family, "model": row.model, **_members(row),
             "price_and_quantity_separated": not row.is_inseparable,
             "days": [
                 {"day": cell.key.day.isoformat(), "invoice_usd": exact_text(cell.billed_usd),
                  "ledger_usd": exact_text(cell.own.usd), "difference_usd": exact_text(cell.difference)}
                 for cell in row.days
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
