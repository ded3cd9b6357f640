"""The price of missed tokens."""

import attrs

from gateway.prompt_caches.values import CacheVerdict
from providers.catalog.prices import Grade, Price
from streams.events import Usage


@attrs.frozen(repr=False)
class CacheLoss:
    """The loss of a verdict: ``nanos`` in total, ``shares`` for each of its causes in order, in nano-dollars.

    Causes that are no loss have a share of 0. ``grade`` is the worst of the tokens' and the prices'."""

    nanos: int
    shares: tuple[int, ...]
    grade: Grade

    @property
    def dollars(self) -> tuple[str, ...]:
        """The shares in dollars, for ``CacheVerdict.fields``."""
        return tuple(f"{nanos / 1e9:.6f}" for nanos in self.shares)


def loss(verdict: CacheVerdict, usage: Usage, price: Price | None, *, at: float | None = None) -> CacheLoss | None:
    """Return the loss of ``verdict``: its missed tokens at the price at which they were billed, less the cached price.

    The missed tokens are the written ones first, then the other input. Without a price the result is ``None``. ``at``
    is in Unix seconds, ``None`` for now."""
    raise NotImplementedError
