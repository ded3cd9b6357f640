"""OpenRouter's activity: sums by day in JSON or CSV (``GET /api/v1/activity``), and the export of single requests.

https://openrouter.ai/docs/api/api-reference/analytics/get-user-activity; the days are in UTC."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.invoices.json_pages import Page, items_of
from gateway.invoices.line import InvoiceLine, Tokens, amount, count, date_of, text_or_none, texts_in, time_of

ACTIVITY_COLUMNS: Final = frozenset(("date", "model", "usage", "requests"))
REQUEST_COLUMNS: Final = frozenset(("generation_id", "created_at", "cost_total", "model_permaslug"))


def is_page(page: dict[str, Any], item: dict[str, Any]) -> bool:
    """Return whether ``page``, whose first item is ``item``, is OpenRouter's activity."""
    return item.keys() >= ACTIVITY_COLUMNS


def read_page(page: dict[str, Any], where: str) -> Page:
    """Return the lines of an activity response. Raises ``UnreadableInvoice``."""
    items = enumerate(items_of(page, "data", where))
    return Page("openrouter activity", tuple([read_activity(one, f"{where}.data[{at}]") for at, one in items]))


def read_activity(row: Mapping[str, Any], where: str) -> InvoiceLine:
    """Return the line of a day, model and endpoint. Raises ``UnreadableInvoice``.

    Its input includes tokens that were read from a cache. Requests with the customer's own key only cost a fee."""
    day = date_of(row.get("date"), f"{where}.date")
    return InvoiceLine(
        provider="openrouter",
        day=day,
        since=day,
        usd=amount(row.get("usage"), f"{where}.usage"),
        model=text_or_none(row.get("model_permaslug")) or text_or_none(row.get("model")),
        accounts=texts_in(row, ("workspace_id",)),
        tokens=Tokens(
            input=count(row.get("prompt_tokens"), f"{where}.prompt_tokens"),
            output=count(row.get("completion_tokens"), f"{where}.completion_tokens"),
        ),
        splits_cache=False,
        requests=count(row.get("requests"), f"{where}.requests"),
    )


def read_request(row: Mapping[str, Any], where: str) -> InvoiceLine:
    """Return the line of a single request. Raises ``UnreadableInvoice``.

    Its tokens are counted by one tokenizer for all models, so they are not those of the ledger."""
    day = time_of(row.get("created_at"), f"{where}.created_at").date()
    return InvoiceLine(
        provider="openrouter",
        day=day,
        since=day,
        usd=amount(row.get("cost_total"), f"{where}.cost_total"),
        model=text_or_none(row.get("model_permaslug")),
        accounts=texts_in(row, ("api_key_name",)),
        requests=count(1, where),
        request_id=text_or_none(row.get("generation_id")),
    )
