"""Model names to targets: the order of resolution, the lane, the address and the credential."""

import subprocess
import sys

import pytest

from gateway.access.authentication import Authenticator
from gateway.config_files.loading import from_mapping
from gateway.routing.plan import select_by_kind
from gateway.routing.router import Router
from gateway.viewing.explained import explain_plan
from gateway.viewing.listed_models import Model, list_models
from streams.errors import GatewayError
from streams.events import APIS, UNAVAILABLE
from tests.support.each_row import each_row
from tests.support.repository import ROOT

OPENAI = {"model": "openai/gpt-4o", "access_key": "sk-openai"}
CLAUDE = {"model": "anthropic/claude-sonnet-4-5", "access_key": "sk-ant"}


def router(*providers, **root) -> Router:
    return Router(from_mapping({"version": "v0.3.0", "model_providers": list(providers), **root}))


def failure(function, *arguments):
    with pytest.raises(GatewayError) as caught:
        function(*arguments)
    return caught.value.info


@each_row(
    ("asked", "target", "why"),
    [
        ("fast", "openai/gpt-4o-mini", "alias fast → openai/gpt-4o-mini"),
        ("best", "openai/gpt-4o", "name best"),
        ("openai/gpt-4o", "openai/gpt-4o", "provider and id openai/gpt-4o"),
        ("gpt-4o", "openai/gpt-4o", "id gpt-4o → best"),
        ("groq/whatever:free x", "groq/whatever:free x", "wildcard groq/*"),
        ("groq/openai/gpt-oss-20b", "groq/openai/gpt-oss-20b", "wildcard groq/*"),
        ("llama-3.3-70b-versatile", "groq/llama-3.3-70b-versatile", "well-known id llama-3.3-70b-versatile"),
        ("meta-llama/Llama 3:70b", "together_ai/meta-llama/Llama 3:70b", "id meta-llama/Llama 3:70b"),
        ("together/meta-llama/Llama 3:70b", "together_ai/meta-llama/Llama 3:70b", "name together/"),
        ("together_ai/meta-llama/Llama 3:70b", "together_ai/meta-llama/Llama 3:70b", "provider and id"),
        (None, "openai/gpt-4o-mini", "default openai/gpt-4o-mini"),
        ("", "openai/gpt-4o-mini", "default openai/gpt-4o-mini"),
    ],
)
def test_a_name_resolves_in_order(asked, target, why):
    routes = router(
        {"model": "openai/gpt-4o", "name": "best"},
        {"model": "openai/gpt-4o-mini", "default": True},
        {"model": "groq/*"},
        {"model": "together/meta-llama/Llama 3:70b"},
        model_aliases={"fast": {"target": "openai/gpt-4o-mini"}},
    )
    explained = explain_plan(routes, asked, "chat")
    assert explained.target.name == target
    assert explained.why.startswith(why)
    assert explained.target.requested_name == (asked or "openai/gpt-4o-mini")


def test_an_exact_name_wins_over_a_wildcard_that_covers_it():
    routes = router({"model": "openai/*"}, {"model": "openai/gpt-4o", "access_key": "own"})
    assert routes.resolve("openai/gpt-4o", "chat").entry.key == "own"
    assert routes.resolve("gpt-4o", "chat").entry.key == "own"
    assert routes.resolve("openai/gpt-5", "chat").entry.key is None


def test_aliases_are_looked_up_once_and_may_shadow():
    routes = router(
        OPENAI, CLAUDE, model_aliases={"a": {"target": "gpt-4o"}, "gpt-4o": {"target": "claude-sonnet-4-5"}}
    )
    assert routes.resolve("a", "chat").name == "openai/gpt-4o"
    assert routes.resolve("gpt-4o", "chat").name == "anthropic/claude-sonnet-4-5"


def test_an_id_on_two_providers_is_not_guessed():
    routes = router(OPENAI, {"model": "azure_openai/gpt-4o", "base_url": "https://me.openai.azure.com"})
    failed = failure(routes.resolve, "gpt-4o", "chat")
    assert (failed.status, failed.param) == (400, "model")
    assert "openai/gpt-4o and azure_openai/gpt-4o" in failed.message
    assert routes.resolve("azure_openai/gpt-4o", "chat").url.startswith(
        "https://me.openai.azure.com/openai/deployments"
    )


@each_row(
    ("asked", "target"),
    [
        ("claude-opus-9", "anthropic/claude-opus-9"),
        ("claude-opus-4-1-20250805", "anthropic/claude-opus-4-1-20250805"),
        ("claude-3-7-sonnet-latest", "anthropic/claude-3-7-sonnet-latest"),
        ("claude-opus-4-5@20251101", "anthropic/claude-opus-4-5@20251101"),
        ("gpt-7", "openai/gpt-7"),
        ("gpt-5.5-2026-04-23", "openai/gpt-5.5-2026-04-23"),
        ("o5-mini", "openai/o5-mini"),
        ("o3", "openai/o3"),
        ("codex-auto-review", "openai/codex-auto-review"),
        ("ft:gpt-4.1:acme::b7", "openai/ft:gpt-4.1:acme::b7"),
        ("gemini-flash-latest", "gemini/gemini-flash-latest"),
        ("deepseek-v5", "deepseek/deepseek-v5"),
        ("grok-5", "xai/grok-5"),
        ("codestral-2601", "mistral/codestral-2601"),
        ("kimi-k4", "moonshotai/kimi-k4"),
        ("GLM-6", "zhipu/GLM-6"),
    ],
)
def test_a_bare_id_goes_to_the_one_wildcard_that_has_its_family(asked, target):
    makers = ("anthropic", "openai", "gemini", "deepseek", "xai", "mistral", "moonshotai", "zhipu")
    routes = router(*({"model": f"{maker}/*"} for maker in makers), {"model": "groq/*"})
    explained = explain_plan(routes, asked, "chat")
    assert explained.target.name == target
    assert explained.why.startswith(("family of", "well-known id"))
    assert explain_plan(routes, f"{target}-2", "chat").target.name == f"{target}-2"


def test_an_entry_and_the_catalogues_list_come_before_a_family():
    routes = router(
        {"model": "groq/*"},
        {"model": "openai/*"},
        {"model": "vllm/gpt-mine", "base_url": "http://localhost:8000"},
        model_aliases={"o9": {"target": "groq/llama-3.1-8b-instant"}},
    )
    assert routes.resolve("gpt-mine", "chat").name == "vllm/gpt-mine"
    assert routes.resolve("o9", "chat").name == "groq/llama-3.1-8b-instant"
    assert routes.resolve("openai/gpt-oss-20b", "chat").name == "openai/gpt-oss-20b"
    assert routes.resolve("gpt-yours", "chat").name == "openai/gpt-yours"


def test_a_prefix_means_the_wildcard_of_that_name_although_another_has_the_same_provider():
    routes = router({"model": "openai/*", "name": "eu/*", "base_url": "https://eu.example"}, {"model": "openai/*"})
    for asked in ("openai/gpt-5", "eu/gpt-5"):
        assert routes.resolve(asked, "chat").entry.name == asked.replace("gpt-5", "*")
    failed = failure(routes.resolve, "gpt-5", "chat")
    assert "use one of these names: eu/gpt-5 and openai/gpt-5" in failed.message


def test_the_suggested_names_are_near_and_not_ambiguous():
    entries = {"model": "openai/gpt-5"}, {"model": "openai/gpt-5", "name": "mine"}, {"model": "groq/gpt-5x"}
    routes = router(*entries, CLAUDE)
    told = failure(routes.resolve, "gpt5", "chat").message
    names = told.partition("did you mean ")[2].rstrip("?").split(" or ")
    assert names == ["openai/gpt-5", "mine", "gpt-5x"]
    assert all(routes.resolve(name, "chat") for name in names)


def test_a_family_on_two_wildcards_is_not_guessed_and_the_error_lists_valid_names():
    routes = router(
        {"model": "openai/*"},
        {"model": "azure_openai/*", "base_url": "https://me.openai.azure.com"},
        {"model": "anthropic/*", "name": "eu/*"},
        {"model": "anthropic/*", "name": "us/*"},
    )
    for asked, forms in (
        ("gpt-7", "openai/gpt-7 and azure_openai/gpt-7"),
        ("gpt-6-sol", ""),
        ("claude-opus-5-5", "eu/claude-opus-5-5 and us/claude-opus-5-5"),
        ("anthropic/claude-opus-9", "eu/claude-opus-9 and us/claude-opus-9"),
    ):
        if not forms:
            assert routes.resolve(asked, "chat").name == f"openai/{asked}", "the catalogue's list comes first"
            continue
        failed = failure(routes.resolve, asked, "chat")
        assert (failed.status, failed.param) == (400, "model")
        assert failed.message.startswith(f"model {asked!r} is ambiguous")
        assert f"use one of these names: {forms}" in failed.message
        assert all(routes.resolve(form, "chat").model == forms.rpartition("/")[2] for form in forms.split(" and "))


@each_row(
    ("asked", "meant"),
    [
        ("claude-sonet", "sonnet"),
        ("claude-hiaku-4-5", "haiku"),
        ("Claude-Opsu-5-5", "opus"),
        ("claude-nova-1", None),
        ("claude-opus-4.8", "opus"),
        ("claude-opux-5", "opus"),
    ],
)
def test_a_misspelled_name_of_two_wildcards_is_unknown_instead_of_ambiguous(asked, meant):
    routes = router({"model": "anthropic/*", "name": "plan/*"}, {"model": "anthropic/*"})
    failed = failure(routes.resolve, asked, "chat")
    if meant is None:
        assert (failed.status, f"names: plan/{asked} and anthropic/{asked}" in failed.message) == (400, True)
        return
    assert (failed.status, failed.code) == (404, "model_not_found")
    names = failed.message.partition("did you mean ")[2].rstrip("?").split(" or ")
    assert all(f"claude-{meant}" in name and routes.resolve(name, "chat") for name in names)


@each_row(
    ("wildcards", "asked", "advice"),
    [
        (["openai"], "claude-opus-4-8", "models of Anthropic need an entry, such as anthropic/*"),
        (["openai"], "claude-opus-4-8[1m]", "models of Anthropic need an entry, such as anthropic/*"),
        (["openai"], "anthropic/claude-opus-4-8", "models of Anthropic need an entry, such as anthropic/*"),
        (["openai"], "deepseek-r1:70b", "if openai has it, request openai/deepseek-r1:70b"),
        (["openai", "groq"], "my-model", "if a provider has it, request openai/my-model or groq/my-model"),
        (
            ["openai", "openrouter"],
            "claude-opus-4-8",
            "models of Anthropic need an entry, such as anthropic/*; or, if openrouter has it, request "
            "openrouter/claude-opus-4-8",
        ),
        (["groq"], "gpt-oss:20b", "did you mean openai/gpt-oss-20b"),
        (["anthropic"], "claud-opus-4-8", "did you mean claude-opus-4-8"),
        (["openai", "anthropic"], "openia/gpt-4o", "did you mean openai/gpt-4o"),
        (["mistral", "anthropic"], "opus-latest", "did you mean claude-opus-"),
        (["mistral", "anthropic"], "sonnet", "did you mean claude-sonnet-"),
        (["gemini"], "o3-mini", "models of OpenAI need an entry, such as openai/*"),
        (["mistral"], "opus-latest", "if mistral has it, request mistral/opus-latest"),
        (["mistral"], "mistrall/x", "did you mean mistral/x?"),
        (["mistral", "openai"], "mistrall/codestral-latest", "did you mean mistral/codestral-latest?"),
        (["openai"], "mistrall/x", "models of Mistral AI need an entry, such as mistral/*"),
        (["openai"], "openai/*", "write a model's name after openai/"),
        (["openai"], "openai/", "write a model's name after openai/"),
    ],
)
def test_an_unknown_name_is_reported_with_the_form_that_works(wildcards, asked, advice):
    failed = failure(router(*({"model": f"{maker}/*"} for maker in wildcards)).resolve, asked, "messages")
    assert (failed.status, failed.kind, failed.code, failed.param) == (404, "not_found", "model_not_found", "model")
    assert f"{asked!r} is not configured here; {advice}" in failed.message


BETA = "context-1m-2025-08-07"


@each_row(
    ("asked", "target", "betas"),
    [
        ("claude-opus-4-8[1m]", "anthropic/claude-opus-4-8", (BETA,)),
        ("claude-opus-9[1M]", "anthropic/claude-opus-9", (BETA,)),
        ("claude-opus-4-8[1m][1m]", "anthropic/claude-opus-4-8", (BETA,)),
        ("claude-opus-4-8[200k]", "anthropic/claude-opus-4-8", ()),
        ("anthropic/claude-opus-4-8[1m]", "anthropic/claude-opus-4-8", (BETA,)),
        ("smart[1m]", "anthropic/claude-sonnet-5-5", (BETA,)),
        ("wide", "anthropic/claude-sonnet-5-5", (BETA,)),
        ("claude-haiku-5-5[1m]", "groq/llama-3.1-8b-instant", ()),
        ("anthropic/claude-sonnet-4-6[1m]", "anthropic/claude-sonnet-4-6", (BETA,)),
        ("claude-sonnet-4-6[1m]", "anthropic/claude-sonnet-4-6", (BETA,)),
        ("llama-3.1-8b-instant[1m]", "groq/llama-3.1-8b-instant", ()),
        ("big[1m]", "corp/Claude 4.8 Opus[1m]", ()),
        ("Claude 4.8 Opus[1m]", "corp/Claude 4.8 Opus[1m]", ()),
    ],
)
def test_a_window_suffix_is_removed_and_becomes_a_beta(asked, target, betas):
    """(Wei-Shaw/sub2api#4505, decolua/9router#2531, anthropics/claude-code#70419)"""
    routes = router(
        {"model": "anthropic/*"},
        {"model": "anthropic/claude-sonnet-4-6[1m]"},
        {"model": "groq/*"},
        {"model": "corp/Claude 4.8 Opus[1m]", "base_url": "http://localhost:8000", "name": "big[1m]"},
        model_aliases={
            "smart": {"target": "claude-sonnet-5-5"},
            "wide": {"target": "anthropic/claude-sonnet-5-5[1m]"},
            "claude-haiku-5-5": {"target": "llama-3.1-8b-instant"},
        },
    )
    found = routes.resolve(asked, "messages")
    assert (found.name, found.requested_name, found.betas) == (target, asked, betas)
    shown = explain_plan(routes, asked, "messages").headers
    assert [value for name, value in shown if name == "anthropic-beta"] == list(betas)
    assert routes.resolve(asked, "chat").betas == (), "the provider's own Chat endpoint has no betas"


def test_one_host_with_two_ports_is_two_targets():
    routes = router(
        {"model": "vllm/one", "base_url": "http://localhost:8001"},
        {"model": "vllm/two", "base_url": "http://localhost:8002"},
    )
    urls = {routes.resolve(model, "chat").url for model in ("one", "two")}
    assert urls == {"http://localhost:8001/v1/chat/completions", "http://localhost:8002/v1/chat/completions"}


def test_no_model_and_no_default_is_a_bad_request():
    for nothing in (None, ""):
        failed = failure(router(OPENAI).resolve, nothing, "chat")
        assert (failed.status, failed.param) == (400, "model")
        assert "model is required" in failed.message


LONG = ["x" * 100_000, "[1m]" * 200_000 + "]", "[1m]" * 200_000, "claude-" * 200_000 + "[1m]", "[" * 500_000 + "]"]


@each_row("asked", ["openai/*", "openai/", "/", "*", *LONG, "a\r\nb", "\ud800", "groq/x", "[1m]", "openai/[1m]"])
def test_odd_names_are_unknown_models(asked):
    failed = failure(router({"model": "openai/*"}).resolve, asked, "chat")
    assert failed.status == 404
    assert len(failed.message) < 500
    assert "\n" not in failed.message


@each_row(
    ("speaks", "client", "api", "lane"),
    [
        (None, "chat", "chat", "byte"),
        (None, "messages", "messages", "byte"),
        (None, "responses", "chat", "hub"),
        (["messages"], "chat", "messages", "hub"),
        (["messages"], "responses", "messages", "hub"),
        (["responses", "messages"], "chat", "messages", "hub"),
        (["responses", "messages"], "responses", "responses", "byte"),
        ({"chat": "messages"}, "chat", "messages", "hub"),
        ({"chat": "messages"}, "responses", "chat", "hub"),
    ],
)
def test_the_lane_follows_from_the_providers_apis(speaks, client, api, lane):
    target = router({**CLAUDE, **({"speaks": speaks} if speaks else {})}).resolve("claude-sonnet-4-5", client)
    assert (target.api, target.lane) == (api, lane)
    assert target.url.endswith({"chat": "/v1/chat/completions", "messages": "/v1/messages"}.get(api, "/v1/responses"))


@each_row(
    ("entry", "client", "api"),
    [
        ({"model": "openai/gpt-4o"}, "messages", "chat"),
        ({"model": "openai/o3"}, "messages", "responses"),
        ({"model": "openai/o3"}, "chat", "chat"),
        ({"model": "openai/o1-mini"}, "messages", "chat"),
        ({"model": "openai/gpt-5-mini"}, "messages", "responses"),
        ({"model": "openai/gpt-5-chat-latest"}, "messages", "chat"),
        ({"model": "openai/gpt-5", "base_url": "http://h"}, "messages", "chat"),
        ({"model": "azure_openai/gpt-5", "base_url": "https://n.openai.azure.com/openai/v1"}, "messages", "responses"),
        ({"model": "azure_openai/gpt-5", "base_url": "https://n.openai.azure.com"}, "messages", "chat"),
        ({"model": "openai/gpt-5.6-sol"}, "messages", "responses"),
        ({"model": "openai/gpt-6.1-sol"}, "messages", "responses"),
        ({"model": "openai/gpt-6.1-sol"}, "chat", "chat"),
        ({"model": "openai/gpt-6.1-sol"}, "responses", "responses"),
        ({"model": "openai/gpt-5.2-chat-latest"}, "messages", "chat"),
        ({"model": "openai/gpt-5.3-codex"}, "chat", "responses"),
        ({"model": "openai/o3-deep-research-2025-06-26"}, "chat", "responses"),
        ({"model": "openai/gpt-6.1-sol", "speaks": {"messages": "chat"}}, "messages", "chat"),
        ({"model": "openai/gpt-5.3-codex", "speaks": ["chat"]}, "chat", "chat"),
        ({"model": "openai/gpt-6.1-sol", "quirks": {"asked_in_responses": "always"}}, "chat", "responses"),
        ({"model": "vercel/openai/gpt-6.1-sol"}, "messages", "messages"),
        ({"model": "openrouter/openai/gpt-6.1-sol"}, "messages", "messages"),
        ({"model": "openrouter/openai/gpt-5.3-codex"}, "chat", "chat"),
        ({"model": "vllm/m", "base_url": "http://h", "quirks": {"asked_in_responses": "always"}}, "chat", "responses"),
        ({"model": "vllm/gpt-6.1-sol", "base_url": "http://h", "speaks": ["chat"]}, "messages", "chat"),
    ],
)
def test_a_model_that_rejects_tools_in_chat_is_used_in_responses(entry, client, api):
    """(openai/openai-openapi#541, BerriAI/litellm#34569)"""
    target = router({**entry, "default": True}).resolve(None, client)
    assert (target.api, target.lane) == (api, "byte" if api == client else "hub")


@each_row(
    ("entry", "client", "expected"),
    [
        (OPENAI, "chat", {"authorization": "Bearer sk-openai"}),
        (CLAUDE, "messages", {"x-api-key": "sk-ant"}),
        (CLAUDE, "chat", {"authorization": "Bearer sk-ant"}),
        ({"model": "azure_openai/m", "base_url": "https://h", "access_key": "k"}, "chat", {"api-key": "k"}),
        ({"model": "openai/m"}, "chat", {}),
        ({"model": "openai/m", "passthrough_auth": True}, "chat", {"authorization": "Bearer client"}),
        ({"model": "anthropic/m", "passthrough_auth": True}, "messages", {"x-api-key": "client"}),
        (
            {"model": "openai/m", "passthrough_auth": True, "access_key": "k"},
            "chat",
            {"authorization": "Bearer client"},
        ),
        (
            {"model": "openai/m", "access_key": "k", "headers": {"Authorization": "Basic x", "X-Team": "a"}},
            "chat",
            {"authorization": "Basic x", "x-team": "a"},
        ),
        ({"model": "openai/m", "http_host": "inner"}, "chat", {"host": "inner"}),
    ],
)
def test_credentials_are_sent_in_the_style_of_the_upstream(entry, client, expected):
    routes = router({**entry, "default": True})
    assert dict(routes.resolve(None, client).headers("client")) == expected


def test_without_a_client_credential_passthrough_sends_none():
    target = router({"model": "openai/m", "passthrough_auth": True}).resolve("m", "chat")
    assert target.headers(None) == ()


def test_explaining_shows_no_secret():
    routes = router({**OPENAI, "headers": {"x-secret": "hush"}, "http_host": "inner"})
    explained = explain_plan(routes, "gpt-4o", "messages")
    assert dict(explained.headers) == {"authorization": "Bearer ***", "x-secret": "***", "host": "inner"}
    assert (explained.lane, explained.url) == ("hub", "https://api.openai.com/v1/chat/completions")
    assert "sk-openai" not in repr(explained)
    assert "hush" not in repr(explained)


def test_explaining_shows_no_key_in_a_url():
    base = "http://h:8000/v1?api_key=sk-in-a-url&api-version=2024-10-21&sk-bare"
    shown = explain_plan(router({"model": "vllm/m", "base_url": base}), "m", "chat").url
    assert shown == "http://h:8000/v1/chat/completions?api_key=***&api-version=2024-10-21&***"


def test_an_issuer_is_the_provider_account():
    routes = router(OPENAI, {"model": "openai/gpt-5", "access_key": "sk-openai"}, {"model": "openai/o3"})
    first, second, keyless = (routes.resolve(model, "chat").recipient.issuer for model in ("gpt-4o", "gpt-5", "o3"))
    assert first == second
    assert len(first.account) == 8
    assert (keyless.provider, keyless.account) == ("openai", "")


def test_the_recipient_has_the_providers_name_for_the_model_and_its_quirks():
    routes = router({"model": "mistral/m:1", "name": "mine", "quirks": {"stream_usage": False}})
    recipient = routes.resolve("mine", "messages").recipient
    assert recipient.model == "m:1"
    assert not recipient.quirks.stream_usage
    assert recipient.quirks.max_tokens_field == "max_tokens"


def test_a_named_wildcard_is_requested_by_its_name():
    routes = router({"model": "openai/*", "name": "work"}, {"model": "openai/*", "name": "home"})
    assert routes.resolve("work/gpt-4o", "chat").entry.name == "work"
    assert routes.resolve("home/gpt-4o", "chat").entry.name == "home"
    assert failure(routes.resolve, "openai/gpt-4o", "chat").status == 400
    assert Model("home/gpt-4o", "OpenAI") in list_models(routes)


def test_a_step_of_a_path_is_no_model_of_a_wildcard():
    routes = router({"model": "amazon_bedrock/*", "region": "us-east-1", "access_key": "k"})
    for name in ("amazon_bedrock/..", "amazon_bedrock/."):
        assert failure(routes.resolve, name, "converse").status == 404


# Routes

POOL = [
    {"model": "vllm/qwen", "name": "gpu-1", "base_url": "http://one:8000/v1"},
    {"model": "vllm/qwen", "name": "gpu-2", "base_url": "http://two:8000/v1"},
    {"model": "openrouter/qwen", "name": "cloud", "access_key": "k"},
    {"model": "groq/*", "access_key": "k"},
]
QWEN = {"targets": ["gpu-1", "gpu-2", "cloud", "groq/qwen"]}


@each_row("api", APIS)
def test_a_route_is_a_plan_of_its_targets_in_their_order(api):
    plan = router(*POOL, model_aliases={"qwen": QWEN}).plan("qwen", api)
    assert [target.entry.name for target in plan.targets] == ["gpu-1", "gpu-2", "cloud", "groq/*"]
    assert [target.model for target in plan.targets] == ["qwen"] * 4
    assert {target.requested_name for target in plan.targets} == {"qwen"}


def test_an_entry_requested_by_its_own_name_has_no_fallback():
    routes = router(*POOL, model_aliases={"qwen": QWEN})
    assert [target.entry.name for target in routes.plan("gpu-2", "chat").targets] == ["gpu-2"]
    assert [target.model for target in routes.plan("groq/qwen", "chat").targets] == ["qwen"]


def test_a_route_with_the_defaults_name_serves_requests_without_a_model():
    # An alias of a model did not get the model's fallbacks: BerriAI/litellm#10317.
    routes = router(
        {"model": "openai/gpt-5", "name": "best", "default": True}, CLAUDE,
        model_aliases={"best": {"targets": ["best", "claude-sonnet-4-5"]}},
    )  # fmt: skip
    for asked in (None, "", "best"):
        plan = routes.plan(asked, "chat")
        assert [target.entry.name for target in plan.targets] == ["best", "anthropic/claude-sonnet-4-5"]
        assert {target.requested_name for target in plan.targets} == {"best"}


def test_a_route_may_be_the_default():
    routes = router(
        OPENAI, CLAUDE, model_aliases={"best": {"targets": ["gpt-4o", "claude-sonnet-4-5"], "default": True}}
    )
    assert routes.plan(None, "chat") == routes.plan("best", "chat")
    alone = router(OPENAI, CLAUDE, model_aliases={"best": {"target": "gpt-4o", "default": True}})
    assert [target.requested_name for target in alone.plan("", "messages").targets] == ["best"]


def test_a_route_is_listed_suggested_and_explained():
    routes = router(*POOL, model_aliases={"qwen": QWEN, "q": {"target": "cloud"}})
    assert [model.id for model in list_models(routes)][-2:] == ["q", "qwen"]
    assert list_models(routes)[-1] == Model("qwen", "vLLM")
    assert "did you mean qwen?" in failure(routes.plan, "qwem", "chat").message
    explained = explain_plan(routes, "qwen", "chat")
    assert (explained.target.entry.name, explained.why) == ("gpu-1", "route qwen → gpu-1")


def test_the_mark_for_a_long_window_is_for_every_target_of_a_route():
    routes = router(CLAUDE, OPENAI, model_aliases={"best": {"targets": ["claude-sonnet-4-5", "gpt-4o"]}})
    claude, other = routes.plan("best[1m]", "messages").targets
    assert (claude.requested_name, bool(claude.betas), bool(other.betas)) == ("best[1m]", True, False)


def test_a_plan_has_the_groups_of_its_route_and_their_conditions():
    targets = [["gpu-1", {"target": "gpu-2", "weight": 3}], {"target": "cloud", "when": ["quota"]}]
    plan = router(*POOL, model_aliases={"qwen": {"targets": targets, "balance": "weighted"}}).plan("qwen", "chat")
    assert [(one.group, one.weight, one.when) for one in plan.candidates] == [
        (0, 1, UNAVAILABLE), (0, 3, UNAVAILABLE), (1, 1, {"quota"}),
    ]  # fmt: skip
    assert plan.route.balance == "weighted"


@each_row(
    ("root", "entry", "alias", "attempts"),
    [
        ({}, {}, {}, {"cloud": 1, "one": 1, "several": 4}),
        ({"retries": {"attempts": 3}}, {}, {}, {"cloud": 3, "one": 3, "several": 3}),
        ({}, {"retries": {"attempts": 5}}, {}, {"cloud": 5, "one": 5, "several": 4}),
        ({}, {}, {"retries": {"attempts": 6}}, {"cloud": 1, "one": 6, "several": 6}),
        ({}, {}, {"first_content": "2s"}, {"cloud": 1, "one": 1, "several": 4}),
        ({"listeners": [{"max_retries": 1}]}, {}, {}, {"cloud": 2, "one": 2, "several": 2}),
    ],
)
def test_a_name_with_one_target_gets_one_attempt_by_default(root, entry, alias, attempts):
    # Each client retries on its own, and both retries multiply: BerriAI/litellm#34129.
    aliases = {"one": {"target": "cloud", **alias}, "several": {"targets": ["cloud", "gpu-1"], **alias}}
    routes = router(*POOL[:2], {**POOL[2], **entry}, model_aliases=aliases, **root)
    assert {name: routes.plan(name, "chat").retries.attempts for name in attempts} == attempts


# Wildcard aliases

PLANS = (
    {"model": "anthropic/*", "name": "plan/*", "passthrough_auth": True},
    {"model": "anthropic/*", "name": "paid/*", "access_key": "k"},
    {"model": "openai/*", "access_key": "k"},
    {"model": "groq/*", "access_key": "k"},
    {"model": "ollama/qwen3"},
    {"model": "anthropic/claude-own", "name": "claude-own", "access_key": "k"},
)
WILDCARDS = {
    "claude-*": {"targets": ["plan/*", {"target": "paid/*", "when": ["quota"]}, "ollama/qwen3"]},
    "claude-haiku-*": {"target": "ollama/qwen3"},
    "house-*": "openai/gpt-*",
    "team/*-fast": {"targets": ["groq/*", "openai/x-*"]},
    "open*": {"target": "ollama/qwen3"},
    "exact": {"target": "ollama/qwen3"},
}


@each_row(
    ("asked", "places"),
    [
        ("claude-opus-4-8", ["plan/claude-opus-4-8", "paid/claude-opus-4-8", "ollama/qwen3"]),
        ("claude-new-9[1m]", ["plan/claude-new-9", "paid/claude-new-9", "ollama/qwen3"]),
        ("claude-haiku-4-5", ["ollama/qwen3"]),  # the longest wildcard
        ("claude-own", ["claude-own"]),  # an entry's name
        ("paid/claude-opus-4-8", ["paid/claude-opus-4-8"]),
        ("house-5-mini", ["openai/gpt-5-mini"]),
        ("team/qwen-3-fast", ["groq/qwen-3-fast", "openai/x-qwen-3"]),
        ("openai/gpt-5", ["openai/gpt-5"]),  # a longer wildcard of an entry
        ("opened", ["ollama/qwen3"]),
    ],
)
def test_a_wildcard_alias_means_its_targets_for_each_name(asked, places):
    routes = router(*PLANS, model_aliases=WILDCARDS)
    assert [target.place for target in routes.plan(asked, "messages").targets] == places


@each_row(
    ("asked", "message"),
    [
        ("claude-opsu-4-8", "did you mean claude-opus-4-8"),
        ("claude-opus-4.8", "did you mean claude-opus-4-8"),
        ("claude-*", "stands for many models"),
        ("step/..", "not configured"),
        ("house-", "not configured"),
    ],
)
def test_a_wildcard_alias_serves_no_typing_errors_and_no_patterns(asked, message):
    routes = router(*PLANS, model_aliases={**WILDCARDS, "step/*": "groq/*"})
    assert message in failure(routes.plan, asked, "chat").message


def test_the_alias_of_all_other_names_leaves_unambiguous_ones_to_their_entries():
    routes = router(*PLANS, model_aliases={"*": {"targets": ["ollama/qwen3"]}})
    for asked, place in (
        ("gpt-5", "openai/gpt-5"), ("claude-opus-4-8", "ollama/qwen3"), ("whatever", "ollama/qwen3"),
        ("groq/x", "groq/x"), ("claude-own", "claude-own"),
    ):  # fmt: skip
        assert routes.plan(asked, "chat").first.place == place


def test_the_list_of_models_has_the_known_names_of_wildcard_aliases():
    routes = router(*PLANS, model_aliases=WILDCARDS)
    listed = {"plan/*": ("claude-a", "claude-haiku-x", "other"), "openai/*": ("gpt-7", "o9"), "groq/*": ("m",)}
    names = [model.id for model in list_models(routes, listed)]
    assert [name for name in names if name.startswith(("claude-", "house-", "team/", "open*"))] == [
        "claude-own", "claude-a", "house-7",
    ]  # fmt: skip


def test_a_key_may_be_allowed_a_wildcard_alias_or_a_name_of_it():
    keys = [
        {"name": "all", "key": "one", "models": ["claude-*"]},
        {"name": "single", "key": "two", "models": ["claude-opus-4-8"]},
    ]
    config = from_mapping(
        {"version": "v0.4.0", "model_providers": [*PLANS], "model_aliases": WILDCARDS, "client_keys": keys}
    )
    rights, routes = Authenticator(config), Router(config)

    def is_allowed(client: str, name: str) -> bool:
        plan = routes.plan(name, "messages")
        return all(rights.allows(client, name, one.entry, one.model) for one in plan.targets)

    names = ("claude-opus-4-8", "house-5", "claude-haiku-4-5")
    assert [is_allowed("all", name) for name in names] == [True, False, False]
    assert [is_allowed("single", name) for name in ("claude-opus-4-8", "claude-opus-4-7")] == [True, False]
    assert rights.can_use("all", "claude-sonnet-5")


# Kinds of requests


@each_row(
    ("targets", "kinds", "order"),
    [
        (["a", ("b", ["thinking"]), ("c", ["background"])], (), "a"),
        (["a", ("b", ["thinking"]), ("c", ["background"])], ("thinking",), "b a"),
        (["a", ("b", ["thinking"]), ("c", ["background", "thinking"])], ("thinking",), "b c a"),
        ([("b", ["thinking"]), "a"], (), "a"),
        ([("b", ["thinking", "quota"]), "a", "c"], (), "a b:quota c"),
        (["a", ("b", ["thinking", "unavailable"])], (), "a b"),
        (["a", ("b", ["thinking", "quota"])], ("thinking",), "b a"),
        ([["a", ("b", ["thinking"])], "c"], ("thinking",), "b a c"),
    ],
)
def test_kinds_of_requests_lead_to_targets_of_their_own_first(targets, kinds, order):
    def item(one):
        return {"target": one[0], "when": one[1]} if isinstance(one, tuple) else one

    written = [[*map(item, one)] if isinstance(one, list) else item(one) for one in targets]
    routes = router(*({"model": f"groq/{name}"} for name in "abc"), model_aliases={"r": {"targets": written}})
    found = select_by_kind(routes.plan("r", "chat").candidates, frozenset(kinds))
    assert [one.group for one in found] == sorted(one.group for one in found)
    when = ["" if one.when >= UNAVAILABLE or not at else f":{'+'.join(one.when)}" for at, one in enumerate(found)]
    assert " ".join(one.target.model + text for one, text in zip(found, when, strict=True)) == order


PROGRAM = """
from gateway.config_files.loading import from_mapping
from gateway.routing.router import Router
from tests.support.processes import no_descriptors_left

entry = {"model": "openai/*", "access_key": "k"}
router = Router(from_mapping({"version": "v0.4.0", "model_providers": [entry]}))
router.hash_keys()
with no_descriptors_left():
    assert router.resolve("openai/gpt-4o", "chat").price is not None
"""


@pytest.mark.process
def test_the_first_request_is_priced_without_a_free_descriptor():
    """In a process of its own, because others have read the price list."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
