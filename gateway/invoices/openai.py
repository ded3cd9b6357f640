"""OpenAI's costs and usage pages (``GET /v1/organization/costs`` and ``/v1/organization/usage/…``).

https://platform.openai.com/docs/api-reference/usage"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from gateway.invoices.json_pages import Page, bucket_times, items_of
from gateway.invoices.line import (
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

_TIMES: Final = ("start_time", "end_time")
_METER: Final = re.compile(
    r",\s*(?:cached\s+)?(?:audio|image|text)?\s*(?:cached\s+)?(?:input|output|training)[^,]*$", re.I
)
_MODEL: Final = re.compile(
    r"^(?:ft[:-])?(?:gpt|chatgpt|o\d|codex|computer-use|omni|davinci|babbage|text-|whisper|tts|dall-e|sora)[\w.:-]*$",
    re.I,
)
_USUAL_TIERS: Final = ("default", "standard", "auto")
_WITH_TOKENS: Final = ("completions", "embeddings", "moderations")


def is_page(page: dict[str, Any], bucket: dict[str, Any]) -> bool:
    """Return whether ``page``, whose first bucket is ``bucket``, is one of OpenAI's."""
    return "start_time" in bucket or (not bucket and page.get("object") == "page")


def read_page(page: dict[str, Any], where: str) -> Page:
    """Return the lines of a page. Raises ``UnreadableInvoice``."""
    lines: list[InvoiceLine] = []
    times: list[datetime] = []
    report = "openai costs"
    for number, bucket in enumerate(items_of(page, "data", where)):
        place = f"{where}.data[{number}]"
        since, until = bucket_times(bucket, _TIMES, place)
        times += [since, until or since]
        for at, result in enumerate(items_of(bucket, "results", place)):
            kind = str(result.get("object"))
            if "usage" in kind:
                report = f"openai {kind}"
            lines += _lines(result, kind, since, until, f"{place}.results[{at}]")
    return Page(report, tuple(lines), min(times, default=None), max(times, default=None), page.get("has_more") is True)


def _lines(
    result: dict[str, Any], kind: str, since: datetime, until: datetime | None, where: str
) -> Iterator[InvoiceLine]:
    common = {
        "provider": "openai", "day": day_of(since, until), "since": since.date(),
        "accounts": texts_in(result, ("project_id", "api_key_id")),
    }  # fmt: skip
    if isinstance(result.get("amount"), dict):
        yield _cost_line(result, common, where)
    elif "usage" in kind and any(f".{name}." in kind for name in _WITH_TOKENS):
        yield _usage_line(result, common, where)
    elif "usage" not in kind:
        raise UnreadableInvoice(f"{where}: expected a page of OpenAI's costs or usage")


def _cost_line(result: dict[str, Any], common: dict[str, Any], where: str) -> InvoiceLine:
    value = result["amount"]
    check_currency(value.get("currency"), where)
    usd = amount(value.get("value"), f"{where}.amount.value")
    item = text_or_none(result.get("line_item"))
    model = None if item is None else _METER.sub("", item).strip()
    is_model = model is not None and _MODEL.match(model.replace(" ", "-")) is not None
    is_credit = item is not None and not is_model and usd < 0
    return InvoiceLine(
        **common,
        usd=usd,
        model=model if is_model else None,
        fee=item if not is_model else None,
        kind="credit" if is_credit else "usage",
    )


def _usage_line(result: dict[str, Any], common: dict[str, Any], where: str) -> InvoiceLine:
    def number(name: str) -> Any:
        return count(result.get(name), f"{where}.{name}")

    cached = number("input_cached_tokens")
    tokens = Tokens(
        input=number("input_tokens") - cached + number("input_audio_tokens"),
        cached=cached,
        output=number("output_tokens") + number("output_audio_tokens"),
    )
    tier = text_or_none(result.get("service_tier"))
    return InvoiceLine(
        **common,
        model=text_or_none(result.get("model")),
        tokens=tokens,
        requests=number("num_model_requests"),
        tier="batch" if result.get("batch") is True else None if tier in _USUAL_TIERS else tier,
    )
