"""Mistakes and warnings about `prompt_cache` of entries."""

import pytest

from configfile.document import ConfigError
from gateway.config_files.loading import from_mapping
from gateway.features.cache_acts.settings import acts_of
from tests.support.each_row import each_row
from tests.support.harness import config, provider

URL = "https://api.example/v1"


def read(model, wanted, *, speaks=(), **more):
    return from_mapping(config([provider(model, URL, speaks, prompt_cache=wanted, **more)], 12000))


def warnings(model, wanted, **more):
    return [one for one in read(model, wanted, **more).warnings if "prompt_cache" in one]


@each_row(
    ("model", "speaks", "wanted", "reason"),
    [
        ("openai/gpt-4o", ["chat"], {"marks": "5m"}, "openai/gpt-4o accepts no cache marks in chat"),
        ("deepseek/deepseek-chat", ["chat"], {"marks": "1h"}, "accepts no cache marks"),
        ("amazon_bedrock/amazon.nova-pro-v1:0", ["converse"], {"marks": "1h"}, "has no cache for 1h"),
        ("openai/gpt-5.6", ["chat"], {"key": "conversation"}, "needs no key"),
        ("groq/llama-4", ["chat"], {"key": "client"}, "needs no key"),
        ("openai/gpt-5.6", ["chat"], {"diagnose": True}, "cannot explain misses of its prompt cache in chat"),
        ("vertex/claude-sonnet-4-6", ["messages"], {"diagnose": True}, "cannot explain misses"),
        ("anthropic/claude-sonnet-4-6", ["messages"], {"marks": "1h"}, None),
        ("amazon_bedrock/anthropic.claude-sonnet-4-6", ["converse"], {"marks": "5m"}, None),
        ("unknown/model", ["messages"], {"marks": "5m"}, None),
        ("openai/gpt-4o", ["chat"], {"key": "conversation"}, None),
        ("vllm/*", [], {"isolate": "group"}, None),
        ("mine/m", [], {"isolate": "key"}, None),
        ("openai/gpt-5.6", ["chat", "responses"], {"isolate": "key"}, None),
    ],
)
def test_only_a_change_without_effect_is_a_warning(model, speaks, wanted, reason):
    more = {"provider_interface": "vllm"} if model == "mine/m" else {}
    found = warnings(model, wanted, speaks=speaks, **more)
    assert len(found) == (reason is not None), found
    assert reason is None or (reason in found[0] and f"prompt_cache.{next(iter(wanted))}" in found[0])


@pytest.mark.parametrize(
    ("model", "speaks"),
    [("openai/gpt-4o", ["chat"]), ("openai/*", ["chat"]), ("unknown/m", ["chat"])],
)
def test_a_missing_isolation_is_a_mistake(model, speaks):
    with pytest.raises(ConfigError) as caught:
        read(model, {"isolate": "key"}, speaks=speaks)
    (mistake,) = caught.value.mistakes
    assert mistake.path == "model_providers[0].prompt_cache.isolate"
    assert f"cannot separate the caches of {model}" in str(mistake)


def read_all(wanted, *, own=None):
    """Return a configuration with ``prompt_caching`` as in Plano's files, and an entry's own ``prompt_cache``."""
    entries = [
        provider("anthropic/claude-sonnet-4-6", URL, ["messages"]),
        provider("anthropic/*", URL, ["messages"]),
        provider("anthropic/claude-opus-4-6", URL, ["messages"], prompt_cache=own or {"diagnose": True}),
        provider("openai/gpt-4o", URL, ["chat"]),
        provider("unknown/model", URL, ["chat"]),
    ]
    return from_mapping({**config(entries, 12000), "prompt_caching": wanted})


@each_row(
    ("wanted", "own", "marks"),
    [
        ({"enabled": True}, None, ["5m", "5m", None, None, None]),
        ({"enabled": True, "inject_cache_control": True}, {"marks": "1h"}, ["5m", "5m", "1h", None, None]),
        *((wanted, None, [None] * 5) for wanted in (
            {}, {"enabled": False}, {"enabled": True, "inject_cache_control": False},
        )),
    ],
)  # fmt: skip
def test_the_key_of_plano_adds_marks_for_providers_that_need_them(wanted, own, marks):
    found = read_all(wanted, own=own)
    assert [None if acts_of(one) is None else acts_of(one).marks for one in found.entries] == marks
    assert not [one for one in found.warnings if "prompt_cach" in one]


@pytest.mark.parametrize("name", ["session_affinity", "min_prefix_tokens", "session_ttl_seconds"])
def test_other_members_of_planos_key_have_no_effect(name):
    (found,) = [one for one in read_all({"enabled": True, name: 1}).warnings if "prompt_cach" in one]
    assert found.startswith(f"prompt_caching.{name}: ")
