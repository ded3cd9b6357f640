"""Plain CSV: ``day,model,usd`` and optionally the other columns of ``KNOWN``.

``input`` includes the tokens that were read from a cache, as in the CSV of ``trigate costs``."""

from typing import Final

from gateway.features.kept_ledger.invoices.line import (
    ZERO,
    InvoiceLine,
    InvoiceRow,
    Tokens,
    UnreadableInvoice,
    check_currency,
)
from gateway.features.kept_ledger.invoices.model_names import family_of

COLUMNS: Final = frozenset(("day", "model", "usd"))
KNOWN: Final = COLUMNS | {"account", "input", "cached", "cache_write", "output", "currency"}


def read_row(row: InvoiceRow) -> InvoiceLine:
    """Return the line of a row. Raises ``UnreadableInvoice``."""
    day = row.date("day")
    check_currency(row.value("currency"), row.where)
    if (model := row.text("model")) is None:
        raise UnreadableInvoice(f"{row.where}, model: empty: write the model that the line is for")
    tokens = None
    if row.text("input") or row.text("output"):
        cached, written = row.count("cached"), row.count("cache_write")
        tokens = Tokens(max(row.count("input") - cached - written, ZERO), cached, written, row.count("output"))
    return InvoiceLine(
        provider=family_of(model.partition("/")[0] if "/" in model else ""),
        day=day,
        since=day,
        usd=row.amount("usd"),
        model=model,
        accounts=row.texts("account"),
        tokens=tokens,
        splits_cache="cached" in row.members,
    )
