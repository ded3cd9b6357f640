"""FOCUS 1.0 to 1.2 in CSV: cost and usage exports of AWS, Azure, Google Cloud and other vendors.

The columns are those of the FinOps Open Cost and Usage Specification (https://focus.finops.org). A row is of a model if
its service is one for models; the model and the kind of token are in the words of its meter, for example
``USE1-Claude4.5Sonnet-input-tokens``
(https://docs.aws.amazon.com/bedrock/latest/userguide/cost-mgmt-understanding-cur-data.html)."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from gateway.invoices.line import InvoiceLine, TokenKind, Tokens, amount, check_currency, day_of, texts_in, time_of

COLUMNS: Final = frozenset(("billedcost", "chargeperiodstart", "chargecategory"))
_PROVIDERS: Final = ("serviceprovidername", "providername", "publishername", "invoiceissuername")
_SERVICES: Final = ("servicename", "x_skumetercategory", "x_skumetersubcategory", "x_servicecode")
_METERS: Final = (
    "x_usagetype", "skumeter", "x_skumetername", "x_skudescription", "skuid", "chargedescription", "resourcename",
    "resourceid",
)  # fmt: skip
_ACCOUNTS: Final = ("resourceid", "resourcename", "subaccountid", "subaccountname")
_COMPANIES: Final = (
    ("amazon", re.compile(r"amazon|aws", re.I), re.compile(r"bedrock", re.I)),
    ("azure", re.compile(r"microsoft|azure", re.I), re.compile(r"openai|cognitive services|foundry|ai services", re.I)),
    ("google", re.compile(r"google", re.I), re.compile(r"vertex|gemini|generative|aiplatform", re.I)),
    ("openai", re.compile(r"openai", re.I), re.compile("")),
    ("anthropic", re.compile(r"anthropic", re.I), re.compile("")),
    ("openrouter", re.compile(r"openrouter", re.I), re.compile("")),
)
"""Families by the words of a provider's name, and the words of their services for models."""

_KINDS: Final[tuple[tuple[TokenKind, re.Pattern[str]], ...]] = (
    ("cache_write", re.compile(r"cache.?(?:write|creat)|write.?cache", re.I)),
    ("cached", re.compile(r"cache|cchd", re.I)),
    ("output", re.compile(r"\boutp?\b|output|completion|response", re.I)),
    ("input", re.compile(r"\binp?\b|input|prompt", re.I)),
)
_UNIT: Final = re.compile(r"(\d[\d,.]*)?\s*(k|m|thousand|million)?\s*tokens?\b", re.I)
_FACTORS: Final = {"k": 1000, "thousand": 1000, "m": 10**6, "million": 10**6}
_TIER: Final = re.compile(r"\b(batch|flex|priority)\b", re.I)


def read_row(row: Mapping[str, str], where: str) -> InvoiceLine | None:
    """Return the line of a row, ``None`` if it is of a service without models. Raises ``UnreadableInvoice``."""
    family = _family(row)
    if family is None:
        return None
    usd = _billed_usd(row, where)
    since = time_of(row.get("chargeperiodstart"), f"{where}, ChargePeriodStart")
    end = row.get("chargeperiodend")
    until = time_of(end, f"{where}, ChargePeriodEnd") if end else None
    category = (row.get("chargecategory") or "Usage").strip().lower()
    is_usage = category in ("usage", "purchase") and not (row.get("chargeclass") or "").strip()
    meter = " ".join(texts_in(row, _METERS))
    tokens = _tokens(row, meter) if is_usage else None
    tier = _TIER.search(meter)
    return InvoiceLine(
        provider=family,
        day=day_of(since, until),
        since=since.date(),
        usd=usd,
        text=meter or None,
        accounts=texts_in(row, _ACCOUNTS),
        tokens=tokens,
        tier=None if tier is None else tier[1].lower(),
        kind="usage" if is_usage else "credit",
        fee=None if is_usage else category,
    )


def _billed_usd(row: Mapping[str, str], where: str) -> Decimal:
    """Return the billed dollars of a row; Azure states them in addition to another billing currency."""
    if in_dollars := row.get("x_billedcostinusd"):
        return amount(in_dollars, f"{where}, x_BilledCostInUsd")
    usd = amount(row.get("billedcost") or "0", f"{where}, BilledCost")
    if usd:
        check_currency(row.get("billingcurrency"), f"{where}, BillingCurrency")
    return usd


def _family(row: Mapping[str, str]) -> str | None:
    service = " ".join(row.get(name) or "" for name in _SERVICES)
    for column in _PROVIDERS:
        company = row.get(column) or ""
        for family, is_company, is_service in _COMPANIES:
            if is_company.search(company):
                return family if is_service.search(service) else None
    return next((family for family, _, words in _COMPANIES[:3] if words.search(service)), None)


def _tokens(row: Mapping[str, str], meter: str) -> Tokens | None:
    """Return the tokens of a row, ``None`` if its quantity is of something else."""
    unit = row.get("consumedunit") or row.get("pricingunit") or ""
    quantity = row.get("consumedquantity") if row.get("consumedunit") else row.get("pricingquantity")
    found = _UNIT.search(unit)
    kind = next((kind for kind, words in _KINDS if words.search(meter)), None)
    if found is None or kind is None or not quantity:
        return None
    factor = _FACTORS.get((found[2] or "").lower(), 1) * Decimal((found[1] or "1").replace(",", "").rstrip("."))
    return Tokens(**{kind: amount(quantity, "ConsumedQuantity") * factor})
