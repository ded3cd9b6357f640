"""The JSON Schema of the configuration agrees with ``check`` about the shape of a file."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from configfile.document import Document, read
from configfile.reading import read as read_as
from configfile.secret_files import SecretFiles, UnreadFiles
from configfile.variables import Variables
from gateway.commands.schema import schema
from gateway.config.settings import Config
from gateway.config_files.loading import WITHOUT_EFFECT, ConfigError, configure
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.features import describes_all_features, members_of, rows_of
from tests.support.harness import ROOT
from tests.support.places import value_at

SCHEMA = schema()
VALIDATOR = Draft202012Validator(SCHEMA)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CONFIGS = {"config_mock_llm.yaml": (ROOT / "config_mock_llm.yaml").read_text()} | {
    f"{page.name}-{i}": body
    for page in PAGES
    for i, body in enumerate(re.findall(r"^```yaml\n(.*?)^```$", page.read_text(), re.M | re.S))
    if re.search("^version:", body, re.M)  # not a client's own file
}

ENTRY = {
    "model": "openai/gpt-4o",
    "name": "four",
    "access_key": "$KEY",
    "default": True,
    "base_url": "https://host.example:8443/v1?a=b",
    "passthrough_auth": False,
    "http_host": "other.example",
    "provider_interface": "openai",
    "headers": {"x-team": "search"},
    "speaks": ["chat", "responses"],
    "quirks": {"efforts": ["low"], "default_max_tokens": 100, "sampling": "never", "stream_usage": False},
    "timeouts": {"connect": "2s", "first_byte": 30, "idle": 0.5, "total": "5m"},
    "on_disconnect": "finish",
    "state": "ours",
    "retries": {"attempts": 2},
    "circuit": {"failures": 2},
    "probe": "/health",
    "routing_preferences": [{"name": "talk"}],
    "price": {
        "input": 1.4,
        "output": "11",
        "cached": 0,
        "above": {"200k": {"input": 2}, "1M": {}},
        "tiers": {"priority": {"output": 22, "above": {"272000": {"output": 30}}}},
        "tools": {"web_search": 0.01},
    },
    "ratelimits": {"requests": "600/m", "tokens": "1.5M/d", "concurrent": 4, "count_cached": True},
    "queue": {"size": 64, "wait": "3s"},
}
FULL: dict[str, Any] = {
    "version": "v0.3.0",
    "listeners": [{"type": "model", "name": "a", "port": 12000, "address": "::", "timeout": "30s", "max_retries": "2"}],
    "model_providers": [ENTRY, {"model": "groq/*", "speaks": {"chat": "chat"}}],
    "model_aliases": {
        "fast": {"target": "four"},
        "best": {
            "targets": [
                ["four", {"target": "groq/a", "weight": 0.5}],
                {"target": "groq/b", "when": ["quota"]},
                "groq/c",
            ],
            "balance": "weighted",
            "sticky": "x-session",
            "first_content": "2s",
            "hedge": {"after": "p95", "at_most": "2%"},
            "retries": {"attempts": 2},
        },
    },
    "retries": {"attempts": 5, "deadline": "2m", "wait": 0, "budget": "10 %"},
    "circuit": {"failures": 3, "error_rate": "50%", "cooldown": "1s", "longest": "2m"},
    "overrides": {"upstream_connect_timeout": "3s", "novel": 1},
    "limits": {
        "request_body": "1MiB",
        "event": 500,
        "answer": "0.5kB",
        "in_flight": 10,
        "connections": "0",
        "upstream_connections": 0,
    },
    "timeouts": {"idle": "1h"},
    "drain": "25",
    "write_timeout": "250ms",
    "keep_alive": 0.001,
    "strict": True,
    "websocket": False,
    "client_keys": [
        {"name": "alice", "key": "$KEY", "models": ["fast"], "group": "team", "only": ["f*"], "budgets": ["1 usd/day"]},
        {"name": "bob", "sha256": "ab" * 32},
        {"name": "carol", "keys": [{"key": "new"}, {"sha256": "cd" * 32, "until": "2040-01-31"}]},
    ],
    "client_groups": [{"name": "team", "models": ["fast", "best"], "only": ["four", "groq/*"], "ratelimits": {}}],
    "routing_preferences": [
        {"name": "code", "description": "d", "models": ["four"], "selection_policy": {"prefer": "fastest"}},
    ],
    "ratelimits": [{"model": "four", "selector": {"key": "x-team"}, "limit": {"tokens": 5, "unit": "day"}}],
    "counters": {"type": "redis", "url": "redis://:$KEY@localhost"},
    "cors": ["https://app.example", "*"],
    "state_storage": {"type": "sqlite", "path": "/tmp/a", "ttl": "7d", "encryption_key": "A" * 43 + "="},
    **members_of("tracing", tracing={"random_sampling": 100, "endpoint": "http://localhost:4318"}),
    **members_of("metrics", metrics={"open": True}),
    **members_of(
        "steps",
        steps=[
            {
                "use": "./steps.py:check",
                "name": "own",
                "at": ["request", "response"],
                "action": {"email": "mask", "key": "refuse"},
                "for": {
                    "clients": ["*", "!bob"],
                    "groups": ["team"],
                    "models": ["fast"],
                    "entries": ["f*"],
                    "endpoints": ["chat"],
                    "on_request": False,
                },
                "with": {"a": {"b": ["$KEY"]}, "c": {"file": "secret.txt"}},
                "hold": 64,
                "parts": ["user", "tool_results"],
                "latest": True,
                "restore": True,
                "deadline": "2s",
                "concurrent": 8,
                "unchecked": "pass",
                "refusal": {"as": "stop", "message": "No."},
            },
            {"use": "guards.acme:Guard.check", "action": "report", "for": "on_request", "hold": "nothing"},
            {"use": "pii", "with": {"labels": ["email"]}},
            {"use": "http", "with": {"url": "https://guard.internal", "key": "$KEY"}},
        ],
    ),
}
LEGACY: dict[str, Any] = {
    "version": "0.1-beta",
    "listeners": {"egress_traffic": {"port": 12000, "timeout": "30s", "message_format": "openai"}},
    "llm_providers": [{"model": "openai/gpt-4o"}],
}

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 5, 65535, 65536, 10**6, 10**6 + 1, 10**13, 0.5, 0.001, 0.0004, -0.5,
    "", "x", "0", "00", "7", "007", "65535", "65536", "070000", "1000000", "1000001", "-1", "1.5", "0.0", "1e3", "12 ",
    "30s", "0s", "0.5s", "0.001s", "0.0004s", "250ms", "0.5ms", "5m", "0m", "1h", "30d", "5 m", "5M", "MS", "5x", " 5s",
    "64MiB", "500kB", "0.5kB", "0B", "1b", "0.5", "1TB",
    "$X", "${X}", "a$X", "$$X", "$$", "$5", "text of ours: ü", "a\tb",
    "openai/gpt-4o", "groq/*", "openai/", "/x", "nothing", "four", "gpt-4o",
    "http://h", "https://h:8000/v1", "HTTP://H:1/", "http://[::1]:80", "http://h:0", "http://h:65536", "http://",
    "http://:80", "ftp://h", "http://u@h", "http://u:p@h/x", "http://h/a b", "http://h#f", "http://h?q=1@2", "//h", "h",
    "*", "https://app.example", "https://app.example/", "null",
    "v0.3.0", "0.2.0", "v9", "model", "agent", "openai", "chat", "messages", "cancel", "finish", "ours", "upstream",
    "600/m", "2M/m", "1.5k / s", "1.5/s", "0/m", "0.0k/m", "5/w", "/m", "1.0/day", {"size": 4}, {"size": 0, "wait": 1},
    "sqlite", "postgres", "memory", "none", "never", "free", "reasoning", "p95", "20%", "200%", "5.5 %", "quota",
    "ab" * 32, "ab" * 31, "AB" * 32,
    "2040-01-31", "2040-1-31", "2040-01-31T18:00:00Z", "2040-01-31 18:00:00+02:00", " 2040-01-31",
    {"file": "secret.txt"}, {"file": "secret.txt", "mode": 1}, {"file": 5},
    " " + "ab" * 32, "A" * 43 + "=", "A" * 44, "A" * 22 + "==",
    [], ["chat"], ["chat", "x"], [None], [1], [{}], {}, {"a": 1}, {"a": None}, {"chat": "messages"}, {"chat": "x"},
    {"model": "openai/gpt-4o"}, [{"model": "openai/gpt-4o"}], {"target": "four"}, {"type": "sqlite"},
    {"type": "postgres", "connection_string": "postgresql://h/d"}, {"type": "memory"}, [{"name": "a", "key": "k"}],
    [{"name": "a"}], [{"name": "", "key": "k"}], [{"name": "a", "key": "k", "sha256": "ab" * 32}], {"x y": "z"},
    {"idle": "5s"}, {"idle": None}, {"egress_traffic": {}}, {"egress_traffic": None}, {"port": 1}, [{"port": 1}],
]  # fmt: skip
"""Values for any place. No number such as 5.0 is among them: it is 5 in JSON, but no whole number for ``check``."""

KEYS = sorted(
    {name for shape in (SCHEMA, *SCHEMA["$defs"].values()) for name in shape.get("properties", {})} | {"typo"}
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value, and of every place where a value could be added."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, member in value.items():
            yield from places(member, (*path, key))
        yield from ((*path, key) for key in KEYS if key not in value)
    elif isinstance(value, list):
        for i, member in enumerate(value):
            yield from places(member, (*path, i))


@st.composite
def mutated_configs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a good configuration, then change, add or remove one to three values."""
    content = copy.deepcopy(draw(st.sampled_from([FULL, LEGACY])))
    for _ in range(draw(st.integers(1, 3))):
        all_places = list(places(content))
        *holders, last = all_places[draw(st.integers(0, len(all_places) - 1))]  # sampled_from would read each
        holder = value_at(content, holders)
        if isinstance(holder, dict) and last in holder and draw(st.integers(0, 3)) == 0:
            del holder[last]
            continue
        holder[last] = copy.deepcopy(draw(st.sampled_from(VALUES)))
    return content


def refused_by_shape(content: dict[str, Any]) -> bool:
    """Return whether ``check --no-env`` finds a mistake in the shape. A variable in the place of a required word is no
    mistake, because its value is unknown."""
    expanded = Variables(None, WITHOUT_EFFECT, UnreadFiles()).expand(content, ())
    faults = read_as(expanded, Config).faults
    return any(not (fault.missing and stands(content, fault.path)) for fault in faults)


def stands(content: Any, path: tuple[Any, ...]) -> bool:
    for step in path:
        if not (isinstance(content, dict) and step in content) and not isinstance(content, list):
            return False
        content = content[step]
    return content is not None


def good(content: dict[str, Any]) -> bool:
    """Return whether ``check`` finds no mistake, with $X and $KEY in the environment."""
    try:
        configure(Document("", content), {"X": "5", "KEY": "k"}, SecretFiles({"secret.txt": "text"}))
    except ConfigError:
        return False
    return True


@pytest.mark.soak
def test_it_is_a_schema_that_its_own_schema_takes():
    Draft202012Validator.check_schema(SCHEMA)


def test_the_command_prints_it():
    found = invoke("schema")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == SCHEMA


@describes_all_features
@each_row("text", CONFIGS.values(), ids=CONFIGS)
def test_it_takes_every_configuration_in_the_docs(text):
    content = read(text.encode(), "x").content
    VALIDATOR.validate(json.loads(json.dumps(content, default=str)))  # to an editor a date is text


@pytest.mark.parametrize("content", [FULL, LEGACY], ids=["full", "legacy"])
def test_it_takes_a_configuration_with_every_kind_of_key(content):
    assert good(content)
    VALIDATOR.validate(content)


@given(mutated_configs())
@example({**FULL, "drain": "0.0004"})
@example({**FULL, "model_aliases": {"above": "gpt-4o"}})
@example({**FULL, "keep_alive": "0s"})
@example({**FULL, "llm_providers": FULL["model_providers"]})
@example({**FULL, "limits": {"connections": "1000001"}})
@settings(deadline=None, max_examples=examples(70))
def test_the_schema_rejects_shapes_that_check_rejects(content):
    if refused_by_shape(content):
        assert not VALIDATOR.is_valid(content)


@given(mutated_configs())
@settings(deadline=None, max_examples=examples(70))
def test_the_schema_accepts_everything_that_check_accepts(content):
    if good(content):
        VALIDATOR.validate(content)


@each_row(
    ("change", "what"),
    [
        ({"version": None}, "no version"),
        ({"model_providers": []}, "no provider"),
        ({"client_keys": []}, "an empty list of keys"),
        ({"client_keys": [{"name": "a"}]}, "a client without a key"),
        ({"state_storage": {"type": "sqlite"}}, "sqlite without a path"),
        ({"state_storage": {"type": "postgres"}}, "postgres without an address"),
        ({"model_providers": [{"model": "gpt-4o"}]}, "a model without a provider"),
        ({"model_providers": [None]}, "an empty item"),
        ({"llm_providers": [{"model": "openai/gpt-4o"}]}, "both names of one list"),
        *rows_of(
            "steps",
            ({"steps": [{"use": "pii", "with": {"lables": ["email"]}}]}, "an unknown setting of a kind of step"),
            ({"steps": [{"use": "http"}]}, "a service without a URL"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_schema_rejects_more_than_wrong_types(change, what):
    content = {**FULL, **change}
    assert not VALIDATOR.is_valid(content), what
    assert not good(content)


def test_every_key_is_described_and_has_the_defaults_of_the_page():
    assert SCHEMA["properties"]["drain"]["default"] == "25s"
    assert SCHEMA["$defs"]["Limits"]["properties"]["in_flight"]["default"] == 1024
    assert SCHEMA["properties"]["strict"]["default"] is False
    for shape in (SCHEMA, *SCHEMA["$defs"].values()):
        for name, member in shape.get("properties", {}).items():
            assert "description" in member or name in ("port", "address"), name
