"""The requests that use the response cache, and the demands of ``cache-control`` headers (RFC 9111, section 5.2.1)."""

import math
import re
from collections.abc import Mapping
from typing import Final, Literal

import attrs

from gateway.config.cached_answers import CacheUse
from gateway.config.clients import name_of_group
from gateway.config.settings import Config


@attrs.frozen(eq=False, repr=False)
class CacheUses:
    """The cache settings of a configuration by client name, and the clients' groups."""

    clients: Mapping[str, CacheUse | Literal[False]]
    groups: Mapping[str, str]

    @classmethod
    def of(cls, config: Config) -> "CacheUses | None":
        """Return the settings of ``config``, ``None`` if it caches nothing."""
        of_clients = any(client.cache for client in (*config.client_keys, *config.rule_clients))
        if not of_clients and all(route.cache is None for route in config.routes.values()):
            return None
        return cls(config.by_client(lambda client: client.cache), config.by_client(name_of_group))

    def of_client(self, client: str | None) -> CacheUse | Literal[False] | None:
        """Return the settings of ``client``, which take precedence over a route's; ``None`` if it has none."""
        return None if client is None else self.clients.get(client)

    def owner(self, use: CacheUse, client: str | None, holder: str) -> str:
        """Return the owner of a response, who alone receives it again.

        ``holder`` identifies a client without a name."""
        group = self.groups.get(client) if client is not None else None
        if use.scope == "all":
            return "all"
        return f"group {group}" if use.scope == "group" and group is not None else f"key {holder}"


_MAX_AGE: Final = re.compile(r"max-age=\"?([0-9]{1,9})\"?")


@attrs.frozen(eq=False, repr=False)
class CacheDemand:
    """The demands of a request on the cache.

    ``reads`` allows a cached response of at most ``max_age`` seconds, ``may_store`` allows the cache to store a new
    one. ``must_hit`` forbids a request to a provider."""

    reads: bool = True
    may_store: bool = True
    max_age: float = math.inf
    must_hit: bool = False


NO_DEMAND: Final = CacheDemand()


def read_cache_control(header: str | None) -> CacheDemand:
    """Return the demands in a ``cache-control`` header; other directives are ignored."""
    if not header:
        return NO_DEMAND
    words = {word.strip().lower() for word in header.split(",")}
    ages = [int(found[1]) for word in words if (found := _MAX_AGE.fullmatch(word)) is not None]
    return CacheDemand(
        reads=words.isdisjoint(("no-cache", "no-store")),
        may_store="no-store" not in words,
        max_age=min(ages, default=math.inf),
        must_hit="only-if-cached" in words,
    )
