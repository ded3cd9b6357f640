"""OpenRouter's activity: sums by day in JSON or CSV (``GET /api/v1/activity``), and the export of single requests.

https://openrouter.ai/docs/api/api-reference/analytics/get-user-activity; the days are in UTC."""

from typing import Final

from gateway.features.kept_ledger.invoices.line import InvoiceLine, InvoiceRow, Tokens

ACTIVITY_COLUMNS: Final = frozenset(("date", "model", "usage", "requests"))
REQUEST_COLUMNS: Final = frozenset(("generation_id", "created_at", "cost_total", "model_permaslug"))


def is_page(page: InvoiceRow, item: InvoiceRow) -> bool:
    """Return whether ``page``, whose first item is ``item``, is OpenRouter's activity."""
    return item.members.keys() >= ACTIVITY_COLUMNS


def read_activity(row: InvoiceRow) -> InvoiceLine:
    """Return the line of a day, model and endpoint. Raises ``UnreadableInvoice``.

    Its input includes tokens that were read from a cache. Requests with the customer's own key only cost a fee."""
    day = row.date("date")
    return InvoiceLine(
        provider="openrouter",
        day=day,
        since=day,
        usd=row.amount("usage"),
        model=row.text("model_permaslug") or row.text("model"),
        accounts=row.texts("workspace_id"),
        tokens=Tokens(input=row.count("prompt_tokens"), output=row.count("completion_tokens")),
        splits_cache=False,
    )


def read_request(row: InvoiceRow) -> InvoiceLine:
    """Return the line of a single request. Raises ``UnreadableInvoice``.

    Its tokens are counted by one tokenizer for all models, so they are not those of the ledger."""
    day = row.time("created_at").date()
    return InvoiceLine(
        provider="openrouter",
        day=day,
        since=day,
        usd=row.amount("cost_total"),
        model=row.text("model_permaslug"),
        accounts=row.texts("api_key_name"),
    )
