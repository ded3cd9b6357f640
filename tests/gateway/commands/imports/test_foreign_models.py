"""Files of agentgateway, Bifrost and Portkey: their models, routes and keys.

The formats: https://agentgateway.dev/docs, https://docs.getbifrost.ai/deployment-guides/config-json and
https://portkey.ai/docs/api-reference/config-object"""

import contextlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.commands.imports.agentgateway import read_agentgateway
from gateway.commands.imports.bifrost import read_bifrost
from gateway.commands.imports.foreign_models import convert_models
from gateway.commands.imports.losses import Group
from gateway.commands.imports.portkey import read_portkey
from gateway.config.loading import ConfigError, from_mapping
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.litellm_files import file_text
from tests.support.places import changed_at, places
from tests.support.quick_yaml import load_yaml

DIGEST: Final = "00112233445566778899aabbccddeeff" * 2

AGENTGATEWAY: Final[dict[str, Any]] = {
    "llm": {
        "port": 4100,
        "policies": {
            "apiKey": {
                "keys": [
                    {"key": "$DEV_KEY", "metadata": {"user": "dev"}, "allowedModels": ["small", "pool"]},
                    {"keyHash": f"sha256:{DIGEST}", "budgets": [{"unit": "USD"}]},
                    {"key": "hush-hush", "metadata": {"user": "odd"}, "allowedModels": {"pattern": "x"}},
                ]
            },
            "localRateLimit": [{"maxTokens": 10, "fillInterval": "1s"}],
        },
        "providers": [
            {"name": "shared", "provider": "openAI", "params": {"apiKey": "$S", "baseUrl": "http://vllm:8000/v1"}}
        ],
        "models": [
            {"name": "small", "provider": "openAI",
             "params": {"model": "gpt-4o-mini", "apiKey": {"file": "/run/openai"}}},
            {"name": "claude", "provider": "anthropic", "health": {"eviction": {"duration": "30s"}},
             "params": {"model": "claude-x", "apiKey": "hush-hush", "baseUrl": "https://anthropic.internal/v1"}},
            {"name": "local", "provider": {"reference": "shared"}, "params": {"model": "llama"}},
            {"name": "anthropic/*", "provider": "anthropic", "params": {"apiKey": "$A"}, "visibility": "internal",
             "transformation": {"model": 'llmRequest.model.stripPrefix("anthropic/")'}},
            {"name": "deployed", "provider": "azure",
             "params": {"model": "d", "azureResourceName": "res", "azureApiVersion": "v1"}},
            {"name": "nova", "provider": "bedrock",
             "params": {"model": "amazon.nova-micro-v1:0", "awsRegion": "us-east-1"}},
            {"name": "gem", "provider": "vertex",
             "params": {"model": "gemini-2.5-flash", "vertexProject": "$P", "vertexRegion": "global"}},
            {"name": "anthropic/eng", "provider": "openAI", "matches": [{"headers": [{"name": "x-org"}]}]},
        ],
        "virtualModels": [
            {"name": "pool", "routing": {"weighted": {"targets": [
                {"model": "small", "weight": 60}, {"model": "anthropic/haiku", "weight": 40}]}}},
            {"name": "safe", "routing": {"failover": {"targets": [
                {"model": "gem", "priority": 1}, {"model": "small", "priority": 0},
                {"model": "claude", "priority": 1}]}}},
        ],
    },
    "mcp": {"targets": []},
    "frontendPolicies": {"accessLog": {}},
}  # fmt: skip

BIFROST: Final[dict[str, Any]] = {
    "providers": {
        "openai": {
            "keys": [
                {"name": "a", "value": "env.OPENAI_A", "models": ["gpt-4o", "gpt-4o-mini"], "weight": 0.7},
                {"name": "b", "value": "hush-hush", "models": ["gpt-4o"], "weight": 0.3},
            ],
            "network_config": {"default_request_timeout_in_seconds": 30, "max_retries": 2},
        },
        "anthropic": {"keys": [{"value": {"value": "", "env_var": "env.ANTHROPIC", "from_env": True}}]},
        "azure": {
            "keys": [
                {"value": "env.AZ", "models": ["gpt-x"],
                 "azure_key_config": {"endpoint": "env.AT", "api_version": "2024-10-21", "deployments": {"gpt-x": "d"}}}
            ]
        },
        "bedrock": {"keys": [{"models": ["*"], "bedrock_key_config": {"region": "us-east-1", "role_arn": "env.ROLE"}}]},
        "parasail": {"keys": [{"value": "env.PARASAIL"}]},
    },
    "governance": {
        "virtual_keys": [
            {"id": "1", "name": "dev", "value": "env.VK", "is_active": True, "rate_limit_id": "r",
             "provider_configs": [{"provider": "openai", "allowed_models": ["gpt-4o"]}, {"provider": "anthropic"}]},
            {"id": "2", "name": "off", "is_active": False},
            {"id": "3", "name": "stored"},
        ],
        "budgets": [{"id": "b", "max_limit": 50.0, "reset_duration": "1M", "virtual_key_id": "1"}],
        "rate_limits": [{"id": "r", "request_max_limit": 100, "request_reset_duration": "1m"}],
    },
    "logs_store": {"enabled": True},
}  # fmt: skip

PORTKEY: Final[dict[str, Any]] = {
    "strategy": {"mode": "fallback"},
    "targets": [
        {
            "strategy": {"mode": "loadbalance"},
            "targets": [
                {"provider": "openai", "api_key": "hush-hush", "weight": 0.7,
                 "override_params": {"model": "gpt-4o", "temperature": 0}},
                {"provider": "azure-openai", "azure_resource_name": "res", "azure_deployment_id": "d",
                 "azure_api_version": "2024-10-21", "api_key": "hush-hush", "weight": 0.3},
            ],
        },
        {"provider": "bedrock", "aws_region": "us-east-1", "aws_role_arn": "arn:aws:iam::1:role/x",
         "override_params": {"model": "amazon.nova-micro-v1:0"}, "retry": {"attempts": 2}, "request_timeout": 1500},
    ],
    "cache": {"mode": "simple"},
}  # fmt: skip


def convert(found: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the content of the new file, and the lost settings."""
    assert found is not None
    result = convert_models(found)
    text = file_text(result)
    assert "hush-hush" not in text
    content = load_yaml(text)
    from_mapping(content)
    return content, [loss.what for loss in result.losses]


def test_agentgateways_models_keep_their_names_providers_and_keys():
    content, lost = convert(read_agentgateway(AGENTGATEWAY))
    assert content["listeners"][0]["port"] == 4100
    result = convert_models(read_agentgateway(AGENTGATEWAY))
    assert "# set the variable SMALL_API_KEY_FILE to /run/openai" in file_text(result)
    assert content["model_providers"] == [
        {"model": "openai/gpt-4o-mini", "name": "small", "access_key": "$SMALL_API_KEY"},
        {"model": "anthropic/claude-x", "name": "claude", "base_url": "https://anthropic.internal/v1",
         "access_key": "$CLAUDE_API_KEY", "speaks": ["messages"], "circuit": {"cooldown": "30s", "longest": "30s"}},
        {"model": "compatible/llama", "name": "local", "base_url": "http://vllm:8000/v1", "access_key": "$S"},
        {"model": "anthropic/*", "access_key": "$A", "speaks": ["messages"]},
        {"model": "azure_openai/d", "name": "deployed", "base_url": "https://res.openai.azure.com/openai/v1",
         "access_key": "$AZURE_API_KEY"},
        {"model": "amazon_bedrock/amazon.nova-micro-v1:0", "name": "nova", "speaks": ["converse"],
         "region": "us-east-1"},
        {"model": "vertex/gemini-2.5-flash", "name": "gem", "project": "$P", "location": "global",
         "sign_in": "google"},
    ]  # fmt: skip
    assert content["model_aliases"] == {
        "pool": {
            "targets": [[{"target": "small", "weight": 60}, {"target": "anthropic/haiku", "weight": 40}]],
            "balance": "weighted",
        },
        "safe": {"targets": ["small", ["gem", "claude"]]},
    }
    assert content["model_names"] == {"exact": True, "refused": ["anthropic/eng"]}
    assert content["client_keys"] == [
        {"name": "dev", "key": "$DEV_KEY", "models": ["small", "pool"]}, {"name": "key-2", "sha256": DIGEST},
    ]  # fmt: skip
    assert lost == [
        "the model anthropic/eng", "visibility of anthropic/*", "mode of apiKey", "budgets of the key key-2",
        "the key odd", "llm.policies.localRateLimit", "mcp", "frontendPolicies",
    ]  # fmt: skip


def test_agentgateways_ai_backends_become_entries_without_their_paths():
    backends = [
        {"ai": {"name": "all", "provider": {"openAI": {}}, "policies": {"backendAuth": {"key": "$K"}}}},
        {"ai": {"groups": [{"providers": [
            {"name": "b", "provider": {"bedrock": {"region": "us-east-1", "model": "amazon.nova-micro-v1:0"}},
             "policies": {"backendAuth": {"aws": {"assumeRole": {"roleArn": "arn:aws:iam::1:role/r"}}}}}]}]}},
        {"mcp": {"targets": []}},
    ]  # fmt: skip
    routes = [{"backends": backends, "policies": {"jwtAuth": {}}}]
    content, lost = convert(read_agentgateway({"binds": [{"port": 1, "listeners": [{"routes": routes}]}]}))
    assert content["model_providers"] == [
        {"model": "openai/*", "access_key": "$K"},
        {"model": "amazon_bedrock/amazon.nova-micro-v1:0", "name": "amazon.nova-micro-v1:0", "speaks": ["converse"],
         "region": "us-east-1", "sign_in": {"type": "aws", "role_arn": "arn:aws:iam::1:role/r"}},
    ]  # fmt: skip
    assert lost == ["jwtAuth of all", "jwtAuth of b", "a route to mcp", "the paths of binds"]


def ai(name: str, kind: str, **settings: str) -> dict[str, Any]:
    return {"ai": {"name": name, "provider": {kind: settings}, "policies": {"backendAuth": {"key": "$K"}}}}


HASHED: Final = {"keyHash": f"sha256:{DIGEST}", "metadata": {"name": "sales"}}


def test_agentgateways_keys_of_routes_become_clients_with_the_models_of_these_routes():
    """A key without models could use those of other routes."""
    strict = {"mode": "strict", "keys": [HASHED, {"key": "$OTHER"}]}
    routes = [
        {"backends": [ai("one", "openAI", model="gpt-4o")], "policies": {"apiKey": strict}},
        {"backends": [ai("two", "anthropic")], "policies": {"apiKey": {**strict, "keys": [{"key": "$OTHER"}]}}},
        {"backends": [ai("three", "groq", model="m")]},
    ]
    content, lost = convert(read_agentgateway({"binds": [{"port": 3000, "listeners": [{"routes": routes}]}]}))
    assert content["client_keys"] == [
        {"name": "sales", "sha256": DIGEST, "models": ["gpt-4o"]},
        {"name": "key-2", "key": "$OTHER", "models": ["gpt-4o", "anthropic/*"]},
    ]
    assert content["listeners"][0]["port"] == 3000
    assert lost == ["routes without apiKey, to m", "the paths of binds"]


@pytest.mark.parametrize("place", ["route", "listener"])
def test_agentgateways_keys_of_every_route_have_no_list_of_models(place):
    """By default, agentgateway accepts requests without a key; the gateway does not."""
    policies = {"policies": {"apiKey": {"keys": [HASHED]}}}
    routes = [
        {"backends": [ai(kind, kind)], **(policies if place == "route" else {})} for kind in ("openAI", "anthropic")
    ]
    listener = {"routes": routes, **(policies if place == "listener" else {})}
    content, lost = convert(read_agentgateway({"binds": [{"listeners": [listener]}]}))
    assert content["client_keys"] == [{"name": "sales", "sha256": DIGEST}]
    assert lost == ["mode of apiKey", "the paths of binds"]


def test_comments_of_another_gateways_file_say_nothing_of_litellm():
    keys = {"keys": [{"name": "k", "value": "", "models": ["m"], "weight": 1}]}
    providers = dict.fromkeys(("vllm", "ollama", "vertex", "bedrock", "azure", "cohere", "openai"), keys)
    for one in ("vllm", "ollama"):
        providers[one] = {**keys, "network_config": {"base_url": "http://127.0.0.1:8000"}}
    files = read_bifrost({"providers": providers}), read_agentgateway(AGENTGATEWAY)
    for text in (file_text(convert_models(one)) for one in files if one is not None):
        assert "LiteLLM" not in text


def test_bifrosts_keys_become_entries_and_virtual_keys_become_clients():
    content, lost = convert(read_bifrost(BIFROST))
    limits = {"timeouts": {"first_byte": "30s", "idle": "30s"}, "retries": {"attempts": 3}}
    assert content["model_providers"] == [
        {"model": "openai/gpt-4o", "name": "openai/gpt-4o@a", "access_key": "$OPENAI_A", **limits},
        {"model": "openai/gpt-4o-mini", "access_key": "$OPENAI_A", **limits},
        {"model": "openai/gpt-4o", "name": "openai/gpt-4o@b", "access_key": "$OPENAI_GPT_4O_B_API_KEY", **limits},
        {"model": "anthropic/*", "access_key": "$ANTHROPIC", "speaks": ["messages"]},
        {"model": "azure_openai/d", "name": "azure/gpt-x", "base_url": "$AT?api-version=2024-10-21",
         "access_key": "$AZ"},
        {"model": "amazon_bedrock/*", "name": "bedrock/*", "speaks": ["converse"], "region": "us-east-1",
         "sign_in": {"type": "aws", "role_arn": "$ROLE"}},
    ]  # fmt: skip
    assert content["model_aliases"]["openai/gpt-4o"] == {
        "targets": [[{"target": "openai/gpt-4o@a", "weight": 0.7}, {"target": "openai/gpt-4o@b", "weight": 0.3}]],
        "balance": "weighted",
    }
    assert content["client_keys"] == [
        {"name": "dev", "key": "$VK", "models": ["openai/gpt-4o", "anthropic/*"], "budgets": ["50 usd/month"],
         "ratelimits": {"requests": "100/m"}}
    ]  # fmt: skip
    assert content["model_names"] == {"exact": True, "refused": ["parasail/*"]}
    assert lost == ["the provider parasail", "the key stored", "logs_store"]


def test_portkeys_targets_become_one_name():
    content, lost = convert(read_portkey(PORTKEY))
    assert content["model_aliases"] == {
        "portkey": {
            "targets": [
                [{"target": "openai/gpt-4o", "weight": 0.7}, {"target": "azure-openai/d", "weight": 0.3}],
                "bedrock/amazon.nova-micro-v1:0",
            ],
            "balance": "weighted",
        }
    }
    first, second, third = content["model_providers"]
    assert first["request"] == {"set": {"temperature": 0}}
    assert second["base_url"] == "https://res.openai.azure.com?api-version=2024-10-21"
    assert third == {
        "model": "amazon_bedrock/amazon.nova-micro-v1:0", "name": "bedrock/amazon.nova-micro-v1:0",
        "speaks": ["converse"], "region": "us-east-1",
        "sign_in": {"type": "aws", "role_arn": "arn:aws:iam::1:role/x"},
        "timeouts": {"first_byte": "1.5s", "idle": "1.5s"}, "retries": {"attempts": 3},
    }  # fmt: skip
    assert "cache of a target (bedrock)" in lost
    assert "the models that clients request" in lost


def test_a_portkey_target_without_a_model_is_a_wildcard():
    content, lost = convert(read_portkey({"provider": "groq", "api_key": "hush-hush"}))
    assert content["model_providers"] == [{"model": "groq/*", "access_key": "$GROQ_API_KEY"}]
    assert lost == ["the choice among the targets"]


@pytest.mark.parametrize(("content", "lost"), [(AGENTGATEWAY, 1), (BIFROST, 1), (PORTKEY, 0)])
def test_the_command_reads_the_files_and_never_loses_a_model_in_silence(content, lost, tmp_path: Path):
    (tmp_path / "old.json").write_text(json.dumps(content))
    found = invoke("import", "old.json", cwd=tmp_path)
    assert found.returncode == (1 if lost else 3), found.stderr
    partial = invoke("import", "old.json", "--partial", "--write", "trigate.yaml", cwd=tmp_path)
    assert partial.returncode == 3, partial.stderr
    assert invoke("check", "./trigate.yaml", "--no-env", cwd=tmp_path).returncode == 0


READERS: Final = (
    (read_agentgateway, AGENTGATEWAY), (read_bifrost, BIFROST), (read_portkey, PORTKEY),
    (read_agentgateway, {"binds": [{"listeners": [{"routes": [{"backends": [
        {"ai": {"name": "a", "provider": {"bedrock": {"region": "us-east-1", "model": "amazon.nova-micro-v1:0"}},
                "policies": {"backendAuth": {"aws": {"assumeRole": {"roleArn": "arn:aws:iam::1:role/r"}}}}}}]}]}]}]}),
)  # fmt: skip
OPAQUE: Final = frozenset(
    ("mcp", "frontendPolicies", "localRateLimit", "logs_store", "metadata", "cache", "allowedModels", "matches",
     "budgets", "transformation", "assumeRole")
)  # fmt: skip
"""Mappings that are read or lost as a whole, at any depth."""


def _places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the place of each mapping that the import reads key by key."""
    if isinstance(value, dict) and "matches" not in value:
        yield place
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if key not in OPAQUE or place[-1:] == ("governance",):
            yield from _places(inner, (*place, key))


@pytest.mark.sample(19, by="turns")
@pytest.mark.parametrize(
    ("read", "content", "place"),
    [(read, content, place) for read, content in READERS for place in _places(content)],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_a_key_that_the_import_does_not_know_is_never_lost_in_silence(read, content, place):
    result = convert_models(read(changed_at(content, (*place, "surprise"), {"unread": 1})))
    assert "surprise" in file_text(result)


@each_row(
    ("read", "content", "group", "what"),
    [
        (read_bifrost, {"client": {"enforce_governance_header": True}}, Group.PROTECTION,
         "client.enforce_governance_header"),
        (read_bifrost, {"client": {"allowed_origins": ["*"]}}, Group.NAMES, "client.allowed_origins"),
        (read_bifrost, {"governance": {"virtual_keys": [
            {"name": "eu", "value": "env.EU", "provider_configs": [{"provider": "groq", "key_ids": ["eu-1"]}]}]}},
         Group.RESIDENCY, "governance.virtual_keys.eu.provider_configs.0.key_ids"),
        (read_portkey, {"retry": {"attempts": 2, "on_status_codes": [429]}}, Group.PROTECTION, "retry.on_status_codes"),
    ],
)  # fmt: skip
def test_a_lost_key_has_the_group_of_its_meaning(read, content, group, what):
    base = {"provider": "groq"} if read is read_portkey else {"providers": {"groq": {"keys": [{"value": "env.G"}]}}}
    assert (group, what) in [(loss.group, loss.what) for loss in convert_models(read({**base, **content})).losses]


def test_a_server_of_ones_own_with_chat_becomes_an_entry():
    custom = {"custom": {"formats": [{"type": "completions"}]}}
    models = [
        {"name": "a", "provider": custom, "params": {"model": "m", "baseUrl": "http://vllm:8000/v1"}},
        {"name": "b", "provider": {"custom": {"formats": [{"type": "completions", "path": "/own"}]}},
         "params": {"model": "m", "baseUrl": "http://vllm:8000"}},
        {"name": "c", "provider": "openAI", "params": {"model": "m", "baseUrl": "http://vllm:8000/v1"}},
    ]  # fmt: skip
    result = convert_models(read_agentgateway({"llm": {"models": models}}))
    entries = [entry for _, entry in result.entries]
    assert [(entry["model"], entry["base_url"]) for entry in entries] == [("compatible/m", "http://vllm:8000/v1")] * 2
    assert not any("access_key" in entry for entry in entries)  # the server would get a key of OpenAI
    assert [loss.what for loss in result.losses] == ["the model b (custom)"]


@pytest.mark.parametrize("digest", ["sha256:00", DIGEST, f"sha256:{DIGEST[1:]}z", "md5:00"])
def test_a_key_of_agentgateway_without_a_sha256_digest_is_lost(digest):
    models = [{"name": "a", "provider": "groq", "params": {"model": "m", "apiKey": "$K"}}]
    keys = [{"keyHash": digest, "metadata": {"user": "dev"}}]
    policies = {"apiKey": {"mode": "strict", "keys": keys}}
    result = convert_models(read_agentgateway({"llm": {"models": models, "policies": policies}}))
    assert [(loss.group, loss.what) for loss in result.losses] == [(Group.PROTECTION, "the key dev")]


@pytest.mark.parametrize(
    ("provider", "given", "base"),
    [
        ("openAI", "http://proxy:8000", "http://proxy:8000/v1"),
        ("openAI", "http://proxy:8000/api", "http://proxy:8000/api"),
        ({"custom": {"formats": [{"type": "completions"}]}}, "http://vllm:8000/", "http://vllm:8000/v1"),
        ("anthropic", "https://anthropic.internal", "https://anthropic.internal"),
        ("anthropic", "https://anthropic.internal/v1", "https://anthropic.internal/v1"),
        ("anthropic", "https://anthropic.internal/api/code", None),
    ],
)
def test_the_path_of_agentgateways_base_url_replaces_the_providers_own(provider, given, base):
    """``apply_base_url`` in agentgateway's ``types/local.rs``."""
    more = {"name": "sure", "provider": "groq", "params": {"model": "m", "apiKey": "$K"}}
    model = {"name": "a", "provider": provider, "params": {"model": "m", "apiKey": "$K", "baseUrl": given}}
    result = convert_models(read_agentgateway({"llm": {"models": [model, more]}}))
    assert [entry["base_url"] for _, entry in result.entries if "base_url" in entry] == ([] if base is None else [base])
    assert len(result.losses) == (base is None)


def test_a_virtual_key_for_all_models_of_a_provider_keeps_those_of_the_file():
    keys = [{"name": name, "value": f"env.{name.upper()}", "models": ["small"]} for name in ("a", "b")]
    azure = {"keys": [{"value": "env.AZ", "models": ["large"], "azure_key_config": {"endpoint": "https://h"}}]}
    configs = [{"provider": name, "allowed_models": ["*"]} for name in ("groq", "azure")]
    client = {"name": "c", "value": "env.C", "provider_configs": configs}
    content, _ = convert(
        read_bifrost({"providers": {"groq": {"keys": keys}, "azure": azure}, "governance": {"virtual_keys": [client]}})
    )
    (found,) = content["client_keys"]
    assert sorted(found["models"]) == ["azure/large", "groq/small"]


def test_the_order_of_several_providers_of_a_backend_is_lost_protection():
    providers = [{"name": name, "provider": {name: {"model": "m"}}} for name in ("openAI", "groq")]
    backend = {"ai": {"name": "both", "groups": [{"providers": [one]} for one in providers]}}
    content = {"binds": [{"listeners": [{"routes": [{"backends": [backend]}]}]}]}
    losses = [(loss.group, loss.what) for loss in convert_models(read_agentgateway(content)).losses]
    assert (Group.PROTECTION, "the order of the providers of both") in losses


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["openAI", "openai", "$A", "env.A", "x/*", "*", ""]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["name", "provider", "params", "model", "apiKey", "models", "keys", "value", "targets", "routing",
             "weighted",
             "failover", "virtual_keys", "budgets", "provider_configs", "strategy", "override_params", "ai", "routes",
             "listeners", "backends", "policies", "openai", "reference", "weight", "health"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(ANY, ANY)
@settings(deadline=None, max_examples=examples(150))
def test_any_file_is_converted_or_refused(first, second):
    files = (
        read_agentgateway({"llm": {"models": [first, second], "virtualModels": [second]}, "binds": [first]}),
        read_bifrost({"providers": {"openai": first}, "governance": second}),
        read_portkey({"targets": [first], "strategy": second}),
    )
    for found in files:
        assert found is not None
        try:
            convert(found)
        except ConfigError:
            continue


VALUES: Final = (None, "", "x", 5, -1, 10**400, math.nan, True, [], [5], ["x", "x"], {}, {"x": None})


CHANGES: Final = [
    (read, content, place, VALUES[(n + more) % len(VALUES)])
    for read, content in READERS
    for n, place in enumerate(places(content))
    for more in range(len(VALUES))
]
PARTS: Final = 600


@pytest.mark.sample(PARTS, by="place")
@pytest.mark.parametrize("part", range(PARTS))
def test_any_value_in_a_file_is_converted_or_refused(part):
    changes = CHANGES[part::PARTS]
    assert len(changes) > 3
    for read, content, place, value in changes:
        if (found := read(changed_at(content, place, value))) is not None:
            with contextlib.suppress(ConfigError):
                convert(found)


def test_bifrosts_addresses_get_the_version_that_bifrost_adds():
    # https://github.com/maximhq/bifrost/blob/main/core/providers/openai/build_request_url_test.go
    network = {"base_url": "https://proxy.example/api/"}
    providers = {
        "openai": {"keys": [{"value": "env.A", "models": ["a"]}], "network_config": {"base_url": "http://gpu:8000"}},
        "groq": {"keys": [{"value": "env.B", "models": ["b"]}], "network_config": network},
        "perplexity": {"keys": [{"value": "env.C", "models": ["c"]}], "network_config": network},
        "ours": {"keys": [{"value": "env.D"}], "network_config": network,
                 "custom_provider_config": {"base_provider_type": "openai"}},
        "ollama": {"keys": [{"models": ["e"], "ollama_key_config": {"url": "env.OLLAMA"}}]},
        "vllm": {"keys": [{"vllm_key_config": {"url": "http://v:8000/v1", "model_name": "f"}}]},
        "sgl": {"keys": [{"models": ["g"], "sgl_key_config": {"url": {"value": "http://s:30000"}}}]},
    }  # fmt: skip
    result = convert_models(read_bifrost({"providers": providers}))
    assert [(entry.get("name", entry["model"]), entry["base_url"]) for _, entry in result.entries] == [
        ("openai/a", "http://gpu:8000/v1"), ("groq/b", "https://proxy.example/api/v1"),
        ("perplexity/c", "https://proxy.example/api/"), ("ours/*", "https://proxy.example/api/v1"),
        ("ollama/e", "$OLLAMA/v1"), ("vllm/f", "http://v:8000/v1"), ("sgl/g", "http://s:30000/v1"),
    ]  # fmt: skip
    assert not result.losses


def test_a_bifrost_provider_without_keys_is_an_entry_without_one_or_lost():
    network = {"network_config": {"base_url": "http://gpu:8000"}}
    providers = {
        "ollama": {"keys": [], **network},
        "ours": {**network, "custom_provider_config": {"base_provider_type": "openai", "is_key_less": True}},
        "groq": {"keys": []},
        "mistral": {"keys": [{"value": "env.B", "enabled": False}]},
        "openai": {"keys": [{"value": "env.A", "models": ["a"]}], "proxy_config": {"type": "http"}},
    }
    result = convert_models(read_bifrost({"providers": providers}))
    assert {entry.get("name", entry["model"]): entry.get("access_key") for _, entry in result.entries} == {
        "ollama/*": None, "ours/*": None, "openai/a": "$A",
    }  # fmt: skip
    assert [(loss.group, loss.what) for loss in result.losses] == [
        (Group.NAMES, "the provider groq"), (Group.NAMES, "the provider mistral"),
        (Group.NAMES, "proxy_config of openai"),
    ]  # fmt: skip


@pytest.mark.parametrize("prefix", ["azure_", ""])
def test_portkeys_azure_targets_are_read_in_each_spelling(prefix):
    names = {f"{prefix}resource_name": "r", f"{prefix}deployment_id": "d", f"{prefix}api_version": "v1"}
    camel = {re.sub("_(.)", lambda char: char[1].upper(), name): value for name, value in names.items()}
    for target in (names, camel):
        (entry,) = [one for _, one in convert_models(read_portkey({"provider": "azure-openai", **target})).entries]
        assert (entry["model"], entry["base_url"]) == ("azure_openai/d", "https://r.openai.azure.com/openai/v1")
    with pytest.raises(ConfigError, match="no resource_name"):
        convert_models(read_portkey({"provider": "azure-openai", f"{prefix}deployment_id": "d"}))


def test_a_budget_of_a_bifrost_key_allows_models_without_a_price():
    keys = [{"value": "env.A", "models": ["of-ours"]}]
    network = {"base_url": "http://gpu:8000"}
    governance = {
        "virtual_keys": [{"id": "1", "name": "dev", "value": "env.VK", "budget_id": "b"}],
        "budgets": [{"id": "b", "max_limit": 5, "reset_duration": "1d"}],
    }
    content, _ = convert(
        read_bifrost({"providers": {"openai": {"keys": keys, "network_config": network}}, "governance": governance})
    )
    assert content["unpriced"] == "allow"
