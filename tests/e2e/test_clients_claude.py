"""Tests of Claude Code with every kind of provider. Its requests, models and recovery are those of version 2.1; the
threads in the tests report gateways that broke it."""

import json
from itertools import product
from typing import Any

import pytest

from tests.support.apis import OLDER
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, config, provider
from tests.support.upstreams import PATHS, Script, ToolCall

OTHERS = ("chat", "responses", "compatible")
FINE = Script(text="fine")
KEY = "gw-claude-key"
BETAS = "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27"
BILLING = "x-anthropic-billing-header: cc_version=2.1.197.b5f; cc_entrypoint=sdk-cli; cch={};"
SYSTEM = {"type": "text", "text": "You are Claude Code.", "cache_control": {"type": "ephemeral"}}
SCHEMA = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {}}


@serve_module
def gateway(upstream):
    entries = [
        provider("anthropic/claude-opus-4-7", upstream.url, ["messages"], name="messages"),
        provider("openai/gpt-4o", upstream.url, ["chat"], name="chat"),
        provider("openai/gpt-5.1", upstream.url, ["responses"], name="responses"),
        provider("vllm/qwen", upstream.url, ["messages"], name="compatible", provider_interface="anthropic"),
        provider("openai/eager", upstream.url, ["chat"], name="eager", quirks={"deferred_tools": "all"}),
        provider("vllm/eager", upstream.url, ["messages"], name="eager-compatible", provider_interface="anthropic",
                 quirks={"deferred_tools": "all"}),
    ]  # fmt: skip
    keys = [{"name": "claude", "key": KEY}]
    aliases = {"claude-via-gpt": {"target": "chat"}, "anthropic-local": {"target": "compatible"}}
    return config(entries, client_keys=keys, model_aliases=aliases)


def body(model: str, **more: Any) -> dict[str, Any]:
    """Return a shortened request of the main loop."""
    return {
        "model": model,
        "max_tokens": 32000,
        "system": [{"type": "text", "text": BILLING.format("00")}, SYSTEM],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "tools": [{"name": "Bash", "description": "run", "input_schema": SCHEMA}],
        "metadata": {"user_id": json.dumps({"device_id": "d", "account_uuid": "a", "session_id": "s"})},
        **more,
    }


def ask(gateway: Gateway, sent: dict[str, Any], query: str = "?beta=true", **headers: str):
    own = {"authorization": f"Bearer {KEY}", "anthropic-version": "2023-06-01", "anthropic-beta": BETAS}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return gateway.request("POST", PATHS["messages"] + query, sent, own | named)


def text_of(reply: Any, stream: bool) -> str:
    assert reply.status == 200, reply.body
    if not stream:
        return "".join(block["text"] for block in reply.json["content"] if block["type"] == "text")
    deltas = [event["delta"] for name, event in reply.events() if name == "content_block_delta"]
    assert reply.events()[-1][0] == "message_stop"
    return "".join(delta.get("text", "") for delta in deltas)


# Betas, versions, and the billing line


@each_row("version", ["2023-06-01", "2026-10-21", "tomorrow"])
def test_version_betas_and_query_reach_anthropic_unchanged(gateway, upstream, version):
    """(anthropics/claude-code#21612, #49548)"""
    sent = body("messages", context_management={"edits": []}, thinking={"type": "adaptive"}, speed="fast")
    upstream.script(FINE)
    reply = ask(gateway, sent, anthropic_version=version, x_claude_code_session_id="5e55")
    assert reply.status == 200
    assert "x-trigate-dropped" not in reply.headers
    (seen,) = upstream.seen
    assert (seen.header("anthropic-version"), seen.header("anthropic-beta")) == (version, BETAS)
    assert (seen.query, seen.header("x-claude-code-session-id")) == ("beta=true", "5e55")
    assert seen.json == {**sent, "model": "claude-opus-4-7"}


@each_row(("shape", "model"), product(["blocks", "text"], OTHERS))
def test_two_turns_share_their_prefix_with_every_other_provider(gateway, upstream, model, shape):
    """The billing line changes with each request, so the cache would always miss: 50 s instead of 4
    (anthropics/claude-code#68900, vllm-project/vllm#36829, waybarrios/vllm-mlx#277)."""
    systems = [[{"type": "text", "text": BILLING.format(turn)}, SYSTEM] for turn in "12"]
    texts = [f"{BILLING.format(turn)}\nYou are Claude Code." for turn in "12"]
    upstream.script(FINE, FINE)
    for system in systems if shape == "blocks" else texts:
        reply = ask(gateway, body(model, system=system))
        place, told = "system[]" if shape == "blocks" else "system", reply.headers["x-trigate-dropped"].split(",")
        assert place in told
        assert f"{place}: billing line" in told, "the log's words: the instructions themselves are not lost"
    first, second = (seen.body for seen in upstream.seen)
    assert first == second
    assert b"billing" not in first
    assert b"You are Claude Code." in first


@each_row("model", OTHERS)
def test_a_system_prompt_with_only_the_billing_line_is_removed(gateway, upstream, model):
    for system in ([{"type": "text", "text": BILLING.format("1")}], BILLING.format("1")):
        upstream.script(FINE)
        assert ask(gateway, body(model, system=system)).status == 200
        assert not upstream.seen[0].json.get("system")
        assert b"billing" not in upstream.seen[0].body


def test_betas_and_versions_are_not_sent_to_other_apis(gateway, upstream):
    for model in ("chat", "responses"):
        upstream.script(FINE)
        ask(gateway, body(model))
        (seen,) = upstream.seen
        assert (seen.header("anthropic-beta"), seen.header("anthropic-version"), seen.query) == (None, None, "")


# Its other requests


@each_row("stream", [True, False], ids=["stream", "whole"])
@each_row("model", [*OLDER, "compatible"])
def test_a_turn_with_tools_thinking_and_context_management_works_everywhere(gateway, upstream, model, stream):
    sent = body(
        model, stream=stream, thinking={"type": "enabled", "budget_tokens": 31999},
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    )  # fmt: skip
    upstream.script(Script(text="ok", calls=(ToolCall("call_1", "Bash", '{"command":"ls"}'),), stop="tool_calls"))
    assert text_of(ask(gateway, sent), stream) == "ok"


@each_row(("stream", "model"), product([True, False], OLDER))
def test_the_same_body_is_answered_whole_after_a_stream_was_cut(gateway, upstream, model, stream):
    """The client immediately retries without ``stream``. Only ``stream`` decides about the form, never ``accept``."""
    upstream.script(FINE, FINE)
    sent = body(model, stream=stream)
    for accept in ("application/json", "text/event-stream"):
        assert text_of(ask(gateway, sent, accept=accept), stream) == "fine"
    assert [bool(seen.json.get("stream")) for seen in upstream.seen] == [stream, stream]


@each_row("model", ["chat", "responses"])
def test_an_empty_list_of_tools_is_no_list(gateway, upstream, model):
    """The request for a title has an empty ``tools``, and OpenAI refuses it."""
    sent = body(model, tools=[], thinking={"type": "disabled"}, temperature=1)
    upstream.script(FINE)
    assert ask(gateway, sent).status == 200
    assert "tools" not in upstream.seen[0].json
    assert "tool_choice" not in upstream.seen[0].json


@each_row("model", ["chat", "responses"])
def test_instructions_in_mid_conversation_keep_their_place(gateway, upstream, model):
    """The client sends ``role: system`` among the messages to models that it does not know."""
    talk = [
        {"role": "user", "content": "one"}, {"role": "assistant", "content": "two"},
        {"role": "system", "content": "a reminder"}, {"role": "user", "content": "three"},
    ]  # fmt: skip
    upstream.script(FINE)
    assert ask(gateway, body(model, messages=talk)).status == 200
    texts = json.dumps(upstream.seen[0].json.get("messages") or upstream.seen[0].json["input"])
    places = [texts.index(text) for text in ("one", "two", "a reminder", "three")]
    assert places == sorted(places)


# Tool search (anthropics/claude-code#89211, router-for-me/CLIProxyAPI#1725, #1892, BerriAI/litellm#22878)

LATER = [{"name": name, "input_schema": SCHEMA, "defer_loading": True} for name in ("mcp__a", "mcp__b")]
SEARCH = {"name": "ToolSearch", "input_schema": SCHEMA}
FOUND = [
    {"role": "user", "content": "find a"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "ToolSearch", "input": {}}]},
    {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "tool_reference", "tool_name": "mcp__a"}]},
    ]},
]  # fmt: skip


def offered(seen: Any) -> list[str]:
    return [tool.get("function", tool)["name"] for tool in seen.json.get("tools", ())]


def test_anthropic_searches_deferred_tools_itself(gateway, upstream):
    sent = body("messages", tools=[SEARCH, *LATER], messages=FOUND)
    upstream.script(FINE)
    assert "x-trigate-dropped" not in ask(gateway, sent).headers
    assert upstream.seen[0].json == {**sent, "model": "claude-opus-4-7"}


@each_row("model", OTHERS)
def test_deferred_tools_reach_others_once_they_were_found(gateway, upstream, model):
    upstream.script(FINE, FINE)
    ask(gateway, body(model, tools=[SEARCH, *LATER]))
    ask(gateway, body(model, tools=[SEARCH, *LATER], messages=FOUND))
    before, after = upstream.seen
    assert offered(before) == ["ToolSearch"]
    assert offered(after) == ["ToolSearch", "mcp__a"]
    for word in (b"defer_loading", b"tool_reference"):
        assert word not in before.body + after.body
    assert b"mcp__a is available" in after.body


@each_row("model", ["eager", "eager-compatible"])
def test_the_config_may_have_all_deferred_tools_sent(gateway, upstream, model):
    upstream.script(FINE)
    ask(gateway, body(model, tools=[SEARCH, *LATER]))
    assert sorted(offered(upstream.seen[0])) == ["ToolSearch", "mcp__a", "mcp__b"]
    assert b"defer_loading" not in upstream.seen[0].body


@each_row("model", OTHERS)
def test_all_tools_are_sent_if_anthropic_should_search_them(gateway, upstream, model):
    native = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}
    upstream.script(FINE)
    reply = ask(gateway, body(model, tools=[native, *LATER]))
    assert offered(upstream.seen[0]) == ["mcp__a", "mcp__b"]
    assert "tools[]" in reply.headers["x-trigate-dropped"]


# Keys and the list of models


@pytest.mark.parametrize("path", ["/", "/api/hello"])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_its_first_request_needs_no_key(gateway, method, path):
    """(SaladDay/cc-switch-cli#170)"""
    assert gateway.request(method, path).status == 200


@each_row("model", ["chat", "messages"])
def test_its_query_parameters_and_session_header_are_accepted(gateway, upstream, model):
    upstream.script(FINE)
    reply = ask(gateway, body(model), "?beta=true&future=1&x", x_claude_code_session_id="5e55", x_app="cli")
    assert reply.status == 200


@needs_feature("model_lists")
def test_its_picker_gets_all_models_in_one_page_and_aliases_for_others(gateway):
    """The picker only shows names with ``claude`` or ``anthropic`` (raine/claude-code-proxy#60,
    agentgateway/agentgateway#2235, theopenco/llmgateway#3310)."""
    own = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
    reply = gateway.request("GET", "/v1/models?limit=1000", None, own)  # the client does not follow redirects
    assert reply.status == 200
    ids = [entry["id"] for entry in reply.json["data"]]
    assert {"claude-via-gpt", "anthropic-local", "messages"} <= set(ids)
    assert (reply.json["has_more"], reply.json["first_id"], reply.json["last_id"]) == (False, ids[0], ids[-1])
    for entry in reply.json["data"]:
        assert set(entry) >= {"type", "id", "display_name", "description", "created_at"}
        assert entry["lifecycle"] == "active"


@pytest.mark.parametrize(("alias", "model"), [("claude-via-gpt", "gpt-4o"), ("anthropic-local", "qwen")])
def test_an_alias_from_the_picker_is_answered_by_its_model(gateway, upstream, alias, model):
    upstream.script(FINE)
    reply = ask(gateway, body(alias))
    assert reply.status == 200
    assert upstream.seen[0].json["model"] == model
    assert reply.headers["x-trigate-model"] == model
