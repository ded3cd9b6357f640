"""No setting of a LiteLLM file disappears in silence: it is carried, or a comment names it with the reason.

Each file is imported again without one of its settings, and with another value. If the result is the same both times,
the setting was silent. The cases
have the shapes of public files: BerriAI/litellm (`proxy_server_config.yaml`), the AWS guidance for multi-provider
gateways, CIRISAI/CIRISProxy, Causal-Insights/ai-gateway, and the import tests of agentgateway."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from configfile.keys import value_of
from gateway.commands.imports.litellm import convert_litellm
from gateway.commands.imports.losses import Group
from gateway.config_files.loading import from_mapping
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.harness import ROOT
from tests.support.litellm_files import convert_file, file_text, item
from tests.support.quick_yaml import load_yaml

SILENT = {
    ("model_list", 8, "litellm_params", "aws_region_name"),  # of a model that cannot be converted
    ("credential_list", 0, "credential_info"),  # a description
    ("guardrails", 0, "litellm_params", "mode"),  # of a check that is reported as a whole
}
"""Settings of the tests' file without effect."""

REFUSED_WHOLE = ("credential_info", "environment_variables", "cache_params", "cache_control_injection_points")


def settings_of(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of the members of all mappings, without the parts of a member that is refused as a whole."""
    for name, value in content.items() if isinstance(content, dict) else enumerate(content):
        here = (*path, name)
        if isinstance(content, dict):
            yield here
        if isinstance(value, dict | list) and name not in REFUSED_WHOLE:
            yield from settings_of(value, here)


def replace_value(content: Any, path: tuple[Any, ...], *values: Any) -> Any:
    """Return ``content`` with another value at ``path``, or without the member."""
    content = copy.deepcopy(content)
    at = content
    for part in path[:-1]:
        at = at[part]
    del at[path[-1]]
    for value in values:
        at[path[-1]] = value
    return content


SPARE = item("spare", "openai/gpt-4o-mini")  # a file without a model that can be converted is an error


def alone(content: Any, path: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """Return the part of ``content`` that a setting can affect, and its path there: its model, or its section with the
    models that it names."""
    section, *rest = path
    models, credentials = content["model_list"], {"credential_list": content.get("credential_list", [])}
    if section == "model_list":
        return {**credentials, section: [models[rest[0]], SPARE]}, (section, 0, *rest[1:])
    if section == "credential_list":
        return {section: content[section], "model_list": models}, path
    named = [one for one in models if one["model_name"] in str(content[section])]
    return {**credentials, "model_list": named or models[:1], section: content[section]}, path


def silent_settings(content: Any) -> set[tuple[Any, ...]]:
    """Return the settings without effect."""
    texts: dict[str, str] = {}  # by part; several settings share most parts

    def is_silent(path: tuple[Any, ...]) -> bool:
        part, place = alone(content, path)
        others = (replace_value(part, place), replace_value(part, place, "os.environ/X"))
        key = repr(part)
        if key not in texts:
            texts[key] = file_text(convert_litellm(part))
        return all(file_text(convert_litellm(other)) == texts[key] for other in others)

    needed = ("model_list", "model_name", "litellm_params", "model")
    return {path for path in settings_of(content) if path[-1] not in needed and is_silent(path)}


def test_no_setting_of_a_company_is_silent():
    content = load_yaml((ROOT / "tests/data/litellm/config.yaml").read_text())
    assert silent_settings(content) == SILENT


ONE, TWO = item("primary", "openai/gpt-4o"), item("backup", "anthropic/claude-haiku-4-5")


@each_row(
    "content",
    [
        {"model_list": [ONE, TWO], "router_settings": {"max_fallbacks": 2, "fallbacks": [{"primary": ["backup"]}]}},
        {"model_list": [item("*", "openai/*"), TWO], "router_settings": {"default_fallbacks": ["backup"]}},
        {"model_list": [ONE], "credential_list": [{"credential_name": "unused", "credential_values": {}}]},
        {"model_list": [ONE], "litellm_settings": {"drop_params": True, "telemetry": False, "detailed_debug": True}},
        {"model_list": [ONE], "general_settings": {"litellm_key_header_name": "X-Own-Key"}},
        {"model_list": [ONE], "litellm_settings": {"custom_provider_map": [{"provider": "p"}]}},
        {"model_list": [ONE, {**TWO, "custom_model_field": 1}], "custom_section": {"a": 1}},
        {"model_list": [ONE, item("primary", "openai/gpt-4o-mini", rpm=20, tpm=1000)]},
        {"model_list": [ONE], "litellm_settings": {"success_callback": ["s3"], "s3_callback_params": {"a": None}}},
    ],
)
def test_settings_of_public_files_are_not_silent(content):
    found = silent_settings(content)
    assert {path for path in found if path[-1] not in ("a", "provider", "credential_values")} == set()


def test_the_limits_of_a_model_are_those_of_its_entry():
    info = {"max_input_tokens": 100_000, "max_output_tokens": 8000, "max_tokens": 8000, "supports_vision": True}
    result = convert_litellm({"model_list": [{**item("m", "anthropic/own", max_tokens=500), "model_info": info}]})
    config = from_mapping(load_yaml(file_text(result)))
    quirks = config.entries[0].quirks_of("own")
    assert (quirks.context_window, quirks.max_output, quirks.default_max_tokens) == (100_000, 8000, 500)
    (loss,) = result.losses
    assert loss.what == "model_info of m (supports_vision)"
    older = convert_litellm({"model_list": [{**ONE, "model_info": {"max_tokens": 900}}]})
    assert older.entries[0][1]["quirks"] == {"max_output": 900}


def test_an_alias_of_a_hidden_name_means_its_own_models():
    """LiteLLM resolves an alias once: ``short`` means the models of the name, not the alias of that name."""
    aliases = {"primary": "backup", "short": "primary"}
    config, _, content = convert_file(ONE, TWO, router_settings={"model_group_alias": aliases})
    found = {name: content["model_aliases"][name] for name in aliases}
    assert found == {"short": {"target": "primary-openai"}, "primary": {"target": "backup"}}
    assert config.aliases["short"] == "primary-openai"
    pair = item("primary", "openai/gpt-4o-mini")
    _, _, content = convert_file(ONE, pair, TWO, router_settings={"model_group_alias": aliases})
    assert content["model_aliases"]["short"] == {"targets": [["primary-openai", "primary-openai-2"]]}


def test_no_fallbacks_means_none():
    settings = {"max_fallbacks": 0, "fallbacks": [{"primary": ["backup"]}], "default_fallbacks": ["backup"]}
    _, text, content = convert_file(ONE, TWO, router_settings=settings)
    assert "primary" not in content["model_aliases"]
    assert "max_fallbacks: 0 switches all fallbacks off" in text


def test_a_deployment_without_a_name_has_a_reason():
    result = convert_litellm({"model_list": [ONE, item("dall-e-2", "azure/", api_base="https://a.azure.com")]})
    assert result.missing[0].why == "the model is missing after azure/: LiteLLM chooses one itself"


@needs_feature("compatible_clients")
@pytest.mark.parametrize(
    ("header", "servers", "lost"),
    [
        ("X-LiteLLM-API-Key", ["azure", "litellm"], 0), ("Ocp-Apim-Subscription-Key", ["azure", "litellm"], 0),
        ("api-key", ["azure"], 0), ("Authorization", None, 0),
        ("X-Own-Key", None, 1),
    ],
)  # fmt: skip
def test_the_header_of_clients_keys_needs_their_forms(header, servers, lost):
    result = convert_litellm({"model_list": [ONE], "general_settings": {"litellm_key_header_name": header}})
    content = load_yaml(file_text(result))
    assert content.get("compatibility") == servers
    assert [loss.group for loss in result.losses] == [Group.NAMES] * lost
    assert list(value_of(from_mapping(content), "compatibility")) == (servers or [])
