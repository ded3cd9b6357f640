"""Models that think unless a request forbids it, and reject a forced tool call while they think.

deepseek-ai/DeepSeek-V3#1376, can1357/oh-my-pi#1077, cloudwego/eino#994.
"""

import json
from typing import Any

import pytest

from providers.errors.failures import read_failure
from providers.errors.forced_tools import turn_thinking_off
from providers.errors.rejected import find_rejected, find_sole_rejected
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, Raw, Script, ToolCall

DEEPSEEK = "Thinking mode does not support this tool_choice"
KIMI = "tool_choice 'specified' is incompatible with thinking enabled"
QWEN = (
    "<400> InternalError.Algo.InvalidParameter: The tool_choice parameter does not support being set to required or "
    "object in thinking mode"
)
OFF: dict[str, tuple[str, Any, str]] = {
    DEEPSEEK: ("thinking", {"type": "disabled"}, "thinking=disabled"),
    KIMI: ("thinking", {"type": "disabled"}, "thinking=disabled"),
    QWEN: ("enable_thinking", False, "enable_thinking=false"),
}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
FUNCTION = {"name": "f", "description": "d"}
FORCED = {"type": "function", "function": {"name": "f"}}
CLIENTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {**FUNCTION, "parameters": SCHEMA}}],
        "tool_choice": FORCED,
    },
    "/v1/messages": {
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{**FUNCTION, "input_schema": SCHEMA}],
        "tool_choice": {"type": "tool", "name": "f"},
    },
}
CALL = Script(calls=(ToolCall("call_1", "f", "{}"),), stop="tool_calls")


@pytest.mark.parametrize("path", CLIENTS)
@pytest.mark.parametrize("message", OFF)
def test_it_is_sent_again_without_thinking_and_this_is_remembered(upstream, path, message):
    member, value, adapted = OFF[message]
    entry = provider("custom/thinker", f"{upstream.url}/v1", ["chat"], name="thinker", provider_interface="openai")
    with gateway_thread(config([entry])) as gateway:
        rejection = Raw(400, JSON, (json.dumps({"error": {"message": message}}).encode(),))
        upstream.script(rejection, CALL, CALL, Script(text="yes"))
        body = {"model": "thinker", **CLIENTS[path]}
        replies = [gateway.request("POST", path, body) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200], replies[0].body
        assert {reply.headers["x-trigate-adapted"] for reply in replies} == {adapted}
        assert gateway.request("POST", path, {**body, "tool_choice": None}).status == 200
        sent = [seen.json for seen in upstream.seen]
        assert [one.get(member) for one in sent] == [None, value, value, None]
        assert [one.get("tool_choice") for one in sent[:3]] == [FORCED] * 3


@each_row("message", OFF)
def test_the_words_of_servers_are_known(message):
    error = read_failure(400, json.dumps({"error": {"message": message}}).encode())
    assert find_rejected(error) == find_sole_rejected(error) == ((":thinking", OFF[message][0]),)


@each_row(
    ("body", "changed"),
    [
        ({"tool_choice": "required"}, {"thinking": False}),
        ({"tool_choice": {"type": "any"}, "reasoning_effort": "low"}, {"thinking": False, "reasoning_effort": None}),
        ({"tool_choice": "required", "thinking": False}, {}),
        ({"tool_choice": "auto"}, {}),
        ({"tool_choice": {"type": "auto"}}, {}),
        ({"tool_choice": None}, {}),
        ({"tool_choice": {}}, {}),
        ({}, {}),
    ],
)
def test_only_forced_calls_turn_it_off(body, changed):
    assert turn_thinking_off("thinking", False)(body) == changed
