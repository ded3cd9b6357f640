"""Bodies of Responses, and tools of Messages, at ``/v1/chat/completions``, as in Cursor's agent mode
(maximhq/bifrost#5773, BerriAI/litellm#25193)."""

import json
from typing import Any

import pytest

from gateway.request.parse import read_incoming
from streams.errors import GatewayError
from tests.support.counted_calls import calls
from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import config, provider
from tests.support.upstreams import Script, ToolCall

APIS = ("chat", "messages", "responses")
PATH = "/v1/chat/completions"
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}}
TOOL = {"type": "function", "name": "read", "description": "Reads a file", "parameters": SCHEMA, "strict": False}
INPUT: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "input_text", "text": "what is in a?"}]},
    {"type": "function_call", "call_id": "call_1", "name": "read", "arguments": '{"path": "a"}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "swordfish"},
]
ASKED: dict[str, Any] = {
    "input": INPUT, "tools": [TOOL], "instructions": "be brief", "reasoning": {"effort": "high", "summary": "auto"},
    "include": ["reasoning.encrypted_content"], "store": False, "max_output_tokens": 900,
    "stream_options": {"include_usage": True},
}  # fmt: skip


@serve_module
def gateway(upstream):
    entries = [provider(f"openai/{api}", upstream.url, [api], name=api) for api in APIS]
    return config(entries)


@pytest.mark.parametrize("stream", [False, True])
@each_row("api", APIS)
def test_a_responses_body_gets_a_chat_answer(gateway, upstream, api, stream):
    upstream.script(Script(calls=(ToolCall("call_2", "read", '{"path": "b"}'),), stop="tool_calls"))
    body = ASKED if stream else {name: value for name, value in ASKED.items() if name != "stream_options"}
    reply = gateway.request("POST", PATH, {"model": api, "stream": stream, **body})
    assert reply.status == 200
    (sent,) = upstream.seen
    value = json.loads(sent.body)
    assert all(word in sent.body for word in (b"be brief", b"what is in a?", b"swordfish", b"Reads a file"))
    if api == "chat":
        assert [message["role"] for message in value["messages"]] == ["system", "user", "assistant", "tool"]
        assert value["tools"] == [{"type": "function", "function": {n: TOOL[n] for n in TOOL if n != "type"}}]
        assert (value["reasoning_effort"], value["max_completion_tokens"]) == ("high", 900)
    if stream:
        chunks = [value for _, value in reply.events() if isinstance(value, dict)]
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert [chunk["usage"]["prompt_tokens"] > 0 for chunk in chunks if chunk.get("usage")] == [True]
        assert b"call_2" in reply.body
    else:
        assert reply.json["object"] == "chat.completion"
        assert reply.json["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "read"


@each_row(
    ("members", "words", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "previous_response_id"),
        ({"background": True}, "background", "background"),
        ({"tools": [TOOL, {"type": "web_search"}]}, "tools[1] of type 'web_search'", "tools[]"),
        ({"input": [*INPUT, {"type": "computer_call", "call_id": "c"}]}, "input[3] of type 'computer_call'", "input[]"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content", "input[0].content"),
        ({"input": 5}, "input", "input"),
        ({"input": None}, "messages is required", "messages"),
    ],
)
def test_members_that_chat_lacks_are_refused_by_name(gateway, upstream, members, words, param):
    upstream.script(Script(text="never"))
    reply = gateway.request("POST", PATH, {"model": "chat", **ASKED, **members})
    error = reply.json["error"]
    assert (reply.status, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert words in error["message"]
    assert upstream.seen == []


def test_the_search_for_members_that_chat_lacks_translates_few_elements():
    """It runs in the event loop, and a translation of each element would stop all streams."""

    def refuse(tools: int) -> None:
        body = {"model": "m", "input": "hi", "tools": [*[TOOL] * tools, {"type": "web_search"}]}
        with pytest.raises(GatewayError, match=rf"tools\[{tools}\] of type 'web_search': remove it"):
            read_incoming("chat", json.dumps(body).encode())

    refuse(1)
    assert calls(lambda: refuse(500)) - calls(lambda: refuse(1)) < 500 * 150


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
ANTHROPIC: dict[str, Any] = {
    "tools": [
        {"name": "read", "description": "Reads a file", "input_schema": SCHEMA},
        {"type": "function", "function": {"name": "list", "parameters": SCHEMA}},
    ],
    "tool_choice": {},
    "system": [{"type": "text", "text": "be brief"}],
    "messages": [
        {"role": "system", "content": "and kind"},
        {"role": "user", "content": "what is in a and b?"},
        {"role": "assistant", "content": [
            {"type": "text", "text": "Let me see."},
            {"type": "tool_use", "id": "toolu_1", "name": "read", "input": {"path": "a"}},
            {"type": "tool_use", "id": "toolu_2", "name": "read", "input": {}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "swordfish"},
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": "look"}, PICTURE]},
            {"type": "text", "text": "go on"}, PICTURE,
        ]},
    ],
}  # fmt: skip
"""A body of Cursor for a model with ``claude`` in its name (BerriAI/litellm#25193, router-for-me/CLIProxyAPI#3805)."""


@pytest.mark.parametrize("stream", [False, True])
@each_row("api", APIS)
def test_anthropics_tools_calls_and_results_get_a_chat_answer(gateway, upstream, api, stream):
    upstream.script(Script(calls=(ToolCall("call_3", "read", '{"path": "b"}'),), stop="tool_calls"))
    reply = gateway.request("POST", PATH, {"model": api, "stream": stream, "temperature": 0.5, **ANTHROPIC})
    assert reply.status == 200
    (sent,) = upstream.seen
    value = json.loads(sent.body)
    words = b"be brief", b"and kind", b"swordfish", b"Reads a file", b"toolu_1", b"toolu_2", b"look", b"go on"
    assert all(word in sent.body for word in words)
    assert sent.body.count(b"iVBORw0KGgo=") == 2
    assert value["temperature"] == 0.5
    assert [tool.get("name") or tool["function"]["name"] for tool in value["tools"]] == ["read", "list"]
    if api == "chat":
        calls = [{"id": f"toolu_{i}", "type": "function", "function": {"name": "read", "arguments": text}}
                 for i, text in enumerate(('{"path":"a"}', "{}"), 1)]  # fmt: skip
        look = {"type": "text", "text": "look"}
        assert value["messages"][3:] == [
            {"role": "assistant", "content": [{"type": "text", "text": "Let me see."}], "tool_calls": calls},
            {"role": "tool", "tool_call_id": "toolu_1", "content": "swordfish"},
            {"role": "tool", "tool_call_id": "toolu_2", "content": [look, PICTURE]},
            {"role": "user", "content": [{"type": "text", "text": "go on"}, PICTURE]},
        ]
        read = {"name": "read", "description": "Reads a file", "parameters": SCHEMA}
        assert value["tools"][0] == {"type": "function", "function": read}
        assert value.keys() & {"tool_choice", "system", "parallel_tool_calls"} == set()
    if stream:
        assert {value["object"] for _, value in reply.events() if isinstance(value, dict)} == {"chat.completion.chunk"}
        assert b"call_3" in reply.body
    else:
        assert reply.json["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "read"


@each_row(
    ("choice", "expected"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any", "disable_parallel_tool_use": True}, "required"),
        ({"type": "tool", "name": "read"}, {"type": "function", "function": {"name": "read"}}),
        ("required", "required"),
        ({"type": "function", "function": {"name": "list"}}, {"type": "function", "function": {"name": "list"}}),
    ],
)
def test_a_choice_between_anthropics_tools_is_chats(gateway, upstream, choice, expected):
    upstream.script(Script(text="hi"))
    assert gateway.request("POST", PATH, {"model": "chat", **ANTHROPIC, "tool_choice": choice}).status == 200
    sent = json.loads(upstream.seen[0].body)
    assert sent["tool_choice"] == expected
    assert ("parallel_tool_calls" in sent) is ("disable_parallel_tool_use" in choice)


@each_row("member", ["messages", "tools"])
def test_a_body_without_anthropics_tools_keeps_its_bytes(gateway, upstream, member):
    """The name alone, in a text or in a schema, changes nothing."""
    upstream.script(Script(text="hi"))
    schema = {"type": "object", "properties": {"input_schema": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    body = {"model": "chat", "messages": [{"role": "user", "content": '"input_schema"'}]}
    gateway.request("POST", PATH, {**body, "tools": [tool]} if member == "tools" else body)
    sent = json.loads(upstream.seen[0].body)
    assert sent["messages"] == body["messages"]
    assert sent.get("tools") == ([tool] if member == "tools" else None)


@each_row(
    "members", [{"tools": [5]}, {"messages": "x"}, {"messages": [5]}, {"messages": [{"role": "user", "content": [5]}]}]
)
def test_malformed_members_next_to_anthropics_tools_are_refused(gateway, upstream, members):
    upstream.script(Script(text="never"))
    reply = gateway.request("POST", PATH, {"model": "messages", **ANTHROPIC, **members})
    assert (reply.status, upstream.seen) == (400, [])
