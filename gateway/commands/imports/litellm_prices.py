"""Converts LiteLLM's prices: dollars per token, or the name of another model with the same price.

https://docs.litellm.ai/docs/proxy/custom_pricing"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from providers.catalog.price_list import price_row, source
from providers.catalog.providers import find, maker

KINDS: Final[Mapping[str, str]] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
}
_PRICE: Final = re.compile(
    rf"(?P<kind>{'|'.join(sorted(KINDS, key=len, reverse=True))})"
    r"(?:_above_(?P<above>[0-9]+k)_tokens)?(?:_(?P<tier>priority|flex))?"
)


_LISTED_ALONE: Final[Mapping[str, str]] = {
    "request": "a request",
    "schedule": "a schedule",
    "least": "a least number of units",
    "unreported": "unreported searches",
}
"""Members of a row in the price list that the ``price`` of an entry cannot have, with their descriptions."""


def base_price(base: str, provider: str, model: str) -> tuple[dict[str, Any], list[str]] | None:
    """Return the price of LiteLLM's ``base`` model for an entry with this ``provider`` and ``model``, and remarks.

    The price is empty if the price list has the same one for the entry's model. Return ``None`` if it lacks ``base``.
    """
    found = next((row for pair in _listed_names(base, provider) if (row := price_row(*pair)) is not None), None)
    if found is None:
        return None
    if found == price_row(provider, model):
        return {}, []
    price = {"output": 0, **{name: _plain_row(value) for name, value in found.items() if name not in _LISTED_ALONE}}
    price = {"input": price.pop("input", 0), **price}
    lacking = [description for name, description in _LISTED_ALONE.items() if name in found]
    lacking += [f"units of the tier {name}" for name, tier in price.get("tiers", {}).items() if tier.pop("per", None)]
    remarks = [f"the price is that of {base} in {source()}"]
    remarks += [f"the price list also has {each} for it, which `price` does not support" for each in lacking]
    return price, remarks


def _listed_names(base: str, provider: str) -> Iterator[tuple[str, str]]:
    """Yield the possible providers and models of ``base``: ``azure/eu/gpt-4o``, ``azure/gpt-4o`` or ``gpt-4o``."""
    prefix, slash, rest = base.partition("/")
    named = find(prefix) if slash else None
    if named is not None:
        yield named.id, rest
        yield named.id, rest.rpartition("/")[2]
    yield provider, base
    if (made := maker(base.rpartition("/")[2])) is not None:
        yield made.id, base.rpartition("/")[2]


def _plain_row(value: Any) -> Any:
    """Return a part of a row with plain numbers, for YAML."""
    if isinstance(value, Mapping):
        return {name: _plain_row(one) for name, one in value.items()}
    return int(value) if value == int(value) else float(value)


def read_price(params: Mapping[str, Any], info: Mapping[str, Any]) -> tuple[Any, frozenset[str]]:
    """Return the ``price`` of an entry, ``None`` if the file has none, and the names of the used members.

    ``params`` has precedence over ``info``."""
    given = {**info, **params}
    found = {
        name: value
        for name in given
        if (value := _dollars_per_million(given[name])) is not None and _PRICE.fullmatch(name)
    }
    if found and not any(found.values()):
        return "free", frozenset(found)
    if not {"input_cost_per_token", "output_cost_per_token"} <= found.keys():
        return None, frozenset()
    price: dict[str, Any] = {}
    for name, value in found.items():
        match = _PRICE.fullmatch(name)
        assert match is not None
        kind, above, tier = KINDS[match["kind"]], match["above"], match["tier"]
        place = price if tier is None else price.setdefault("tiers", {}).setdefault(tier, {})
        place = place if above is None else place.setdefault("above", {}).setdefault(above, {})
        place[kind] = value
    return price, frozenset(found)


def _dollars_per_million(value: Any) -> float | int | None:
    """Convert dollars per token into dollars per million tokens."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        dollars = Decimal(str(value)) * 10**6
    except InvalidOperation:
        return None
    if not dollars.is_finite() or not 0 <= dollars < 10**9:
        return None
    rounded = round(dollars, 9)
    return int(rounded) if rounded == rounded.to_integral_value() else float(rounded)
