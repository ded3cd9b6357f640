"""The price of missed tokens."""

import attrs

from gateway.features.prompt_caches.interface import CacheLoss, CacheVerdict
from gateway.features.prompt_caches.values import NO_LOSS
from providers.catalog import prices
from providers.catalog.prices import Price, computed_cost, worst_grade
from streams.events import Usage


def loss(verdict: CacheVerdict, usage: Usage, price: Price | None) -> CacheLoss | None:
    """Return the loss of ``verdict``: its missed tokens at the price at which they were billed, less the cached price.

    The missed tokens are the written ones first, then the other input. Without a price the result is ``None``."""
    if price is None or price.origin == "subscription":
        return None
    usage = attrs.evolve(usage, steps=(), units=())
    paid = computed_cost(price, usage)
    cached = computed_cost(price, _with_more_reads(usage, verdict.missed))
    shares = _split(max(paid.nanos - cached.nanos, 0), verdict)
    return CacheLoss(sum(shares), shares, worst_grade((paid.grade, cached.grade, verdict.grade)))


def write_premium(usage: Usage, price: Price | None) -> int:
    """Return the nano-dollars by which written tokens cost more than plain input; 0 without a price."""
    if price is None or not usage.cache_write or usage.estimated or price.origin == "subscription":
        return 0
    return prices.write_premium(price, usage)


def _with_more_reads(usage: Usage, missed: int) -> Usage:
    """Return ``usage`` with ``missed`` more tokens read from the cache.

    They take the place of written tokens first, those for an hour before others, because these are first in a prompt.
    The rest takes the place of other input."""
    hour = min(usage.cache_write_1h or 0, usage.cache_write, missed)
    short = min(usage.cache_write - (usage.cache_write_1h or 0), missed - hour) if usage.cache_write else 0
    short = max(short, 0)
    plain = min(usage.input, missed - hour - short)
    return attrs.evolve(
        usage,
        input=usage.input - plain,
        cache_read=usage.cache_read + hour + short + plain,
        cache_write=usage.cache_write - hour - short,
        cache_write_1h=None if usage.cache_write_1h is None else usage.cache_write_1h - hour,
        cache_write_5m=None if usage.cache_write_5m is None else max(usage.cache_write_5m - short, 0),
    )


def _split(nanos: int, verdict: CacheVerdict) -> tuple[int, ...]:
    """Return the share of each cause in ``nanos``, by its tokens; 0 for a cause that is no loss."""
    return tuple(
        0 if cause.name in NO_LOSS or not verdict.missed else nanos * cause.tokens // verdict.missed
        for cause in verdict.causes
    )
