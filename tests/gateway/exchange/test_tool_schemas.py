"""Tools whose schemas a provider rejects: one of them fails every request of an agent.

MCP servers describe a tool without arguments as ``{"type": "object"}`` (langchain-ai/langchain-mcp-adapters#137,
inboxapi/cli#106). Claude Code's tool ``Artifact`` has a pattern of JavaScript (raine/claude-code-proxy#141).
"""

import json
from typing import Any

import pytest

from providers.errors.failures import read_failure
from providers.errors.other_shapes import COMBINED_TOOLS, INCOMPLETE_TOOLS, TOOL_PATTERNS
from providers.errors.rejected import find_rejected, find_sole_rejected
from providers.errors.tool_schemas import complete_schemas, merge_combinations, omit_patterns
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, Raw, Script

NO_PROPERTIES = "Invalid schema for function 'mcp__x__list': In context=(), object schema missing properties."
COMBINED = (
    "Invalid schema for function 'update-event': schema must have type 'object' and not have "
    "'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level."
)
JAVASCRIPT = r"""^(?!__.*__$)[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}"\\./[\]]{1,200}$"""
PATTERN = f"Invalid schema for function 'Artifact': '{JAVASCRIPT}' is not a 'regex'."
TURN = [{"role": "user", "content": "hi"}]
PATHS = {"messages": "/v1/messages", "chat": "/v1/chat/completions", "responses": "/v1/responses"}


def with_tool(api: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a request with one tool."""
    if api == "messages":
        return {"max_tokens": 9, "messages": TURN, "tools": [{"name": "list", "input_schema": schema}]}
    function = {"name": "list", "parameters": schema}
    if api == "responses":
        return {"input": "hi", "tools": [{"type": "function", **function}]}
    return {"messages": TURN, "tools": [{"type": "function", "function": function}]}


def sent_schema(body: Any) -> Any:
    (tool,) = body["tools"]
    return tool.get("input_schema") or tool.get("function", tool)["parameters"]


def rejection(message: str) -> Raw:
    return Raw(400, JSON, (json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode(),))


@pytest.mark.parametrize("client", PATHS)
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_schema_is_completed_and_this_is_remembered(upstream, client, api):
    entry = provider("custom/tools", f"{upstream.url}/v1", [api], name="tools")
    with gateway_thread(config([entry])) as gateway:
        upstream.script(rejection(NO_PROPERTIES), Script(text="yes"), Script(text="yes"))
        body = {"model": "tools", **with_tool(client, {"type": "object"})}
        replies = [gateway.request("POST", PATHS[client], body) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200], replies[0].body
        complete = {"type": "object", "properties": {}}
        assert [sent_schema(seen.json) for seen in upstream.seen] == [{"type": "object"}, complete, complete]
        assert all("tools[].schema=complete" in reply.headers["x-trigate-adapted"] for reply in replies)


def test_a_combination_is_merged_and_reported(upstream):
    entry = provider("custom/tools", f"{upstream.url}/v1", ["responses"], name="tools")
    with gateway_thread(config([entry])) as gateway:
        upstream.script(rejection(COMBINED), Script(text="yes"))
        either = {"type": "object", "anyOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}
        reply = gateway.request("POST", PATHS["chat"], {"model": "tools", **with_tool("chat", either)})
        assert reply.status == 200, reply.body
        assert sent_schema(upstream.seen[1].json) == {"type": "object", "properties": {"a": {}, "b": {}}}
        assert "tools[].schema" in reply.headers["x-trigate-dropped"]


def test_patterns_are_omitted_and_reported(upstream):
    entry = provider("custom/tools", f"{upstream.url}/v1", ["responses"], name="tools")
    with gateway_thread(config([entry])) as gateway:
        upstream.script(rejection(PATTERN), Script(text="yes"), Script(text="yes"))
        field = {"type": "string", "pattern": JAVASCRIPT}
        schema = {"type": "object", "properties": {"field": field, "pattern": {"type": "string"}}}
        body = {"model": "tools", **with_tool("messages", schema)}
        replies = [gateway.request("POST", PATHS["messages"], body) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200], replies[0].body
        first, *others = (sent_schema(seen.json)["properties"] for seen in upstream.seen)
        assert first == schema["properties"]
        assert others == 2 * [{"field": {"type": "string"}, "pattern": {"type": "string"}}]
        assert all("tools[].pattern" in reply.headers["x-trigate-dropped"] for reply in replies)


@each_row(
    ("message", "shape"),
    [
        (NO_PROPERTIES, INCOMPLETE_TOOLS),
        # sigoden/aichat#1049
        (
            "Invalid schema for function 'filesystem_read_multiple_files': In context=('properties', 'paths'), array "
            "schema missing items.",
            INCOMPLETE_TOOLS,
        ),
        # farion1231/cc-switch#5490, chatanywhere/GPT_API_free#403
        (
            "Invalid schema for function 'codex_app__automation_update': schema must be a JSON Schema of "
            "'type: \"object\"', got 'type: null'.",
            INCOMPLETE_TOOLS,
        ),
        ("tools.0.custom.input_schema.type: Field required", INCOMPLETE_TOOLS),
        (COMBINED, COMBINED_TOOLS),  # langchain-ai/langchainjs#9804
        # anthropics/claude-code#5319
        (
            "tools.106.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
            COMBINED_TOOLS,
        ),
        (PATTERN, TOOL_PATTERNS),
        ("Invalid JSON schema: regex lookaround is not supported.", TOOL_PATTERNS),  # diegosouzapw/OmniRoute#7100
    ],
)
def test_the_words_of_servers_are_known(message, shape):
    error = read_failure(400, json.dumps({"error": {"message": message}}).encode())
    assert find_rejected(error) == find_sole_rejected(error) == (shape,)


def test_a_client_quoted_in_a_rejection_teaches_nothing():
    error = read_failure(400, json.dumps({"error": {"message": f"The text 'x' is wrong: {NO_PROPERTIES}"}}).encode())
    assert find_rejected(error) == (INCOMPLETE_TOOLS,)
    assert find_sole_rejected(error) == ()


def test_inner_schemas_are_completed_too():
    schema = {"properties": {"a": {"type": ["array", "null"]}, "b": {"anyOf": [{"type": "object"}, {"type": "array"}]}}}
    namespace = {"type": "namespace", "tools": [{"type": "function", "name": "f", "parameters": schema}]}
    (changed,) = complete_schemas({"tools": [namespace]})["tools"]
    assert changed["tools"][0]["parameters"] == {
        "type": "object",
        "properties": {
            "a": {"type": ["array", "null"], "items": {}},
            "b": {"anyOf": [{"type": "object", "properties": {}}, {"type": "array", "items": {}}]},
        },
    }


@each_row(
    "body",
    [
        with_tool("chat", {"type": "object", "properties": {}}),
        {"tools": [{"type": "web_search"}, "x", {"type": "function", "function": {"name": "f", "parameters": "x"}}]},
        {"tools": "x"},
        {},
    ],
)
def test_other_tools_stay(body):
    assert complete_schemas(body) == merge_combinations(body) == omit_patterns(body) == {}
