"""For which requests there is a cache of answers, which is decided when a configuration is read, and what a client's
``cache-control`` asks of it (RFC 9111, section 5.2.1)."""

import math
import re
from collections.abc import Mapping
from typing import Final, Literal

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


_MAX_AGE: Final = re.compile(r"max-age=\"?([0-9]{1,9})\"?")


@attrs.frozen
class CacheWish:
    """A wish for one request: whether a cached answer may be ``read`` and a fresh one ``kept``, how many seconds old
    an answer may be, and whether it ``must_hit``: nothing is to be asked of a provider."""

    reads: bool = True
    keeps: bool = True
    max_age: float = math.inf
    must_hit: bool = False


NO_WISH: Final = CacheWish()


def read_wish(header: str | None) -> CacheWish:
    """The wish in a ``cache-control`` header. What it says besides has no meaning here."""
    if not header:
        return NO_WISH
    words = {word.strip().lower() for word in header.split(",")}
    ages = [int(found[1]) for word in words if (found := _MAX_AGE.fullmatch(word)) is not None]
    return CacheWish(
        reads=words.isdisjoint(("no-cache", "no-store")),
        keeps="no-store" not in words,
        max_age=min(ages, default=math.inf),
        must_hit="only-if-cached" in words,
    )
