"""OpenAI's costs and usage pages (``GET /v1/organization/costs`` and ``/v1/organization/usage/…``).

https://platform.openai.com/docs/api-reference/usage"""

import re
from typing import Final

import attrs

from gateway.features.kept_ledger.invoices.line import (
    InvoiceLine,
    InvoiceRow,
    Tokens,
    UnreadableInvoice,
    check_currency,
)

PROVIDER: Final = "openai"
TIMES: Final = ("start_time", "end_time")
_METER: Final = re.compile(
    r",\s*(?:cached\s+)?(?:audio|image|text)?\s*(?:cached\s+)?(?:input|output|training)[^,]*$", re.I
)
_MODEL: Final = re.compile(
    r"^(?:ft[:-])?(?:gpt|chatgpt|o\d|codex|computer-use|omni|davinci|babbage|text-|whisper|tts|dall-e|sora)[\w.:-]*$",
    re.I,
)
_WITH_TOKENS: Final = ("completions", "embeddings", "moderations")


def is_page(page: InvoiceRow, bucket: InvoiceRow) -> bool:
    """Return whether ``page``, whose first bucket is ``bucket``, is one of OpenAI's."""
    return "start_time" in bucket.members or (not bucket.members and page.value("object") == "page")


def read_result(result: InvoiceRow, charge: InvoiceLine) -> tuple[str, InvoiceLine | None]:
    """Return the name of the report and ``charge`` with the amounts of ``result``. Raises ``UnreadableInvoice``.

    Usage without tokens, for example of images, has no line."""
    charge = attrs.evolve(charge, accounts=result.texts("project_id", "api_key_id"))
    kind = str(result.value("object"))
    if isinstance(result.value("amount"), dict):
        return "openai costs", _add_cost(result, charge)
    if "usage" not in kind:
        raise UnreadableInvoice(f"{result.where}: expected a page of OpenAI's costs or usage")
    if not any(f".{name}." in kind for name in _WITH_TOKENS):
        return f"openai {kind}", None
    return f"openai {kind}", attrs.evolve(charge, model=result.text("model"), tokens=_tokens(result))


def _add_cost(result: InvoiceRow, charge: InvoiceLine) -> InvoiceLine:
    value = result.row("amount")
    check_currency(value.value("currency"), result.where)
    usd = value.amount("value")
    item = result.text("line_item")
    model = None if item is None else _METER.sub("", item).strip()
    if model is None or _MODEL.match(model.replace(" ", "-")):
        return attrs.evolve(charge, usd=usd, model=model)
    return attrs.evolve(charge, usd=usd, fee=item, is_credit=usd < 0)


def _tokens(result: InvoiceRow) -> Tokens:
    cached = result.count("input_cached_tokens")
    return Tokens(
        input=result.count("input_tokens") - cached + result.count("input_audio_tokens"),
        cached=cached,
        output=result.count("output_tokens") + result.count("output_audio_tokens"),
    )
