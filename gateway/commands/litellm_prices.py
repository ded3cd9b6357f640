"""Prices of models as LiteLLM has them: dollars for one token (https://docs.litellm.ai/docs/proxy/custom_pricing)."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

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


def read_price(params: Mapping[str, Any], info: Mapping[str, Any]) -> tuple[Any, frozenset[str]]:
    """The ``price`` of an entry, ``None`` where there is none, and the members that are in it. Those of ``params``
    outrank those of ``info``."""
    given = {**info, **params}
    found = {name: value for name in given if (value := _dollars(given[name])) is not None and _PRICE.fullmatch(name)}
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


def _dollars(value: Any) -> float | int | None:
    """For a million tokens, of those for one."""
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
