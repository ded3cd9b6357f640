"""Prices of models, and what a usage costs by them. Amounts are whole nano-dollars."""

from typing import Literal, TypeAlias

import attrs

from streams.events import Usage

Grade: TypeAlias = Literal["exact", "estimated", "at_least"]
"""How well a cost is known: ``exact`` by the provider's usage and a price for each kind of it, ``estimated`` where one
of both was, ``at_least`` where something is missing from it."""


@attrs.frozen
class Cost:
    """What something has cost, in nano-dollars."""

    nanos: int
    grade: Grade


@attrs.frozen
class Price:
    """The price of a model: nano-dollars for a million tokens, so that all of them are whole numbers."""

    input: int
    output: int
    cached: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None


def cost_of(price: Price, usage: Usage, *, estimated: bool = False) -> Cost:
    """What ``usage`` costs; ``estimated``: its tokens are."""
    cached = price.input if price.cached is None else price.cached
    written = price.input if price.cache_write is None else price.cache_write
    micro = (
        usage.input * price.input
        + usage.cache_read * cached
        + usage.cache_write * written
        + usage.output * price.output
    )
    return Cost(-(-micro // 10**6), "estimated" if estimated else "exact")


def price_of(provider: str, model: str) -> Price | None:
    """The price of a provider's model; ``None`` where nobody knows it."""
    return None
