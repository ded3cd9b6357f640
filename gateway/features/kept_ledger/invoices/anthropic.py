"""Anthropic's cost and usage reports (``GET /v1/organizations/cost_report`` and ``/usage_report/messages``).

Amounts are cents: ``"123.45"`` is 1.2345 dollars (https://platform.claude.com/docs/en/api/admin/cost_report)."""

from typing import Final

import attrs

from gateway.features.kept_ledger.invoices.line import (
    ZERO,
    InvoiceLine,
    InvoiceRow,
    Tokens,
    UnreadableInvoice,
    check_currency,
)

PROVIDER: Final = "anthropic"
TIMES: Final = ("starting_at", "ending_at")


def is_page(page: InvoiceRow, bucket: InvoiceRow) -> bool:
    """Return whether ``page``, whose first bucket is ``bucket``, is one of Anthropic's."""
    return "starting_at" in bucket.members


def read_result(result: InvoiceRow, charge: InvoiceLine) -> tuple[str, InvoiceLine]:
    """Return the name of the report and ``charge`` with the amounts of ``result``. Raises ``UnreadableInvoice``."""
    charge = attrs.evolve(charge, model=result.text("model"), accounts=result.texts("workspace_id", "api_key_id"))
    if "amount" in result.members:
        return "anthropic cost_report", _add_cost(result, charge)
    if "output_tokens" in result.members:
        return "anthropic usage_report", attrs.evolve(charge, tokens=_tokens(result))
    raise UnreadableInvoice(f"{result.where}: expected a page of Anthropic's cost_report or usage_report")


def _add_cost(result: InvoiceRow, charge: InvoiceLine) -> InvoiceLine:
    check_currency(result.value("currency"), result.where)
    cents = result.amount("amount")
    kind = result.text("cost_type")
    is_fee = kind not in (None, "tokens")
    return attrs.evolve(
        charge,
        usd=cents.scaleb(-2),
        text=None if is_fee else result.text("description"),
        fee=kind if is_fee else None,
        is_credit=cents < 0 and charge.model is None,
    )


def _tokens(result: InvoiceRow) -> Tokens:
    created = result.row("cache_creation")
    return Tokens(
        input=result.count("uncached_input_tokens"),
        cached=result.count("cache_read_input_tokens"),
        cache_write=sum([created.count(name) for name in created.members], start=ZERO),
        output=result.count("output_tokens"),
    )
