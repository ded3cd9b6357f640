"""Writes the price list ``providers/catalog/price_list.json`` from the package ``genai-prices``.

``python -m tests.pages.prices`` writes it; ``tests/docs/test_prices.py`` checks it. Only this module needs the
package, which takes half a second and 96 MiB to load; the list takes a few milliseconds.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import version
from typing import Any, Final

from genai_prices import types
from genai_prices.data import providers

from providers.catalog.price_list import FILE

AS_OF: Final = date(2026, 11, 21)
"""The day of the list. Prices that ended before are dropped, later ones are kept."""

KINDS: Final = {
    "input": "input_mtok", "cached": "cache_read_mtok", "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok", "output": "output_mtok",
}  # fmt: skip
TOOLS: Final = {
    "web_search": "web_searches_kcount", "x_search": "social_searches_kcount",
    "file_search": "storage_searches_kcount", "code_execution": "code_executions_kcount",
}  # fmt: skip
PER: Final = {
    "second": (("input_audio_hours", "audio_hours"), 3600), "character": (("input_mchars",), 10**6),
    "page": (("input_document_kpages",), 1000),
    **{f"{kind}_{sense}_token": ((key.format(sense),), 10**6) for sense in ("audio", "image") for kind, key in {
        "input": "input_{}_mtok", "cached": "cache_{}_read_mtok", "output": "output_{}_mtok",
    }.items()},
}  # fmt: skip
"""Units other than text tokens: the keys of their price (the first present one counts), and its number of units."""
TIERS: Final = ("service_tier", "processing", "speed")
"""Conditions of a price variant that an answer reports.

Variants with other conditions (routes, kinds of search) are dropped.
"""

ADDED: Final[Mapping[str, tuple[tuple[tuple[str, ...], Mapping[str, Any]], ...]]] = {
    "openai": (
        (
            ("gpt-4o-search-preview", "gpt-4o-search-preview-2025-03-11"),
            {"tools": {"web_search": Decimal("0.025")}, "unreported": ["web_search"]},
        ),
        (
            ("gpt-4o-mini-search-preview", "gpt-4o-mini-search-preview-2025-03-11"),
            {"tools": {"web_search": Decimal("0.025")}, "unreported": ["web_search"]},
        ),
        (
            ("gpt-5-search-api", "gpt-5-search-api-2025-10-14"),
            {"tools": {"web_search": Decimal("0.01")}, "unreported": ["web_search"]},
        ),
        (
            ("gpt-4o-audio-preview", "gpt-4o-audio-preview-2024-12-17", "gpt-4o-audio-preview-2025-06-03"),
            {"per": {"input_audio_token": Decimal("0.00004"), "output_audio_token": Decimal("0.00008")}},
        ),
        (
            ("gpt-4o-mini-audio-preview", "gpt-4o-mini-audio-preview-2024-12-17"),
            {"per": {"input_audio_token": Decimal("0.00001"), "output_audio_token": Decimal("0.00002")}},
        ),
    ),
    "google": tuple((names, {"tools": {"google_maps": Decimal("0.025")}}) for names in (
        ("gemini-2.5-pro",), ("gemini-2.5-flash-lite",),
        ("gemini-2.5-flash", "gemini-2.5-flash-latest", "gemini-2.5-flash-preview-09-2025"),
    )),
    "groq": (
        (("whisper-large-v3",), {"least": {"second": 10}}),
        (("whisper-large-v3-turbo",), {"least": {"second": 10}}),
    ),
}  # fmt: skip
"""Prices that the package lacks, by provider: names of a model, and additions to the prices of the first name.

Searches of OpenAI's search models: https://developers.openai.com/api/docs/pricing,
https://community.openai.com/t/search-web-using-openai-api/1363698. Sounds:
https://developers.openai.com/api/docs/models/gpt-4o-audio-preview,
https://developers.openai.com/api/docs/models/gpt-4o-mini-audio-preview. Google Maps:
https://ai.google.dev/gemini-api/docs/pricing, BerriAI/litellm#38418. Groq's shortest billed recording:
https://console.groq.com/docs/speech-to-text, pydantic/genai-prices#578.
"""

CLAUSES: Final = {
    types.ClauseStartsWith: "starts_with", types.ClauseEndsWith: "ends_with", types.ClauseContains: "contains",
    types.ClauseRegex: "regex",
}  # fmt: skip


def text() -> str:
    """Return the content of the file, with one line for each model."""
    lists = {one.id: [*_added_rows(one), *(row for model in one.models for row in _rows(model))] for one in providers}
    offers = {one.id: one.fallback_model_providers for one in providers if one.fallback_model_providers}
    lines = [f'{{"source": "genai-prices {version("genai-prices")}", "as_of": "{AS_OF}",']
    lines += [f'"offers": {json.dumps(offers)},', '"providers": {']
    lines.append(",\n".join(f'"{id}": [\n' + ",\n".join(rows) + "\n]" for id, rows in lists.items() if rows))
    return "\n".join(lines) + "\n}}\n"


def _added_rows(provider: types.Provider) -> Iterator[str]:
    """Return the rows for the models in ``ADDED``, which precede the others."""
    for names, added in ADDED.get(provider.id, ()):
        row = _model_prices(next(one for one in provider.models if one.is_match(names[0]))) or {}
        merged = {
            key: {**row.get(key, {}), **value} if isinstance(value, Mapping) else value for key, value in added.items()
        }
        yield f"[{json.dumps(names)}, {_to_json({**row, **merged})}]"


def _rows(model: types.ModelInfo) -> Iterator[str]:
    yield f"[{json.dumps(_clause(model.match))}, {_to_json(_model_prices(model))}]"


def _clause(clause: Any) -> Any:
    if isinstance(clause, types.ClauseEquals):
        return clause.equals
    if isinstance(clause, types.ClauseOr):
        return [_clause(one) for one in clause.or_]
    if isinstance(clause, types.ClauseAnd):
        return {"and": [_clause(one) for one in clause.and_]}
    return {CLAUSES[type(clause)]: getattr(clause, CLAUSES[type(clause)])}


def _model_prices(model: types.ModelInfo) -> dict[str, Any] | None:
    """Return the prices of a model, or ``None`` without prices per token.

    An empty price counts only for models marked as free.
    """
    conditional = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    if not any(_values(one.prices) for one in conditional):
        return {"input": 0, "output": 0, "tools": {}} if model.id.endswith(":free") else None
    begun = [at for at, one in enumerate(conditional) if _begins(one.constraint) <= AS_OF and not _daily(one)]
    first = begun[-1] if begun else 0
    row = _row(conditional[first].prices, model)
    if row is None:
        return None
    later = [(_validity(one.constraint), _row(one.prices, model)) for one in conditional[first + 1 :]]
    schedule = [[validity, other] for validity, other in later if other is not None]
    return {**row, **({"schedule": schedule} if schedule else {})}


def _begins(constraint: Any) -> date:
    return constraint.start_date if isinstance(constraint, types.StartDateConstraint) else date.min


def _daily(one: types.ConditionalPrice) -> bool:
    return isinstance(one.constraint, types.TimeOfDateConstraint)


def _validity(constraint: Any) -> dict[str, int]:
    if isinstance(constraint, types.StartDateConstraint):
        return {"since": int(datetime.combine(constraint.start_date, time(), UTC).timestamp())}
    if isinstance(constraint, types.TimeOfDateConstraint):
        return {"start": _second(constraint.start_time), "end": _second(constraint.end_time)}
    return {}


def _second(moment: time) -> int:
    assert moment.tzinfo in (None, UTC)
    return moment.hour * 3600 + moment.minute * 60 + moment.second


def _row(prices: types.ModelPrice, model: types.ModelInfo) -> dict[str, Any] | None:
    values = _values(prices)
    per = _per(values)
    row = _lengths(values) or ({"input": 0, "output": 0} if per else None)
    if row is None:
        return None
    tiers = {tier: one for tier, variant in _variants(model) if (one := _tier({**values, **variant}, per)) is not None}
    fees = {name: values[key] / 1000 for name, key in TOOLS.items() if key in values}
    per_request = values.get("requests_kcount")
    return {
        **row,
        **({"tiers": tiers} if tiers else {}),
        **({"tools": fees} if fees else {}),
        **({"request": per_request / 1000} if per_request else {}),
        **({"per": per} if per else {}),
    }


def _tier(values: Mapping[str, Any], usual: Mapping[str, Decimal]) -> dict[str, Any] | None:
    """Return the prices of a service tier that differ from the ``usual`` ones."""
    tokens, per = _lengths(values), _per(values)
    return None if tokens is None and per == usual else {**(tokens or {}), **({"per": per} if per != usual else {})}


def _per(values: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return the prices of single units, if they are plain numbers."""
    found = ((unit, next((values[key] for key in keys if key in values), None), n) for unit, (keys, n) in PER.items())
    return {unit: round(_price(value, None) / n, 15) for unit, value, n in found if value is not None}


def _values(prices: types.ModelPrice) -> dict[str, Any]:
    return {key: value for key, value in prices.__dict__.items() if value is not None}


def _variants(model: types.ModelInfo) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the prices of the service tiers. For each variant's keys, the first variant with them counts."""
    found: dict[str, dict[str, Any]] = {}
    for variant in model.price_variants or ():
        (name, tier), *more = variant.when.items()
        if name in TIERS and not more and tier != "default" and _begins(variant.constraint) <= AS_OF:
            found[tier] = {**_values(variant.prices), **found.get(tier, {})}
    yield from found.items()


def _lengths(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the prices of token kinds, also for longer prompts, or ``None`` without a price of the input."""
    if "input_mtok" not in values:
        return None
    starts = {tier.start for key in KINDS.values() if key in values for tier in getattr(values[key], "tiers", ())}
    above = {str(start): _kinds(values, start) for start in sorted(starts)}
    return {**_kinds(values, None), **({"above": above} if above else {})}


def _kinds(values: Mapping[str, Any], above: int | None) -> dict[str, Decimal]:
    return {kind: _price(values[key], above) for kind, key in KINDS.items() if key in values}


def _price(value: Any, above: int | None) -> Decimal:
    if isinstance(value, Decimal):
        return value
    reached = [tier.price for tier in value.tiers if above is not None and tier.start <= above]
    price: Decimal = reached[-1] if reached else value.base
    return price


def _to_json(value: Any) -> str:
    """Return JSON with exact decimals."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)}: {_to_json(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_to_json(one) for one in value) + "]"
    return f"{value.normalize():f}" if isinstance(value, Decimal) else json.dumps(value)


if __name__ == "__main__":
    FILE.write_text(text())
