"""The price of an entry's models."""

from gateway.config.model_entry import ModelEntry
from providers.auth.signer import is_subscription_token
from providers.catalog.prices import SUBSCRIPTION, Price, price_of


def entry_price(entry: ModelEntry, model: str) -> Price | None:
    """Return the price of ``model`` at ``entry``: the configured one, ``SUBSCRIPTION``, or that of the price list.

    Return ``None`` if it is unknown."""
    if entry.price is not None:
        return entry.price
    if entry.provider.is_subscription or is_subscription_token(entry.key):
        return SUBSCRIPTION
    return price_of(entry.listed_as, model)
