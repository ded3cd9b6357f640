"""Anthropic's cost and usage reports (``GET /v1/organizations/cost_report`` and ``/usage_report/messages``).

Amounts are cents: ``"123.45"`` is 1.2345 dollars (https://platform.claude.com/docs/en/api/admin/cost_report)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from gateway.invoices.json_pages import Page, bucket_times, items_of
from gateway.invoices.line import (
    ZERO,
    InvoiceLine,
    Tokens,
    UnreadableInvoice,
    amount,
    check_currency,
    count,
    day_of,
    text_or_none,
    texts_in,
)

if TYPE_CHECKING:
    from datetime import datetime

_TIMES: Final = ("starting_at", "ending_at")
_USUAL_TIERS: Final = ("standard",)


def is_page(page: dict[str, Any], bucket: dict[str, Any]) -> bool:
    """Return whether ``page``, whose first bucket is ``bucket``, is one of Anthropic's."""
    return "starting_at" in bucket


def read_page(page: dict[str, Any], where: str) -> Page:
    """Return the lines of a page. Raises ``UnreadableInvoice``."""
    lines: list[InvoiceLine] = []
    times: list[datetime] = []
    report = "anthropic cost_report"
    for number, bucket in enumerate(items_of(page, "data", where)):
        place = f"{where}.data[{number}]"
        since, until = bucket_times(bucket, _TIMES, place)
        times += [since, until or since]
        for at, result in enumerate(items_of(bucket, "results", place)):
            spot = f"{place}.results[{at}]"
            common = {
                "provider": "anthropic", "day": day_of(since, until), "since": since.date(),
                "accounts": texts_in(result, ("workspace_id", "api_key_id")),
                "tier": _tier(result),
            }  # fmt: skip
            if "amount" in result:
                lines.append(_cost_line(result, common, spot))
            elif "output_tokens" in result:
                report = "anthropic usage_report"
                lines.append(_usage_line(result, common, spot))
            else:
                raise UnreadableInvoice(f"{spot}: expected a page of Anthropic's cost_report or usage_report")
    return Page(report, tuple(lines), min(times, default=None), max(times, default=None), page.get("has_more") is True)


def _tier(result: Mapping[str, Any]) -> str | None:
    tier = text_or_none(result.get("service_tier"))
    return None if tier in _USUAL_TIERS else tier


def _cost_line(result: dict[str, Any], common: dict[str, Any], where: str) -> InvoiceLine:
    check_currency(result.get("currency"), where)
    cents = amount(result.get("amount"), f"{where}.amount")
    kind = text_or_none(result.get("cost_type"))
    model, text = text_or_none(result.get("model")), text_or_none(result.get("description"))
    is_fee = kind not in (None, "tokens")
    return InvoiceLine(
        **common,
        usd=cents.scaleb(-2),
        model=model,
        text=None if is_fee else text,
        fee=kind if is_fee else None,
        kind="credit" if cents < 0 and model is None else "usage",
    )


def _usage_line(result: dict[str, Any], common: dict[str, Any], where: str) -> InvoiceLine:
    created = result.get("cache_creation")
    written = created if isinstance(created, dict) else {}
    writes = [count(one, f"{where}.cache_creation.{name}") for name, one in written.items()]
    return InvoiceLine(
        **common,
        model=text_or_none(result.get("model")),
        tokens=Tokens(
            input=count(result.get("uncached_input_tokens"), f"{where}.uncached_input_tokens"),
            cached=count(result.get("cache_read_input_tokens"), f"{where}.cache_read_input_tokens"),
            cache_write=sum(writes, start=ZERO),
            output=count(result.get("output_tokens"), f"{where}.output_tokens"),
        ),
    )
