"""Pages of costs and usage in JSON: buckets of time with results.

- OpenAI: ``GET /v1/organization/costs`` and ``/v1/organization/usage/…``
  (https://platform.openai.com/docs/api-reference/usage)
- Anthropic: ``GET /v1/organizations/cost_report`` and ``/usage_report/messages``. Amounts are cents: ``"123.45"`` is
  1.2345 dollars (https://platform.claude.com/docs/en/api/admin/cost_report)."""

import re
from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from gateway.features.kept_ledger.invoices.line import (
    ZERO,
    InvoiceLine,
    InvoiceRow,
    UnreadableInvoice,
    check_currency,
)

ReadResult: TypeAlias = Callable[[InvoiceRow, InvoiceLine], tuple[str, InvoiceLine | None]]
"""Returns the name of the report, and a charge of its time with the amounts of a result; ``None`` for a result without
tokens, for example of images. Raises ``UnreadableInvoice``."""

_METER: Final = re.compile(
    r",\s*(?:cached\s+)?(?:audio|image|text)?\s*(?:cached\s+)?(?:input|output|training)[^,]*$", re.I
)
_MODEL: Final = re.compile(
    r"^(?:ft[:-])?(?:gpt|chatgpt|o\d|codex|computer-use|omni|davinci|babbage|text-|whisper|tts|dall-e|sora)[\w.:-]*$",
    re.I,
)
_OPENAI_TOKENS: Final = ("input_tokens", "input_audio_tokens", "output_tokens", "output_audio_tokens")
_ANTHROPIC_TOKENS: Final = ("uncached_input_tokens", "cache_read_input_tokens", "output_tokens")
_WITH_TOKENS: Final = ("completions", "embeddings", "moderations")


def _read_openai(result: InvoiceRow, charge: InvoiceLine) -> tuple[str, InvoiceLine | None]:
    kind = str(result.value("object"))
    if isinstance(result.value("amount"), dict):
        return "openai costs", _openai_cost(result, charge)
    if "usage" not in kind:
        raise UnreadableInvoice(f"{result.where}: expected a page of OpenAI's costs or usage")
    if not any(f".{name}." in kind for name in _WITH_TOKENS):
        return f"openai {kind}", None
    tokens = sum(map(result.count, _OPENAI_TOKENS), ZERO)
    return f"openai {kind}", attrs.evolve(charge, model=result.text("model"), tokens=tokens)


def _openai_cost(result: InvoiceRow, charge: InvoiceLine) -> InvoiceLine:
    value = result.row("amount")
    check_currency(value.value("currency"), result.where)
    usd, item = value.amount("value"), result.text("line_item")
    model = None if item is None else _METER.sub("", item).strip()
    if model is None or _MODEL.match(model.replace(" ", "-")):
        return attrs.evolve(charge, usd=usd, model=model)
    return attrs.evolve(charge, usd=usd, fee=item, is_credit=usd < 0)


def _read_anthropic(result: InvoiceRow, charge: InvoiceLine) -> tuple[str, InvoiceLine]:
    charge = attrs.evolve(charge, model=result.text("model"))
    if "amount" in result.members:
        return "anthropic cost_report", _anthropic_cost(result, charge)
    if "output_tokens" not in result.members:
        raise UnreadableInvoice(f"{result.where}: expected a page of Anthropic's cost_report or usage_report")
    created = result.row("cache_creation")
    tokens = sum([*map(result.count, _ANTHROPIC_TOKENS), *map(created.count, created.members)], ZERO)
    return "anthropic usage_report", attrs.evolve(charge, tokens=tokens)


def _anthropic_cost(result: InvoiceRow, charge: InvoiceLine) -> InvoiceLine:
    check_currency(result.value("currency"), result.where)
    cents, kind = result.amount("amount"), result.text("cost_type")
    if kind in (None, "tokens"):
        charge = attrs.evolve(charge, text=result.text("description"))
    else:
        charge = attrs.evolve(charge, fee=kind)
    return attrs.evolve(charge, usd=cents.scaleb(-2), is_credit=cents < 0 and charge.model is None)


@attrs.frozen(eq=False, repr=False)
class BucketPages:
    """The pages of a provider: the members with the start and the end of a bucket, and the reader of its results."""

    provider: str
    start: str
    end: str
    read: ReadResult


_OPENAI: Final = BucketPages("openai", "start_time", "end_time", _read_openai)
_ANTHROPIC: Final = BucketPages("anthropic", "starting_at", "ending_at", _read_anthropic)


def buckets_of(page: InvoiceRow, bucket: InvoiceRow) -> BucketPages | None:
    """Return the reader of ``page``, whose first bucket is ``bucket``; ``None`` for another file."""
    if _OPENAI.start in bucket.members or (not bucket.members and page.value("object") == "page"):
        return _OPENAI
    return _ANTHROPIC if _ANTHROPIC.start in bucket.members else None
