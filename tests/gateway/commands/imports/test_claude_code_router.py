"""The import of the configuration of claude-code-router."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from configfile import document
from gateway.commands.importing import GOOD, LOST, NOTHING, run
from gateway.commands.imports.claude_code_router import convert_claude_code_router, read_json5
from gateway.commands.imports.result import lines
from gateway.config_files.loading import ConfigError, from_mapping
from gateway.routing.router import Router
from gateway.viewing.explained import explain_plan
from tests.support.each_row import each_row
from tests.support.features import needs_feature

FILE = """{
  // comments, tabs and a comma at the end
\t"APIKEY": "secret-0123456789", "PORT": 3456, "LOG": true, "API_TIMEOUT_MS": 90000, /* "HOST": "::" */
  "Providers": [
    {"name": "openrouter", "api_base_url": "https://openrouter.ai/api/v1/chat/completions", "api_key": "sk-or//x",
     "models": ["google/gemini-2.5-pro"], "transformer": {"use": ["openrouter"]}},
    {"name": "oai", "api_base_url": "https://api.openai.com/v1/chat/completions", "api_key": "${OPENAI_API_KEY}",
     "models": ["gpt-5", "gpt-5-mini"], "transformer": {"use": [["maxtoken", {"max_tokens": 500}]]}},
    {"name": "box", "api_base_url": "http://box:8000/v1/messages", "api_key": "none", "models": ["qwen"],
     "transformer": {"use": ["Anthropic"], "qwen": {"use": ["tooluse"]}}},
  ],
  "Router": {"default": "oai,gpt-5", "background": "box,qwen", "think": "openrouter,google/gemini-2.5-pro",
             "longContext": "openrouter,google/gemini-2.5-pro", "longContextThreshold": 80000, "webSearch": "oai,gpt-5"}
}"""


def convert(text: str) -> dict[str, Any]:
    """Return the new file for ``text``."""
    content = document.read(read_json5(text.encode()), "config.json").content
    written = yaml.safe_load("\n".join(lines(convert_claude_code_router(content), "config.json")))
    from_mapping(written)
    return dict(written)


@needs_feature("request_members")
def test_providers_become_entries_and_the_router_one_wildcard_alias():
    found = convert(FILE)
    assert [entry.get("name", entry["model"]) for entry in found["model_providers"]] == [
        "openrouter/google/gemini-2.5-pro", "oai/gpt-5", "oai/gpt-5-mini", "box/qwen",
    ]  # fmt: skip
    gemini, gpt, _, box = found["model_providers"]
    assert (gemini["access_key"], gpt["access_key"]) == ("$OPENROUTER_API_KEY", "$OPENAI_API_KEY")
    assert (gpt["model"], gpt["request"]) == ("openai/gpt-5", {"max": {"max_tokens": 500}})
    assert box == {
        "model": "compatible/qwen", "name": "box/qwen", "base_url": "http://box:8000/v1", "speaks": ["messages"],
    }  # fmt: skip
    assert found["model_aliases"]["claude-*"]["targets"] == [
        {"target": "openrouter/google/gemini-2.5-pro", "when": ["tokens > 80000", "thinking"]},
        {"target": "box/qwen", "when": ["background"]},
        "oai/gpt-5",
    ]
    assert (found["listeners"][0]["port"], found["timeouts"]["idle"]) == (3456, "90s")
    assert found["client_keys"] == [{"name": "claude-code-router", "key": "$CLAUDE_CODE_ROUTER_API_KEY"}]
    router = Router(from_mapping(found))
    for asked, target in (("claude-opus-5", "openai/gpt-5"), ("box,qwen", "compatible/qwen")):
        assert explain_plan(router, asked, "messages").target.name == target


@each_row(
    ("change", "says", "status"),
    [
        ({}, "", GOOD),
        ({"CUSTOM_ROUTER_PATH": "/x.js"}, "CUSTOM_ROUTER_PATH: a program cannot choose targets", LOST),
        ({"Router": {"default": "a,x", "image": "a,x"}}, "Router.image: no model", LOST),
        ({"Router": {"default": "a,y"}}, "Router.default (a,y): Providers has no such model", LOST),
        ({"fallback": {"default": ["a,y"], "think": ["a,x"]}}, "fallback.think: all kinds of requests", LOST),
        ({"Providers": []}, "no model can be converted", NOTHING),
        ({"Providers": [{"name": "a", "models": ["x"]}, {"name": "b", "api_base_url": "http://[", "models": [1]}]},
         "no model can be converted", NOTHING),
    ],
)  # fmt: skip
def test_lost_settings_are_reported(tmp_path, capsys, change, says, status):
    providers = [{"name": "a", "api_base_url": "http://h/v1/chat/completions", "models": ["x"]}]
    content = {"Providers": providers, "Router": {"default": "a,x"}, **change}
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert run(tmp_path / "config.json", None) == status
    out, err = capsys.readouterr()
    assert says in out + err


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["a,x", "http://h/v1", "use"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "api_base_url", "api_key", "models", "transformer", "use", "x", "default", "think"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["Providers", "Router", "fallback", "PORT", "APIKEY", "other"]), ANY))
def test_any_content_is_converted_or_refused(content):
    good = {"name": "a", "api_base_url": "http://h/v1/chat/completions", "models": ["x"]}
    providers = content.get("Providers")
    content["Providers"] = [good, *(providers if isinstance(providers, list) else [providers])]
    try:
        yaml.safe_load("\n".join(lines(convert_claude_code_router(content), "config.json")))
    except ConfigError as error:
        pytest.fail(str(error))
