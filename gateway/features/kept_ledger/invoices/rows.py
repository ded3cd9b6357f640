"""Rows that state a day and a model.

- OpenRouter's activity, in JSON or CSV (``GET /api/v1/activity``;
  https://openrouter.ai/docs/api/api-reference/analytics/get-user-activity); the days are in UTC
- plain CSV: ``day,model,usd`` and optionally the other columns of ``KNOWN``. ``input`` includes the tokens that were
  read from a cache, as in the CSV of ``trigate costs``."""

from typing import Final

from gateway.features.kept_ledger.invoices.line import (
    InvoiceLine,
    InvoiceRow,
    UnreadableInvoice,
    check_currency,
)
from gateway.features.kept_ledger.invoices.model_names import family_of

ACTIVITY: Final = frozenset(("date", "model", "usage", "requests"))
PLAIN: Final = frozenset(("day", "model", "usd"))
KNOWN: Final = PLAIN | {"input", "cached", "cache_write", "output", "currency"}


def read_activity(row: InvoiceRow) -> InvoiceLine:
    """Return the line of a day, model and endpoint of OpenRouter. Raises ``UnreadableInvoice``.

    Its input includes tokens that were read from a cache. Requests with the customer's own key only cost a fee."""
    day, model = row.date("date"), row.text("model_permaslug") or row.text("model")
    tokens = row.count("prompt_tokens") + row.count("completion_tokens")
    return InvoiceLine(
        provider="openrouter", day=day, since=day, usd=row.amount("usage"), model=model, tokens=tokens
    )  # fmt: skip


def read_plain(row: InvoiceRow) -> InvoiceLine:
    """Return the line of a row of plain CSV. Raises ``UnreadableInvoice``."""
    day = row.date("day")
    check_currency(row.value("currency"), row.where)
    if (model := row.text("model")) is None:
        raise UnreadableInvoice(f"{row.where}, model: empty: write the model that the line is for")
    tokens = None
    if row.text("input") or row.text("output"):
        tokens = max(row.count("input"), row.count("cached") + row.count("cache_write")) + row.count("output")
    family = family_of(model.partition("/")[0] if "/" in model else "")
    return InvoiceLine(provider=family, day=day, since=day, usd=row.amount("usd"), model=model, tokens=tokens)
