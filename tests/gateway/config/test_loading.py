"""Configuration files: which ones load, and the errors for the others."""

import base64
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from configfile.keys import keys_of
from gateway.commands.schema import schema
from gateway.config.attempts import Retries
from gateway.config.clients import AcceptedKey, ClientKey
from gateway.config.limits import Limits
from gateway.config.listening import Listener
from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config
from gateway.config.state_storage import StateStorage
from gateway.config_files.loading import ConfigError, from_mapping, load
from gateway.config_files.unknown import ADVICE, advice
from gateway.config_reports.warnings import warnings_of
from gateway.file_search import find_config_file
from gateway.routing.router import Router
from gateway.viewing.listed_models import list_models
from streams.events import APIS
from streams.timeouts import Timeouts
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.features import needs_feature, rows_of
from tests.support.quick_yaml import load_yaml
from tests.support.repository import ROOT

HEAD = "version: v0.3.0\nlisteners: [{type: model, name: llm, port: 12000}]\n"
ENV = {"OPENAI_API_KEY": "sk-one", "ANTHROPIC_API_KEY": "sk-two", "GROQ_API_KEY": "sk-three"}


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes, name: str = "trigate.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


@pytest.fixture
def read(write):
    def read(text: str, env: dict[str, str] | None = ENV) -> Config:
        return load(write(text), env)

    return read


@pytest.fixture
def errors_in(write):
    """Return a function that returns the mistakes in a text, as lines without the file's name."""

    def errors_in(text: str | bytes, env: dict[str, str] | None = ENV) -> list[str]:
        path = write(text)
        with pytest.raises(ConfigError) as caught:
            load(path, env)
        told = [line for line in str(caught.value).splitlines() if not line.startswith("The keys ")]
        assert len(told) == len(caught.value.mistakes) + (len(caught.value.mistakes) > 1)
        return [str(mistake).replace(f"{path}:", "").strip() for mistake in caught.value.mistakes]

    return errors_in


VALIDATOR = Draft202012Validator(schema())


def minimal(**root):
    return {"version": "v0.3.0", "model_providers": [{"model": "openai/gpt-4o", "access_key": "k"}], **root}


# Configurations that load

PLANO = {
    "list form": """
version: v0.3.0
listeners:
  - type: model
    name: model_1
    address: 0.0.0.0
    port: 12000
    timeout: 30s
    max_retries: 0
model_providers:
  - access_key: $OPENAI_API_KEY
    model: openai/gpt-4o-mini
    default: true
  - access_key: $ANTHROPIC_API_KEY
    model: anthropic/claude-sonnet-4-5
model_aliases:
  arch.claude.code.small.fast:
    target: gpt-4o-mini
""",
    "no port": """
version: v0.3.0
listeners: [{type: model, name: egress}]
model_providers: [{model: openai/gpt-4o, access_key: $OPENAI_API_KEY, default: true}]
""",
    "legacy form": """
version: v0.1.0
listeners:
  egress_traffic:
    address: 0.0.0.0
    port: 12000
    message_format: openai
    timeout: 30s
llm_providers:
  - access_key: $OPENAI_API_KEY
    model: openai/gpt-4o
    default: true
""",
    "wildcards and own servers": """
version: v0.3.0
listeners: []
model_providers:
  - {model: openai/*, access_key: $OPENAI_API_KEY}
  - {model: groq/*, passthrough_auth: true}
  - {model: my_llm/*, base_url: "http://10.0.0.1:8000/v1", provider_interface: openai}
  - {model: ollama/llama3.1, base_url: "http://localhost:11434"}
  - {model: azure_openai/gpt-4o, base_url: "https://me.openai.azure.com", access_key: $OPENAI_API_KEY}
  - {model: vllm/qwen/Qwen3-8B, base_url: "http://localhost:8001", http_host: inner.example, headers: {x-team: a}}
""",
    "newest": """
version: v0.4.0
listeners: [{type: model, name: m, port: 12000, input_filters: [a], output_filters: [b]}]
model_providers: [{model: openai/gpt-4o, access_key: $OPENAI_API_KEY}]
routing_preferences: [{name: code, description: writing code, models: [openai/gpt-4o]}]
model_metrics_sources: [{type: cost, provider: models.dev}]
prompt_caching: {enabled: true}
routing: {session_ttl_seconds: 600}
state_storage: {type: postgres, connection_string: "postgresql://u:$OPENAI_API_KEY@h/db"}
overrides: {upstream_connect_timeout: 3s, disable_signals: true, novel: 1}
ratelimits: [{model: gpt-4o, selector: {key: a, value: b}, limit: {tokens: 1, unit: minute}}]
"""
    + "".join(rows_of("tracing", "tracing: {random_sampling: 100}\n")),
    "agents beside the gateway": """
version: v0.3.0
agents: [{id: a, url: "http://localhost:1"}]
filters: [{id: f, url: "http://localhost:2"}]
endpoints: {app: {endpoint: "localhost:3", connect_timeout: 0.005s}}
system_prompt: it costs $5
prompt_targets: [{name: t, endpoint: {name: app, http_headers: {Authorization: "Bearer $NOT_READ"}}}]
prompt_guards: {input_guards: {jailbreak: {on_exception: {message: no}}}}
mode: prompt
listeners:
  - {type: model, name: m, port: 12000}
  - {type: prompt, name: p, port: 10000}
  - {type: agent, name: g, port: 8001, router: plano_orchestrator_v1, agents: [{id: a, description: d}]}
model_providers:
  - model: openai/gpt-4o
    access_key: $OPENAI_API_KEY
    routing_preferences: [{name: n, description: d}]
""",
}


@needs_feature("cache_acts")
@each_row("name", PLANO)
def test_configurations_of_plano_load_unchanged(read, name):
    config = read(PLANO[name])
    assert config.entries
    assert list_models(Router(config)) or name == "wildcards and own servers"


def test_everything_is_read_into_values(read):
    config = read("""
version: v0.3.0
listeners: [{type: model, name: llm, address: 0.0.0.0, port: 8080, timeout: 0.5s, max_retries: 2}]
model_providers:
  - name: best
    model: anthropic/claude-sonnet-4-5
    access_key: ${ANTHROPIC_API_KEY}
    default: true
    base_url: https://eu.example:8443/v1
    http_host: inner
    headers: {X-Team: "a$$b"}
    speaks: [messages]
    quirks: {default_max_tokens: 100, refused_fields: [store], max_tokens_field: max_tokens}
    timeouts: {idle: 1m, total: 10m}
model_aliases: {fast: {target: best}}
limits: {request_body: 1MiB, event: 500kB, answer: 4096, in_flight: 7, upstream_connections: 5}
timeouts: {connect: 2, first_byte: 0}
overrides: {upstream_connect_timeout: 9s, upstream_tls_ca_path: /etc/ca.pem}
drain: 1m
drain_delay: 500ms
keep_alive: 5s
strict: true
""")
    (entry,) = config.entries
    assert (entry.name, entry.provider.id, entry.model) == ("best", "anthropic", "claude-sonnet-4-5")
    assert (entry.key, entry.base_url, entry.http_host) == ("sk-two", "https://eu.example:8443/v1", "inner")
    assert entry.headers == (("X-Team", "a$b"),)
    assert entry.speaks == dict.fromkeys(APIS, "messages")
    quirks = entry.quirks_of(entry.model)
    assert (quirks.default_max_tokens, quirks.refused_fields) == (100, ("store",))
    assert entry.timeouts == Timeouts(connect=2, first_byte=None, idle=60, total=600)
    assert config.timeouts == Timeouts(connect=2, first_byte=None, idle=0.5, total=None)
    assert config.limits == Limits(
        request_body=2**20, event=500_000, answer=4096, in_flight=7, upstream_connections=5
    )  # fmt: skip
    assert config.listeners == (Listener(name="llm", address="0.0.0.0", port=8080),)
    assert (config.drain, config.drain_delay, config.keep_alive, config.strict) == (60, 0.5, 5, True)
    assert (config.ca_path, config.retries, config.aliases) == (
        Path("/etc/ca.pem"),
        Retries(attempts=3),
        {"fast": "best"},
    )
    assert config.notes == ()
    assert config.path is not None


def test_omitted_settings_have_defaults(read):
    config = read("version: v0.3.0\nmodel_providers: [{model: openai/gpt-4o, access_key: $OPENAI_API_KEY}]\n")
    assert config.listeners == (Listener(name="models", address="127.0.0.1", port=12000),)
    assert (config.limits, config.timeouts) == (Limits(), Timeouts())
    assert (config.drain, config.drain_delay) == (25, 0)
    assert config.warnings == ()


def test_a_listener_for_health_checks_comes_last_and_is_not_the_only_one():
    listeners = [{"name": "probes", "port": 1, "serves": "health"}, {"name": "a", "port": 2, "http2": False}]
    found = from_mapping(minimal(listeners=listeners)).listeners
    assert [(one.name, one.serves, one.http2) for one in found] == [("a", "all", False), ("probes", "health", True)]
    with pytest.raises(ConfigError, match="without `serves: health`"):
        from_mapping(minimal(listeners=listeners[:1]))


def test_several_model_listeners_are_allowed():
    config = from_mapping(minimal(listeners=[{"name": "a", "port": 1}, {"name": "b", "port": 2, "timeout": "30s"}]))
    assert [listener.port for listener in config.listeners] == [1, 2]
    assert (config.timeouts.first_byte, config.timeouts.idle, config.timeouts.total) == (30, 30, None)


def test_anchors_and_merge_keys_work(read):
    config = read(
        HEAD + "model_providers:\n"
        "  - &base {model: openai/gpt-4o, access_key: $OPENAI_API_KEY, timeouts: {idle: 1s}}\n"
        "  - {<<: *base, model: openai/gpt-5}\n"
    )
    assert [(entry.model, entry.key, entry.timeouts.idle) for entry in config.entries] == [
        ("gpt-4o", "sk-one", 1),
        ("gpt-5", "sk-one", 1),
    ]


def test_a_variable_cannot_change_the_structure(read):
    config = read(HEAD + "model_providers: [{model: openai/m, access_key: $K}]\n", {"K": "a: b, default: true"})
    assert (config.entries[0].key, config.entries[0].default) == ("a: b, default: true", False)


def test_a_variable_may_contain_a_number(read):
    text = "version: v0.3.0\nlisteners: [{port: $PORT}]\nmodel_providers: [{model: openai/m, passthrough_auth: true}]\n"
    assert read(text, {"PORT": "8080"}).listeners[0].port == 8080


def test_without_an_environment_variables_are_neither_expanded_nor_required(read):
    config = read(
        HEAD + "model_providers: [{model: openai/m, access_key: $K, base_url: $URL, timeouts: {idle: $I}}]\n", None
    )
    assert config.entries[0].timeouts.idle == Timeouts().idle


def test_a_key_with_a_line_break_at_its_end_is_the_key_without_it(read):
    config = read(HEAD + "model_providers: [{model: openai/m, access_key: $K}]\n", {"K": "sk\n"})
    assert config.entries[0].key == "sk"


def test_secrets_are_in_no_representation():
    config = from_mapping(
        minimal(model_providers=[{"model": "openai/m", "access_key": "sk-hidden", "headers": {"x-key": "hush"}}])
    )
    assert "sk-hidden" not in repr(config)
    assert "hush" not in repr(config)


def test_the_mock_configuration_serves_the_scenarios():
    config = load(ROOT / "config_mock_llm.yaml", {})
    routes = Router(config)
    assert config.listeners == (Listener(name="models", address="127.0.0.1", port=12000),)
    assert config.warnings == ()
    urls = {
        (model, api): routes.resolve(model, api).url.removeprefix("http://localhost:51001")
        for model in ("gpt-4o-mini", "claude-sonnet-4-20250514")
        for api in ("chat", "messages", "responses")
    }
    assert urls == {
        ("gpt-4o-mini", "chat"): "/v1/chat/completions",
        ("gpt-4o-mini", "messages"): "/v1/chat/completions",
        ("gpt-4o-mini", "responses"): "/v1/responses",
        ("claude-sonnet-4-20250514", "chat"): "/v1/chat/completions",
        ("claude-sonnet-4-20250514", "messages"): "/v1/messages",
        ("claude-sonnet-4-20250514", "responses"): "/v1/chat/completions",
    }
    assert routes.resolve(None, "chat").model == "gpt-4o-mini"


# Warnings and notes


def test_each_setting_without_effect_is_reported_once(read):
    config = read(PLANO["agents beside the gateway"])
    for key in ("agents", "filters", "endpoints", "system_prompt", "prompt_targets", "prompt_guards", "mode"):
        assert [w for w in config.warnings if w.startswith(f"{key}:")] == [
            f"{key}: not part of the model gateway, ignored"
        ]
    assert (
        "model_providers[].routing_preferences[].description: accepted, not enforced yet: requests go to the model "
        "in their `model`" in config.warnings
    )
    assert "listeners[]: of type prompt, not part of the model gateway, ignored" in config.warnings
    assert len(config.warnings) == len(set(config.warnings))


@needs_feature("cache_acts")
def test_unimplemented_settings_are_reported(read):
    config = read(PLANO["newest"])
    for key in ("routing", "routing_preferences[].description", "model_metrics_sources"):
        assert any(w.startswith(f"{key}: accepted, not enforced yet: ") for w in config.warnings)
    assert any(w.startswith("overrides.novel: unknown") for w in config.warnings)


def test_a_setting_without_effect_is_kept_with_its_place(read):
    config = read(
        "version: v0.3.0\n"
        "listeners: [{type: model, max_retries: 2}, {type: model, port: 12001, max_retries: 2}, {type: agent}]\n"
        "routing: {}\n"
        "model_providers: [{model: openai/m, access_key: k, routing_preferences: []}]\n"
        "overrides: {novel: 1}\n"
    )
    places = [(mistake.line, mistake.path) for mistake in config.ineffective]
    assert places == [
        (2, "listeners[2]"),
        (3, "routing"),
        (5, "overrides.novel"),
    ]


def test_a_key_without_a_value_is_reported(read):
    """A list whose items are all in comments leaves such a key, and with it no restriction."""
    config = read(
        "version: v0.4.0\n"
        "metrics_key:\n"
        "model_providers: [{model: openai/m, access_key: k}]\n"
        "client_keys:\n- name: ann\n  key: abcdefghijklmnop\n  models:\n  # - openai/m\n  ratelimits: {requests:}\n"
        "ratelimits: [{model: openai/m, selector: {key: x-team, value:}, limit: {tokens: 5, unit: day}}]\n"
    )
    assert [(one.line, one.path, one.found) for one in config.ineffective] == [
        (2, "metrics_key", "it has no value, so it counts as absent"),
        (7, "client_keys[0].models", "it has no value, so it counts as absent"),
        (9, "client_keys[0].ratelimits.requests", "it has no value, so it counts as absent"),
    ]


# State

DAY = 86400.0
SEALING = "c3RhdGUgc3RvcmFnZSBpcyBzZWFsZWQgd2l0aCB0aGk="  # 32 bytes


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"type": "memory"}, StateStorage("memory", DAY, 16 * 2**20)),
        ({"type": "none"}, StateStorage("none")),
        ({"type": "sqlite", "path": "/s"}, StateStorage("sqlite", 30 * DAY, 2**30, Path("/s"))),
        ({"type": "sqlite", "path": "s", "ttl": "7d", "max_bytes": "50MB"},
         StateStorage("sqlite", 7 * DAY, 50_000_000, Path("s"))),
        ({"type": "postgres", "connection_string": "postgresql://h/d"},
         StateStorage("postgres", 30 * DAY, None, None, "postgresql://h/d")),
        ({"type": "memory", "encryption_key": SEALING},
         StateStorage("memory", encryption_key=(b"state storage is sealed with thi",))),
        ({"type": "memory", "encryption_key": "-_" * 21 + "8="}, None),
    ],
)  # fmt: skip
def test_state_is_stored_as_configured(given, meant):
    found = from_mapping(minimal(state_storage=given)).state_storage
    assert found == meant or meant is None
    assert from_mapping(minimal()).state_storage is None, "not the same as memory: workers share"


@needs_feature("kept_ledger")
def test_the_ledger_is_kept_as_configured():
    from gateway.features.kept_ledger.settings import KeptLedgerSettings, LedgerKeys  # which may be deleted

    for asked, meant in (({"keep": "90d", "max_bytes": "5MiB"}, (90 * DAY, 5 * 2**20)), ({"keep": 0}, (0,))):
        storage = {"type": "sqlite", "path": "/s", "ledger": asked}
        parts = {LedgerKeys: LedgerKeys(KeptLedgerSettings(*meant))}
        found = from_mapping(minimal(state_storage=storage)).state_storage
        assert found == StateStorage("sqlite", 30 * DAY, 2**30, Path("/s"), parts=parts)


@each_row(
    ("storage", "warning"),
    [
        *(({"type": kind, "ledger": {"keep": "9d"}},
           f"state_storage.ledger: type {kind} stores no ledger, only sqlite and postgres do; ignored")
          for kind in rows_of("kept_ledger", "memory", "none")),
        ({"type": "memory", "connection_string": "x"},
         "state_storage.connection_string: type memory does not use it; ignored"),
    ],
)  # fmt: skip
def test_a_setting_that_the_type_of_storage_does_not_use_is_reported(storage, warning):
    config = from_mapping(minimal(state_storage=storage))
    assert config.warnings == (warning,)
    assert [one.path for one in config.ineffective] == [warning.partition(":")[0]]


def test_messages_contain_no_connection_string_or_key(read, errors_in):
    text = HEAD + "model_providers: [{model: openai/m, access_key: k}]\nstate_storage: "
    storage = "{type: postgres, connection_string: 'postgresql://u:hunter2@h/d', encryption_key: " + SEALING + "}\n"
    config = read(text + storage)
    assert "hunter2" not in repr(config)
    assert "sealed" not in repr(config)
    (found,) = errors_in(text + "{type: memory, encryption_key: hunter2}\n")
    assert found.startswith("4:")
    assert "32 bytes in base64" in found
    assert "hunter2" not in found


@each_row(
    ("storage", "words"),
    [
        ("{path: /s}", "state_storage.type: missing"),
        ("{type: redis}", "one of memory, sqlite, postgres, none"),
        ("{type: sqllite}", "did you mean sqlite?"),
        (
            "{type: sqlite}",
            "state_storage.path: sqlite needs a path; set it, such as /var/lib/trigate/state.sqlite",
        ),
        ("{type: sqlite, path: ''}", "state_storage.path: empty"),
        ("{type: postgres}", "state_storage.connection_string: postgres needs a connection_string"),
        ("{type: memory, ttl: 0}", "a duration above 0"),
        ("{type: memory, max_bytes: lots}", "expected a size"),
        ("{type: memory, connectionstring: a}", "did you mean connection_string?"),
        ("memory", "expected a mapping"),
    ],
)
def test_a_mistake_in_state_storage_names_its_line(errors_in, storage, words):
    text = HEAD + "model_providers: [{model: openai/m, access_key: k}]\nstate_storage: " + storage + "\n"
    (found,) = errors_in(text)
    assert found.startswith("4:")
    assert words in found


NO_CONNECTION_STRINGS = [
    "hunter2", "postgresq://u:hunter2@127.0.0.1:1/db", "postgresql://u:hunter2@[h/d", "host='hunter2",
    "postgresql://u:hunter2%zz@h/d", "postgresq://u:hunter2@h/d?sslmode=require",
]  # fmt: skip


@each_row("text", NO_CONNECTION_STRINGS)
def test_an_invalid_connection_string_is_a_mistake_without_its_text(errors_in, text):
    storage = f'{{type: postgres, connection_string: "{text}"}}'
    (found,) = errors_in(HEAD + "model_providers: [{model: openai/m, access_key: k}]\nstate_storage: " + storage + "\n")
    assert found.startswith("4:")
    assert "state_storage.connection_string: not a connection string; write postgresql://USER" in found
    assert "hunter2" not in found


@each_row("text", ["postgresql://u:p@h,h2/d", "postgres://h", "host=h dbname=d", " host = h "])
def test_a_connection_string_is_a_url_or_parameters(text):
    storage = {"type": "postgres", "connection_string": text}
    assert from_mapping(minimal(state_storage=storage)).state_storage.connection_string == text.strip()


@each_row(
    ("text", "warned"),
    [
        ("postgresql://u:p@db.example:5432/d", True),
        ("postgresql://u:p@localhost,db.example/d", True),
        ("host=10.0.0.5 dbname=d", True),
        ("postgresql://u:p@db.example/d?sslmode=verify-full", False),
        ("host=db.example sslmode = disable", False),
        ("postgresql://u:p@localhost/d", False),
        ("postgresql://u:p@127.0.0.1:5432/d", False),
        ("postgresql://u:p@[::1]/d", False),
        ("postgresql:///d?host=/run/postgresql", False),
        ("host=/run/postgresql dbname=d", False),
        ("dbname=d", False),
    ],
)
def test_a_remote_connection_without_an_encryption_setting_is_a_warning(text, warned):
    """libpq's default is ``prefer`` (https://www.postgresql.org/docs/current/libpq-ssl.html): no protection at all."""
    warnings = from_mapping(minimal(state_storage={"type": "postgres", "connection_string": text})).warnings
    assert any("sslmode" in warning for warning in warnings) is warned


def test_a_list_of_encryption_keys_is_a_list_of_at_least_one():
    old = base64.b64encode(bytes(32)).decode()
    found = from_mapping(minimal(state_storage={"type": "memory", "encryption_key": [SEALING, old]})).state_storage
    assert found.encryption_key == (b"state storage is sealed with thi", bytes(32))
    for keys in ([], [SEALING, "short"], [SEALING, 5]):
        with pytest.raises(ConfigError, match="encryption_key"):
            from_mapping(minimal(state_storage={"type": "memory", "encryption_key": keys}))


def test_a_connection_string_is_checked_even_without_the_driver(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg.conninfo", None)
    for text in ("postgresql://u:p@h/d", "host=h"):
        assert from_mapping(minimal(state_storage={"type": "postgres", "connection_string": text})).state_storage
    for text in NO_CONNECTION_STRINGS[:2]:
        with pytest.raises(ConfigError, match="not a connection string"):
            from_mapping(minimal(state_storage={"type": "postgres", "connection_string": text}))


def test_a_variable_of_state_storage_is_not_needed_to_check(read, errors_in):
    storage = "{type: postgres, connection_string: $DATABASE, encryption_key: $SEALING}"
    text = HEAD + "model_providers: [{model: openai/m, access_key: k}]\nstate_storage: " + storage + "\n"
    assert read(text, None).state_storage is not None
    assert len(errors_in(text)) == 2
    config = read(text, {"DATABASE": "postgresql://h/d", "SEALING": SEALING + "\n"})
    assert config.state_storage.connection_string == "postgresql://h/d"
    assert [len(key) for key in config.state_storage.encryption_key] == [32]


@each_row(
    ("entry", "ours"),
    [
        ({"model": "openai/m"}, False),
        ({"model": "openai/m", "state": "ours"}, True),
        ({"model": "openai/m", "speaks": ["chat"]}, True),
        ({"model": "openai/m", "speaks": ["responses"], "state": "upstream"}, False),
        ({"model": "azure_openai/m", "base_url": "https://h"}, True),  # gets Chat requests
        ({"model": "anthropic/m"}, True),
        ({"model": "xai/m"}, True),
        ({"model": "xai/m", "state": "upstream"}, False),
        ({"model": "mine/m", "base_url": "http://h", "provider_interface": "openai"}, True),
    ],
)
def test_a_provider_that_keeps_responses_is_left_to_it(entry, ours):
    (found,) = from_mapping(minimal(model_providers=[{"access_key": "k", **entry}])).entries
    assert found.stores_turns("responses", found.model) is ours


@each_row(
    ("entry", "warning"),
    [
        ({"model": "openai/m", "passthrough_auth": True}, "access_key is ignored"),
        ({"model": "openai/m", "access_key": None}, "access_key: $OPENAI_API_KEY"),
        ({"model": "openai/m", "access_key": ""}, "access_key is empty"),
        ({"model": "perplexity/m", "provider_interface": "openai"}, "provider_interface is ignored"),
        *(
            ({"model": "openai/gpt-4o", "access_key": key}, "looks like the name of a variable: write it as $NAME")
            for key in (
                "OPENAI_API_KEY", "MY_TOKEN", "os.environ/OPENAI_API_KEY", "os.environ/key", "env.OPENAI_API_KEY",
                "env:KEY", "ENV.KEY", "process.env.KEY", "%KEY%", "$(KEY)", "{{KEY}}", "{{ .Values.key }}",
            )
        ),
        *(
            ({"model": "openai/gpt-4o", "access_key": key}, None)
            for key in ("sk-proj-KEY", "mock-openai-key", "AKIAIOSFODNN7EXAMPLE")
        ),
        *(
            ({"model": f"{name}/m", "base_url": "http://h"}, None)
            for name in ("my-openai", "openai-eu", "compatible", "corp", "llm", "litellm_proxy", "llamafile")
        ),
        *(
            ({"model": f"{provider}/{model}"}, f"trigate knows no model {model}: did you mean {near}?")
            for provider, model, near in (
                ("openai", "gpt-4o-mni", "gpt-4o-mini"), ("openai", "gtp-4o", "gpt-4o"),
                ("anthropic", "claude-sonet-4-5", "claude-sonnet-4-5"), ("anthropic", "cluade-opus-5", "claude-opus-5"),
            )
        ),
        *(
            ({"model": model}, None)
            for model in (
                "openai/gpt-5.9", "openai/gpt-4.1-turbo", "anthropic/claude-sonnet-4-5-20250929", "openai/*",
                "groq/gpt-4o-mni",
            )
        ),
        ({"model": "openai/gpt-4o-mni", "base_url": "http://127.0.0.1:1/v1"}, None),  # it may have any id there
    ],
)  # fmt: skip
def test_a_doubtful_entry_loads_with_a_warning(entry, warning):
    given = {name: value for name, value in {"access_key": "k", **entry}.items() if value is not None}
    warnings = from_mapping(minimal(model_providers=[given])).warnings
    assert len(warnings) == (warning is not None), warnings
    assert warning is None or (warning in warnings[0] and warnings[0].startswith(f"{entry['model']}: "))


def test_wildcards_with_common_ids_get_a_warning_with_the_alias_that_makes_one_work():
    makers = ("anthropic", "openai", "azure_openai", "voyage", "cohere", "perplexity")
    entries: list[dict[str, Any]] = [{"model": f"{maker}/*", "access_key": "k"} for maker in makers]
    entries[2]["base_url"] = "https://me.openai.azure.com"
    content = minimal(model_providers=[{**entries[0], "name": "plan", "access_key": "k2"}, *entries])
    warnings = list(warnings_of(from_mapping(content)))
    pairs = [text.partition(" serve ")[0] for text in warnings]
    assert pairs == ["plan and anthropic/*", "openai/* and azure_openai/*"]
    aliases = {}
    for text in warnings:
        aliases |= load_yaml(text.partition("`model_aliases`: `")[2].rstrip("`"))
    assert [alias["targets"] for alias in aliases.values()] == [
        [f"{prefix}/{name}" for prefix in prefixes]
        for name, prefixes in zip(aliases, (("plan", "anthropic"), ("openai", "azure_openai")), strict=True)
    ]
    assert not list(warnings_of(from_mapping({**content, "model_aliases": aliases})))


@each_row(
    ("name", "meant"),
    [("opnai", "openai"), ("antropic", "anthropic"), ("open-router", "openrouter"), ("together-ai", "together_ai")],
)
def test_a_name_next_to_a_providers_is_reported_where_it_has_an_address_too(name, meant):
    entries = [{"model": f"{name}/{model}", "base_url": "http://h", "access_key": "k"} for model in ("a", "b")]
    (warning,) = from_mapping(minimal(model_providers=entries)).warnings
    assert f"{name} is not a known provider" in warning
    assert f"did you mean {meant}?" in warning


def test_a_server_of_ones_own_keeps_a_name_that_has_become_a_providers():
    """The entry sets its interface and its address; the provider of that name would require a project."""
    entry = {"model": "vertex/m", "base_url": "http://h:1", "access_key": "k", "provider_interface": "anthropic"}
    config = from_mapping(minimal(model_providers=[entry]))
    assert config.warnings == ()
    (found,) = config.entries
    assert Router(config).resolve("vertex/m", "messages").url == "http://h:1/v1/messages"
    assert found.speaks["messages"] == "messages"


def test_the_loss_on_anthropics_compatible_endpoint_is_noted_once_unless_decided():
    both = [{"model": "anthropic/a", "access_key": "k"}, {"model": "anthropic/b", "access_key": "k"}]
    (note,) = from_mapping(minimal(model_providers=both)).notes
    assert "speaks: [messages]" in note
    decided = [{"model": "anthropic/a", "access_key": "k", "speaks": ["messages", "chat"]}]
    assert from_mapping(minimal(model_providers=decided)).notes == ()


# Configurations that are refused

ONE = "model_providers: [{model: openai/gpt-4o, access_key: k}]\n"


@each_row(
    ("text", "mistakes"),
    [
        ("", ["empty; start the file with `version: v0.4.0`"]),
        ("# nothing\n", ["empty"]),
        ("- a\n", ["1:1: expected keys and values, found a list"]),
        ("hello\n", ["1:1: expected keys and values, found 'hello'"]),
        (
            "version: v0.3.0\nversion: v0.3.0\n" + ONE,
            ["2:1: version: this key appears twice, first in line 1; keep one of them"],
        ),
        (
            "version: v0.3.0\nlisteners:\n\t- a\n",
            ["3:1: the line has a tab; YAML does not allow tabs here: indent with spaces"],
        ),
        ("version: [v0.3.0\n", ["2:1: not valid YAML"]),
        (
            "a: {b: ${NAME}}\n",
            [
                "1:9: not valid YAML: while parsing a flow mapping, expected ',' or '}', but got '{'; separate items "
                'by commas, close all brackets, put text with brackets in quotes, as "${NAME}".'
            ],
        ),
        ('a: b\nversion: "v0.3.0\nlisteners: []\n', ["2:10: not valid YAML: the quote has no end"]),
        ("a: 'b\nversion: 'v0.3.0'\n", ["1:4: not valid YAML: the quote has no end"]),
        ("a: 'b\n  c'\nversion: [v0.3.0\n", ["4:1: not valid YAML"]),
        ("version: v0.3.0\n---\nversion: v0.3.0\n", ["2:1: not valid YAML"]),
        (HEAD + ONE + "cors: !!python/object:os.system {}\n", ["4:7: cors: a tag changes the type"]),
        (HEAD + ONE + "cors: !!python/name:os.system x\n", ["4:7: cors: a tag changes the type"]),
        (HEAD + ONE + "cors: !!bool x\n", ["4:7: cors: a tag changes the type"]),
        ("a: *nowhere\n", ["; put text that begins with * in quotes"]),
        ("a: [*]\n", ["; put text that begins with * in quotes"]),
        ("a:\n  - b: 1\n  c: 2\n", ["; indent the line as much as the other keys or items that belong with it"]),
        ("a: b\n  c: d\n", ["not allowed here; indent the line as much as the other keys, or put the value in quotes"]),
        ("a: @b\n", ["that cannot start any token; put the text in quotes"]),
        (HEAD + ONE + "? [a]\n: b\n", ["4:3: a list or mapping cannot be a key; use text as the key, and put"]),
        (HEAD + ONE + "hosts: &x [*x]\n", ["the anchor contains itself"]),
        ("a: \x01\n", ["1: the file has a control character"]),
        (
            HEAD + ONE + 'hosts: ["\\ud83d"]\n',
            ["4:9: hosts[0]: half of a surrogate pair is no character; write the whole character"],
        ),
        (
            HEAD + ONE + 'model_aliases: {"\\udc00\\ud83d": {target: gpt-4o}}\n',
            ["4:17: model_aliases: half of a surrogate pair is no character"],
        ),
        (HEAD + ONE + "cors: 2026-99-99\n", ["4:7: cors: this looks like a date, but is not valid; put it in quotes"]),
        ("a: " + "[" * 5000, ["the nesting is too deep"]),
        (b"a: b\nc: \xff\n", ["2: the file is not UTF-8 text"]),
        (ONE, ["version: missing"]),
        ("version: v0.3\n" + ONE, ["1:1: version: 'v0.3'; did you mean v0.3.0?"]),
        ("version: 0.3\n" + ONE, ["1:1: version: 0.3; did you mean v0.3.0?"]),
        ("version: v0.4\n" + ONE, ["did you mean v0.4.0?"]),
        ("version: v0.5.0\n" + ONE, ["1:1: version: 'v0.5.0'; expected one of v0.1, v0.1.0"]),
        ("version: 7\n" + ONE, ["1:1: version: 7; expected one of v0.1, v0.1.0"]),
        (HEAD, ["model_providers: the list is empty"]),
        (HEAD + "model_providers: []\n", ["3:1: model_providers: the list is empty"]),
        (
            HEAD + "model_providers: {}\n",
            ["3:1: model_providers: a mapping; expected a list: start each item with `- `"],
        ),
        (HEAD + ONE + "llm" + ONE[5:], ["llm_providers: it cannot be combined with model_providers"]),
        (HEAD + ONE + "liseners: []\n", ["4:1: liseners: unknown key; did you mean listeners?"]),
        (
            "version: v0.3.0\nlisteners: [{tls: {cert: a, certificate: b}}]\n" + ONE,
            ["tls.cert: unknown key; did you mean certificate?"],
        ),
        (HEAD + ONE + "zzz: 1\n", ["4:1: zzz: unknown key."]),
        (HEAD + ONE + "limits: {event: big}\n", ["4:10: limits.event: 'big'; expected a size such as 64MiB"]),
        (HEAD + ONE + "limits: {event: 0}\n", ["limits.event: 0; expected a size"]),
        (HEAD + ONE + f"drain: 0x{'f' * 5000}\n", ["drain: a huge number; expected a duration"]),
        (f"version: 0x{'f' * 5000}\n" + ONE, ["version: a huge number; expected one of"]),
        (HEAD + ONE + "drain: 5x\n", ["4:1: drain: '5x'; expected a duration such as 30s, 0.5s or 5m"]),
        (HEAD + ONE + "keep_alive: 0s\n", ["keep_alive: '0s'; expected a duration above 0"]),
        (HEAD + ONE + "strict: maybe\n", ["strict: 'maybe'; expected true or false"]),
        (HEAD + ONE + "model_aliases: {f: {target: gpt-4}}\n", ["f.target: 'gpt-4' is not a configured model"]),
        (HEAD + ONE + "model_aliases: {f: gpt-4o}\n", ["f: 'gpt-4o'; expected a mapping, such as {target: …}."]),
        (HEAD + ONE + "retries: 3\n", ["retries: 3; expected a mapping, such as {attempts: …}."]),
        (HEAD + ONE + "model_aliases: {f: {traget: gpt-4o}}\n", ["f.traget: unknown key; did you mean target?"]),
        ("version: v0.3.0\nlisteners: [{type: modl}]\n" + ONE, ["listeners[0].type: 'modl'; did you mean model?"]),
        ("version: v0.3.0\nlisteners: [{port: 0}]\n" + ONE, ["listeners[0].port: 0; expected a port"]),
        ("version: v0.3.0\nlisteners: [{}, {}]\n" + ONE, ["two listeners use 127.0.0.1:12000"] * 2),
        (
            "version: v0.3.0\nlisteners: [{port: 1, timeout: 1s}, {port: 2, timeout: 2s}]\n" + ONE,
            ["listeners[1].timeout: it differs from another listener's"],
        ),
        (
            "version: v0.3.0\nlisteners: [{tls: {certificate: '', client_ca: ''}}]\n" + ONE,
            [
                "listeners[0].tls.certificate: the text is empty; write a value.",
                "listeners[0].tls.client_ca: the text is empty; write a value.",
            ],
        ),
        (
            "version: v0.3.0\nmodel_aliases: {'': {target: gpt-4o}}\n" + ONE,
            ["model_aliases['']: the name is empty; write the name that clients request."],
        ),
        (
            "version: v0.3.0\nrouting_preferences: [{name: '', models: [gpt-4o]}]\n" + ONE,
            ["routing_preferences[0].name: the name is empty; write the name that clients request."],
        ),
        (
            'version: v0.3.0\nstate_storage: {type: sqlite, path: "a\\0b"}\n' + ONE,
            ["state_storage.path: the path contains a null character; write the path of a file."],
        ),
        (
            "version: v0.3.0\nmodel_providers:\n- model: openai/gpt-4o\n  access_key: k\n"
            "  quirks: {refused_fields: ['', '*', 'tools[].strict', '$$'],\n"
            "    anthropic_version: 'a b', thinking_budgets: [1]}\n",
            [
                "refused_fields[0]: ''; expected the path of a member, such as store or tools[].strict.",
                "refused_fields[1]: '*'; expected the path of a member, such as store or tools[].strict.",
                "refused_fields[3]: '$'; expected the path of a member",
                "quirks.anthropic_version: 'a b'; expected a version such as 2023-06-01.",
                "quirks.thinking_budgets: a list of another length; expected 2 items.",
            ],
        ),
        (
            "version: v0.3.0\nlimits: {in_flight: 0}\n" + ONE,
            ["limits.in_flight: 0; expected a whole number, 1 or more."],
        ),
        *rows_of("secret_stores", (
            "version: v0.3.0\nsecret_stores: {vault: {url: 'https://vault.example', role: ''}}\n" + ONE,
            ["secret_stores.vault: neither role nor token is set;"],
        )),
        *rows_of("request_members", (
            "version: v0.3.0\nmodel_providers:\n- model: openai/gpt-4o\n  access_key: k\n  request:\n"
            "    default: {temperature: .nan}\n    max: {top_p: .inf, chat.top_logprobs: .nan}\n",
            [
                "request.default.temperature: nan; JSON has no such number.",
                "request.max.top_p: inf; JSON has no such number.",
                "request.max['chat.top_logprobs']: nan; JSON has no such number.",
            ],
        )),
        (
            "version: v0.1\nlisteners: {egress_trafic: {}}\n" + ONE,
            ["listeners.egress_trafic: unknown key; did you mean egress_traffic?"],
        ),
        (
            "version: v0.4.0\nlisteners: {port: 8080}\n" + ONE,
            ["2:13: listeners.port: unknown key; write a list: `listeners: [{port: 12000}]`."],
        ),
        (
            HEAD + "model_providers:\n  - model: groq/m\n    access_key: k\n    state: upstream\n",
            ["6:5: model_providers[0].state: Responses clients use its API chat, which stores no state; set `ours`"],
        ),
        *(
            (HEAD + ONE + f"{key}: 1\n", [f"{key}: unknown key; {says}"])
            for key, says in (
                ("drain_delai", "did you mean drain_delay?"), ("litellm_settings", "it belongs to LiteLLM"),
            )
        ),
        *(
            (f"{HEAD}model_providers: {entries}\n", [mistake])
            for entries, mistake in (
                ("[{model: openai/a, default: true}, {model: openai/b, default: true}]",
                 "openai/a is also the default"),
                ("[{model: openai/a}, {model: openai/a}]",
                 "another entry has the name openai/a; give each entry its own `name`"),
                ("[{model: openai/a, name: x}, {model: openai/b, name: x}]", "[1].name: another entry has the name x"),
                ("[{model: openai/a}, {model: groq/a}]\nmodel_aliases: {f: {target: a}}", "openai/a and groq/a"),
            )
        ),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_its_place(errors_in, text, mistakes):
    found = errors_in(text)
    assert len(found) == len(mistakes), found
    for line, expected in zip(found, mistakes, strict=True):
        assert expected in line


@each_row(
    ("entry", "mistake"),
    [
        ("{name: a}", "[0].model: missing; this is required"),
        ("{model: 5}", "[0].model: 5; expected text (put it in quotes)"),
        ("{model: gpt-4o}", "[0].model: 'gpt-4o' has no provider; write <provider>/<model id>"),
        ("{model: /gpt}", "[0].model: '/gpt'; write <provider>/<model id>"),
        ("{model: opnai/gpt}", "[0].model: unknown provider 'opnai'; did you mean openai?"),
        ("{model: my-server/m}", "[0].model: unknown provider 'my-server'; set base_url"),
        ("{model: OpenAi/gpt}", "[0].model: unknown provider 'OpenAi'; did you mean openai?"),
        ("{model: my-openai/gpt}", "[0].model: unknown provider 'my-openai'; set base_url"),
        (
            "{model: vertex_ai/gemini}",
            "[0]: vertex_ai/gemini has no location and no project; Vertex AI's address needs them: set `location` and "
            "`project`, or `base_url`.",
        ),
        ("{model: replicate/command}", "[0].model: unknown provider 'replicate'; set base_url"),
        ("{model: qwen/m}", "[0]: qwen/m has no base_url; Alibaba Cloud has no common address: set"),
        ("{model: azure/m}", "set yours, such as https://NAME.openai.azure.com/openai/v1"),
        (
            "{model: bedrock/m}",
            "[0]: bedrock/m has no region; Amazon Bedrock's address needs it: set `region`, or `base_url`.",
        ),
        ("{model: openai/m, acces_key: k}", "[0].acces_key: unknown key; did you mean access_key?"),
        ("{model: openai/m, access_key: 12345}", "[0].access_key: not text"),
        ('{model: openai/m, access_key: "a\\nb"}', "[0].access_key: it has characters that headers cannot contain"),
        ("{model: openai/*, default: true}", "[0].default: openai/* is not a single model"),
        ("{model: openai/m, base_url: localhost}", "[0].base_url: 'localhost'; expected a URL"),
        ("{model: openai/m, base_url: 'ftp://h'}", "[0].base_url: 'ftp://h'; expected a URL"),
        ("{model: openai/m, base_url: 'http://h:99999'}", "[0].base_url: 'http://h:99999'; expected a URL"),
        ("{model: openai/m, base_url: 'http://[::1'}", "[0].base_url: 'http://[::1'; expected a URL"),
        ("{model: openai/m, base_url: 'http://me:pass@h'}", "[0].base_url: a URL with a user name; credentials"),
        ("{model: openai/m, base_url: 'http://me:pass@h:x'}", "[0].base_url: a URL with a user name; credentials"),
        ("{model: openai/m, base_url: 'me:pass@h'}", "[0].base_url: a value that may have a password; expected"),
        ("{model: openai/m, base_url: 'ttp://h/v1?k=sk'}", "[0].base_url: 'ttp://h/v1?…'; expected a URL"),
        ("{model: openai/m, base_url: 'http://h/v1#sk'}", "[0].base_url: 'http://h/v1#…'; expected a URL"),
        ("{model: x/m, base_url: 'http://h', provider_interface: opnai}", "'opnai'; did you mean openai?"),
        ("{model: openai/m, speaks: [mesages]}", "[0].speaks[0]: 'mesages'; did you mean messages?"),
        ("{model: openai/m, speaks: []}", "[0].speaks: the list is empty; list at least one of chat"),
        ("{model: openai/m, speaks: {chat: all}}", "[0].speaks.chat: 'all'; expected one of chat, messages, responses"),
        ("{model: azure_openai/m, base_url: 'http://h', speaks: [messages]}", "trigate does not support messages for"),
        (
            "{model: azure/m, base_url: 'http://h', speaks: [responses]}",
            "responses for Azure OpenAI; use chat, and more where base_url ends with /openai/v1",
        ),
        (
            "{model: chatgpt/m, speaks: [chat]}",
            "trigate does not support chat for",
        ),
        (
            "{model: openai/m, quirks: {refused_fields: store}}",
            ".refused_fields: 'store'; expected a list, such as [A, B]",
        ),
        ("{model: openai/m, headers: {'a b': c}}", "'a b' cannot be set"),
        ("{model: openai/m, headers: {Host: c}}", "'Host' cannot be set; use http_host"),
        ("{model: openai/m, headers: {Content-Length: '3'}}", "'Content-Length' cannot be set"),
        ("{model: openai/m, headers: {a: 3}}", "[0].headers.a: not text"),
        ("", "[0]: this item is empty"),
        ("gpt", "[0]: 'gpt'; expected a mapping"),
    ],
)
def test_a_bad_entry_is_refused(errors_in, entry, mistake):
    (found,) = errors_in(f"{HEAD}model_providers:\n  - {entry}\n")
    assert re.match(r"4:\d+: model_providers\[0\]", found)
    assert mistake in found


def test_every_missing_variable_is_reported_with_its_place(errors_in):
    found = errors_in(
        HEAD + "model_providers:\n"
        "  - {model: openai/a, access_key: $FIRST}\n"
        "  - {model: openai/b, access_key: '${FIRST}', base_url: 'http://${SECOND}'}\n"
        "  - {model: openai/c, access_key: '${THIRD:-x}'}\n",
        {},
    )
    assert [line.partition(";")[0] for line in found] == [
        "4:23: model_providers[0].access_key: the environment variable FIRST is not set",
        "5:47: model_providers[1].base_url: the environment variable SECOND is not set",
        "6:23: model_providers[2].access_key: ${THIRD:-x} is not a valid variable",
    ]


def test_a_missing_variable_with_another_spelling_is_suggested(errors_in):
    found = errors_in(
        HEAD + "model_providers: [{model: openai/a, access_key: $OPENAI_APIKEY}]\n", {"OPENAI_API_KEY": "k"}
    )
    assert found[0].endswith("the environment variable OPENAI_APIKEY is not set; did you mean OPENAI_API_KEY?")


def test_a_dollar_sign_is_no_variable(errors_in):
    key = "client_keys: [{name: a, key: k, budgets: [$5/day]}]\n"
    found = errors_in(HEAD + "model_providers: [{model: openai/a, access_key: k}]\n" + key, {})
    assert any("budgets[0]: '$5/day'; did you mean 5 usd/day?" in line for line in found), found


def test_no_mistake_repeats_a_secret(errors_in):
    found = errors_in(
        HEAD + "model_providers:\n"
        "  - {model: openai/a, acces_key: sk-secret, headers: {a: [sk-secret]}}\n"
        "  - {model: openai/b, access_key: [sk-secret], base_url: $URL}\n"
        "  - {model: openai/c, base_url: 'http://sk-secret@h'}\n",
        {"URL": "sk-secret"},
    )
    assert len(found) == 5
    assert not [line for line in found if "sk-secret" in line]
    assert not [line for line in errors_in("access_key: *sk-secret\n") if "sk-secret" in line]


def test_a_billion_laughs_are_refused_quickly(errors_in):
    levels = ["a: &a0 [x]\n", *(f"b{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))]
    (found,) = errors_in("".join(levels))
    assert "after expanding anchors" in found
    merges = ["a: &m0 {k: v}\n", *(f"b{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 10)}]}}\n" for i in range(1, 12))]
    (found,) = errors_in("".join(merges))
    assert "after expanding anchors" in found


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path):
    for path, words in ((tmp_path / "none.yaml", "no such file"), (tmp_path, "is a directory")):
        with pytest.raises(ConfigError, match=words):
            load(path, {})


# Keys that are none

BAD_KEYS = """version: v0.3.0
fallbacks: []
zzz: 1
retires: 2
listeners: [{type: model, host: 0.0.0.0}]
model_providers:
  - {model: openai/a, access_key: k, apiKey: k, xyzzy: 1}
  - {model: openai/b, access_key: k, rpm: 5, plugh: 1, timeouts: {zzz: 1}}
"""


def test_each_unknown_key_is_a_line_and_the_known_ones_are_reported_once_for_each_place(write):
    with pytest.raises(ConfigError) as caught:
        load(write(BAD_KEYS), {})
    lines = [re.sub(r"^  \S*trigate\.yaml:", "", line) for line in str(caught.value).splitlines()]
    assert lines[:-3] == [
        "9 mistakes in the configuration:",
        "2:1: fallbacks: unknown key; it belongs to an alias: `model_aliases: {NAME: {targets: [FIRST, NEXT]}}`.",
        "3:1: zzz: unknown key.",
        "4:1: retires: unknown key; did you mean retries?",
        "5:27: listeners[0].host: unknown key; write it as `address`.",
        "7:38: model_providers[0].apiKey: unknown key; write it as `access_key`.",
        "7:49: model_providers[0].xyzzy: unknown key.",
        "8:38: model_providers[1].rpm: unknown key; write `ratelimits: {requests: 60/m, tokens: 100k/m}`.",
        "8:46: model_providers[1].plugh: unknown key.",
        "8:67: model_providers[1].timeouts.zzz: unknown key.",
    ]
    assert [line[: line.index(",")] for line in lines[-3:]] == [
        "The keys at the root are version",
        "The keys of model_providers[] are model",
        "The keys of model_providers[].timeouts are connect",
    ]


def test_no_key_that_people_try_is_read():
    read = [(place.__name__, key) for place, key in ADVICE if key in keys_of(place)]
    assert not read, "they work now: take them out of unknown.py"


@each_row("key", ["api-key", "apiKey", "API_KEY", "api_key"])
def test_the_advice_knows_a_key_in_every_spelling(key):
    assert advice(ModelEntry, key) == "write it as `access_key`"
    assert advice(Config, key) != advice(ModelEntry, key)
    assert advice(ModelEntry, key + "s_of_mine") is None


@each_row(
    ("key", "words"),
    [
        ("ledger", "its settings are in `state_storage.ledger`"),
        ("database", "write `state_storage: {type: sqlite, "),
        ("redis", "write `counters: {type: redis, "),
        ("server", "write `listeners: "),
        ("tls", "it belongs to a listener: "),
        ("logging", "write `log_level: info`"),
        ("teams", "write `client_groups: "),
        ("prices", "write it as `price` in an entry"),
        ("oidc", "under `issuers`"),
        ("hooks", "under `steps`"),
        ("alerts", "write `notify: "),
        ("otel", "write `tracing: "),
        ("vault", "write `secret_stores: "),
        ("shadow", "it belongs to an alias: "),
    ],
)
def test_a_feature_at_the_root_under_another_name_is_reported_with_its_key(errors_in, key, words):
    (found,) = errors_in(HEAD + ONE + f"{key}: {{}}\n")
    assert words in found
    assert "The keys at the root" not in found


@each_row("key", ["expires", "expiresAt", "duration", "ttl"])
@each_row("place", [ClientKey, AcceptedKey])
def test_the_advice_explains_the_end_of_a_key(place, key):
    assert "write it as `until`, the last day or the time of expiry" in (advice(place, key) or "")


@each_row("key", ["fallbak_model", "budjets_usd", "cahse_it", "tsl", "sheduler", "metadta"])
def test_a_word_unlike_any_key_gets_no_suggestion(errors_in, key):
    (found,) = errors_in(HEAD + ONE + f"{key}: 1\n")
    assert "did you mean" not in found


# Files of other gateways

LITELLM = "model_list:\n  - {model_name: a, litellm_params: {model: openai/a}}\n"


@each_row(
    ("text", "owner", "then"),
    [
        (LITELLM, "LiteLLM's proxy", "convert it: `trigate import {file} --write trigate.yaml`"),
        ("litellm_settings: {drop_params: true}\n", "LiteLLM's proxy", "trigate import"),
        ("general_settings: {master_key: sk-secret}\n", "LiteLLM's proxy", "trigate import"),
        ('{"Providers": [{"api_key": "sk-secret"}]}', "claude-code-router", "trigate import"),
    ],
)
def test_the_file_of_another_gateway_is_reported_in_one_sentence(write, text, owner, then):
    path = write(text, "other.yaml")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: this is a configuration for {owner}; ")
    assert then.format(file=path) in line
    assert "sk-secret" not in line


# Finding the file


def test_a_named_file_that_is_missing_is_never_replaced_by_another(write, tmp_path):
    write("", "trigate.yaml")
    with pytest.raises(ConfigError, match=r"missing\.yaml: no such file \(path from \$TRIGATE_CONFIG\)"):
        find_config_file(tmp_path, {"TRIGATE_CONFIG": "missing.yaml"})
    with pytest.raises(ConfigError, match="path from the command line"):
        find_config_file(tmp_path, {}, Path("missing.yaml"))


def test_a_persons_own_file_is_for_folders_that_have_none(write, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    for name, env in (("xdg", {"XDG_CONFIG_HOME": "xdg", "HOME": "home"}), ("home/.config", {"HOME": "home"})):
        variables = {variable: str(tmp_path / value) for variable, value in env.items()}
        with pytest.raises(ConfigError, match=re.escape(str(tmp_path / name / "trigate/trigate.yaml"))):
            find_config_file(folder, variables)
        (tmp_path / name / "trigate").mkdir(parents=True)
        own = write("", f"{name}/trigate/trigate.yaml")
        assert find_config_file(folder, variables) == own
    here = write(HEAD, "project/config.yaml")
    assert find_config_file(folder, variables) == here


@each_row(
    "text",
    [
        "",
        "baseURL: https://example.org/\nmodule: {hugoVersion: {min: 0.112.0}}\n",
        "version: 2\nupdates: []\n",
        "a: 1\n---\nb: 2\n",
        "{% for x in y %}\n{{ x }}\n",
        b"\xff\xfe\x00",
        "model_list: [{model_name: a}]\n",
    ],
)
def test_a_file_of_another_program_is_ignored(tmp_path, text):
    folder, own = tmp_path / "project", tmp_path / "own/trigate/trigate.yaml"
    for path, content in ((folder / "config.yaml", text), (own, HEAD)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert find_config_file(folder, {"XDG_CONFIG_HOME": str(tmp_path / "own")}) == own
    with pytest.raises(ConfigError, match=r"config\.yaml(: this is a configuration for| belongs to another program)"):
        find_config_file(folder, {})
    assert find_config_file(folder, {}, Path("config.yaml")).name == "config.yaml"
    plano = folder / "plano_config.yaml"
    plano.write_text(HEAD)
    assert find_config_file(folder, {}) == plano
    plano.unlink()


def test_a_key_with_a_role_and_without_models_is_noted(read):
    text = HEAD + "model_providers: [{model: openai/gpt-4o, access_key: k}]\nclient_keys: [{name: a, key: k1, %s}]\n"
    role = "client_keys: a has the role admin and no `models`, so it may use no model"
    found = [read(text % more) for more in ("role: admin", "role: admin, models: []", "role: user")]
    assert [any(note.startswith(role) for note in config.notes) for config in found] == [True, False, False]


def test_a_star_for_all_models_is_explained(errors_in):
    (found,) = errors_in(
        HEAD + "model_providers: [{model: openai/*, access_key: k}]\nclient_keys: [{name: a, key: k1, models: ['*']}]\n"
    )
    assert "'*' is not a configured model; remove the list to allow all" in found
    assert "did you mean" not in found


@each_row("text", ["version: 0.2.0\n", '{"version": "v0.4.0",\n', "model_providers: [\n", "# x\nllm_providers:\n"])
def test_a_file_of_trigate_with_mistakes_is_not_ignored(write, tmp_path, text):
    path = write(text, "config.yaml")
    assert find_config_file(tmp_path, {}) == path


# Any text is a configuration or a ConfigError

WORDS = st.sampled_from(
    [
        "version", "v0.3.0", "listeners", "type", "model", "name", "port", "12000", "timeout", "30s", "model_providers",
        "openai/gpt-4o", "openai/*", "access_key", "$KEY", "${KEY}", "$$", "${", "default", "true", "base_url",
        "http://h:1/v1", "http://[", "speaks", "chat", "messages", "quirks", "headers", "timeouts", "idle", "limits",
        "model_aliases", "target", "egress_traffic", "overrides", "&a ", "*a", "<<", "!!int ", "!x ", "null", "~",
        ": ", "- ", "\n", "\n  ", "\n    ", "[", "]", "{", "}", ",", "'", '"', "|", ">", "#", "?", "%", "---", "\t",
        "0x", "1e999", "2026-01-01", "\x85", "\ufeff", "\U0001f600",
    ]
)  # fmt: skip
YAMLISH = st.lists(WORDS | st.text(max_size=3), max_size=40).map("".join)


def mistakes_of(function, *arguments):
    """Return the mistakes of a refused configuration, or none; any other exception fails the test."""
    try:
        config = function(*arguments)
    except ConfigError as error:
        return error.mistakes
    assert config.entries or arguments[-1] is None
    return ()


@settings(max_examples=examples(150), deadline=None)
@given(YAMLISH | st.binary(max_size=40))
@example("a: &a {<<: *a}")
@example("? - a\n: b")
@example("!!binary x: 1")
@example("a: !!int x")
@example("a: !!timestamp x")
@example("a: !!float x")
@example("a: !!bool x")
@example("a: !!null [1]")
def test_no_text_is_too_odd_to_be_answered(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "odd.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    for env in (None, {"KEY": "v"}):
        mistakes = mistakes_of(load, path, env)
        assert all(mistake.file == str(path) and str(mistake) for mistake in mistakes)


@each_row(
    ("more", "place"),
    [
        ({"client_keys": [{"name": "a\nb", "key": "k" * 30}]}, "client_keys[0].name"),
        ({"client_groups": [{"name": "a\x07b"}]}, "client_groups[0].name"),
        ({"model_aliases": {"a\nb": {"target": "openai/gpt-4o"}}}, "model_aliases['a\\nb']"),
        ({"model_providers": [{"model": "openai/gpt\n4o"}]}, "model_providers[0].model"),
        ({"model_providers": [{"model": "openai/gpt-4o", "name": "a\u2028b"}]}, "model_providers[0].name"),
        ({"routing_preferences": [{"name": "a\x7f", "models": ["openai/gpt-4o"]}]}, "routing_preferences[0].name"),
    ],
)
def test_a_name_has_no_line_break_and_no_control_character(more, place):
    """The log and tables show names in one line; the admin API refuses such names, too."""
    (mistake,) = mistakes_of(from_mapping, minimal(**more))
    assert (mistake.path, mistake.expected) == (
        place, "a name cannot contain line breaks and control characters: remove them",
    )  # fmt: skip
    assert not VALIDATOR.is_valid(minimal(**more))


def test_a_pair_of_json_escapes_is_one_character(tmp_path):
    """``json.dumps`` writes characters beyond U+FFFF so; for YAML each half is a character."""
    content = minimal(model_aliases={"\U0001f680": {"target": "openai/gpt-4o"}})
    path = tmp_path / "trigate.json"
    path.write_text(json.dumps(content, ensure_ascii=True))
    assert "\\ud83d\\ude80" in path.read_text()
    assert set(load(path, {}).aliases) == {"\U0001f680"}


def test_a_variable_that_is_not_utf_8_is_a_mistake(tmp_path):
    """Python reads its bytes as halves of surrogate pairs, which no log and no table can print."""
    path = tmp_path / "trigate.yaml"
    path.write_text(HEAD + "model_providers: [{model: openai/gpt-4o, name: $NAME, access_key: k}]\n")
    (mistake,) = mistakes_of(load, path, {"NAME": os.fsdecode(b"caf\xe9")})
    assert (mistake.path, mistake.found, mistake.expected) == (
        "model_providers[0].name", "the environment variable NAME is not UTF-8 text", "set NAME as UTF-8",
    )  # fmt: skip


@each_row("name", ["a b", "Zoë’s 👩‍💻", "a\u00a0b", "日本"])
def test_a_name_may_have_any_other_character(name):
    content = minimal(client_keys=[{"name": name, "key": "k" * 30}], model_aliases={name: {"target": "openai/gpt-4o"}})
    assert from_mapping(content).client_keys[0].name == name
    assert VALIDATOR.is_valid(content)
