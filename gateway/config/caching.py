"""Checks of the response cache in a configuration file."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from configfile import document
from configfile.expanded import Unresolved
from gateway.config.aliases import Route
from gateway.config.cached_answers import AnswerCacheSettings, CacheUse
from gateway.config.clients import ClientKey
from gateway.config.findings import Findings
from gateway.config.issuers import AdmitRule, TrustedIssuer
from gateway.config.state_storage import check_place
from gateway.config.urls import crosses_in_clear

_ON_DISK: Final = AnswerCacheSettings(max_bytes=2**30)
_NEEDS: Final = {
    "sqlite": ("path", "/var/lib/trigate/answers.sqlite"),
    "redis": ("url", "rediss://:$PASSWORD@redis.example:6379/1"),
}
_SCHEMES: Final = ("redis", "rediss", "unix")


def build_answer_cache(
    cache: AnswerCacheSettings,
    aliases: Mapping[str, Route],
    clients: Sequence[ClientKey | None],
    issuers: Sequence[TrustedIssuer | None],
    findings: Findings,
) -> AnswerCacheSettings:
    """Return the settings with their type's defaults, and report errors in them and in their uses."""
    check_place(cache, _NEEDS, "cache", findings)
    if cache.type == "redis" and cache.url and not isinstance(cache.url, Unresolved):
        if not _is_redis_address(cache.url):
            findings.wrong(("cache", "url"), "not an address of Redis", f"write it like {_NEEDS['redis'][1]}")
        elif crosses_in_clear(cache.url):
            findings.warn(
                "cache: the connection to Redis on another machine has no TLS: write rediss:// if the server supports "
                "it"
            )
    uses = tuple(_cache_settings(aliases, clients, issuers))
    for place, use in uses:
        if use.ttl > cache.max_ttl:
            advice = "set a shorter time, or a longer `max_ttl` at the root: `cache: {max_ttl: 7d}`"
            findings.wrong(
                (*place, "ttl"), f"this is longer than the {cache.max_ttl / 3600:g} hours of `cache.max_ttl`", advice
            )
    if "cache" in findings.given_attributes(()) and not uses:
        findings.no_effect(("cache",), "nothing uses the cache: set `cache: {ttl: 1h}` for an alias or a client key")
    return findings.laid_over(AnswerCacheSettings() if cache.type == "memory" else _ON_DISK, cache, ("cache",))


def _cache_settings(
    aliases: Mapping[str, Route], clients: Sequence[ClientKey | None], issuers: Sequence[TrustedIssuer | None]
) -> Iterator[tuple[document.Path, CacheUse]]:
    """Yield the cache settings of aliases, clients and rules with their paths."""
    holders: list[tuple[document.Path, Route | ClientKey | AdmitRule | None]] = [
        *((("model_aliases", name), alias) for name, alias in aliases.items()),
        *((("client_keys", i), client) for i, client in enumerate(clients)),
        *((("issuers", i, "admit", j), rule)
          for i, issuer in enumerate(issuers) for j, rule in enumerate(issuer.admit if issuer else ())),
    ]  # fmt: skip
    for path, holder in holders:
        if holder is not None and isinstance(holder.cache, CacheUse):
            yield (*path, "cache"), holder.cache


def _is_redis_address(url: str) -> bool:
    try:
        return urlsplit(url).scheme in _SCHEMES and urlsplit(url).port != 0
    except ValueError:  # an unclosed bracket, or a port that is no number
        return False
