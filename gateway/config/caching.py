"""The cache of whole answers in a configuration file: where it is, and for which names and clients it is used."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

import attrs

from configfile import document
from configfile.expanded import Unresolved
from gateway.config.cached_answers import AnswerCacheSettings, CacheUse
from gateway.config.findings import Findings
from gateway.config.schema import RawAnswerCache, RawCacheUse, RawConfig, given
from gateway.config.urls import crosses_in_clear

Switch: TypeAlias = CacheUse | Literal[False] | None
"""The use of the cache for a client; ``False`` where none of its requests is answered from it, ``None`` where it is as
the name says."""

_ON_DISK: Final = AnswerCacheSettings(max_bytes=2**30)
_NEEDS: Final = {
    "sqlite": ("path", "/var/lib/trigate/answers.sqlite"),
    "redis": ("url", "rediss://:$PASSWORD@redis.example:6379/1"),
}
_SCHEMES: Final = ("redis", "rediss", "unix")


def build_answer_cache(raw: RawConfig, findings: Findings) -> AnswerCacheSettings:
    item = raw.cache or RawAnswerCache()
    for kind, (key, such_as) in _NEEDS.items():
        value, place = getattr(item, key), ("cache", key)
        if item.type != kind and value is not None:
            findings.no_effect(place, f"{item.type} has no use for it, ignored")
        elif item.type == kind and not value and place not in findings.faulty:
            findings.wrong(place, f"{kind} needs a {key}", f"give it one, such as {such_as}")
    if item.type == "redis" and item.url and not isinstance(item.url, Unresolved):
        if not _is_address(item.url):
            findings.wrong(("cache", "url"), "no address of redis", f"write one such as {_NEEDS['redis'][1]}")
        elif crosses_in_clear(item.url):
            findings.warn("cache: Redis on another machine is asked without TLS: write rediss://, if it can")
    made = AnswerCacheSettings() if item.type == "memory" else _ON_DISK
    made = attrs.evolve(made, **{**given(item), "path": Path(item.path) if item.path else None})
    _check_lifetimes(raw, made.max_ttl, findings)
    if raw.cache is not None and not any(one for _, one in _uses(raw)):
        findings.no_effect(("cache",), "nothing is cached: give an alias or a client key `cache: {ttl: 1h}`")
    return made


def build_cache_use(raw: RawCacheUse | None) -> CacheUse | None:
    """The use of the cache for a name."""
    return None if raw is None else CacheUse(**given(raw))


def build_switch(raw: RawCacheUse | Literal[False] | None) -> Switch:
    """The same for a client."""
    return False if raw is False else build_cache_use(raw)


def _uses(raw: RawConfig) -> Iterator[tuple[document.Path, RawCacheUse]]:
    """Where the file says that answers are cached, and how."""
    for name, alias in raw.model_aliases.items():
        if alias.cache is not None:
            yield ("model_aliases", name, "cache"), alias.cache
    for number, client in enumerate(raw.client_keys or ()):
        if client is not None and isinstance(client.cache, RawCacheUse):
            yield ("client_keys", number, "cache"), client.cache


def _check_lifetimes(raw: RawConfig, most: float, findings: Findings) -> None:
    for place, use in _uses(raw):
        if use.ttl > most:
            advice = "write a shorter one, or a longer `max_ttl` at the root: `cache: {max_ttl: 7d}`"
            findings.wrong((*place, "ttl"), f"longer than the {most / 3600:g} hours of `cache.max_ttl`", advice)


def _is_address(url: str) -> bool:
    try:
        return urlsplit(url).scheme in _SCHEMES and urlsplit(url).port != 0
    except ValueError:  # brackets that nothing closes, a port that is no number
        return False
