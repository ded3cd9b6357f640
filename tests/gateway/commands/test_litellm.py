"""``trigate import``: the configuration of a LiteLLM proxy as one of ours."""

import hashlib
import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.commands.imported import NO_DOOR, lines, summary
from gateway.commands.importing import imported
from gateway.commands.litellm import ORIGINS, REASONS, Group
from gateway.commands.litellm_keys import tokens
from gateway.config.loading import Config, ConfigError, from_mapping
from gateway.routing.router import Router
from providers.catalog import providers as catalog
from tests.support.command_line import run
from tests.support.examples import examples


def item(name: str, model: str, **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": {"model": model, **params}}


def converted(*models: Any, **sections: Any) -> tuple[Config, str, dict[str, Any]]:
    """The configuration, its text, and its content as it stands there."""
    text = "\n".join(lines(imported({"model_list": list(models), **sections}), "config.yaml"))
    content = yaml.safe_load(text)
    return from_mapping(content), text, content


def entry(model: str, name: str = "m", **params: Any) -> dict[str, Any]:
    found: dict[str, Any] = converted(item(name, model, **params))[2]["model_providers"][0]
    return found


@pytest.mark.parametrize(
    ("model", "params", "expected"),
    [
        ("openai/gpt-4o", {}, {"model": "openai/gpt-4o", "access_key": "$OPENAI_API_KEY"}),
        ("gpt-4o", {}, {"model": "openai/gpt-4o", "access_key": "$OPENAI_API_KEY"}),
        ("openai/gpt-4o", {"api_key": "os.environ/MINE"}, {"model": "openai/gpt-4o", "access_key": "$MINE"}),
        ("openai/responses/o3-pro", {"api_key": "os.environ/K"},
         {"model": "openai/o3-pro", "access_key": "$K", "speaks": ["responses"]}),
        ("anthropic/claude-x", {"api_key": "os.environ/K"},
         {"model": "anthropic/claude-x", "access_key": "$K", "speaks": ["messages"]}),
        ("azure/eu", {"api_base": "https://a.azure.com/", "api_key": "os.environ/K", "api_version": "2024-10-21"},
         {"model": "azure_openai/eu", "base_url": "https://a.azure.com/?api-version=2024-10-21",
          "access_key": "$K"}),
        ("azure/eu", {"api_base": "os.environ/BASE", "api_key": "os.environ/K"},
         {"model": "azure_openai/eu", "base_url": "$BASE", "access_key": "$K"}),
        ("openai/facebook/opt-125m", {"api_base": "http://0.0.0.0:8000/v1", "api_key": "os.environ/K"},
         {"model": "compatible/facebook/opt-125m", "base_url": "http://0.0.0.0:8000/v1", "access_key": "$K"}),
        ("hosted_vllm/qwen", {"api_base": "http://h:1/v1", "api_key": "os.environ/K"},
         {"model": "vllm/qwen", "base_url": "http://h:1/v1", "access_key": "$K"}),
        ("ollama_chat/llama3.2", {}, {"model": "ollama/llama3.2", "base_url": "http://localhost:11434"}),
        ("groq/x", {"extra_headers": {"x-a": "os.environ/H", "x-b": "1$2"}, "organization": "org"},
         {"model": "groq/x", "access_key": "$GROQ_API_KEY",
          "headers": {"openai-organization": "org", "x-a": "$H", "x-b": "1$$2"}}),
    ],
)  # fmt: skip
def test_a_model_is_asked_where_and_as_it_was(model, params, expected):
    assert entry(model, **params) == {"name": "m", **expected}


def test_models_are_asked_for_by_the_names_that_clients_know():
    config, _, _ = converted(
        item("gpt-4", "openai/gpt-4o"), item("groq/*", "groq/*"), item("own/*", "openrouter/*"),
        router_settings={"model_group_alias": {"old": "gpt-4", "older": {"model": "gpt-4", "hidden": True}}},
    )  # fmt: skip
    names = {"gpt-4": "openai/gpt-4o", "groq/x": "groq/x", "own/a/b": "openrouter/a/b", "old": "openai/gpt-4o",
             "older": "openai/gpt-4o"}  # fmt: skip
    assert {name: Router(config).resolve(name, "chat").name for name in names} == names


def test_a_key_in_the_file_is_not_repeated():
    _, text, content = converted(
        item("gpt-4", "openai/gpt-4o", api_key="sk-secret"), general_settings={"master_key": "sk-master"}
    )
    assert "sk-" not in text
    assert content["model_providers"][0]["access_key"] == "$GPT_4_API_KEY"
    assert content["client_keys"] == [{"name": "master", "key": "$LITELLM_MASTER_API_KEY"}]
    assert "put it into GPT_4_API_KEY" in text
    assert "put it into LITELLM_MASTER_API_KEY" in text


def test_a_file_without_a_master_key_says_that_the_door_is_open():
    _, text, _ = converted(item("m", "openai/m"))
    assert f"# {NO_DOOR}" in text
    _, text, _ = converted(item("m", "openai/m"), general_settings={"master_key": "os.environ/A"})
    assert NO_DOOR not in text


def test_a_master_key_from_the_environment_opens_the_door():
    content = converted(item("m", "openai/m"), general_settings={"master_key": "os.environ/LITELLM_MASTER_KEY"})[2]
    assert content["client_keys"] == [{"name": "master", "key": "$LITELLM_MASTER_KEY"}]


def targets(*models: Any, name: str = "m", **sections: Any) -> list[Any]:
    """The targets of ``name``, as they are written."""
    content = converted(*models, **sections)[2]
    found: list[Any] = content["model_aliases"][name]["targets"]
    return found


def test_of_a_pattern_the_first_is_taken_and_the_others_are_named():
    _, text, content = converted(item("groq/*", "groq/*"), item("groq/*", "openai/*"))
    assert [one["model"] for one in content["model_providers"]] == ["groq/*"]
    assert "# not carried: groq/* (openai/*): groq/* has the name" in text


def test_models_of_one_name_are_a_group_and_their_entries_have_names_of_their_own():
    models = item("m", "openai/a"), item("m", "groq/b"), item("m", "openai/c"), item("n", "openai/n")
    config, _, content = converted(*models)
    assert targets(*models) == [["m-openai", "m-groq", "m-openai-2"]]
    assert [one["name"] for one in content["model_providers"]] == ["m-openai", "m-groq", "m-openai-2", "n"]
    assert list(config.routes) == ["m"]


def test_a_name_that_is_taken_is_given_to_no_entry():
    models = item("m", "openai/a"), item("m-openai", "groq/b"), item("m", "openai/c")
    assert targets(*models) == [["m-openai-2", "m-openai-3"]]


def test_fallbacks_are_the_next_targets_and_theirs_come_behind_them():
    models = [item(name, f"openai/{name}") for name in ("m", "n", "o", "p")]
    fallbacks = {"fallbacks": [{"m": ["n", "o"]}, {"n": ["p", "m"]}]}
    assert targets(*models, litellm_settings=fallbacks) == ["m-openai", "n-openai", "p", "o"]
    assert targets(*models, name="n", litellm_settings=fallbacks) == ["n-openai", "p", "m-openai", "o"]


@pytest.mark.parametrize("settings", [{"default_fallbacks": ["o"]}, {"fallbacks": [{"*": ["o"]}]}])
def test_default_fallbacks_are_those_of_names_without_their_own(settings):
    models = [item(name, f"openai/{name}") for name in ("m", "n", "o")]
    settings = {**settings, "fallbacks": [*settings.get("fallbacks", []), {"n": ["m"]}]}
    assert targets(*models, router_settings=settings) == ["m-openai", "o"]
    assert targets(*models, name="n", router_settings=settings) == ["n-openai", "m-openai", "o"]


def test_fallbacks_for_a_reason_are_targets_for_that_reason():
    models = [item(name, f"openai/{name}") for name in ("m", "long", "free", "both")]
    settings = {
        "fallbacks": [{"m": ["both"]}],
        "context_window_fallbacks": [{"m": ["long", "both"]}],
        "content_policy_fallbacks": [{"m": ["free", "both"]}],
    }
    assert targets(*models, router_settings=settings) == [
        "m-openai",
        {"target": "both", "when": ["unavailable", "context_too_long", "content_filter"]},
        {"target": "long", "when": ["context_too_long"]},
        {"target": "free", "when": ["content_filter"]},
    ]


def test_a_fallback_may_be_a_model_of_a_wildcard():
    found = targets(
        item("m", "openai/m"), item("groq/*", "groq/*"), litellm_settings={"fallbacks": [{"m": ["groq/any"]}]}
    )
    assert found == ["m-openai", "groq/any"]


def test_the_order_of_models_is_the_order_of_groups():
    models = item("m", "openai/a", order=2), item("m", "openai/b", order=1), item("m", "openai/c", order=2)
    assert targets(*models) == ["m-openai-2", ["m-openai", "m-openai-3"]]


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([{"weight": 3}, {"weight": 1}], [{"target": "m-openai", "weight": 3}, "m-openai-2"]),
        ([{"rpm": 600}, {"rpm": 100}],
         [{"target": "m-openai", "weight": 600}, {"target": "m-openai-2", "weight": 100}]),
        ([{"weight": 2, "rpm": 9}, {"weight": 0}],
         [{"target": "m-openai", "weight": 2}, {"target": "m-openai-2", "weight": 0}]),
        ([{}, {}], ["m-openai", "m-openai-2"]),
    ],
)  # fmt: skip
def test_weights_are_shares(shares, expected):
    """Without weights LiteLLM shuffles by the rates: https://docs.litellm.ai/docs/routing."""
    assert targets(*(item("m", f"openai/{number}", **share) for number, share in enumerate(shares))) == [expected]


@pytest.mark.parametrize(
    ("strategy", "balance"),
    [("simple-shuffle", "weighted"), ("least-busy", "least_busy"), ("latency-based-routing", "lowest_latency"),
     ("cost-based-routing", "cheapest"), ("usage-based-routing-v2", "least_busy")],
)  # fmt: skip
def test_a_strategy_has_a_name_here(strategy, balance):
    models = item("m", "openai/a"), item("m", "openai/b"), item("n", "openai/n")
    config, text, _ = converted(*models, router_settings={"routing_strategy": strategy})
    assert {route.balance for route in config.routes.values()} == {balance}
    assert "usage" not in strategy or f"# routing_strategy {strategy} is balance" in text


def test_retries_are_attempts_and_cooldowns_are_of_the_circuit():
    """Theirs is for each group, and multiplies: BerriAI/litellm#34129."""
    settings = {"num_retries": 3, "allowed_fails": 2, "cooldown_time": 45}
    config, text, _ = converted(item("m", "openai/a"), router_settings=settings)
    assert config.retries is not None
    assert config.retries.attempts == 4
    assert "num_retries of LiteLLM is for each group, and multiplies" in text
    assert (config.circuit.failures, config.circuit.cooldown, config.circuit.longest) == (3, 45, 45)


def test_a_route_has_an_attempt_for_each_of_its_places():
    """A fallback that was configured and never fired: agentgateway/agentgateway#3462."""
    models = [item(name, f"openai/{name}") for name in ("m", "n", "o")]
    settings = {"num_retries": 0, "fallbacks": [{"m": ["n", "o"]}]}
    config, _, _ = converted(*models, litellm_settings=settings)
    assert config.retries is not None
    assert config.retries.attempts == 1
    route = config.routes["m"]
    assert route.retries is not None
    assert route.retries.attempts == 3


def test_an_alias_of_a_name_with_several_targets_has_them_too():
    """An alias did not get the fallbacks of its model: BerriAI/litellm#10317."""
    models = item("m", "openai/a"), item("m", "groq/b")
    settings = {"model_group_alias": {"old": "m"}}
    assert targets(*models, name="old", router_settings=settings) == targets(*models)


def test_what_a_models_place_bears_stands_in_its_entry():
    found = imported({"model_list": [item("m", "openai/a", rpm=60, tpm=1000, max_parallel_requests=5)]})
    ((_, entry),) = found.entries
    assert entry["ratelimits"] == {"requests": "60/m", "tokens": "1000/m", "concurrent": 5}
    assert found.losses == []


COSTS = {"input_cost_per_token": 0.0000025, "output_cost_per_token": 1e-5}


@pytest.mark.parametrize(
    ("params", "info", "price"),
    [
        (COSTS, {}, {"input": 2.5, "output": 10}),
        ({}, COSTS, {"input": 2.5, "output": 10}),
        ({"input_cost_per_token": "3e-6"}, COSTS, {"input": 3, "output": 10}),
        (
            COSTS | {"cache_read_input_token_cost": 2.5e-7, "cache_creation_input_token_cost": 3.125e-6,
                     "cache_creation_input_token_cost_above_1hr": 5e-6},
            {}, {"input": 2.5, "output": 10, "cached": 0.25, "cache_write": 3.125, "cache_write_1h": 5},
        ),
        (
            COSTS | {"input_cost_per_token_above_200k_tokens": 5e-6, "input_cost_per_token_priority": 4e-6,
                     "output_cost_per_token_above_200k_tokens_priority": 2e-5},
            {}, {"input": 2.5, "output": 10, "above": {"200k": {"input": 5}},
                 "tiers": {"priority": {"input": 4, "above": {"200k": {"output": 20}}}}},
        ),
        ({"input_cost_per_token": 0}, {"output_cost_per_token": 0.0}, "free"),
    ],
)  # fmt: skip
def test_what_a_model_costs_by_the_token_is_its_price(params, info, price):
    found = imported({"model_list": [item("m", "openai/a", **params) | {"model_info": info}]})
    ((_, entry),) = found.entries
    assert entry["price"] == price
    assert not found.losses


def test_models_without_a_price_are_asked_and_named_where_there_is_a_budget():
    row = {"token": HASH, "key_alias": "team", "models": [], "max_budget": 20, "budget_duration": "1d"}
    models = [item("a", "openai/a"), item("b", "openai/gpt-4o")]
    result = imported({"model_list": models}, tokens(json.dumps([row]).encode(), "keys.json"))
    assert from_mapping(yaml.safe_load("\n".join(lines(result, "f")))).unpriced == "allow"
    assert "the price of openai/a" in [loss.what for loss in result.losses if loss.group is Group.MONEY]


def test_half_a_price_is_none():
    found = imported({"model_list": [item("m", "openai/a", input_cost_per_token=0.1)]})
    ((_, entry),) = found.entries
    assert "price" not in entry
    assert [loss.group for loss in found.losses] == [Group.MONEY]


def test_a_key_for_a_group_may_use_its_name():
    row = {"token": HASH, "key_alias": "team", "models": ["g"]}
    models = [item("m", f"openai/{name}") | {"model_info": {"access_groups": ["g"]}} for name in "ab"]
    (key,) = imported({"model_list": models}, tokens(json.dumps([row]).encode(), "keys.json")).client_keys
    assert key["models"] == ["m"]


def test_the_model_of_requests_that_name_none_is_the_default():
    config, _, _ = converted(item("a", "openai/a"), item("b", "openai/b"), general_settings={"completion_model": "b"})
    assert [one.default for one in config.entries] == [False, True]


def test_what_a_model_is_for_is_carried_over_where_its_name_does_not_say_it():
    config, _, _ = converted(
        item("e", "openai/own-vectors") | {"model_info": {"mode": "embedding"}}, item("f", "mistral/mistral-embed"),
        item("g", "cohere/rerank-v3.5") | {"model_info": {"mode": "rerank"}}, item("h", "jina_ai/jina-embeddings-v3"),
    )  # fmt: skip
    found = [(one.name, one.provider.id, one.type_of(one.model)) for one in config.entries]
    assert found == [
        ("e", "openai", "embedding"), ("f", "mistral", "embedding"), ("g", "cohere", "rerank"),
        ("h", "jina", "embedding"),
    ]  # fmt: skip


LOST = [
    (
        {"model_list": [item("e", "openai/x") | {"model_info": {"mode": "vector_store"}}]},
        "e (openai/x): vector_store is n",
    ),
    ({"model_list": [item("b", "bedrock/x")]}, "b (bedrock/x): Bedrock's entries are not carried over"),
    ({"model_list": [item("n", "nothing-known")]}, "n (nothing-known): it names no provider"),
    ({"model_list": [item("*", "*")]}, "* (*): no name stands for all providers"),
    ({"model_list": [item("a*b", "openai/a*b")]}, "a*b (openai/a*b): of patterns only provider/*"),
    ({"model_list": [item("v", "llamafile/x")]}, "v (llamafile/x): unknown provider"),
    ({"model_list": [item("u", "openai/x", api_base="ftp://x")]}, "u (openai/x): 'ftp://x'"),
    ({"model_list": [{"model_name": 5}]}, "an item of model_list"),
    (
        {"model_list": [item("r", "openai/x", rpm=0.5, temperature=0)]},
        "rpm of r: it is no whole number",
    ),
    ({"model_list": [item("r", "openai/x", temperature=0)]}, "temperature of r: what requests do not say"),
    ({"router_settings": {"fallbacks": [{"m": ["n"]}]}}, "fallbacks from m to n: no such model is above"),
    ({"router_settings": {"fallbacks": [{"n": ["m"]}]}}, "fallbacks from n: no model of that name is above, or it"),
    ({"router_settings": {"default_fallbacks": ["n"]}}, "default_fallbacks to n: no such model is above"),
    ({"router_settings": {"routing_strategy": "own"}}, "routing_strategy own: targets are chosen by `balance`"),
    ({"router_settings": {"retry_policy": {"TimeoutErrorRetries": 3}}}, "router_settings.retry_policy: how often a"),
    ({"router_settings": {"model_group_alias": {"x": "nope"}}}, "the alias x: its model is not above"),
    ({"model_list": [item("e", "text-completion-openai/x")]}, "e (text-completion-openai/x): plain completions"),
    ({"model_list": [item("w", "watsonx/x")]}, "w (watsonx/x): the provider watsonx is not known"),
    ({"litellm_settings": {"callbacks": ["otel", "x"]}}, "litellm_settings.callbacks (x): the log is JSON"),
    ({"litellm_settings": {"novel": 1}}, "litellm_settings.novel: look it up"),
    ({"general_settings": {"alerting": ["slack"]}}, "general_settings.alerting: deploy/prometheus/alerts.yaml has"),
    ({"model_list": [item("s", "openai/x", stream_timeout=5)]}, "stream_timeout of s: first_byte holds for whole"),
    ({"general_settings": {"database_url": "os.environ/DB"}}, "general_settings.database_url: keys made with"),
    ({"environment_variables": {"A": "secret-value"}}, "environment_variables: set them where"),
    ({"include": ["other.yaml"]}, "include: read on its own"),
]


@pytest.mark.parametrize(("sections", "says"), LOST, ids=[says for _, says in LOST])
def test_what_has_no_counterpart_is_named(sections, says):
    models = [item("m", "openai/m"), *sections.pop("model_list", [])]
    result = imported({"model_list": models, **sections})
    text = "\n".join(lines(result, "config.yaml"))
    assert f"# not carried: {says}" in text
    assert "secret-value" not in text
    assert result.lost == text.count("# not carried: ")


@pytest.mark.parametrize(
    "settings",
    [
        {"drop_params": True},
        {"cache": False},
        {"num_retries": 0, "fallbacks": [], "max_budget": None},
        {"num_retries": 2, "allowed_fails": 3, "cooldown_time": 5, "routing_strategy": "least-busy"},
        {"callbacks": ["prometheus", "otel"], "success_callback": "prometheus"},
        {"turn_off_message_logging": True},
        {"request_timeout": 600},
    ],
)
def test_what_asks_for_what_happens_here_is_no_loss(settings):
    result = imported({"model_list": [item("m", "openai/m")], "litellm_settings": settings})
    assert result.losses == []
    assert list(summary(result)) == ["Carried over: 1 of 1 model.", NO_DOOR, "Nothing is lost."]


GROUPS = [
    (Group.NAMES, [item("e", "openai/x") | {"model_info": {"mode": "vector_store"}}], {}),
    (Group.NAMES, [], {"include": ["other.yaml"]}),
    (Group.NAMES, [], {"general_settings": {"store_model_in_db": True}}),
    (Group.NAMES, [], {"router_settings": {"model_group_alias": {"x": "nope"}}}),
    (Group.PROTECTION, [], {"router_settings": {"fallbacks": [{"m": ["gone"]}]}}),
    (Group.PROTECTION, [item("r", "openai/r", rpm=0.5)], {}),
    (Group.PROTECTION, [], {"guardrails": [{"guardrail_name": "g"}]}),
    (Group.PROTECTION, [], {"litellm_settings": {"callbacks": ["presidio"]}}),
    (Group.PROTECTION, [], {"litellm_settings": {"retry_policy": {"TimeoutErrorRetries": 3}}}),
    (Group.PROTECTION, [], {"general_settings": {"database_url": "os.environ/DB"}}),
    (Group.PROTECTION, [], {"general_settings": {"enable_jwt_auth": True}}),
    (Group.MONEY, [], {"litellm_settings": {"max_budget": 5}}),
    (Group.MONEY, [], {"litellm_settings": {"cache": True}}),
    (Group.MONEY, [item("c", "openai/c") | {"model_info": {"input_cost_per_token": 0.1}}], {}),
    (Group.TRIFLES, [item("t", "openai/t", temperature=0)], {}),
    (Group.TRIFLES, [item("t", "openai/t", tags=["a"])], {}),
    (Group.TRIFLES, [item("t", "openai/t") | {"model_info": {"id": "i"}}], {}),
    (Group.TRIFLES, [], {"router_settings": {"routing_strategy": "own"}}),
    (Group.UNKNOWN, [], {"general_settings": {"novel": True}}),
]


@pytest.mark.parametrize(("group", "models", "sections"), GROUPS)
def test_a_loss_is_of_the_group_that_it_matters_to(group, models, sections):
    result = imported({"model_list": [item("m", "openai/m"), *models], **sections})
    assert [loss.group for loss in result.losses] == [group]
    *_, last = summary(result)
    assert last.startswith(f"  {group.value} (1): ")


def test_every_reason_is_a_sentence_without_its_end():
    for name, (_, why) in REASONS.items():
        assert not why.endswith("."), name
        assert len(why.split()) > 2, name


def test_what_has_a_counterpart_is_carried_over():
    config, _, content = converted(
        item("m", "openai/m", timeout=90), item("a", "anthropic/a", max_tokens=4096),
        item("c", "openai/c", litellm_credential_name="shared"),
        litellm_settings={"request_timeout": 300, "model_alias_map": {"b": "a"}}, router_settings={"timeout": 60},
        general_settings={"global_max_parallel_requests": 50, "max_request_size_mb": 32, "max_response_size_mb": 8},
        credential_list=[{"credential_name": "shared", "credential_values": {"api_key": "os.environ/SHARED"}}],
    )  # fmt: skip
    first, second, third = config.entries
    assert (first.timeouts.first_byte, first.timeouts.idle, first.timeouts.total) == (90, 90, None)
    assert second.quirks == {"default_max_tokens": 4096}
    assert third.key == "$SHARED"
    assert (config.timeouts.first_byte, config.timeouts.idle) == (60, 60)
    assert (config.limits.in_flight, config.limits.request_body, config.limits.answer) == (50, 32 * 2**20, 8 * 2**20)
    assert config.aliases == {"b": "a"}
    assert not [line for line in content if line.startswith("not carried")]


@pytest.mark.parametrize(
    ("name", "model", "asked", "target"),
    [
        ("claude-*", "anthropic/claude-*", "claude-haiku-4-5", "anthropic/claude-haiku-4-5"),
        ("gemini-*", "gemini/gemini-*", "gemini-9-pro", "gemini/gemini-9-pro"),
        ("*", "openai/*", "gpt-9", "openai/gpt-9"),
    ],
)
def test_a_pattern_of_a_providers_own_names_is_its_wildcard(name, model, asked, target):
    config, _, _ = converted(item(name, model))
    assert Router(config).resolve(asked, "chat").name == target


@pytest.mark.parametrize("key", ["none", "EMPTY", "fake-key"])
def test_a_key_that_is_none_is_left_out(key):
    assert "access_key" not in entry("openai/x", api_key=key, api_base="http://localhost:1/v1")


# Keys of its database

HASH = "0123456789abcdef" * 4


def exported(**columns: Any) -> Any:
    """What becomes of one key of the database that is otherwise good."""
    row = {"token": HASH, "key_alias": "team", "models": [], "blocked": None, "expires": None, **columns}
    models = [item("a", "openai/a", **COSTS) | {"model_info": {"access_groups": ["g"]}}, item("b", "openai/b", **COSTS)]
    content = {"model_list": models, "general_settings": {"database_url": "os.environ/DB"}}
    return imported(content, tokens(json.dumps([row]).encode(), "keys.json"))


@pytest.mark.parametrize(
    ("columns", "item"),
    [
        ({}, {"name": "team", "sha256": HASH}),
        ({"key_alias": None, "key_name": "sk-...1234"}, {"name": "sk-...1234", "sha256": HASH}),
        ({"key_alias": None}, {"name": "key-01234567", "sha256": HASH}),
        ({"token": HASH.upper()}, {"name": "team", "sha256": HASH}),
        ({"token": "sk-plain"}, {"name": "team", "sha256": hashlib.sha256(b"sk-plain").hexdigest()}),
        ({"models": ["a"]}, {"name": "team", "sha256": HASH, "models": ["a"]}),
        ({"models": ["g", "b"]}, {"name": "team", "sha256": HASH, "models": ["a", "b"]}),
        ({"models": '{a,"b"}'}, {"name": "team", "sha256": HASH, "models": ["a", "b"]}),
        ({"models": ["all-proxy-models"]}, {"name": "team", "sha256": HASH}),
        ({"expires": "2999-01-01T00:00:00Z"}, {"name": "team", "sha256": HASH}),
        ({"blocked": False}, {"name": "team", "sha256": HASH}),
        ({"key_alias": "a$b\nc"}, {"name": "a$$b c", "sha256": HASH}),
    ],
)
def test_a_key_is_taken_over_by_its_hash(columns, item):
    result = exported(**columns)
    assert result.client_keys == [item]
    assert "\n".join(lines(result, "f")).count("sk-plain") == 0
    assert "database_url" not in str(result.losses)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"blocked": True}, "team (blocked)"),
        ({"blocked": "t"}, "team (blocked)"),
        ({"expires": "2025-01-02 03:04:05"}, "team (expired 2025-01-02)"),
        ({"expires": "2025-01-02 03:04:05+00"}, "team (expired 2025-01-02)"),
        ({"expires": "2025-01-02T03:04:05.678Z"}, "team (expired 2025-01-02)"),
    ],
)
def test_a_key_that_is_no_longer_good_is_named_and_left_out(columns, told):
    result = exported(**columns)
    assert (result.client_keys, result.no_longer_good, result.losses) == ([], (told,), [])
    assert f"a key that was no longer good: {told}" in result.remarks
    assert f"Keys that were no longer good are left out: {told}." in list(summary(result))


@pytest.mark.parametrize(
    ("columns", "group", "what"),
    [
        ({"expires": "some day"}, Group.PROTECTION, "the key team"),
        ({"blocked": "perhaps"}, Group.PROTECTION, "the key team"),
        ({"models": ["gone"]}, Group.NAMES, "the key team"),
        ({"models": ["no-default-models"]}, Group.NAMES, "the key team"),
    ],
)
def test_a_key_that_nobody_can_vouch_for_is_lost(columns, group, what):
    result = exported(**columns)
    assert result.client_keys == []
    assert [(loss.group, loss.what) for loss in result.losses] == [(group, what)]


@pytest.mark.parametrize(
    ("columns", "limits"),
    [
        ({"max_budget": 20, "budget_duration": "1d"}, {"budgets": ["20 usd/day"]}),
        ({"max_budget": "2.5", "budget_duration": "30d"}, {"budgets": ["2.5 usd/30d"]}),
        ({"max_budget": "100", "budget_duration": "1mo"}, {"budgets": ["100 usd/month"]}),
        ({"max_budget": 1234567.5, "budget_duration": "1mo"}, {"budgets": ["1234567.5 usd/month"]}),
        ({"max_budget": 10**8, "budget_duration": "1mo"}, {}),
        ({"max_budget": 20, "budget_duration": "999d"}, {}),
        ({"max_budget": 20, "budget_duration": "30s"}, {}),
        ({"max_budget": 20}, {}),
        ({"rpm_limit": "60", "tpm_limit": 1000.0}, {"ratelimits": {"requests": "60/m", "tokens": "1000/m"}}),
        ({"max_parallel_requests": 5, "rpm_limit": "many"}, {"ratelimits": {"concurrent": 5}}),
    ],
)
def test_the_limits_of_a_key_stand_in_its_item(columns, limits):
    result = exported(**columns)
    assert [{name: one[name] for name in limits} for one in result.client_keys] == [limits]
    assert {"budgets", "ratelimits"} & set(result.client_keys[0]) == set(limits)
    lost = {name for name, value in columns.items() if (name == "max_budget" and not limits) or value == "many"}
    assert {loss.what.split()[0] for loss in result.losses} == lost
    from_mapping(yaml.safe_load("\n".join(lines(result, "f"))))


def test_a_key_for_no_model_of_its_own_is_told_so():
    (loss,) = exported(models=["no-default-models"]).losses
    assert loss.why == "it may use no model of its own"


@pytest.mark.parametrize(
    ("columns", "group", "what"),
    [
        ({"rpm_limit": "many"}, Group.PROTECTION, "rpm_limit of team"),
        ({"max_budget": "2.5"}, Group.MONEY, "max_budget of team"),
        ({"aliases": {"x": "a"}}, Group.NAMES, "aliases of team"),
        ({"expires": "2999-01-01"}, Group.PROTECTION, "expires of team"),
        ({"team_id": "t"}, Group.PROTECTION, "the teams of team"),
        ({"models": ["all-team-models"], "team_id": "t"}, Group.PROTECTION, "the teams of team"),
        ({"models": ["a", "gone"]}, Group.NAMES, "models of the key team: gone"),
    ],
)
def test_what_held_a_key_is_lost(columns, group, what):
    result = exported(**columns)
    assert [one["name"] for one in result.client_keys] == ["team"]
    assert [(loss.group, loss.what) for loss in result.losses] == [(group, what)]


ROW = {"token": HASH, "key_alias": "team", "models": ["a"]}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([ROW]),
        json.dumps({"keys": [ROW], "total_count": 1}),
        json.dumps(ROW) + "\n" + json.dumps({**ROW, "token": "f" * 64}),
        f"token,key_alias,models,expires,blocked\n{HASH},team,{{a}},,\n",
        f'\ufefftoken,key_alias,models\r\n{HASH},team,"{{a,b}}"\r\n',
    ],
)
def test_an_export_may_be_in_any_form(text):
    first = tokens(text.encode(), "keys")[0]
    assert (first.name, first.digest, first.models[0]) == ("team", HASH, "a")


@pytest.mark.parametrize(
    "text", [b"", b"\xff", b"[]", b"[1]", b'[{"a": 1}]', b"a,b\n1,2\n", b"sk-secret", b'{"a": ', b"[" * 50_000]
)
def test_an_export_that_is_none_is_refused_and_not_repeated(text):
    with pytest.raises(ConfigError, match="LiteLLM's table of keys") as caught:
        tokens(text, "keys.csv")
    assert "sk-secret" not in str(caught.value)


def test_keys_of_visits_to_its_pages_and_keys_given_twice_are_left_out():
    rows = [ROW, ROW, {**ROW, "token": "e" * 64}, {**ROW, "token": "f" * 64, "team_id": "litellm-dashboard"}]
    content = {"model_list": [item("a", "openai/a")]}
    result = imported(content, tokens(json.dumps(rows).encode(), "keys"))
    assert [one["name"] for one in result.client_keys] == ["team", "team-2"]


def test_every_provider_that_is_known_by_name_is_in_the_catalogue_or_needs_an_address():
    for prefix, origin in ORIGINS.items():
        params = {} if (row := catalog.find(origin.provider)) and row.base_url else {"api_base": "http://h/v1"}
        assert entry(f"{prefix}/model", **params)["model"] == f"{origin.provider}/model", prefix


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["openai/x", "os.environ/A", "*"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PARAMS = st.dictionaries(st.sampled_from(["model", "api_key", "api_base", "api_version", "extra_headers", "rpm"]), ANY)
ITEM = ANY | st.fixed_dictionaries({"model_name": ANY, "litellm_params": PARAMS | ANY}, optional={"model_info": ANY})


@given(st.lists(ITEM, max_size=3), ANY, ANY, ANY)
@settings(deadline=None, max_examples=examples(150))
def test_whatever_stands_there_the_result_is_a_good_configuration(models, general, router, more):
    content = {"model_list": [*models, item("m", "openai/m")], "general_settings": general, "router_settings": router}
    config, text, _ = converted(*content.pop("model_list"), **content, litellm_settings=more)
    assert config.entries
    assert not re.search(r"^(?!version|listeners|model_providers|model_aliases|client_keys|[ #-]|$)", text, re.M)


@pytest.mark.parametrize("content", [None, [], {}, {"model_list": []}, {"model_list": [item("x", "bedrock/x")]}])
def test_a_file_without_a_model_for_us_is_refused(content):
    with pytest.raises(ConfigError, match="model"):
        imported(content)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "litellm.yaml"
    path.write_text(yaml.safe_dump({"model_list": [item("m", "openai/m", rpm=0.5)]}))
    return path


@pytest.mark.process
def test_the_command_prints_what_check_finds_good(file):
    found = run("import", "litellm.yaml", cwd=file.parent)
    assert found.returncode == 3, found.stderr
    assert found.stderr == (
        f"Carried over: 1 of 1 model.\n{NO_DOOR}\nNot carried, and named in comments:\n  protection (1): rpm of m.\n"
    )
    (file.parent / "trigate.yaml").write_text(found.stdout)
    assert run("check", cwd=file.parent, env={"OPENAI_API_KEY": "k"}).returncode == 0


@pytest.mark.process
def test_the_command_writes_a_file_and_never_over_one(file):
    first = run("import", "litellm.yaml", "--write", "trigate.yaml", cwd=file.parent)
    assert (first.returncode, first.stdout) == (3, "")
    assert run("check", "--no-env", cwd=file.parent).returncode == 0
    again = run("import", "litellm.yaml", "--write", "trigate.yaml", cwd=file.parent)
    assert (again.returncode, again.stderr) == (1, "trigate.yaml: file exists\n")


@pytest.mark.process
@pytest.mark.parametrize(
    ("params", "status", "says"),
    [
        ({}, 0, "Nothing is lost."),
        ({"temperature": 0}, 0, "Not carried are trifles alone, named in comments:"),
        ({"rpm": 60}, 0, "Nothing is lost."),
        ({"rpm": 0.5}, 3, "Not carried, and named in comments:"),
    ],
)
def test_the_exit_status_says_whether_it_matters(file, params, status, says):
    file.write_text(yaml.safe_dump({"model_list": [item("m", "openai/m", **params)]}))
    found = run("import", "litellm.yaml", cwd=file.parent)
    assert (found.returncode, found.stderr.splitlines()[2]) == (status, says)


@pytest.mark.process
def test_the_command_names_an_export_that_is_not_there_or_is_none(file):
    missing = run("import", "litellm.yaml", "--keys", "keys.csv", cwd=file.parent)
    assert (missing.returncode, missing.stderr) == (1, "keys.csv: no such file or directory\n")
    (file.parent / "keys.csv").write_text("sk-secret\n")
    found = run("import", "litellm.yaml", "--keys", "keys.csv", cwd=file.parent)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith("keys.csv: ")
    assert "sk-secret" not in found.stderr


@pytest.mark.process
@pytest.mark.parametrize("text", [b"model_list: [", b"- a\n", b"\xff", b"model_list: []\n"])
def test_the_command_refuses_what_it_cannot_read(file, text):
    file.write_bytes(text)
    found = run("import", "litellm.yaml", cwd=file.parent)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr


@pytest.mark.process
def test_the_command_names_a_file_that_is_not_there(tmp_path):
    assert run("import", "nothing.yaml", cwd=tmp_path).stderr == "nothing.yaml: no such file or directory\n"
