"""FOCUS 1.0 to 1.2 in CSV: cost and usage exports of AWS, Azure, Google Cloud and other vendors.

The columns are those of the FinOps Open Cost and Usage Specification (https://focus.finops.org). A row is of a model if
its service is one for models; the model and the kind of token are in the words of its meter, for example
``USE1-Claude4.5Sonnet-input-tokens``
(https://docs.aws.amazon.com/bedrock/latest/userguide/cost-mgmt-understanding-cur-data.html)."""

import re
from decimal import Decimal
from typing import Final

import attrs

from gateway.features.kept_ledger.invoices.line import (
    InvoiceLine,
    InvoiceRow,
    check_currency,
    day_of,
)

COLUMNS: Final = frozenset(("billedcost", "chargeperiodstart", "chargecategory"))
_PROVIDERS: Final = ("serviceprovidername", "providername", "publishername", "invoiceissuername")
_SERVICES: Final = ("servicename", "x_skumetercategory", "x_skumetersubcategory", "x_servicecode")
_METERS: Final = (
    "x_usagetype", "skumeter", "x_skumetername", "x_skudescription", "skuid", "chargedescription", "resourcename",
    "resourceid",
)  # fmt: skip
_COMPANIES: Final = (
    ("amazon", re.compile(r"amazon|aws", re.I), re.compile(r"bedrock", re.I)),
    ("azure", re.compile(r"microsoft|azure", re.I), re.compile(r"openai|cognitive services|foundry|ai services", re.I)),
    ("google", re.compile(r"google", re.I), re.compile(r"vertex|gemini|generative|aiplatform", re.I)),
    ("openai", re.compile(r"openai", re.I), re.compile("")),
    ("anthropic", re.compile(r"anthropic", re.I), re.compile("")),
    ("openrouter", re.compile(r"openrouter", re.I), re.compile("")),
)
"""Families by the words of a provider's name, and the words of their services for models."""

_OF_TOKENS: Final = re.compile(r"cache|cchd|\boutp?\b|output|completion|response|\binp?\b|input|prompt", re.I)
_UNIT: Final = re.compile(r"(\d[\d,.]*)?\s*(k|m|thousand|million)?\s*tokens?\b", re.I)
_FACTORS: Final = {"k": 1000, "thousand": 1000, "m": 10**6, "million": 10**6}


def read_row(row: InvoiceRow) -> InvoiceLine | None:
    """Return the line of a row, ``None`` if it is of a service without models. Raises ``UnreadableInvoice``."""
    family = _family(row)
    if family is None:
        return None
    usd = _billed_usd(row)
    since = row.time("ChargePeriodStart")
    until = row.time("ChargePeriodEnd") if row.text("ChargePeriodEnd") else since
    category = (row.text("ChargeCategory") or "usage").lower()
    is_usage = category in ("usage", "purchase") and row.text("ChargeClass") is None
    meter = " ".join(row.texts(*_METERS))
    charge = InvoiceLine(provider=family, day=day_of(since, until), since=since.date(), usd=usd, text=meter or None)
    if is_usage:
        return attrs.evolve(charge, tokens=_tokens(row, meter))
    return attrs.evolve(charge, is_credit=True, fee=category)


def _billed_usd(row: InvoiceRow) -> Decimal:
    """Return the billed dollars of a row; Azure states them in addition to another billing currency."""
    if row.text("x_BilledCostInUsd"):
        return row.amount("x_BilledCostInUsd")
    usd = row.amount("BilledCost") if row.text("BilledCost") else Decimal(0)
    if usd:
        check_currency(row.value("BillingCurrency"), f"{row.where}, BillingCurrency")
    return usd


def _family(row: InvoiceRow) -> str | None:
    service = " ".join(row.texts(*_SERVICES))
    for company in row.texts(*_PROVIDERS):
        for family, is_company, is_service in _COMPANIES:
            if is_company.search(company):
                return family if is_service.search(service) else None
    return next((family for family, _, words in _COMPANIES[:3] if words.search(service)), None)


def _tokens(row: InvoiceRow, meter: str) -> Decimal | None:
    """Return the tokens of a row, ``None`` if its quantity is of something else."""
    column = "Consumed" if row.text("ConsumedUnit") else "Pricing"
    unit = _UNIT.search(row.text(f"{column}Unit") or "")
    if unit is None or not _OF_TOKENS.search(meter) or not row.text(f"{column}Quantity"):
        return None
    number = {f"{column}unit".lower(): (unit[1] or "1").replace(",", "").rstrip(".")}
    each = attrs.evolve(row, members={**row.members, **number}).amount(f"{column}Unit")
    return row.amount(f"{column}Quantity") * each * _FACTORS.get((unit[2] or "").lower(), 1)
