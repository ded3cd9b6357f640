"""For which requests there is a cache of answers: decided when a configuration is read."""

from collections.abc import Mapping
from typing import Literal

import attrs

from gateway.config.aliases import Route
from gateway.config.cached_answers import CacheUse
from gateway.config.settings import Config


@attrs.frozen
class CacheUses:
    """The uses of a configuration, by the names of clients that say something of it, and the groups of clients."""

    clients: Mapping[str, CacheUse | Literal[False]]
    groups: Mapping[str, str]

    @classmethod
    def of(cls, config: Config) -> "CacheUses | None":
        """``None`` where nothing is cached."""
        clients = {client.name: client.cache for client in config.client_keys if client.cache is not None}
        if not any(clients.values()) and all(route.cache is None for route in config.routes.values()):
            return None
        groups = {client.name: client.group.name for client in config.client_keys if client.group is not None}
        return cls(clients, groups)

    def use_of(self, client: str | None, route: Route | None) -> CacheUse | None:
        """How a request of ``client`` for the name ``route`` uses the cache: what the client's key says outranks what
        the name says."""
        own = self.clients.get(client) if client is not None else None
        if own is not None:
            return own or None
        return None if route is None else route.cache

    def owner(self, use: CacheUse, client: str | None, holder: str) -> str:
        """Whose an answer is: nobody else is given it. ``holder`` is who a client without a name is."""
        group = self.groups.get(client) if client is not None else None
        if use.scope == "all":
            return "all"
        return f"group {group}" if use.scope == "group" and group is not None else f"key {holder}"
