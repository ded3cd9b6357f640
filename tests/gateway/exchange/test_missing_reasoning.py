"""Models that require the reasoning of all earlier turns, and histories that lack it.

Another model made the turn, or the client has dropped its reasoning (BerriAI/litellm#26156, anomalyco/opencode#29690,
anomalyco/opencode#24722).
"""

import json
from typing import Any

import pytest

from providers.errors.failures import read_failure
from providers.errors.missing_reasoning import add_reasoning
from providers.errors.other_shapes import MISSING_REASONING
from providers.errors.rejected import find_rejected, find_sole_rejected
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, Raw, Script

KIMI = "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2"
DEEPSEEK = "The `reasoning_content` in the thinking mode must be passed back to the API."
OLDER_DEEPSEEK = (
    "Missing `reasoning_content` field in the assistant message at message index 1. For more information, please refer "
    "to https://api-docs.deepseek.com/guides/thinking_mode#tool-calls"
)
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL: dict[str, Any] = {"name": "f", "description": "d"}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
CLIENTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "done"},
        ],
        "tools": [{"type": "function", "function": {**TOOL, "parameters": SCHEMA}}],
    },
    "/v1/messages": {
        "max_tokens": 9,
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "call_1", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "done"}]},
        ],
        "tools": [{**TOOL, "input_schema": SCHEMA}],
    },
}


def rejection(message: str) -> Raw:
    return Raw(400, JSON, (json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode(),))


@pytest.mark.parametrize("path", CLIENTS)
@pytest.mark.parametrize("message", [KIMI, DEEPSEEK])
def test_it_is_sent_again_with_blank_reasoning_and_this_is_remembered(upstream, path, message):
    entry = provider("custom/kimi-k2.6", f"{upstream.url}/v1", ["chat"], name="kimi", provider_interface="openai")
    with gateway_thread(config([entry])) as gateway:
        upstream.script(rejection(message), Script(text="yes"), Script(text="yes"))
        replies = [gateway.request("POST", path, {"model": "kimi", **CLIENTS[path]}) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200], replies[0].body
        turns = [seen.json["messages"][1] for seen in upstream.seen]
        assert [turn.get("reasoning_content") for turn in turns] == [None, " ", " "]
        assert [turn["tool_calls"] for turn in turns] == [[CALL]] * 3
        assert {reply.headers["x-trigate-adapted"] for reply in replies} == {"messages[].reasoning_content=blank"}


@each_row("message", [KIMI, DEEPSEEK, OLDER_DEEPSEEK])
def test_the_words_of_servers_are_known(message):
    error = read_failure(400, json.dumps({"error": {"message": message}}).encode())
    assert find_rejected(error) == find_sole_rejected(error) == (MISSING_REASONING,)


@each_row(
    "body",
    [
        {"messages": [{"role": "assistant", "content": "a", "reasoning_content": "b"}, {"role": "user"}, None]},
        {"messages": "a"},
        {},
    ],
)
def test_other_turns_stay(body):
    assert add_reasoning(body) == {}
