"""The keys of the response cache: which responses it stores, where, and which clients get them."""

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import attrs

from configfile.document import Path
from configfile.keys import Kind, part_of, setting
from configfile.kinds import Secret, Size, Wait
from configfile.wording import Wrong, describe
from gateway.config.findings import Findings
from gateway.config.kinds import FilePath
from gateway.config.parts import ClientRights, ItemPart
from gateway.config.settings import Config

CacheScope: TypeAlias = Literal["key", "group", "all"]
"""The clients that share a cached response: those with the same key, the same group, or all with this setting."""

CacheWhen: TypeAlias = Literal["always", "deterministic"]
"""Requests that use the cache: all, or only those with ``temperature: 0``."""

CachePace: TypeAlias = Literal["none", "recorded"]
"""Pauses of a cached stream: none, or the original ones."""


@attrs.frozen(repr=False)
class CacheUse:
    """The cache settings of a model name or a client."""

    shown_members: ClassVar = "all"

    ttl: Wait = setting("The lifetime of a cached answer.")
    scope: CacheScope = setting(
        "The [clients](caching.md#owners) that share an answer.",
        "key",
    )
    strict: bool = setting("Reuse an answer only if [every member](caching.md#cache-key) is equal.", False)
    when: CacheWhen = setting("`deterministic`: only for requests with `temperature: 0`.", "always")
    pace: CachePace = setting(
        "Send a cached stream immediately, or with its `recorded` pauses.",
        "none",
    )


def _pick_cache_type(value: Any) -> Any:
    if value is False or isinstance(value, dict):
        return CacheUse if isinstance(value, dict) else None
    raise Wrong(describe(value), "expected a mapping such as {ttl: 1h}, or false for no caching")


CacheSwitch: TypeAlias = (
    Annotated[
        CacheUse | Literal[False], Kind("mapping, or `false`", pick=_pick_cache_type, parts=(Literal[False], CacheUse))
    ]
    | None
)
"""The cache settings of a client; ``False`` disables the cache, ``None`` leaves the model name's settings."""


@attrs.frozen(repr=False)
class AnswerCacheSettings:
    """The store of cached responses and its size; ``path`` is set for sqlite, ``url`` for redis."""

    type: Literal["memory", "sqlite", "redis"] = setting(
        "`memory`: a cache in each worker. `sqlite`: one for all workers of this machine. `redis` (or Valkey): one "
        "for several gateways.",
        "memory",
    )
    path: FilePath | None = setting("Required with `sqlite`: the file, readable only by its owner.", None)
    url: Secret | None = setting(
        "Required with `redis`: `rediss://user:password@host:6379/1` (`redis://` without TLS, "
        "`unix:///path/socket`). Keys begin with `{trigate-answers}:`.",
        None,
        secret=True,
    )
    max_bytes: Size = setting(
        "The size at which the least recently used answers are removed. One client uses at most half of it.",
        64 * 2**20,
        shown="`memory`: `64MiB`; else `1GiB`",
    )
    max_request: Size = setting("Longer requests do not use the cache.", 2**20)
    max_answer: Size = setting("Longer answers are not cached.", 4 * 2**20)
    max_ttl: Wait = setting("The longest `ttl` of a name or a client.", 86400.0)


@attrs.frozen
class AnswerCacheKeys:
    """The keys of the root."""

    cache: AnswerCacheSettings = setting(
        "The storage for cached answers.",
        factory=AnswerCacheSettings,
        shown="in memory; used only for names and clients with `cache`",
        restart=True,
    )


class _CacheKeys(ItemPart):
    """The keys of an item with a ``cache``."""

    cache: Any

    def complete(self, item: Any, path: Path, config: Config, findings: Findings) -> "ItemPart":
        most = part_of(config, AnswerCacheKeys).cache.max_ttl
        if isinstance(self.cache, CacheUse) and self.cache.ttl > most:
            found = f"this is longer than the {most / 3600:g} hours of `cache.max_ttl`"
            advice = "set a shorter time, or a longer `max_ttl` at the root: `cache: {max_ttl: 7d}`"
            findings.wrong((*path, "cache", "ttl"), found, advice)
        return self

    def within(self, config: Config) -> "ItemPart":
        if not isinstance(self.cache, CacheUse):
            return self
        ttl = min(self.cache.ttl, part_of(config, AnswerCacheKeys).cache.max_ttl)
        return attrs.evolve(self, cache=attrs.evolve(self.cache, ttl=ttl))  # type: ignore[misc]


@attrs.frozen
class NameCacheKeys(_CacheKeys):
    """The keys of an alias."""

    cache: CacheUse | None = setting("Reuse the answer of an equal earlier request.", None, shown="never")


@attrs.frozen
class ClientCacheKeys(_CacheKeys):
    """The keys of a client."""

    cache: CacheSwitch = setting(
        "Reuse answers for every model, instead of the name's `cache`.",
        None,
        shown="as the name sets it",
    )

    def beyond_lead(self) -> tuple[str, str] | None:
        if isinstance(self.cache, CacheUse) and self.cache.scope == "all":
            return "cache.scope", "share no answers with other groups: set cache.scope to group"
        return None


def cache_of(client: ClientRights) -> CacheUse | Literal[False] | None:
    """Return the cache settings of a client."""
    return part_of(client, ClientCacheKeys).cache
