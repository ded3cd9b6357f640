"""Differences that a move from LiteLLM must not make in silence: names, accounts, shares, secrets and lost settings."""

from typing import Any

import pytest

from gateway.commands.imports.litellm import convert_litellm
from gateway.commands.imports.losses import Group
from gateway.config_files.loading import Config, from_mapping
from gateway.routing.router import Router
from streams.errors import GatewayError
from tests.support.command_line import invoke
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.litellm_files import TOKEN_COSTS, convert_file, file_text, item
from tests.support.quick_yaml import load_yaml

ANY_OPENAI = item("openai/*", "openai/*", api_key="os.environ/OF_ALL")


def find_served(config: Config, name: str) -> str:
    """Return the provider's model for ``name`` and the credential, or the error's code."""
    try:
        target = Router(config).resolve(name, "chat")
    except GatewayError as error:
        return str(error.info.code)
    return f"{target.entry.provider.id}/{target.model} {target.entry.key}"


def convert(*models: Any, **sections: Any) -> Config:
    text = file_text(convert_litellm({"model_list": list(models), **sections}))
    return from_mapping(load_yaml(text))


@each_row(
    ("lost", "name"),
    [
        (item("dall-e-2", "azure/d", mock_response="x"), "dall-e-2"),
        (item("gpt-instruct", "sagemaker/x"), "gpt-instruct"),
        (item("gpt-*", "sagemaker/*"), "gpt-4o"),
        (item("claude-x", "sagemaker/x"), "claude-x"),
        (item("groq/llama", "sagemaker/x"), "groq/llama"),
        (item("*", "*"), "gpt-4o"),
    ],
)
def test_a_lost_name_never_leads_elsewhere(lost, name):
    models = (ANY_OPENAI, item("anthropic/*", "anthropic/*"), item("groq/*", "groq/*"))
    assert find_served(convert(lost, *models), name) == "model_not_found"
    assert find_served(convert(*models), name) != "model_not_found"


def test_a_lost_alias_never_leads_elsewhere():
    config = convert(ANY_OPENAI, router_settings={"model_group_alias": {"gpt-4o": "gone"}})
    assert find_served(config, "gpt-4o") == "model_not_found"
    assert find_served(config, "openai/gpt-4o") == "openai/gpt-4o $OF_ALL"


def test_a_name_keeps_its_account():
    """An entry with the same model, and a second pattern of the provider, took the requests of ``openai/*``."""
    models = (
        item("mine", "openai/gpt-4o", api_key="os.environ/MINE"), ANY_OPENAI,
        item("team/*", "openai/*", api_key="os.environ/TEAM"),
    )  # fmt: skip
    config = convert(*models)
    assert find_served(config, "mine") == "openai/gpt-4o $MINE"
    assert find_served(config, "openai/gpt-4o") == "openai/gpt-4o $OF_ALL"
    assert find_served(config, "gpt-4o") == "openai/gpt-4o $OF_ALL"
    assert find_served(config, "openai/gpt-9") == "openai/gpt-9 $OF_ALL"
    assert find_served(config, "team/gpt-9") == "openai/gpt-9 $TEAM"


def test_a_name_that_litellm_did_not_have_is_not_find_served():
    config = convert(item("mine", "openai/gpt-4o"))
    assert [find_served(config, name) for name in ("gpt-4o", "openai/gpt-5")] == ["model_not_found"] * 2


def test_a_model_of_litellm_params_is_a_name_too():
    """``litellm/proxy/route_llm_request.py`` sends requests for ``deployment_names`` to these models."""
    models = (
        item("mine", "openai/gpt-4o", api_key="os.environ/MINE"), item("pair", "groq/x"), item("pair", "groq/y"),
        item("one", "groq/z", api_key="os.environ/A"), item("two", "groq/z", api_key="os.environ/B"),
    )  # fmt: skip
    config = convert(*models)
    assert find_served(config, "openai/gpt-4o") == "openai/gpt-4o $MINE"
    assert find_served(config, "groq/y") == "groq/y $GROQ_API_KEY"
    route = config.routes["groq/z"]
    assert [target.target for target in route.groups[0]] == ["one", "two"]


def test_a_bare_name_goes_where_the_pattern_for_all_names_leads():
    """LiteLLM's router tries the patterns with the bare name first, and only `*` matches it."""
    config = convert(item("*", "openai/*"), item("anthropic/*", "anthropic/*"), item("groq/*", "groq/*"))
    names = ("claude-sonnet-4-5", "anthropic/claude-sonnet-4-5", "gpt-4o", "openai/gpt-4o")
    assert [find_served(config, name) for name in names] == [
        "model_not_found", "anthropic/claude-sonnet-4-5 $ANTHROPIC_API_KEY", "openai/gpt-4o $OPENAI_API_KEY",
        "openai/gpt-4o $OPENAI_API_KEY",
    ]  # fmt: skip


def test_a_prefix_of_the_same_provider_is_no_part_of_the_model():
    _, text, content = convert_file(item("m", "ollama/qwen", custom_llm_provider="ollama_chat"))
    assert content["model_providers"][0]["model"] == "ollama/qwen"
    assert "# ollama/ is the provider too" in text


def test_a_budget_of_a_model_without_a_price_is_kept():
    result = convert_litellm({"model_list": [item("m", "openrouter/x/y", max_budget=3, budget_duration="1d")]})
    content = load_yaml(file_text(result))
    assert (content["unpriced"], content["model_providers"][0]["budgets"]) == ("allow", ["3 usd/day"])
    assert [(loss.group, loss.what) for loss in result.losses] == [
        (Group.MONEY, "models without a price (openrouter/x/y)")
    ]


def test_an_alias_has_precedence_over_a_model():
    models = item("old", "openai/a", api_key="os.environ/A"), item("new", "groq/b", api_key="os.environ/B")
    result = convert_litellm({"model_list": list(models), "router_settings": {"model_group_alias": {"old": "new"}}})
    config = from_mapping(load_yaml(file_text(result)))
    assert find_served(config, "old") == "groq/b $B"
    assert find_served(config, "old-openai") == "openai/a $A"
    assert "as in LiteLLM, old means new" in file_text(result)


def test_a_fallback_to_an_alias_leads_to_its_model():
    router = {"model_group_alias": {"next": "b"}, "fallbacks": [{"a": ["next"]}]}
    content = convert_file(item("a", "openai/a"), item("b", "groq/b"), router_settings=router)[2]
    assert content["model_aliases"]["a"]["targets"] == ["a-openai", "b"]


@each_row(
    ("shares", "expected"),
    [
        ([{"weight": 9}, {"weight": 1}], [9, 1]),
        ([{"weight": 2, "rpm": 9}, {"weight": 0}], [2, 0]),
        ([{"weight": 9}, {}], [9, 0]),  # LiteLLM's weight of a model without one is 0
        ([{"rpm": 900}, {"rpm": 100, "tpm": 5}], [900, 100]),
        ([{"rpm": 900}, {"tpm": 5}], [900, 0]),
        ([{"tpm": 10}, {"tpm": 30}], [10, 30]),
        ([{}, {}], [1, 1]),
    ],
)
def test_without_a_strategy_models_share_by_weight(shares, expected):
    """LiteLLM's default is ``simple-shuffle``: 9 to 1 was served as 44 to 36. Without weights it shuffles by the rates:
    https://docs.litellm.ai/docs/routing."""
    config = convert(*(item("m", f"openai/{number}", **share) for number, share in enumerate(shares)))
    route = config.routes["m"]
    assert route.balance == "weighted"
    assert [target.weight for _, target in route.places] == expected


def test_a_single_model_keeps_its_retries_and_cooldown():
    models = item("m", "openai/m", num_retries=3, cooldown_time=90), item("n", "openai/n", max_retries=0)
    content = convert_file(*models, litellm_settings={"num_retries": 1})
    first, second = content[2]["model_providers"]
    assert (first["retries"], first["circuit"]) == ({"attempts": 4}, {"cooldown": "90s", "longest": "90s"})
    assert second["retries"] == {"attempts": 1}


@each_row(
    ("header", "value", "expected"),
    [
        ("x-api-key", "plain", "$M_X_API_KEY"),
        ("Authorization", "Bearer abc", "$M_AUTHORIZATION"),
        ("x-upstream", "Bearer abc", "$M_X_UPSTREAM"),
        ("x-upstream", "sk-0123456789abcdef", "$M_X_UPSTREAM"),
        ("x-upstream", "9f86d081884c7d659a2feaa0c55ad015", "$M_X_UPSTREAM"),
        ("x-api-key", "os.environ/MINE", "$MINE"),
        ("x-region", "eu-central-1", "eu-central-1"),
        ("anthropic-beta", "context-1m", "context-1m"),
    ],
)
@each_row("member", ["headers", "extra_headers"])
def test_no_secret_of_a_header_is_in_the_new_file(header, value, expected, member):
    _, text, content = convert_file(item("m", "openai/m", **{member: {header: value}}))
    assert content["model_providers"][0]["headers"] == {header: expected}
    assert value == expected or value not in text


def test_each_secret_has_a_variable_of_its_own():
    """Two keys of one group became one variable, so both models used the first account."""
    models = (
        item("m", "openai/a", api_key="sk-first-1"), item("m", "openai/a", api_key="sk-second-2"),
        item("m", "openai/a", api_key="sk-first-1"), item("M!", "openai/b", api_key="sk-third-3"),
        item("h", "openai/c", extra_headers={"x-api-key": "one"}), item("h", "openai/c", headers={"x-api-key": "two"}),
    )  # fmt: skip
    content = convert_file(*models)[2]["model_providers"]
    assert [one.get("access_key") for one in content[:4]] == [
        "$M_API_KEY", "$M_API_KEY_2", "$M_API_KEY", "$M_API_KEY_3",
    ]  # fmt: skip
    assert [one["headers"] for one in content[4:]] == [{"x-api-key": "$H_X_API_KEY"}, {"x-api-key": "$H_X_API_KEY_2"}]


def test_the_last_of_two_equal_keys_applies_as_in_litellm(tmp_path):
    (tmp_path / "litellm.yaml").write_text(
        "model_list:\n- model_name: m\n  litellm_params: {model: openai/a}\n  litellm_params: {model: openai/b}\n"
    )
    found = invoke("import", "litellm.yaml", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert load_yaml(found.stdout)["model_providers"][0]["model"] == "openai/b"
    assert "an earlier model_list[0].litellm_params in line 4: the key appears twice" in found.stdout


def test_included_files_are_a_part_of_the_configuration(tmp_path):
    (tmp_path / "litellm.yaml").write_text(
        "include: [more/models.yaml]\nmodel_list:\n- {model_name: m, litellm_params: {model: openai/a}}\n"
        "litellm_settings: {num_retries: 2}\n"
    )
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "models.yaml").write_text(
        "include: [../litellm.yaml]\nmodel_list:\n- {model_name: n, litellm_params: {model: openai/b}}\n"
    )
    found = invoke("import", "litellm.yaml", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    content = load_yaml(found.stdout)
    assert [one["name"] for one in content["model_providers"]] == ["m", "n"]
    assert content["retries"] == {"attempts": 3}
    (tmp_path / "more" / "models.yaml").unlink()
    missing = invoke("import", "litellm.yaml", cwd=tmp_path)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr.endswith("models.yaml: cannot be read: no such file or directory; give a readable file.\n")


@needs_feature("request_members")
@pytest.mark.parametrize(
    ("model", "request_members"),
    [
        ("openrouter/x/y", {"set": {"other.provider": {"data_collection": "deny"}}}),
        ("groq/x", {"set": {"other.provider": {"data_collection": "deny"}}}),
        ("openai/x", {"default": {"other.provider": {"data_collection": "deny"}}}),
    ],
)
def test_clients_cannot_replace_an_extra_body_where_litellm_does_not_let_them(model, request_members):
    """LiteLLM's ``get_optional_params`` merges a client's member into ``extra_body`` only for OpenAI and Azure."""
    entry = convert_file(item("m", model, extra_body={"provider": {"data_collection": "deny"}}))[2]["model_providers"][
        0
    ]
    assert entry["request"] == request_members


@pytest.mark.parametrize(
    ("given", "budgets", "lost"),
    [
        ({"max_budget": 100, "budget_duration": "30d"}, ["100 usd/30d"], False),
        ({"max_budget": 100}, ["100 usd/366d"], True),
        ({"max_budget": "much"}, None, False),
    ],
)
def test_the_budgets_of_the_proxy_and_of_a_model_apply(given, budgets, lost):
    models = [item("m", "openai/gpt-4o", **TOKEN_COSTS, **given)]
    result = convert_litellm({"model_list": models, "litellm_settings": given})
    content = load_yaml(file_text(result))
    assert content.get("budgets") == budgets
    assert content["model_providers"][0].get("budgets") == budgets
    whats = [loss.what for loss in result.losses if "budget_duration" in loss.what]
    assert whats == (
        ["max_budget without budget_duration of m", "litellm_settings.max_budget without budget_duration"]
        if lost
        else []
    )
    assert from_mapping(content).entries
