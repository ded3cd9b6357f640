"""Invoices made from a ledger's requests, in every format, with faults planted in one of both sides."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs

from gateway.features.kept_ledger.line import UNPRICED, LedgerLine
from gateway.features.kept_ledger.table import LedgerTable
from gateway.stores.sqlite import SqliteDatabase
from streams.events import Usage
from tests.support.ledger_lines import attempt, line

PRICES: Final = {"input": 2, "cached": Decimal("0.5"), "output": 8}
"""Dollars per million tokens, of all models."""

FIRST: Final = date(2026, 10, 1)


@attrs.frozen
class Call:
    """A request: what the ledger has of it, and what its provider bills. ``usd`` is the billed amount."""

    day: int
    model: str
    usage: Usage
    usd: Decimal
    id: str
    billed_day: int
    in_ledger: bool = True
    in_invoice: bool = True
    grade: int = 0
    own_usage: Usage | None = None
    own_usd: Decimal | None = None


def usd_of(usage: Usage) -> Decimal:
    """Return the price of ``usage``."""
    kinds = (usage.input, PRICES["input"]), (usage.cache_read, PRICES["cached"]), (usage.output, PRICES["output"])
    return sum((Decimal(count) * price for count, price in kinds), start=Decimal(0)).scaleb(-6)


def call(day: int, model: str, scale: int, number: int, **more: Any) -> Call:
    """Return a request whose tokens are ``scale`` times those of a small one."""
    usage = Usage(400 * scale, 600 * scale, output=100 * scale)
    return Call(day, model, usage, usd_of(usage), f"up-{day}-{model}-{number}", day, **more)


def traffic(days: int = 4, models: Iterable[str] = ("m-large", "m-small")) -> list[Call]:
    """Return requests of some days and models."""
    return [
        call(day, model, 1000 * number + day, number)
        for day in range(1, days + 1)
        for model in models
        for number in range(1, 4)
    ]


# The ledger


def ledger_lines(calls: Iterable[Call], provider: str) -> list[LedgerLine]:
    """Return the ledger's lines of ``calls``."""
    found = []
    for one in calls:
        usage = one.usage if one.own_usage is None else one.own_usage
        usd = one.usd if one.own_usd is None else one.own_usd
        tried = attempt(
            0 if one.grade == UNPRICED else int(usd.scaleb(9)), f"{provider}/{one.model}",
            model=f"{provider}/{one.model}", usage=usage, grade=one.grade, upstream_id=one.id,
        )  # fmt: skip
        if one.in_ledger:
            found.append(line(tried, began=_micro(one.day), request=one.id))
    return found


async def write_ledger(folder: Path, lines: list[LedgerLine]) -> None:
    """Store ``lines``."""
    table = LedgerTable(SqliteDatabase(folder / "state.sqlite"))
    await table.add(list(enumerate(lines)))
    await table.database.aclose()


def _micro(day: int) -> int:
    return int(datetime(2026, 10, day, 12, tzinfo=UTC).timestamp() * 1e6)


# The invoices


def _by_cell(calls: Iterable[Call]) -> Mapping[tuple[int, str], list[Call]]:
    cells = defaultdict(list)
    for one in calls:
        if one.in_invoice:
            cells[one.billed_day, one.model].append(one)
    return cells


def _sum(calls: Iterable[Call], name: str) -> int:
    return sum(getattr(one.usage, name) for one in calls)


def _usd(calls: Iterable[Call]) -> Decimal:
    return sum((one.usd for one in calls), start=Decimal(0))


def _day(number: int) -> date:
    return FIRST + timedelta(days=number - 1)


def _seconds(number: int) -> int:
    day = _day(number)
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


class ExactNumber(float):
    """A number that JSON shows with all digits of a decimal."""

    def __new__(cls, value: Decimal) -> "ExactNumber":
        made = super().__new__(cls, value)
        made.text = f"{value:f}"
        return made

    def __repr__(self) -> str:
        return self.text

    text: str


def _page(results: Mapping[int, list[Any]], times: Callable[[int], dict[str, Any]], **more: Any) -> bytes:
    data = [{**times(day), "results": found} for day, found in sorted(results.items())]
    return json.dumps({"data": data, "has_more": False, "next_page": None, **more}).encode()


def openai_files(calls: list[Call]) -> dict[str, bytes]:
    """Return OpenAI's costs, by line item, and its usage."""
    costs, usage = defaultdict(list), defaultdict(list)
    for (day, model), found in _by_cell(calls).items():
        item = f"{model.replace('m-', 'gpt-')}-2026-01-31"
        for kind, part in (("input", "0.25"), ("output", "0.75")):
            costs[day].append({
                "object": "organization.costs.result", "project_id": None, "line_item": f"{item}, {kind}",
                "amount": {"value": ExactNumber(_usd(found) * Decimal(part)), "currency": "usd"},
            })  # fmt: skip
        usage[day].append({
            "object": "organization.usage.completions.result", "model": item, "project_id": None,
            "input_tokens": _sum(found, "input") + _sum(found, "cache_read"), "service_tier": "default",
            "input_cached_tokens": _sum(found, "cache_read"), "output_tokens": _sum(found, "output"),
            "num_model_requests": len(found), "batch": False,
        })  # fmt: skip

    def times(day: int) -> dict[str, Any]:
        return {"object": "bucket", "start_time": _seconds(day), "end_time": _seconds(day + 1)}

    return {"costs.json": _page(costs, times, object="page"), "usage.json": _page(usage, times, object="page")}


def anthropic_files(calls: list[Call]) -> dict[str, bytes]:
    """Return Anthropic's cost report in cents, and its usage report."""
    costs, usage = defaultdict(list), defaultdict(list)
    for (day, model), found in _by_cell(calls).items():
        common = {"model": f"{model}-20260131", "workspace_id": None, "service_tier": "standard"}
        costs[day].append({
            **common, "amount": f"{_usd(found).scaleb(2):f}", "currency": "USD", "cost_type": "tokens",
            "token_type": "output_tokens", "description": f"{model} Usage",
        })  # fmt: skip
        usage[day].append({
            **common, "uncached_input_tokens": _sum(found, "input"), "output_tokens": _sum(found, "output"),
            "cache_read_input_tokens": _sum(found, "cache_read"),
            "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
        })  # fmt: skip

    def times(day: int) -> dict[str, Any]:
        return {"starting_at": f"{_day(day)}T00:00:00Z", "ending_at": f"{_day(day + 1)}T00:00:00Z"}

    return {"cost_report.json": _page(costs, times), "usage_report.json": _page(usage, times)}


def openrouter_files(calls: list[Call]) -> dict[str, bytes]:
    """Return OpenRouter's activity."""
    data = [
        {"date": str(_day(day)), "model": f"maker/{model}", "model_permaslug": f"maker/{model}-20260131",
         "endpoint_id": "e", "provider_name": "Maker", "usage": ExactNumber(_usd(found)), "byok_usage_inference": 0,
         "requests": len(found), "prompt_tokens": _sum(found, "input") + _sum(found, "cache_read"),
         "completion_tokens": _sum(found, "output"), "reasoning_tokens": 0}
        for (day, model), found in _by_cell(calls).items()
    ]  # fmt: skip
    return {"activity.json": json.dumps({"data": data}).encode()}


def focus_files(calls: list[Call]) -> dict[str, bytes]:
    """Return an export of AWS in FOCUS, with rows of another service."""
    rows = []
    for (day, model), found in _by_cell(calls).items():
        common = {
            "ProviderName": "AWS", "ServiceName": "Amazon Bedrock", "BillingCurrency": "USD", "ChargeCategory": "Usage",
            "ChargeClass": "", "ChargePeriodStart": f"{_day(day)}T00:00:00Z", "SubAccountId": "1",
            "ChargePeriodEnd": f"{_day(day + 1)}T00:00:00Z", "ConsumedUnit": "1K tokens",
        }  # fmt: skip
        usd = _usd(found)
        for kind, name, part in (
            ("input-tokens", "input", "0.5"), ("cache-read-input-token-count", "cache_read", "0.25"),
            ("output-tokens", "output", "0.25"),
        ):  # fmt: skip
            quantity = Decimal(_sum(found, name)).scaleb(-3)
            meter = f"USE1-{model.replace('-', '.')}-{kind}"
            rows.append(common | {"BilledCost": f"{usd * Decimal(part):f}", "ConsumedQuantity": f"{quantity:f}",
                                  "x_UsageType": meter})  # fmt: skip
    other = (
        {**rows[0], "ServiceName": "Amazon EC2", "BilledCost": "99.5", "x_UsageType": "USE1-BoxUsage"} if rows else {}
    )
    return {"cur.csv": csv_bytes([*rows, *([other] if other else [])])}


def plain_files(calls: list[Call], *, tokens: bool = True) -> dict[str, bytes]:
    """Return plain CSV, with or without tokens."""
    rows = []
    for (day, model), found in _by_cell(calls).items():
        row = {"day": str(_day(day)), "model": model, "usd": f"{_usd(found):f}"}
        if tokens:
            cached = _sum(found, "cache_read")
            row |= {"input": str(_sum(found, "input") + cached), "cached": str(cached),
                    "output": str(_sum(found, "output"))}  # fmt: skip
        rows.append(row)
    return {"bill.csv": csv_bytes(rows)}


def csv_bytes(rows: list[dict[str, str]]) -> bytes:
    """Return ``rows`` as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["day", "model", "usd"])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


FORMATS: Final[Mapping[str, tuple[str, Callable[[list[Call]], dict[str, bytes]]]]] = {
    "openai": ("openai", openai_files),
    "anthropic": ("anthropic", anthropic_files),
    "openrouter": ("openrouter", openrouter_files),
    "focus": ("amazon_bedrock", focus_files),
    "plain": ("mistral", plain_files),
}
"""The provider of each format, and the function that writes the files of an invoice."""
