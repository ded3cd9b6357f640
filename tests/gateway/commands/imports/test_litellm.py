"""``trigate import``: the configuration of a LiteLLM proxy as one of ours."""

import datetime
import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.commands.imports.imported_secrets import NO_KEYS
from gateway.commands.imports.litellm import convert_litellm
from gateway.commands.imports.litellm_prices import base_price
from gateway.commands.imports.litellm_tables import ORIGINS, ROWS
from gateway.commands.imports.losses import Group
from gateway.commands.imports.result import NO_KEYS_WARNING, summary
from gateway.config_files.loading import ConfigError, from_mapping, load
from gateway.routing.router import Router
from gateway.viewing.listed_models import list_models
from providers.catalog import providers as catalog
from providers.catalog.price_list import FILE, price_row
from streams.errors import GatewayError
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.features import needs_feature
from tests.support.litellm_files import TOKEN_COSTS, convert_file, file_text, item
from tests.support.quick_yaml import load_yaml


def entry(model: str, name: str = "m", **params: Any) -> dict[str, Any]:
    found: dict[str, Any] = convert_file(item(name, model, **params))[2]["model_providers"][0]
    return found


@each_row(
    ("model", "params", "expected"),
    [
        ("openai/gpt-4o", {}, {"model": "openai/gpt-4o", "access_key": "$OPENAI_API_KEY"}),
        ("gpt-4o", {}, {"model": "openai/gpt-4o", "access_key": "$OPENAI_API_KEY"}),
        ("openai/gpt-4o", {"api_key": "os.environ/MINE"}, {"model": "openai/gpt-4o", "access_key": "$MINE"}),
        ("openai/responses/o3-pro", {"api_key": "os.environ/K"},
         {"model": "openai/o3-pro", "access_key": "$K", "speaks": ["responses"]}),
        ("anthropic/claude-x", {"api_key": "os.environ/K"},
         {"model": "anthropic/claude-x", "access_key": "$K", "speaks": ["messages"]}),
        *(
            ("anthropic/glm", {"api_base": base, "api_key": "os.environ/K"},
             {"model": "anthropic/glm", "base_url": "https://api.z.ai/api/anthropic", "access_key": "$K",
              "speaks": ["messages"]})
            for base in (
                "https://api.z.ai/api/anthropic", "https://api.z.ai/api/anthropic/",
                "https://api.z.ai/api/anthropic/v1/messages",
            )
        ),
        ("azure/eu", {"api_base": "https://a.azure.com/", "api_key": "os.environ/K", "api_version": "2024-10-21"},
         {"model": "azure_openai/eu", "base_url": "https://a.azure.com/?api-version=2024-10-21",
          "access_key": "$K"}),
        ("azure/eu", {"api_base": "os.environ/BASE", "api_key": "os.environ/K"},
         {"model": "azure_openai/eu", "base_url": "$BASE", "access_key": "$K"}),
        ("openai/facebook/opt-125m", {"api_base": "http://0.0.0.0:8000/v1", "api_key": "os.environ/K"},
         {"model": "compatible/facebook/opt-125m", "base_url": "http://0.0.0.0:8000/v1", "access_key": "$K"}),
        *(
            ("openai/tuned", {"api_base": base, "api_key": "os.environ/K"},
             {"model": f"{provider}/tuned", "base_url": base, "access_key": "$K"})
            for base, provider in (
                ("https://api.openai.com/v1", "openai"), ("https://eu.api.openai.com/v1", "openai"),
                ("https://US.api.openai.com/v1/", "openai"), ("https://api.openai.com.example/v1", "compatible"),
                ("https://myapi.openai.com/v1", "compatible"),
            )
        ),
        ("hosted_vllm/qwen", {"api_base": "http://h:1/v1", "api_key": "os.environ/K"},
         {"model": "vllm/qwen", "base_url": "http://h:1/v1", "access_key": "$K"}),
        ("ollama_chat/llama3.2", {}, {"model": "ollama/llama3.2", "base_url": "http://localhost:11434"}),
        ("own-model", {"custom_llm_provider": "openai", "api_key": "os.environ/K"},
         {"model": "openai/own-model", "access_key": "$K"}),
        ("groq/x", {"custom_llm_provider": "groq"}, {"model": "groq/x", "access_key": "$GROQ_API_KEY"}),
        ("groq/x", {"extra_headers": {"x-a": "os.environ/H", "x-b": "1$2"}, "organization": "org"},
         {"model": "groq/x", "access_key": "$GROQ_API_KEY",
          "headers": {"openai-organization": "org", "x-a": "$H", "x-b": "1$$2"}}),
    ],
)  # fmt: skip
def test_a_converted_model_keeps_its_address_and_name(model, params, expected):
    assert entry(model, **params) == {"name": "m", **expected}


@each_row("end", ["", "/", "/v1", "/v1/messages"])
@each_row("base", ["https://api.z.ai/api/anthropic", "os.environ/BASE"])
def test_an_imported_address_for_anthropics_sdks_is_one_for_messages(base, end, tmp_path):
    """LiteLLM adds ``/v1/messages`` to it."""
    given = base if base.startswith("os.environ/") else base + end
    file = tmp_path / "trigate.yaml"
    file.write_text(convert_file(item("glm", "anthropic/glm-5.3", api_base=given, api_key="os.environ/K"))[1])
    config = load(file, {"BASE": f"https://api.z.ai/api/anthropic{end}", "K": "key"})
    for api in ("messages", "chat"):
        assert Router(config).resolve("glm", api).url == "https://api.z.ai/api/anthropic/v1/messages"


def test_converted_models_keep_the_names_that_clients_use():
    config, _, _ = convert_file(
        item("gpt-4", "openai/gpt-4o"), item("groq/*", "groq/*"), item("own/*", "openrouter/*"),
        router_settings={"model_group_alias": {"old": "gpt-4", "older": {"model": "gpt-4", "hidden": True}}},
    )  # fmt: skip
    names = {"gpt-4": "openai/gpt-4o", "groq/x": "groq/x", "own/a/b": "openrouter/a/b", "old": "openai/gpt-4o",
             "older": "openai/gpt-4o"}  # fmt: skip
    assert {name: Router(config).resolve(name, "chat").name for name in names} == names


def test_a_key_in_the_file_is_not_repeated():
    _, text, content = convert_file(
        item("gpt-4", "openai/gpt-4o", api_key="sk-secret"), general_settings={"master_key": "sk-master"}
    )
    assert "sk-" not in text
    assert content["model_providers"][0]["access_key"] == "$GPT_4_API_KEY"
    (master,) = content["client_keys"]
    assert (master["name"], master["key"]) == ("master", "$LITELLM_MASTER_API_KEY")
    assert "set the variable GPT_4_API_KEY to it" in text
    assert "set the variable LITELLM_MASTER_API_KEY to it" in text


def test_a_file_without_a_master_key_leads_to_an_exposure_warning():
    _, text, _ = convert_file(item("m", "openai/m"))
    assert f"# {NO_KEYS_WARNING}" in text
    _, text, _ = convert_file(item("m", "openai/m"), general_settings={"master_key": "os.environ/A"})
    assert NO_KEYS_WARNING not in text


@each_row("master", [*sorted(NO_KEYS), "ANY", 1234, "os.environ/MASTER", {"file": "/run/master"}])
def test_every_master_key_is_required_from_clients(master):
    """A placeholder such as ``dummy`` protects LiteLLM, too: without it, the gateway would be open to every client."""
    _, text, content = convert_file(item("m", "openai/m"), general_settings={"master_key": master})
    assert [one["name"] for one in content["client_keys"]] == ["master"]
    expected = "$MASTER" if master == "os.environ/MASTER" else "$"
    assert content["client_keys"][0]["key"].startswith(expected)
    assert "every client that can connect" not in text


def test_a_master_key_among_the_variables_of_the_file_is_required():
    variables = {"LITELLM_MASTER_KEY": "sk-secret"}
    _, text, content = convert_file(item("m", "openai/m"), environment_variables=variables)
    assert [one["key"] for one in content["client_keys"]] == ["$LITELLM_MASTER_KEY"]
    assert "sk-secret" not in text


def targets(*models: Any, name: str = "m", **sections: Any) -> list[Any]:
    """Return the targets of the route ``name`` in their written form."""
    content = convert_file(*models, **sections)[2]
    found: list[Any] = content["model_aliases"][name]["targets"]
    return found


def test_only_the_first_item_of_a_pattern_is_converted_and_others_are_reported():
    _, text, content = convert_file(item("groq/*", "groq/*"), item("groq/*", "openai/*"))
    assert [one["model"] for one in content["model_providers"]] == ["groq/*"]
    assert "# not converted: groq/* (openai/*): groq/* has this pattern" in text


def test_models_of_one_name_are_a_group_and_their_entries_have_names_of_their_own():
    models = (
        item("m", "openai/a"),
        item("m", "groq/b"),
        item("m", "openai/c"),
        item("n", "openai/n"),
    )
    config, _, content = convert_file(*models)
    assert targets(*models) == [["m-openai", "m-groq", "m-openai-2"]]
    assert [one["name"] for one in content["model_providers"]] == ["m-openai", "m-groq", "m-openai-2", "n"]
    assert list(config.routes) == ["m"]


def test_a_taken_name_is_given_to_no_other_entry():
    models = item("m", "openai/a"), item("m-openai", "groq/b"), item("m", "openai/c")
    assert targets(*models) == [["m-openai-2", "m-openai-3"]]


CHAINS = {"fallbacks": [{"m": ["n", "o"]}, {"n": ["p", "m"]}]}


@each_row("section", ["litellm_settings", "router_settings"])
@each_row(
    ("names", "settings", "name", "expected"),
    [
        ("mnop", CHAINS, "m", ["m-openai", "n-openai", "p", "o"]),  # those of a fallback come after it
        ("mnop", CHAINS, "n", ["n-openai", "p", "m-openai", "o"]),
        ("mno", {"default_fallbacks": ["o"], "fallbacks": [{"n": ["m"]}]}, "m", ["m-openai", "o"]),
        ("mno", {"default_fallbacks": ["o"], "fallbacks": [{"n": ["m"]}]}, "n", ["n-openai", "m-openai", "o"]),
        ("mno", {"fallbacks": [{"*": ["o"]}, {"n": ["m"]}]}, "m", ["m-openai", "o"]),
        ("mno", {"fallbacks": [{"*": ["o"]}, {"n": ["m"]}]}, "n", ["n-openai", "m-openai", "o"]),
        ("m", {"fallbacks": [{"m": ["groq/any"]}]}, "m", ["m-openai", "groq/any"]),
        ("mlfb", {"fallbacks": [{"m": ["b"]}], "context_window_fallbacks": [{"m": ["l", "b"]}],
                  "content_policy_fallbacks": [{"m": ["f", "b"]}]}, "m", [
            "m-openai", {"target": "b", "when": ["unavailable", "context_too_long", "content_filter"]},
            {"target": "l", "when": ["context_too_long"]}, {"target": "f", "when": ["content_filter"]},
        ]),
    ],
)  # fmt: skip
def test_fallbacks_are_the_next_targets(section, names, settings, name, expected):
    models = [*(item(one, f"openai/{one}") for one in names), item("groq/*", "groq/*")]
    assert targets(*models, name=name, **{section: settings}) == expected


def test_the_order_of_models_is_the_order_of_groups():
    models = (
        item("m", "openai/a", order=2),
        item("m", "openai/b", order=1),
        item("m", "openai/c", order=2),
    )
    assert targets(*models) == ["m-openai-2", ["m-openai", "m-openai-3"]]


@each_row(
    ("strategy", "balance"),
    [("simple-shuffle", "weighted"), ("least-busy", "least_busy"), ("latency-based-routing", "lowest_latency"),
     ("cost-based-routing", "cheapest"), ("usage-based-routing-v2", "least_busy")],
)  # fmt: skip
def test_a_strategy_has_a_name_here(strategy, balance):
    models = item("m", "openai/a"), item("m", "openai/b"), item("n", "openai/n")
    config, text, _ = convert_file(*models, router_settings={"routing_strategy": strategy})
    assert {route.balance for route in config.routes.values()} == {balance}
    assert "usage" not in strategy or f"# routing_strategy {strategy} became `balance" in text


@pytest.mark.parametrize(
    "settings",
    [
        {"routing_strategy": "usage-based-routing-v2"}, {"routing_strategy": "cost-based-routing"},
        {"routing_groups": [{"group_name": "g", "models": ["m"], "routing_strategy": "latency-based-routing"}]},
    ],
)  # fmt: skip
def test_only_the_shuffle_has_weights(settings):
    """With the others, LiteLLM sends requests to a model without ``weight``, which would have none here."""
    models = item("m", "openai/a", rpm=500), item("m", "openai/b", weight=2), item("n", "openai/n")
    config, text, _ = convert_file(*models, router_settings=settings)
    assert [[one.weight for one in group] for group in config.routes["m"].groups] == [[1, 1]]
    assert "weight of m" in text


@each_row("kind", [int, str])
def test_retries_are_attempts_and_cooldowns_are_of_the_circuit(kind):
    """Theirs is for each group, and multiplies: BerriAI/litellm#34129."""
    settings = {"num_retries": kind(3), "allowed_fails": kind(2), "cooldown_time": kind(45)}
    config, text, _ = convert_file(item("m", "openai/a"), router_settings=settings)
    assert config.retries.attempts == 4
    assert "LiteLLM's num_retries applies to each group and fallback separately" in text
    assert (config.circuit.failures, config.circuit.cooldown, config.circuit.longest) == (3, 45, 45)


def test_a_route_has_an_attempt_for_each_of_its_places():
    """A fallback that was configured and never fired: agentgateway/agentgateway#3462."""
    models = [item(name, f"openai/{name}") for name in "mnopq"]
    for retries, names in ((1, "no"), (0, "nopq")):
        settings = {"num_retries": retries, "fallbacks": [{"m": [*names]}]}
        config, _, _ = convert_file(*models, litellm_settings=settings)
        route = config.routes["m"]
        assert route.retries.attempts == 1 + len(names)


def test_without_retries_the_fallbacks_of_clients_are_used():
    """With one attempt for a request, the gateway would use none of the `fallbacks` in its body."""
    models = item("m", "openai/m", num_retries=0), item("n", "openai/n")
    config, _, content = convert_file(*models, litellm_settings={"num_retries": 0})
    assert config.retries is None
    assert not [one for one in content["model_providers"] if "retries" in one]


def test_an_alias_of_a_name_with_several_targets_has_them_too():
    """An alias did not get the fallbacks of its model: BerriAI/litellm#10317."""
    models = item("m", "openai/a"), item("m", "groq/b")
    settings = {"model_group_alias": {"old": "m"}}
    assert targets(*models, name="old", router_settings=settings) == targets(*models)


RATED = {"routing_strategy": "usage-based-routing-v2"}
"""Settings with which LiteLLM enforces the rates of models."""


@each_row(
    ("settings", "rates"),
    [
        (None, set()),
        ({"routing_strategy": "simple-shuffle"}, set()),
        ({"routing_strategy": "least-busy"}, set()),
        ({"optional_pre_call_checks": ["prompt_caching"]}, set()),
        ({"enable_pre_call_checks": True}, {"requests"}),
        ({"optional_pre_call_checks": ["enforce_model_rate_limits"]}, {"requests", "tokens"}),
        ({"routing_groups": [{"group_name": "g", "models": ["m"], **RATED}]}, {"requests", "tokens"}),
        ({"routing_groups": [{"group_name": "g", "models": ["n"], **RATED}]}, set()),
        *(
            ({"routing_strategy": strategy}, {"requests", "tokens"})
            for strategy in (
                "usage-based-routing", "usage-based-routing-v2", "latency-based-routing", "cost-based-routing",
            )
        ),
    ],
)  # fmt: skip
def test_only_rates_that_litellm_enforces_are_limits(settings, rates):
    """``simple-shuffle`` and ``least-busy`` send a model more than its ``rpm``: there it is only a weight."""
    models = [item("m", "openai/a", rpm=60, tpm=1000, max_parallel_requests=5)]
    found = convert_litellm({"model_list": models, **({"router_settings": settings} if settings else {})})
    ((_, entry),) = found.entries
    limits = {"requests": "60/m", "tokens": "1000/m"}
    assert entry["ratelimits"] == {"concurrent": 5, **{name: limits[name] for name in limits if name in rates}}
    assert not [loss for loss in found.losses if loss.group is Group.PROTECTION]
    unlimited = [name for name, limit in (("rpm", "requests"), ("tpm", "tokens")) if limit not in rates]
    noted = [name for name in ("rpm", "tpm") if f"{name} of m: LiteLLM only divides requests by it" in file_text(found)]
    assert noted == unlimited


def test_a_model_with_a_rate_of_zero_is_reported():
    """LiteLLM sends it no requests, and a limit of the gateway is at least 1."""
    result = convert_litellm({"model_list": [item("m", "openai/a", rpm=0)], "router_settings": RATED})
    assert [(loss.group, loss.what) for loss in result.losses] == [(Group.PROTECTION, "rpm of m")]
    assert convert_litellm({"model_list": [item("m", "openai/a", rpm=0)]}).losses == []


@each_row(
    ("params", "info", "price"),
    [
        (TOKEN_COSTS, {}, {"input": 2.5, "output": 10}),
        ({}, TOKEN_COSTS, {"input": 2.5, "output": 10}),
        ({"input_cost_per_token": "3e-6"}, TOKEN_COSTS, {"input": 3, "output": 10}),
        (
            TOKEN_COSTS | {"cache_read_input_token_cost": 2.5e-7, "cache_creation_input_token_cost": 3.125e-6,
                     "cache_creation_input_token_cost_above_1hr": 5e-6},
            {}, {"input": 2.5, "output": 10, "cached": 0.25, "cache_write": 3.125, "cache_write_1h": 5},
        ),
        (
            TOKEN_COSTS | {"input_cost_per_token_above_200k_tokens": 5e-6, "input_cost_per_token_priority": 4e-6,
                     "output_cost_per_token_above_200k_tokens_priority": 2e-5},
            {}, {"input": 2.5, "output": 10, "above": {"200k": {"input": 5}},
                 "tiers": {"priority": {"input": 4, "above": {"200k": {"output": 20}}}}},
        ),
        ({"input_cost_per_token": 0}, {"output_cost_per_token": 0.0}, "free"),
    ],
)  # fmt: skip
def test_token_costs_become_a_price(params, info, price):
    found = convert_litellm({"model_list": [item("m", "openai/a", **params) | {"model_info": info}]})
    ((_, entry),) = found.entries
    assert entry["price"] == price
    assert not found.losses


def test_half_a_price_is_none():
    found = convert_litellm({"model_list": [item("m", "openai/a", input_cost_per_token=0.1)]})
    ((_, entry),) = found.entries
    assert "price" not in entry
    assert [loss.group for loss in found.losses] == [Group.MONEY]


def test_the_mode_of_a_model_becomes_its_type_if_the_name_does_not_show_it():
    config, _, _ = convert_file(
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
        "e (openai/x): trigate does not support the mode vector_store",
    ),
    ({"model_list": [item("b", "sagemaker/x")]}, "b (sagemaker/x): trigate does not support SageMaker"),
    ({"model_list": [item("n", "nothing-known")]}, "n (nothing-known): the provider is missing"),
    ({"model_list": [item("*", "*")]}, "* (*): a pattern cannot match all providers"),
    ({"model_list": [item("a-*", "openai/*")]}, "a-* (openai/*): the only supported patterns are provider/*"),
    ({"model_list": [item("v", "llamafile/x")]}, "v (llamafile/x): unknown provider"),
    ({"model_list": [item("u", "openai/x", api_base="ftp://x")]}, "u (openai/x): 'ftp://x'"),
    ({"model_list": [{"model_name": 5}]}, "model_list[1]: model_name or litellm_params.model is missing"),
    ({"model_list": [item("", "openai/x")]}, "model_list[1] (): model_name or litellm_params.model is missing"),
    (
        {"model_list": [{"model_name": "t", "litelm_params": {"model": "openai/x"}}]},
        "model_list[1] (t): model_name or litellm_params.model is missing",
    ),
    ({"model_list": [item("r", "openai/x") | {"weight": 6}]}, "weight outside litellm_params of r: LiteLLM reads"),
    ({"model_list": [item("r", "openai/x") | {"rpm": "many"}]}, "rpm of r: set `ratelimits`"),
    ({"model_list": [item("r", "openai/x") | {"novel": 1}]}, "novel outside litellm_params of r: LiteLLM reads"),
    ({"model_list": [item("a", "openai/x", api_base=["http://x"])]}, "a (openai/x): its `api_base` is not a text"),
    (
        {"model_list": [item("a", "openai/x", api_base="http://[/v1")]},
        "a (openai/x): its `api_base` is no valid address: Invalid IPv6 URL",
    ),
    ({"model_list": [item("h", "openai/x", extra_headers={"x": True})]}, "extra_headers of h: its value cannot be"),
    ({"model_list": [item("h", "openai/x", headers=["x-a: b"])]}, "headers of h: its value cannot be read"),
    ({"model_list": [item("o", "openai/x", organization=["org"])]}, "organization of o: its value cannot be read"),
    ({"model_list": [item("w", "openai/x", weight="heavy")]}, "weight of w: its value cannot be read"),
    ({"model_list": [item("n", "openai/x", num_retries="two")]}, "num_retries of n: its value cannot be read"),
    (
        {"model_list": [item("c", "openai/x", litellm_credential_name="gone")]},
        "the credential gone of c: credential_list lacks this credential",
    ),
    ({"model_list": [item("i", "openai/x") | {"model_info": ["id"]}]}, "model_info of i: it is not a mapping"),
    ({"model_list": [item("g", "openai/x") | {"model_info": {"access_groups": "a"}}]}, "access_groups of g: it is not"),
    ({"model_list": [item("v", "openai/x", api_version="1")]}, "api_version of v"),
    ({"model_list": [item("z", "zai/glm-5")]}, "z (zai/glm-5): trigate import cannot convert this provider"),
    ({"credential_list": {"x": 1}}, "credential_list: it is not a list"),
    ({"router_settings": {"fallbacks": ["m"]}}, "fallbacks (m): each item must be a model with a list of fallbacks"),
    ({"router_settings": {"fallbacks": "m"}}, "fallbacks (m): each item must be a model with a list of fallbacks"),
    ({"litellm_settings": {"num_retries": "often"}}, "num_retries: it is not a suitable number"),
    ({"router_settings": {"cooldown_time": "long"}}, "cooldown_time: it is not a suitable number"),
    ({"router_settings": {"model_group_alias": ["m"]}}, "router_settings.model_group_alias: it is not a mapping"),
    ({"credential_list": [{"credential_name": "x"}]}, "credential_list[0]: credential_name or"),
    (
        {"credential_list": [{"credential_name": "x", "credential_values": {"api_key": key}} for key in "ab"]},
        "credential_list[1] (x): an earlier credential has the same name, and LiteLLM uses that",
    ),
    (
        {"model_list": [item("b", "azure/x", api_base="http://a") | {"model_info": {"base_model": "own"}}]},
        "base_model of b: the price list has no price for own",
    ),
    (
        {"litellm_settings": {"timezone": "Europe/Berlin"}},
        "litellm_settings.timezone: set `budgets: [20 usd/day]` and",
    ),
    ({"general_settings": {"max_parallel_requests": 120}}, "general_settings.max_parallel_requests: LiteLLM does not"),
    (
        {"model_list": [item("r", "openai/x", rpm=0.5, temperature=0)], "router_settings": RATED},
        "rpm of r: set `ratelimits`",
    ),
    ({"model_list": [item("r", "openai/x", rpm="many")]}, "rpm of r: set `ratelimits`"),
    ({"model_list": [item("r", "openai/x", seed="many")]}, "seed of r: 'many': seed is a whole number"),
    ({"model_list": [item("r", "openai/x", additional_drop_params=["model"])]}, "additional_drop_params of r"),
    ({"model_list": [item("r", "openai/x", extra_body={"stream": True})]}, "extra_body.stream of r: stream cannot be"),
    ({"router_settings": {"fallbacks": [{"m": ["n"]}]}}, "fallbacks from m to n: this file has no such model"),
    ({"router_settings": {"fallbacks": [{"n": ["m"]}]}}, "fallbacks from n: this file has no model with that name, or"),
    ({"router_settings": {"default_fallbacks": ["n"]}}, "default_fallbacks to n: this file has no such model"),
    ({"router_settings": {"routing_strategy": "own"}}, "routing_strategy own"),
    ({"router_settings": {"model_group_alias": {"x": "nope"}}}, "the alias x: its model is not in this file"),
    (
        {"model_list": [item("c", "text-completion-codestral/x")]},
        "c (text-completion-codestral/x): clients of trigate send these requests to /v1/fim/completions",
    ),
    ({"model_list": [item("w", "watsonx/x")]}, "w (watsonx/x): trigate does not know the provider watsonx"),
    ({"litellm_settings": {"callbacks": ["otel", "x"]}}, "litellm_settings.callbacks (x)"),
    ({"litellm_settings": {"novel": 1}}, "litellm_settings.novel: it has no counterpart"),
    ({"general_settings": {"database_url": "os.environ/DB"}}, "general_settings.database_url: keys from /key/generate"),
    ({"environment_variables": {"A": "secret-value"}}, "environment_variables"),
]


@needs_feature("request_members")
@each_row(("sections", "says"), LOST, ids=[says for _, says in LOST])
def test_settings_without_a_counterpart_are_reported(sections, says):
    models = [item("m", "openai/m"), *sections.pop("model_list", [])]
    result = convert_litellm({"model_list": models, **sections})
    text = file_text(result)
    assert re.search(rf"^# not converted(: | \(.*\): (.*, )?){re.escape(says)}", text, re.MULTILINE)
    assert "secret-value" not in text
    assert sum(bool(loss.why) for loss in result.losses) == text.count("# not converted: ")


@each_row(
    "settings",
    [
        {"drop_params": True},
        {"cache": False},
        {"num_retries": 0, "fallbacks": [], "max_budget": None},
        {"num_retries": 2, "allowed_fails": 3, "cooldown_time": 5, "routing_strategy": "least-busy"},
        {"cooldown_time": 0},
        {"turn_off_message_logging": True},
        {"request_timeout": 600},
    ],
)
def test_settings_for_the_gateways_default_behaviour_are_no_loss(settings):
    result = convert_litellm({"model_list": [item("m", "openai/m")], "litellm_settings": settings})
    assert result.losses == []
    assert from_mapping(load_yaml(file_text(result))).warnings == ()
    assert list(summary(result)) == ["Converted: 1 of 1 model.", NO_KEYS_WARNING, "Nothing was lost."]


GROUPS = [
    (Group.NAMES, [item("e", "openai/x") | {"model_info": {"mode": "vector_store"}}], {}),
    (Group.UNKNOWN, [], {"include": ["other.yaml"]}),
    (Group.NAMES, [], {"router_settings": {"model_group_alias": {"x": "nope"}}}),
    (Group.PROTECTION, [], {"router_settings": {"fallbacks": [{"m": ["gone"]}]}}),
    (Group.PROTECTION, [item("r", "openai/r", rpm=0.5)], {"router_settings": {"enable_pre_call_checks": True}}),
    (Group.PROTECTION, [], {"litellm_settings": {"callbacks": ["presidio"]}}),
    (Group.PROTECTION, [], {"general_settings": {"database_url": "os.environ/DB"}}),
    (Group.PROTECTION, [], {"litellm_settings": {"callbacks": ["hooks.handler"]}}),
    (Group.RESIDENCY, [item("r", "openai/r", allowed_model_region="eu")], {}),
    (Group.LOGS, [], {"litellm_settings": {"success_callback": ["s3"]}}),
    (Group.LOGS, [], {"litellm_settings": {"callbacks": ["prometheus"]}}),
    (Group.UNKNOWN, [item("t", "openai/t", additional_drop_params="seed")], {}),
    (Group.NAMES, [item("t", "openai/t", mock_response="hello")], {}),
    (Group.NAMES, [item("t", "text-completion-openai/gpt-3.5-turbo-instruct")], {}),
    (Group.UNKNOWN, [item("b", "bedrock/us-east-1/amazon.nova-pro-v1:0", s3_bucket_name="s")], {}),
    (Group.NAMES, [item("b", "bedrock/us-east-1/amazon.nova-pro-v1:0") | {"model_info": {"mode": "batch"}}], {}),
    (Group.TRIFLES, [], {"router_settings": {"model_group_alias": {"x": {"model": "m", "hidden": True}}}}),
    (Group.NAMES, [], {"litellm_settings": {"ssl_verify": False}}),
    (Group.NAMES, [item("t", "openai/t", ssl_verify=False)], {}),
    (Group.MONEY, [item("c", "openai/c") | {"model_info": {"input_cost_per_token": 0.1}}], {}),
    (Group.NAMES, [item("t", "openai/t", seed="many")], {}),
    (Group.TRIFLES, [item("t", "openai/t") | {"model_info": {"id": "i"}}], {}),
    (Group.TRIFLES, [], {"router_settings": {"routing_strategy": "own"}}),
    (Group.UNKNOWN, [], {"general_settings": {"novel": True}}),
]


@each_row(("group", "models", "sections"), GROUPS)
def test_a_loss_is_of_the_group_that_it_matters_to(group, models, sections):
    result = convert_litellm({"model_list": [item("m", "openai/m"), *models], **sections})
    assert [loss.group for loss in result.losses] == [group]
    *_, last = summary(result)
    assert last.startswith(f"  {group.value} (1): ")


def test_settings_on_money_protection_and_residency_have_a_reason():
    serious = {Group.MONEY, Group.PROTECTION, Group.RESIDENCY}
    assert [names for group, why, names in ROWS if group in serious and not why] == []


def test_settings_with_a_counterpart_are_converted():
    config, _, content = convert_file(
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
    assert config.aliases["b"] == "a"
    assert not [line for line in content if line.startswith("not carried")]


@each_row(
    ("name", "model", "asked", "target"),
    [
        ("claude-*", "anthropic/claude-*", "claude-haiku-4-5", "anthropic/claude-haiku-4-5"),
        ("gemini-*", "gemini/gemini-*", "gemini-9-pro", "gemini/gemini-9-pro"),
        ("*", "openai/*", "gpt-9", "openai/gpt-9"),
        ("house-*", "openai/gpt-*", "house-5-mini", "openai/gpt-5-mini"),
        ("or/*", "openrouter/anthropic/*", "or/claude-x", "openrouter/anthropic/claude-x"),
        ("cheap-*", "openai/gpt-4o-mini", "cheap-anything", "openai/gpt-4o-mini"),
    ],
)
def test_a_pattern_of_names_is_a_wildcard_or_a_wildcard_alias(name, model, asked, target):
    config, _, _ = convert_file(item(name, model))
    assert Router(config).resolve(asked, "chat").name == target


def test_an_entry_of_a_wildcard_alias_has_no_names_of_its_own_and_several_share_the_requests():
    azure = item("house-*", "azure/gpt-*", api_key="k", api_base="https://x.openai.azure.com", api_version="v1")
    config, _, _ = convert_file(item("house-*", "openai/gpt-*"), azure)
    router = Router(config)
    assert {one.group for one in router.plan("house-5", "chat").candidates} == {0}
    assert [one.name for one in router.plan("house-5", "chat").targets] == ["openai/gpt-5", "azure_openai/gpt-5"]
    settings = {"model_group_alias": {"mini": "house-5-mini"}, "fallbacks": [{"m": ["house-5"]}]}
    names = {"model_list": [item("m", "groq/m"), item("house-*", "openai/gpt-*")], "router_settings": settings}
    converted = convert_litellm(names).aliases
    assert converted["mini"] == {"target": "house-models/gpt-5-mini"}
    assert converted["m"]["targets"][1:] == ["house-models/gpt-5"]
    for name in ("house-models/gpt-5", "house-models-2/gpt-5", "gpt-5"):
        with pytest.raises(GatewayError, match="not configured"):
            router.plan(name, "chat")


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
@settings(deadline=None, max_examples=examples(60))
def test_any_litellm_file_becomes_a_valid_configuration(models, general, router, more):
    content = {
        "model_list": [*models, item("m", "openai/m")],
        "general_settings": general,
        "router_settings": router,
    }
    config, text, _ = convert_file(*content.pop("model_list"), **content, litellm_settings=more)
    assert config.entries
    assert not re.search(
        r"^(?!version|listeners|model_providers|model_aliases|model_names|client_keys|[ #-]|$)", text, re.M
    )


@each_row("content", [None, [], {}, {"model_list": []}, {"model_list": [item("x", "sagemaker/x")]}])
def test_a_file_without_a_model_for_us_is_refused(content):
    with pytest.raises(ConfigError, match="model"):
        convert_litellm(content)


@each_row("prefix", ["hosted_vllm", "ollama", "lm_studio", "llamafile"])
def test_a_server_that_needs_no_key_gets_no_variable_for_one(prefix):
    """An optional key is reported."""
    config, text, content = convert_file(item("m", f"{prefix}/x", api_base="http://h:1/v1"))
    assert "access_key" not in content["model_providers"][0]
    assert config.warnings == ()
    remark = "# if HOSTED_VLLM_API_KEY was set for LiteLLM, add access_key: $HOSTED_VLLM_API_KEY"
    assert prefix != "hosted_vllm" or remark in text


@each_row(
    ("address", "version", "query"),
    [
        ("", datetime.date(2024, 10, 21), "api-version=2024-10-21"),  # as YAML reads it without quotes
        ("", "2024-10-21", "api-version=2024-10-21"),
        ("", "2025-01-01-preview", "api-version=2025-01-01-preview"),
        ("", "os.environ/VERSION", "api-version=$VERSION"),
        ("?x=1", "v", "x=1&api-version=v"),
    ],
)
def test_the_version_of_azures_api_is_in_the_address(address, version, query):
    found = entry("azure/eu", api_base=f"https://a.azure.com/{address}", api_version=version)
    assert found["base_url"] == f"https://a.azure.com/?{query}"


@pytest.mark.parametrize(
    ("given", "requests"),
    [
        ({"rpm": 60}, "60/m"),
        ({"model_info": {"rpm": 60}}, "60/m"),
        ({"rpm": 60, "model_info": {"rpm": 7}}, "60/m"),
        ({"litellm_params": {"model": "openai/a", "rpm": 5}, "model_info": {"rpm": 7}}, "5/m"),
        ({"litellm_params": {"model": "openai/a", "rpm": 5}, "rpm": 60}, "60/m"),
    ],
)
def test_rates_are_carried_from_each_place_where_litellm_reads_them(given, requests):
    """Its own examples have them besides ``litellm_params``."""
    found = convert_litellm({"model_list": [item("m", "openai/a") | given], "router_settings": RATED})
    ((_, entry),) = found.entries
    assert entry["ratelimits"] == {"requests": requests}
    assert found.losses == []


def test_rates_besides_litellm_params_are_no_shares():
    assert targets(*(item("m", f"openai/{name}") | {"rpm": rate} for name, rate in (("a", 1), ("b", 9)))) == [
        ["m-openai", "m-openai-2"]
    ]


@pytest.mark.parametrize("mode", ["batch", "ocr"])
def test_modes_of_other_endpoints_are_served(mode):
    assert convert_litellm({"model_list": [item("m", "mistral/m") | {"model_info": {"mode": mode}}]}).losses == []


def test_numbers_may_be_texts():
    found = entry("openai/x", max_parallel_requests="5", timeout="30")
    assert found["ratelimits"] == {"concurrent": 5}
    assert found["timeouts"]["idle"] == "30s"


def test_the_first_credential_of_a_name_is_the_one_that_litellm_uses():
    first, second = (
        {"credential_name": "shared", "credential_values": {"api_key": f"os.environ/{name}"}} for name in "AB"
    )
    model = item("m", "openai/m", litellm_credential_name="shared")
    assert convert_file(model, credential_list=[first, second])[0].entries[0].key == "$A"
    assert convert_litellm({"model_list": [model], "credential_list": [first, first]}).losses == []


@each_row(
    ("model", "base", "listed"),
    [
        ("azure/own-name", "azure/gpt-4o", ("azure_openai", "gpt-4o")),
        ("azure/own-name", "gpt-4o-mini", ("azure_openai", "gpt-4o-mini")),
        ("azure/own-name", "azure/eu/gpt-4o", ("azure_openai", "gpt-4o")),
        ("openai/own-name", "claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
        ("openai/own-name", "anthropic/claude-sonnet-4-5", ("anthropic", "claude-sonnet-4-5")),
    ],
)
@each_row("place", ["litellm_params", "model_info"])
def test_the_base_model_gives_the_price(model, base, listed, place):
    given = item("m", model, api_base="http://h/v1")
    given.setdefault(place, {})["base_model"] = base
    found = convert_litellm({"model_list": [given]})
    ((remarks, entry),) = found.entries
    row = price_row(*listed)
    assert (entry["price"]["input"], entry["price"]["output"]) == (float(row["input"]), float(row["output"]))
    assert any(remark.startswith(f"the price is that of {base} in genai-prices") for remark in remarks)
    assert found.losses == []
    assert convert_file(given)[0].entries[0].price is not None


def _name_of(clause: Any) -> str:
    """Return a name that ``clause`` of the price list probably matches."""
    while not isinstance(clause, str):
        clause = clause[0] if isinstance(clause, list) else next(iter(clause.values()))
    return clause


def test_every_price_of_the_list_can_be_that_of_an_entry():
    """An entry with a key that `price` does not have would be lost, with its model."""
    places = {"anthropic": "anthropic", "google": "gemini", "openai": "openai", "openrouter": "openrouter"}
    rows = json.loads(FILE.read_text())["providers"]
    pairs = {(places[each], _name_of(clause)) for each in places for clause, _ in rows[each]}
    found = [listed for pair in pairs if (listed := base_price("/".join(pair), "compatible", "own")) is not None]
    remarks = [remark for _, lacking in found for remark in lacking]
    assert any("units of the tier batch" in remark for remark in remarks)
    assert any("unreported searches" in remark for remark in remarks)
    assert len(found) > 200
    shapes = {re.sub(r"[\d.]+", "0", json.dumps(price)): price for price, _ in found}
    entries = [
        {"model": "compatible/own", "name": f"m-{at}", "base_url": "http://h/v1", "price": price}
        for at, price in enumerate(shapes.values())
    ]
    assert len(from_mapping({"version": "v0.4.0", "model_providers": entries}).entries) == len(shapes) > 20


def test_a_base_model_of_embeddings_has_a_price_without_output():
    given = item("m", "azure/vectors", api_base="http://h") | {
        "model_info": {"mode": "embedding", "base_model": "azure/text-embedding-3-small"}
    }
    assert convert_file(given)[2]["model_providers"][0]["price"]["output"] == 0


@pytest.mark.parametrize("costs", [TOKEN_COSTS, {"input_cost_per_token": 0, "output_cost_per_token": 0}])
def test_a_price_in_the_file_outranks_the_base_model(costs):
    info = {"model_info": {"base_model": "gpt-4o", **costs}}
    found = convert_litellm({"model_list": [item("m", "openai/own") | info]})
    ((_, entry),) = found.entries
    assert entry["price"] in ("free", {"input": 2.5, "output": 10})


def test_a_base_model_whose_price_the_entry_has_anyway_is_not_repeated():
    given = item("m", "azure/gpt-4o", api_base="http://h") | {"model_info": {"base_model": "azure/gpt-4o"}}
    assert "price" not in convert_file(given)[2]["model_providers"][0]


@pytest.mark.parametrize(
    ("model", "price"), [("openai/gpt-4o", 2.5), ("openai/own-model", None), ("hosted_vllm/gpt-4o", None)]
)
def test_a_model_of_openais_has_its_price_at_any_address(model, price):
    """LiteLLM bills it by its name, at any ``api_base``."""
    found = entry(model, api_base="https://proxy.example/v1", api_key="os.environ/K")
    assert found.get("price", {}).get("input") == price


def test_text_completions_are_models_for_completions():
    config, text, _ = convert_file(
        item("own", "text-completion-openai/own-davinci"),
        item("there", "text-completion-openai/own", api_base="http://h/v1"),
    )
    found = [(one.name, one.provider.id, one.type_of(one.model)) for one in config.entries]
    assert found == [("own", "openai", "completion"), ("there", "compatible", "completion")]
    assert ": LiteLLM also serves it to Chat clients, trigate only at /v1/completions" in text


# Models of several kinds

EMBEDDER = item("e", "openai/text-embedding-3-small")


@pytest.mark.parametrize(
    "settings", [{"default_fallbacks": ["m"]}, {"fallbacks": [{"*": ["m"]}]}, {"default_fallbacks": ["m", "e"]}]
)
@pytest.mark.parametrize("other", [EMBEDDER, item("e", "openai/dall-e-3"), item("e", "cohere/rerank-v3.5")])
def test_default_fallbacks_are_for_models_of_the_same_kind(settings, other):
    models = [item("m", "openai/m"), item("n", "openai/n"), other]
    config, text, _ = convert_file(*models, litellm_settings=settings)
    assert list(config.routes) == ["n"]
    assert [one.name for one in config.entries] == ["m", "n-openai", "e"]
    assert "# default_fallbacks to m do not apply to e: the model types differ" in text
    assert convert_litellm({"model_list": models, "litellm_settings": settings}).losses == []


def test_a_fallback_to_another_kind_of_model_is_reported():
    models = [item("m", "openai/m"), EMBEDDER, item("f", "openai/text-embedding-3-large")]
    found = convert_litellm({"model_list": models, "router_settings": {"fallbacks": [{"e": ["m", "f"]}]}})
    assert [loss.what for loss in found.losses] == ["fallbacks from e to m", "fallbacks from e to f"]
    assert {loss.group for loss in found.losses} == {Group.PROTECTION}


def test_two_embedding_models_of_one_name_are_no_group():
    """Azure's deployments have their own names, so equal names do not make them the same model."""
    models = [EMBEDDER, item("e", "azure/vectors", api_base="http://h") | {"model_info": {"mode": "embedding"}}]
    config, _, _ = convert_file(*models)
    assert [one.name for one in config.entries] == ["e", "e-azure_openai"]
    losses = convert_litellm({"model_list": models}).losses
    assert [loss.what for loss in losses] == ["azure_openai/vectors as a target of e"]


# Models without an entry

ELSEWHERE = item("claude-sonnet-4-5", "sagemaker/eu.anthropic.claude-sonnet-4-5-20250929-v1:0")


@pytest.mark.parametrize(
    ("lost", "name"),
    [
        (ELSEWHERE, "claude-sonnet-4-5"),
        (item("claude-*", "sagemaker/eu.anthropic.*"), "claude-sonnet-4-5"),
        (item("anthropic/claude-sonnet-4-5", "sagemaker/x"), "anthropic/claude-sonnet-4-5"),
    ],
)
def test_a_name_without_its_entry_is_not_led_to_another_provider(lost, name):
    """An alias and a fallback of a model in the EU led to a provider elsewhere, whose wildcard has the name."""
    models = [lost, item("anthropic/*", "anthropic/*"), item("m", "openai/m")]
    settings = {"model_group_alias": {"sonnet": name}, "fallbacks": [{"m": [name]}]}
    found = convert_litellm({"model_list": models, "router_settings": settings})
    assert found.aliases == {}
    assert [loss.what for loss in found.losses if loss.group is Group.NAMES][1:] == ["the alias sonnet"]
    assert f"fallbacks from m to {name}" in [loss.what for loss in found.losses]
    assert [loss.what.split(" (")[0] for loss in found.missing] == [lost["model_name"]]


@each_row("provider", ["groq", "mistral", "deepseek"])
def test_a_fallback_to_a_lost_model_is_lost_despite_a_pattern_of_the_same_length(provider):
    """The result depended on the order of a set, so it differed from one import to the next."""
    lost = [f"{provider}/{letter}" for letter in "abcdefghijkl"]
    pattern = item(f"{provider}/*", f"{provider}/*")
    models = [pattern, item("m", "openai/m"), *(item(name, "sagemaker/x") for name in lost)]
    found = convert_litellm({"model_list": models, "router_settings": {"fallbacks": [{"m": lost}]}})
    assert {f"fallbacks from m to {name}" for name in lost} <= {loss.what for loss in found.losses}
    assert "m" not in found.aliases


def test_a_missing_name_that_nothing_serves_is_reported_once():
    found = convert_litellm({"model_list": [item("own", "sagemaker/x"), item("anthropic/*", "anthropic/*")]})
    assert [loss.what for loss in found.losses] == ["own (sagemaker/x)"]


def test_a_name_that_keeps_one_of_its_models_keeps_its_aliases():
    models = [item("m", "sagemaker/x"), item("m", "openai/m")]
    found = convert_litellm({"model_list": models, "router_settings": {"model_group_alias": {"old": "m"}}})
    assert found.aliases == {"old": {"target": "m"}}
    assert [loss.what for loss in found.missing] == ["m (sagemaker/x)"]


NAMES = st.sampled_from(["m", "n", "e", "claude-x", "groq/x"])
MODELS = st.sampled_from(
    ["openai/m", "openai/text-embedding-3-small", "azure/vectors", "openai/dall-e-3", "sagemaker/x",
     "cohere/rerank-v3.5",
     "anthropic/claude-x", "text-completion-openai/x", "hosted_vllm/x"]
)  # fmt: skip
MODES = st.sampled_from([None, "chat", "embedding", "image_generation"])
LISTS = st.lists(st.dictionaries(NAMES | st.just("*"), st.lists(NAMES, max_size=3), min_size=1, max_size=1), max_size=3)


@given(
    st.lists(st.tuples(NAMES, MODELS, MODES), max_size=5), LISTS, LISTS, st.lists(NAMES, max_size=2),
    st.dictionaries(st.sampled_from(["old", "older"]), NAMES),
)  # fmt: skip
@settings(max_examples=examples(50))
def test_models_of_any_kind_with_any_fallbacks_are_a_good_configuration(found, fallbacks, long, default, aliases):
    models = [
        item(name, model, api_base="http://h/v1") | {"model_info": {} if mode is None else {"mode": mode}}
        for name, model, mode in found
    ]
    settings = {
        "fallbacks": fallbacks, "context_window_fallbacks": long, "default_fallbacks": default,
        "model_group_alias": aliases,
    }  # fmt: skip
    wildcards = [item("anthropic/*", "anthropic/*"), item("groq/*", "groq/*")]
    config, _, _ = convert_file(*models, *wildcards, router_settings=settings)
    assert config.entries


def test_long_chains_of_fallbacks_are_converted():
    """Each name's chain includes the chains of its fallbacks, so a long one was too deep for Python's stack."""
    names = [f"m{at}" for at in range(1500)]
    fallbacks = [{first: [second]} for first, second in itertools.pairwise(names)]
    models = [item(name, "openai/m", api_key="k") for name in (names[0], names[-1])]
    _, _, content = convert_file(*models, router_settings={"fallbacks": fallbacks})
    assert [one["name"] for one in content["model_providers"]] == [names[0], names[-1]]


def test_clients_see_a_name_with_several_models_once():
    """As in LiteLLM's `/v1/models`: the names of the single entries are the import's own."""
    config, _, _ = convert_file(
        item("gpt", "openai/gpt-4o"), item("gpt", "groq/gpt-4o"), item("first", "openai/gpt-4.1"),
        item("plain", "openai/o3"),
        router_settings={"fallbacks": [{"first": ["plain"]}]},
    )  # fmt: skip
    router = Router(config)
    names = [one.id for one in list_models(router)]
    assert [name for name in names if "/" not in name] == ["plain", "gpt", "first"]
    assert not set(config.model_names.refused) & set(names)
    assert [one.target.entry.provider.id for one in router.plan("gpt", "chat").candidates] == ["openai", "groq"]
    for name in config.model_names.refused:
        with pytest.raises(GatewayError, match=r"`model_names[.]refused`"):
            router.plan(name, "chat")
    assert len(config.model_names.refused) == 3
