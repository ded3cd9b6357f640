"""The storage for the counts of limits, as the file sets it."""

import sys
from typing import Any

import pytest

from gateway.config.credentials import secrets_in
from gateway.config.state_storage import CounterSettings
from gateway.config_files.loading import Config, ConfigError, from_mapping
from gateway.config_reports.changes import changes, without_restart_settings
from gateway.open_service import open_service
from gateway.serving.lifecycle import Lifecycle
from tests.support.each_row import each_row

FILE: dict[str, Any] = {
    "version": "v0.4.0",
    "listeners": [{"type": "model", "name": "egress", "port": 12000}],
    "model_providers": [{"model": "openai/gpt-4o", "access_key": "sk-upstream"}],
}
REDIS = {"type": "redis", "url": "rediss://me:hunter22@redis.example:6379/1"}


def read(counters: Any) -> Config:
    return from_mapping({**FILE, "counters": counters})


def test_without_a_word_workers_count_together_and_gateways_do_not():
    assert from_mapping(FILE).counters == CounterSettings("memory", None, "share")


def test_a_store_is_read_and_enforced():
    config = read({**REDIS, "when_down": "refuse"})
    assert config.counters == CounterSettings("redis", REDIS["url"], "refuse")
    assert config.ineffective == ()


@each_row(
    ("counters", "said"),
    [
        ({"type": "redis"}, "redis needs a url"),
        ({"type": "postgres", "url": ""}, "postgres needs a url"),
        ({"type": "redis", "url": "postgresql://db.example/trigate"}, "not an address of redis"),
        ({"type": "postgres", "url": "redis://localhost"}, "not an address of postgres"),
        ({"type": "redis", "url": "redis://:hunter22@[::1"}, "not an address of redis"),
        ({"type": "redis", "url": "redis://:hunter22@redis.example:99999/0"}, "not an address of redis"),
        ({"type": "postgres", "url": "postgresql://me:hunter22@[::1"}, "not an address of postgres"),
        ({"type": "etcd"}, "etcd"),
        ({**REDIS, "when_down": "wait"}, "wait"),
        (REDIS["url"], "counters: "),
        ([REDIS["url"]], "counters: "),
        ({"type": REDIS["url"]}, "counters.type: "),
        ({**REDIS, "when_down": REDIS["url"]}, "counters.when_down: "),
    ],
)
def test_mistakes_in_counter_settings_are_reported_at_startup_without_passwords(counters, said):
    """Budgets stayed local because Redis stood under another heading (BerriAI/litellm#30661)."""
    with pytest.raises(ConfigError, match=said) as raised:
        read(counters)
    assert "hunter22" not in str(raised.value) + raised.value.list_mistakes("mistakes")


def test_an_address_that_nothing_asks_has_no_effect_and_is_reported():
    assert [one.path for one in read({"url": "redis://localhost"}).ineffective] == ["counters.url"]


def test_a_password_that_crosses_in_clear_is_warned_of():
    assert any("rediss://" in one for one in read({"type": "redis", "url": "redis://redis.example"}).warnings)
    assert not any("rediss://" in one for one in read({"type": "redis", "url": "redis://127.0.0.1"}).warnings)


def test_another_store_needs_a_restart_and_shows_no_secret():
    old, new = read(REDIS), read({**REDIS, "url": "rediss://me:hunter33@redis.example:6379/1"})
    (change,) = changes(old, new)
    assert change.restart
    assert "hunter" not in str(change)
    assert without_restart_settings(old, new).counters == old.counters
    assert "hunter22" in secrets_in(old)
    assert "hunter22" not in repr(old.counters)


def test_a_package_that_is_missing_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "coredis", None)
    for name in ("gateway.counters.redis", "gateway.stores.redis"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'trigate\[redis\]'"):
        open_service(read(REDIS), Lifecycle(), None, False)
