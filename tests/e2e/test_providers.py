"""Tests of requests to local servers, and to providers whose address decides about their API, on real sockets."""

from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import config, provider
from tests.support.upstreams import PATHS, Script, ToolCall, render

VERTEX = "/v1/projects/p/locations/global/endpoints/openapi"


@serve_module
def gateway(upstream):
    entries = [
        provider("azure_openai/gpt-6.1-sol", f"{upstream.url}/openai/v1"),
        provider("amazon_bedrock/openai.gpt-6-luna", f"{upstream.url}/openai/v1"),
        provider("amazon_bedrock/anthropic.claude-opus-5-5", f"{upstream.url}/anthropic/v1"),
        provider("vertex/google/gemini-3.8-flash", upstream.url + VERTEX),
        {"model": "ollama/*", "base_url": upstream.url},
        provider("anthropic/*", upstream.url, ["messages"]),
        provider("openai/*", upstream.url),
        provider("openai/gpt-6-sol", upstream.url, speaks=["chat"], name="pinned"),
    ]
    return config(entries)


@each_row(
    ("model", "client", "path", "credential"),
    [
        ("azure_openai/gpt-6.1-sol", "chat", "/openai/v1/chat/completions", ("api-key", "sk-upstream")),
        ("azure_openai/gpt-6.1-sol", "messages", "/openai/v1/responses", ("api-key", "sk-upstream")),
        ("amazon_bedrock/openai.gpt-6-luna", "chat", "/openai/v1/chat/completions",
         ("authorization", "Bearer sk-upstream")),
        ("amazon_bedrock/openai.gpt-6-luna", "responses", "/openai/v1/responses",
         ("authorization", "Bearer sk-upstream")),
        ("amazon_bedrock/anthropic.claude-opus-5-5", "messages", "/anthropic/v1/messages",
         ("authorization", "Bearer sk-upstream")),
        ("amazon_bedrock/anthropic.claude-opus-5-5", "chat", "/anthropic/v1/messages",
         ("authorization", "Bearer sk-upstream")),
        ("vertex/google/gemini-3.8-flash", "messages", f"{VERTEX}/chat/completions",
         ("authorization", "Bearer sk-upstream")),
        ("ollama/llama3.2:3b", "messages", "/v1/messages", None),
        ("claude-opus-9[1m]", "messages", "/v1/messages", ("x-api-key", "sk-upstream")),
        ("claude-sonnet-5-5-20270101", "responses", "/v1/messages", ("x-api-key", "sk-upstream")),
        ("gpt-6.1-sol-2026-11-11", "messages", "/v1/responses", ("authorization", "Bearer sk-upstream")),
        ("gpt-5.3-codex", "chat", "/v1/responses", ("authorization", "Bearer sk-upstream")),
        ("gpt-7", "chat", "/v1/chat/completions", ("authorization", "Bearer sk-upstream")),
    ],
)  # fmt: skip
@each_row("stream", [False, True], ids=["whole", "stream"])
def test_an_entry_is_queried_at_its_own_address(gateway, upstream, model, client, path, credential, stream):
    named = next(api for api, end in PATHS.items() if path.endswith(end.removeprefix("/v1")))
    upstream.script(render(Script(text="fine"), named, {"model": model, "stream": stream}))
    asked = {"input": "hi"} if client == "responses" else {"messages": [{"role": "user", "content": "hi"}]}
    limit = {"max_tokens": 50} if client == "messages" else {}
    reply = gateway.request("POST", PATHS[client], {"model": model, "stream": stream, **limit, **asked})
    assert reply.status == 200, reply.body
    (seen,) = upstream.seen
    assert seen.path == path
    assert seen.json["model"] == (model.partition("/")[2] or model).removesuffix("[1m]")
    known = {name: value for name, value in seen.headers if name in ("api-key", "authorization", "x-api-key")}
    assert known == (dict([credential]) if credential else {})


@each_row(
    ("model", "more", "path"),
    [
        ("gpt-6.1-terra", {}, "/v1/responses"),
        ("gpt-6.1-terra", {"reasoning_effort": "high"}, "/v1/responses"),
        ("gpt-6.1-terra", {"reasoning_effort": "none"}, "/v1/chat/completions"),
        ("gpt-6.1-terra", {"tools": []}, "/v1/chat/completions"),
        ("gpt-6.1-terra", {"tools": None}, "/v1/chat/completions"),
        ("gpt-5.4", {}, "/v1/chat/completions"),
        ("gpt-5.4", {"reasoning_effort": "low"}, "/v1/responses"),
        ("gpt-4o", {}, "/v1/chat/completions"),
        ("openai/gpt-5.4-nano", {"reasoning_effort": 7}, "/v1/chat/completions"),
        ("pinned", {}, "/v1/chat/completions"),
        ("azure_openai/gpt-6.1-sol", {}, "/openai/v1/responses"),
        ("ollama/gpt-6-sol", {}, "/v1/chat/completions"),
    ],
)
@each_row("stream", [False, True], ids=["whole", "stream"])
def test_a_chat_clients_tools_reach_models_that_support_them(gateway, upstream, model, more, path, stream):
    """(openai/openai-openapi#541, BerriAI/litellm#34569, danny-avila/LibreChat#14355)"""
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    named = "responses" if path.endswith("responses") else "chat"
    call = Script(calls=(ToolCall("call_1", "look", "{}"),), stop="tool_calls")
    upstream.script(render(call, named, {"model": model, "stream": stream}))
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}], "tools": [tool]}
    reply = gateway.request("POST", PATHS["chat"], {**body, **more})
    assert reply.status == 200, reply.body
    assert reply.headers["x-trigate-lane"] == ("hub" if named == "responses" else "byte")
    assert b"look" in reply.body
    assert upstream.seen[0].path == path
