"""``trigate import``: the configuration of a LiteLLM proxy as one of ours."""

import re
from typing import Any

import pytest
import yaml
from command_line import run
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.commands.importing import ORIGINS, imported, lines
from gateway.config.loading import Config, ConfigError, from_mapping
from gateway.routing import Router
from providers import catalog


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


def test_a_master_key_from_the_environment_opens_the_door():
    content = converted(item("m", "openai/m"), general_settings={"master_key": "os.environ/LITELLM_MASTER_KEY"})[2]
    assert content["client_keys"] == [{"name": "master", "key": "$LITELLM_MASTER_KEY"}]


def test_of_several_with_one_name_the_first_is_taken_and_the_others_are_named():
    _, text, content = converted(item("m", "openai/a"), item("m", "groq/b"))
    assert [one["model"] for one in content["model_providers"]] == ["openai/a"]
    assert "# not carried: m (groq/b): openai/a has the name" in text


def test_the_model_of_requests_that_name_none_is_the_default():
    config, _, _ = converted(item("a", "openai/a"), item("b", "openai/b"), general_settings={"completion_model": "b"})
    assert [one.default for one in config.entries] == [False, True]


LOST = [
    ({"model_list": [item("e", "openai/x") | {"model_info": {"mode": "embedding"}}]}, "e (openai/x): embedding is not"),
    ({"model_list": [item("b", "bedrock/x")]}, "b (bedrock/x): the provider bedrock has no counterpart"),
    ({"model_list": [item("n", "nothing-known")]}, "n (nothing-known): it names no provider"),
    ({"model_list": [item("*", "*")]}, "* (*): it names no provider"),
    ({"model_list": [item("a*b", "openai/a*b")]}, "a*b (openai/a*b): of patterns only provider/*"),
    ({"model_list": [item("v", "llamafile/x")]}, "v (llamafile/x): unknown provider"),
    ({"model_list": [item("u", "openai/x", api_base="ftp://x")]}, "u (openai/x): 'ftp://x'"),
    ({"model_list": [{"model_name": 5}]}, "an item of model_list"),
    ({"model_list": [item("r", "openai/x", rpm=5, temperature=0)]}, "rpm of r: there are no rate limits"),
    ({"model_list": [item("r", "openai/x", temperature=0)]}, "temperature of r: what requests do not say"),
    ({"router_settings": {"fallbacks": [{"m": ["n"]}]}}, "router_settings.fallbacks: fallbacks are not here yet"),
    ({"router_settings": {"model_group_alias": {"x": "nope"}}}, "the alias x: its model is not above"),
    ({"litellm_settings": {"callbacks": ["otel"]}}, "litellm_settings.callbacks: has no counterpart"),
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


def test_what_asks_for_the_default_here_is_no_loss():
    assert imported({"model_list": [item("m", "openai/m")], "litellm_settings": {"drop_params": True}}).lost == 0


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
@settings(deadline=None, max_examples=150)
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
    path.write_text(yaml.safe_dump({"model_list": [item("m", "openai/m", rpm=1)]}))
    return path


def test_the_command_prints_what_check_finds_good(file):
    found = run("import", "litellm.yaml", cwd=file.parent)
    assert found.returncode == 0, found.stderr
    assert found.stderr == "models carried over: 1; settings left out, and named in comments: 1\n"
    (file.parent / "trigate.yaml").write_text(found.stdout)
    assert run("check", cwd=file.parent, env={"OPENAI_API_KEY": "k"}).returncode == 0


def test_the_command_writes_a_file_and_never_over_one(file):
    first = run("import", "litellm.yaml", "--write", "trigate.yaml", cwd=file.parent)
    assert (first.returncode, first.stdout) == (0, "")
    assert run("check", "--no-env", cwd=file.parent).returncode == 0
    again = run("import", "litellm.yaml", "--write", "trigate.yaml", cwd=file.parent)
    assert (again.returncode, again.stderr) == (1, "trigate.yaml: file exists\n")


@pytest.mark.parametrize("text", [b"model_list: [", b"- a\n", b"\xff", b"model_list: []\n"])
def test_the_command_refuses_what_it_cannot_read(file, text):
    file.write_bytes(text)
    found = run("import", "litellm.yaml", cwd=file.parent)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr


def test_the_command_names_a_file_that_is_not_there(tmp_path):
    assert run("import", "nothing.yaml", cwd=tmp_path).stderr == "nothing.yaml: no such file or directory\n"
