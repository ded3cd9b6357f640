"""Checks of the response cache at the root of a configuration file."""

from typing import Final
from urllib.parse import urlsplit

from configfile.expanded import Unresolved
from configfile.keys import part_of, with_part
from gateway.config.settings import Config
from gateway.config_files.building import Building
from gateway.config_files.storage import check_place
from gateway.features.answer_cache.feature import caches
from gateway.features.answer_cache.settings import AnswerCacheKeys, AnswerCacheSettings
from gateway.http.urls import crosses_in_clear

_ON_DISK: Final = AnswerCacheSettings(max_bytes=2**30)
_NEEDS: Final = {
    "sqlite": ("path", "/var/lib/trigate/answers.sqlite"),
    "redis": ("url", "rediss://:$PASSWORD@redis.example:6379/1"),
}
_SCHEMES: Final = ("redis", "rediss", "unix")


def build_answer_cache(config: Config, building: Building) -> Config:
    """Give the settings their type's defaults, and report errors in them and in their uses."""
    cache, findings = part_of(config, AnswerCacheKeys).cache, building.findings
    check_place(cache, _NEEDS, "cache", findings)
    if cache.type == "redis" and cache.url and not isinstance(cache.url, Unresolved):
        if not _is_redis_address(cache.url):
            findings.wrong(("cache", "url"), "not an address of Redis", f"write it like {_NEEDS['redis'][1]}")
        elif crosses_in_clear(cache.url):
            findings.warn(
                "cache: the connection to Redis on another machine has no TLS: write rediss:// if the server supports "
                "it"
            )
    if "cache" in findings.given_attributes(()) and not caches(config):
        findings.no_effect(("cache",), "nothing uses the cache: set `cache: {ttl: 1h}` for an alias or a client key")
    base = AnswerCacheSettings() if cache.type == "memory" else _ON_DISK
    return with_part(config, AnswerCacheKeys(findings.laid_over(base, cache, ("cache",))))


def _is_redis_address(url: str) -> bool:
    try:
        return urlsplit(url).scheme in _SCHEMES and urlsplit(url).port != 0
    except ValueError:  # an unclosed bracket, or a port that is no number
        return False
