"""The row of the cache of answers."""

from typing import Final

from gateway.config.settings import Config
from gateway.seams.feature import Feature


def caches(config: Config) -> bool:
    """Return whether responses of any client or route of ``config`` are cached."""
    of_clients = any(client.cache for client in (*config.client_keys, *config.rule_clients))
    return of_clients or any(route.cache is not None for route in config.routes.values())


def is_wanted(config: Config) -> bool:
    """Return whether ``config`` caches responses, or has a place for them."""
    return config.cache.type != "memory" or caches(config)


FEATURE: Final = Feature(
    "answer_cache",
    "after the features that change a request: equal requests must be equal for the provider, too",
    "gateway.features.answer_cache.opening:open_cache",
    is_wanted,
)
