"""The row of the cache of answers."""

from typing import Final

from configfile.keys import part_of
from gateway.config.aliases import Route
from gateway.config.parts import ClientRights
from gateway.config.settings import Config
from gateway.features.answer_cache.settings import AnswerCacheKeys, ClientCacheKeys, NameCacheKeys, cache_of
from gateway.seams.feature import Feature, Keys


def caches(config: Config) -> bool:
    """Return whether responses of any client or route of ``config`` are cached."""
    of_clients = any(map(cache_of, (*config.client_keys, *config.rule_clients)))
    return of_clients or any(part_of(route, NameCacheKeys).cache is not None for route in config.routes.values())


def is_wanted(config: Config) -> bool:
    """Return whether ``config`` caches responses, or has a place for them."""
    return part_of(config, AnswerCacheKeys).cache.type != "memory" or caches(config)


FEATURE: Final = Feature(
    "answer_cache",
    "gateway.features.answer_cache.opening:open_cache",
    is_wanted,
    keys=(Keys(Config, AnswerCacheKeys), Keys(Route, NameCacheKeys), Keys(ClientRights, ClientCacheKeys)),
    build="gateway.features.answer_cache.checks:build_answer_cache",
)
