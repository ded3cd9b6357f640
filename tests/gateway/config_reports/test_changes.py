"""The report of ``trigate check --diff`` and of a reload about two configurations."""

import copy
from typing import Any

import attrs
import pytest

from gateway.config_files.loading import Config, from_mapping
from gateway.config_reports.changes import changes, without_restart_settings
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.features import needs_feature, rows_of
from tests.support.quick_yaml import dump_yaml

SECRETS = tuple(f"{name}-{age}" for name in ("sk", "door", "hush", "db", "query") for age in ("old", "new"))
OLD: dict[str, Any] = {
    "version": "v0.3.0",
    "listeners": [{"type": "model", "port": 12000}],
    "model_providers": [
        {"model": "openai/gpt-4o", "access_key": "sk-old", "default": True},
        {"model": "groq/*", "access_key": "sk-old", "headers": {"x-a": "hush-old"}},
        {"model": "azure_openai/x", "base_url": "https://h.example/p?k=query-old", "access_key": "sk-old"},
    ],
    "model_aliases": {"fast": {"target": "gpt-4o"}, "pair": {"targets": ["gpt-4o", "x"]}},
    "client_groups": [{"name": "team", "models": ["gpt-4o"]}],
    "client_keys": [
        {"name": "alice", "key": "door-old"},
        {"name": "bob", "key": "door-b", "models": ["gpt-4o"]},
        {"name": "carol", "key": "door-c", "group": "team"},
    ],
}


def lines_of(change: Any, old: dict[str, Any] = OLD) -> list[str]:
    """Return the lines for what ``change`` does to a copy of ``old``."""
    new = copy.deepcopy(old)
    change(new)
    return [str(one) for one in changes(from_mapping(old), from_mapping(new))]


def setting(path: str, value: Any) -> Any:
    def change(content: dict[str, Any]) -> None:
        *holders, last = (int(step) if step.isdecimal() else step for step in path.split("."))
        for step in holders:
            content = content.setdefault(step, {}) if isinstance(content, dict) else content[step]
        content[last] = value

    return change


CHANGES = [
    ("model_aliases.slow", {"target": "gpt-4o"}, ["+ alias slow → gpt-4o"]),
    ("model_aliases", {}, ["- alias fast", "- route pair"]),
    ("model_aliases.slow",
     {"targets": [["gpt-4o", {"target": "groq/a", "weight": 3}], {"target": "groq/b", "when": ["quota"]}]},
     ["+ route slow → [gpt-4o, groq/a (weight 3)], groq/b (when quota)"]),
    ("model_aliases.pair.targets", ["gpt-4o"], ["~ route pair: targets gpt-4o, x → gpt-4o"]),
    ("model_aliases.pair.balance", "weighted", ["~ route pair: balance least_busy → weighted"]),
    ("model_aliases.pair.sticky", False, ["~ route pair: sticky auto → false"]),
    ("model_aliases.pair.first_content", "90s", ["~ route pair: first_content none → 90s"]),
    ("model_aliases.pair.hedge", {"after": "2s"}, ["~ route pair: hedge none → {after: 2s, at_most: 5%}"]),
    ("model_aliases.pair.retries", {"attempts": 2},
     ["~ route pair: retries none → {attempts: 2, deadline: 5m, wait: 20s, budget: 20%}"]),
    ("model_aliases", {"fast": {"target": "gpt-4o"}}, ["- route pair"]),
    ("retries", {"attempts": 2}, ["~ retries none → {attempts: 2, deadline: 5m, wait: 20s, budget: 20%}"]),
    ("circuit", {"error_rate": "25%"}, ["~ circuit.error_rate 50% → 25%"]),
    ("model_providers.1.circuit", {"failures": 2},
     ["~ model groq/*: circuit none → {failures: 2, error_rate: 50%, cooldown: 5s, longest: 20s}"]),
    ("model_providers.2.probe", "/health?k=query-new", ["~ model azure_openai/x: probe none → /health?…"]),
    ("client_keys.0.only", ["groq/*"], ["~ client key alice: only all → groq/*"]),
    ("client_keys.0.group", "team", ["~ client key alice: group none → team"]),
    ("client_groups.0.only", ["azure*"], ["~ client group team: only all → azure*"]),
    ("client_groups.0.models", None, ["~ client group team: models gpt-4o → all"]),
    ("model_providers.0.access_key", "sk-new", ["~ model openai/gpt-4o: access_key changed"]),
    ("model_providers.0.access_key", None, ["~ model openai/gpt-4o: access_key removed"]),
    ("model_providers.0.timeouts", {"idle": "9s"}, ["~ model openai/gpt-4o: timeouts.idle 10m → 9s"]),
    ("model_providers.0.default", False, ["~ default model: openai/gpt-4o → none"]),
    ("model_providers.0.quirks", {"stream_usage": False},
     ["~ model openai/gpt-4o: quirks {} → {stream_usage: false}"]),
    ("model_providers.0.on_disconnect", "finish", ["~ model openai/gpt-4o: on_disconnect cancel → finish"]),
    ("model_providers.0.speaks", {"messages": "chat"}, ["~ model openai/gpt-4o: speaks is now set by the file"]),
    ("model_providers.1.headers", {"x-a": "hush-new"}, ["~ model groq/*: headers changed"]),
    ("model_providers.1.base_url", "http://u.example/x", ["~ model groq/*: base_url the provider's own → http://u.example/x"]),
    ("model_providers.1", {"model": "anthropic/claude-x", "name": "claude", "access_key": "sk-new"},
     ["- model groq/*", "+ model claude (anthropic/claude-x)"]),
    ("model_providers.2.base_url", "https://h.example/p?k=query-new", ["~ model azure_openai/x: base_url changed"]),
    ("client_keys.0.key", "door-new", ["~ client key alice: another key"]),
    ("client_keys.1.until", "2040-01-31", ["~ client key bob: until without an end → 2040-02-01T00:00:00Z"]),
    ("client_keys.1", {"name": "bob", "keys": [{"key": "door-b"}, {"key": "door-new"}], "models": ["gpt-4o"]},
     ["~ client key bob: 1 key added"]),
    ("client_keys.1", {"name": "bob", "keys": [{"key": "door-b", "until": "2040-01-31"}], "models": ["gpt-4o"]},
     ["~ client key bob: a key until without an end → 2040-02-01T00:00:00Z"]),
    ("client_keys.1.models", None, ["~ client key bob: models gpt-4o → all"]),
    ("client_keys", None, ["- client key alice", "- client key bob", "- client key carol",
                           "~ client_keys: every client may now use the gateway"]),
    ("listeners.0.port", 12001, ["~ listeners 127.0.0.1:12000 → 127.0.0.1:12001 (needs a restart)"]),
    ("state_storage", {"type": "postgres", "connection_string": "postgresql://u:db-new@h/d"},
     ["~ state_storage none → postgres (needs a restart)"]),
    ("limits", {"in_flight": 5}, ["~ limits.in_flight 1024 → 5"]),
    ("limits", {"upstream_connections": 9}, ["~ limits.upstream_connections 0 → 9"]),
    ("strict", True, ["~ strict false → true"]),
    ("drain", "1m", ["~ drain 25s → 1m (needs a restart)"]),
    ("cors", ["https://a.example"], ["~ cors none → https://a.example"]),
    ("overrides.upstream_tls_ca_path", "/ca", ["~ overrides.upstream_tls_ca_path none → /ca (needs a restart)"]),
    ("version", "v0.4.0", []),
    *rows_of("tracing", ("tracing", {"random_sampling": 1}, ["~ tracing none → on (needs a restart)"])),
    *rows_of("live_view", ("ui", False, ["~ ui {answers: own} → false"])),
    *rows_of("prompt_caches",
             ("prompt_cache", False, ["~ prompt_cache {memory: 33554432, texts: 0} → false"])),
    *rows_of("answer_cache", (
        "client_keys.0.cache", {"ttl": "1h"},
        ["~ client key alice: cache none → {ttl: 1h, scope: key, strict: false, when: always, pace: none}"],
    )),
    *rows_of("metrics", ("metrics", False, ["~ metrics keyed → off (needs a restart)"])),
]  # fmt: skip


def test_prices_are_shown_in_dollars():
    price = {"input": 1.4, "cached": 0.14, "output": 11, "tools": {"web_search": 0.01}}
    dollars = "{input: 1.4, output: 11, cached: 0.14, tools: …}"
    assert lines_of(setting("model_providers.0.price", price)) == [
        f"~ model openai/gpt-4o: price the list's → {dollars}"
    ]
    old = copy.deepcopy(OLD)
    old["model_providers"][0]["price"] = price
    changed = lines_of(setting("model_providers.0.price", "free"), old)
    assert changed == [f"~ model openai/gpt-4o: price {dollars} → free"]
    assert lines_of(setting("unpriced", "allow")) == ["~ unpriced refuse → allow"]


@each_row(("path", "value", "lines"), CHANGES, ids=[path for path, *_ in CHANGES])
def test_each_change_has_its_words_without_a_secret(path, value, lines):
    assert lines_of(setting(path, value)) == lines
    assert not [secret for secret in SECRETS if secret in "\n".join(lines)]


def test_a_route_that_becomes_the_default_is_reported():
    def change(content):
        content["model_providers"][0]["default"] = False
        content["model_aliases"]["pair"]["default"] = True

    assert lines_of(change) == ["~ default model: openai/gpt-4o → pair"]


def test_the_parts_of_one_place_of_storage_are_named_one_by_one():
    storage = {"type": "postgres", "connection_string": "postgresql://u:db-old@h/d"}
    changed = {**storage, "connection_string": "postgresql://u:db-new@h/d", "ttl": "1h"}
    assert lines_of(setting("state_storage", changed), {**OLD, "state_storage": storage}) == [
        "~ state_storage.ttl 30d → 1h (needs a restart)",
        "~ state_storage.connection_string changed (needs a restart)",
    ]


def test_a_setting_that_needs_a_restart_is_kept():
    old = from_mapping(OLD)
    new = attrs.evolve(from_mapping({**OLD, "drain": "1m", "strict": True}))
    assert without_restart_settings(old, new) == attrs.evolve(new, drain=old.drain)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "old.yaml").write_text(dump_yaml(OLD))
    new = copy.deepcopy(OLD)
    new["model_providers"][0]["access_key"] = "$NEW_KEY"
    (tmp_path / "trigate.yaml").write_text(dump_yaml(new))
    return tmp_path


@pytest.mark.parametrize("order", [("--diff", "old.yaml", "trigate.yaml"), ("trigate.yaml", "--diff", "old.yaml"),
                                   ("--diff", "old.yaml")], ids=" ".join)  # fmt: skip
def test_the_command_prints_changes_and_exits_like_diff(files, order):
    found = invoke("check", *order, cwd=files, env={"NEW_KEY": "sk-new"})
    assert found.returncode == 1, found.stderr
    assert found.stdout == "~ model openai/gpt-4o: access_key changed\n"


def test_the_command_prints_nothing_without_changes(files):
    found = invoke("check", "old.yaml", "--diff", "old.yaml", cwd=files)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_the_command_reports_the_mistakes_of_either_file(files):
    found = invoke("check", "--diff", "old.yaml", cwd=files)
    assert found.returncode == 2
    assert "trigate.yaml" in found.stderr
    assert "NEW_KEY is not set" in found.stderr


@needs_feature("request_members")
def test_changed_request_members_are_listed():
    def members(**more: object) -> Config:
        entry = {"model": "openai/m", "access_key": "k", "request": {"default": {"temperature": 0.25}, **more}}
        return from_mapping({"version": "v0.4.0", "model_providers": [entry]})

    found = [str(one) for one in changes(members(), members(max={"max_tokens": 9}, system={"after": "Stop."}))]
    assert found == ["~ model openai/m: request.max {} → {max_tokens: 9}; request.system.after none → Stop."]
    plain = from_mapping({"version": "v0.4.0", "model_providers": [{"model": "openai/m", "access_key": "k"}]})
    assert [str(one) for one in changes(plain, members())] == [
        "~ model openai/m: request none → {default: {temperature: 0.25}}"
    ]
