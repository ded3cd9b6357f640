"""The price of a model in an entry."""

from typing import Annotated, Any, Literal, TypeAlias

import attrs

from configfile.keys import Kind, setting
from configfile.wording import Wrong, describe, nearest
from gateway.config.kinds import Dollars, PromptLength, UnitWord
from providers.catalog.prices import NAMED_PRICES, Price


@attrs.frozen(repr=False)
class TokenPrice:
    """The price of longer prompts."""

    input: Dollars | None = setting("As in [price](#price).", None, shown="as for shorter prompts")
    cached: Dollars | None = setting("As in [price](#price).", None, shown="as for shorter prompts")
    cache_write: Dollars | None = setting("As in [price](#price).", None, shown="as for shorter prompts")
    cache_write_1h: Dollars | None = setting("As in [price](#price).", None, shown="as for shorter prompts")
    output: Dollars | None = setting("As in [price](#price).", None, shown="as for shorter prompts")


@attrs.frozen(repr=False)
class TierPrice:
    """The price of a service tier."""

    input: Dollars | None = setting("As in [price](#price).", None, shown="as without a tier")
    cached: Dollars | None = setting("As in [price](#price).", None, shown="as without a tier")
    cache_write: Dollars | None = setting("As in [price](#price).", None, shown="as without a tier")
    cache_write_1h: Dollars | None = setting("As in [price](#price).", None, shown="as without a tier")
    output: Dollars | None = setting("As in [price](#price).", None, shown="as without a tier")
    above: dict[PromptLength, TokenPrice] = setting("As in [price](#price).", factory=dict)


@attrs.frozen(repr=False)
class PriceTable:
    """The price of a model in dollars, for tokens, units, or both, before conversion to a ``Price`` in nano-dollars."""

    input: Dollars | None = setting(
        "Prompt tokens outside caches.",
        None,
        shown="required without `per`",
    )
    output: Dollars | None = setting("Answer tokens, including reasoning.", None, shown="required without `per`")
    cached: Dollars | None = setting("Tokens read from a cache.", None, shown="as `input`")
    cache_write: Dollars | None = setting(
        "Tokens written to a cache.", None, shown="as `input`; 1.25 times `input` in Messages, Converse"
    )
    cache_write_1h: Dollars | None = setting(
        "Tokens written to a cache for an hour (OpenAI: 12 hours).",
        None,
        shown="as `cache_write`; 2 times `input` in Messages, Converse",
    )
    above: dict[PromptLength, TokenPrice] = setting(
        "Prices for all tokens if the prompt with its cached tokens exceeds a number: `{200k: {input: 6, output: "
        "22.5}}`. Missing prices are those of shorter prompts.",
        factory=dict,
    )
    tiers: dict[str, TierPrice] = setting(
        "Prices by the reported service tier (`priority`, `flex`), each with an optional `above`. Missing prices are "
        "those without a tier. `batch` is for [batches](files.md#batches), by default half.",
        factory=dict,
    )
    per: dict[UnitWord, Dollars] = setting(
        "Prices per [unit](costs.md#units) other than tokens: `{image: 0.04}`, `{second: 0.0001}`. `input` and "
        "`output` are then optional.",
        factory=dict,
    )
    tools: dict[str, Dollars] = setting(
        "Fees per call of the provider's own tools: `{web_search: 0.01}`.", factory=dict
    )


def _pick_price_type(value: Any) -> Any:
    if isinstance(value, dict):
        return PriceTable
    if isinstance(value, str) and value in NAMED_PRICES:
        return None
    expected = (
        "expected free, subscription, or a mapping such as {input: 1.25, output: 10}, in dollars per million tokens"
    )
    raise Wrong(describe(value), expected, nearest(value, NAMED_PRICES) if isinstance(value, str) else None)


PriceOfModel: TypeAlias = Annotated[
    PriceTable | Price,
    Kind(
        "mapping, `free` or `subscription`",
        lambda value: NAMED_PRICES[value] if isinstance(value, str) else value,
        pick=_pick_price_type,
        parts=(PriceTable, Literal["free", "subscription"]),
    ),
]
