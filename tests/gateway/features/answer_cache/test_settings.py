"""The settings of the answer cache in the configuration file."""

from typing import Any

import pytest

from configfile.keys import part_of
from gateway.config.credentials import secrets_in
from gateway.config_files.loading import Config, ConfigError, from_mapping
from gateway.config_reports.changes import changes
from gateway.features.answer_cache.cache import CacheUses
from gateway.features.answer_cache.settings import (
    AnswerCacheKeys,
    AnswerCacheSettings,
    CacheUse,
    NameCacheKeys,
    cache_of,
)
from tests.support.each_row import each_row

REDIS = {"type": "redis", "url": "rediss://me:hunter22@redis.example:6379/1"}
KEY = {"name": "alice", "key": "tg-alice-a-key-of-more-than-enough-characters"}


def read(root: Any = None, alias: Any = None, key: Any = None) -> Config:
    content: dict[str, Any] = {
        "version": "v0.4.0",
        "model_providers": [{"model": "openai/gpt-4o", "access_key": "sk-upstream"}],
        "model_aliases": {"best": {"target": "gpt-4o", **({} if alias is None else {"cache": alias})}},
    }
    if key is not None:
        content["client_keys"] = [{**KEY, "cache": key}]
    return from_mapping(content if root is None else {**content, "cache": root})


def test_caching_is_off_by_default():
    config = read()
    assert part_of(config, AnswerCacheKeys).cache == AnswerCacheSettings()
    assert CacheUses.of(config) is None
    assert CacheUses.of(read(key=False)) is None


def test_an_alias_and_a_client_configure_their_use_of_the_cache():
    use = {"ttl": "90m", "scope": "group", "strict": True, "when": "deterministic", "pace": "recorded"}
    config = read(REDIS, use, {"ttl": "10s"})
    assert part_of(config.routes["best"], NameCacheKeys).cache == CacheUse(
        5400.0, "group", True, "deterministic", "recorded"
    )
    assert cache_of(config.client_keys[0]) == CacheUse(10.0)
    assert (
        part_of(config, AnswerCacheKeys).cache.type,
        part_of(config, AnswerCacheKeys).cache.max_bytes,
        config.ineffective,
    ) == ("redis", 2**30, ())
    assert "hunter22" in secrets_in(config)
    assert "hunter22" not in repr(config)


@each_row(
    ("root", "alias", "said"),
    [
        ({"type": "sqlite"}, None, "sqlite needs a path"),
        ({"type": "redis"}, None, "redis needs a url"),
        ({"type": "redis", "url": "http://x"}, None, "not an address of Redis"),
        (None, {"ttl": "7d"}, "longer than the 24 hours of `cache.max_ttl`"),
        (None, {"scope": "key"}, "required"),
        (None, {"ttl": "1h", "scope": "none"}, "one of key, group, all"),
        (None, {"ttl": 0}, "ttl"),
        (REDIS["url"], None, "cache: "),
        ({"type": REDIS["url"]}, None, "cache.type: "),
        (None, REDIS["url"], "model_aliases.best.cache: "),
    ],
)
def test_a_cache_mistake_is_reported_at_startup_without_secrets(root, alias, said):
    with pytest.raises(ConfigError) as found:
        read(root, alias)
    assert said in str(found.value)
    assert "hunter22" not in str(found.value) + found.value.list_mistakes("mistakes")


def test_a_longer_cache_lifetime_requires_a_root_setting():
    assert part_of(read({"max_ttl": "8d"}, {"ttl": "7d"}).routes["best"], NameCacheKeys).cache == CacheUse(7 * 86400.0)


def test_cache_settings_without_effect_are_reported():
    found = [mistake.path for mistake in read({"path": "/x", "url": "redis://x"}, {"ttl": "1h"}).ineffective]
    assert found == ["cache.path", "cache.url"]
    assert [mistake.path for mistake in read({"type": "memory"}).ineffective] == ["cache"]
    assert any("has no TLS" in text for text in read({**REDIS, "url": "redis://redis.example:1"}, {"ttl": 1}).warnings)


def test_changing_the_store_needs_a_restart_and_changing_its_use_does_not():
    before, after = read(None, {"ttl": "1h"}, False), read(REDIS, {"ttl": "2h"}, {"ttl": "1h"})
    found = {str(change): change.restart for change in changes(before, after)}
    assert not any("hunter22" in text for text in found)
    assert {text.split()[1].partition(".")[0] for text, restart in found.items() if restart} == {"cache"}
    assert any(text.startswith("~ client key alice: cache false → ") for text in found)
    assert any(text.startswith("~ route best: cache") for text in found)
