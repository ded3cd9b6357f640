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
from gateway.config.issuers import TrustedIssuer
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
    given = findings.given_attributes(("cache",))
    for kind, (key, such_as) in _NEEDS.items():
        place: document.Path = ("cache", key)
        if cache.type != kind and key in given:
            findings.no_effect(place, f"type {cache.type} does not use it; ignored")
        elif cache.type == kind and not getattr(cache, key) and place not in findings.faulty:
            findings.wrong(place, f"{kind} needs a {key}", f"set it, such as {such_as}")
    if cache.type == "redis" and cache.url and not isinstance(cache.url, Unresolved):
        if not _is_redis_address(cache.url):
            findings.wrong(("cache", "url"), "not an address of Redis", f"write it like {_NEEDS['redis'][1]}")
        elif crosses_in_clear(cache.url):
            findings.warn(
                "cache: the connection to Redis on another machine has no TLS: write rediss:// if the server supports "
                "it"
            )
    uses = (*_cache_settings(aliases, clients), *_cache_settings_of_rules(issuers))
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
    aliases: Mapping[str, Route], clients: Sequence[ClientKey | None]
) -> Iterator[tuple[document.Path, CacheUse]]:
    """Yield the cache settings in the file with their paths."""
    for name, alias in aliases.items():
        if alias.cache is not None:
            yield ("model_aliases", name, "cache"), alias.cache
    for number, client in enumerate(clients):
        if client is not None and isinstance(client.cache, CacheUse):
            yield ("client_keys", number, "cache"), client.cache


def _cache_settings_of_rules(issuers: Sequence[TrustedIssuer | None]) -> Iterator[tuple[document.Path, CacheUse]]:
    """Yield the cache settings in rules with their paths."""
    for number, issuer in enumerate(issuers):
        for i, rule in enumerate(() if issuer is None else issuer.admit):
            if rule is not None and isinstance(rule.cache, CacheUse):
                yield ("issuers", number, "admit", i, "cache"), rule.cache


def _is_redis_address(url: str) -> bool:
    try:
        return urlsplit(url).scheme in _SCHEMES and urlsplit(url).port != 0
    except ValueError:  # an unclosed bracket, or a port that is no number
        return False
