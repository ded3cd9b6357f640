"""Ids and order of tool calls and results that Mistral rejects.

Conversations of other models have other ids (langchain-ai/langchain#24668, anomalyco/opencode#1680). Claude Code adds
messages of the user to tool results (NousResearch/hermes-agent#20154, zed-industries/zed#37021).
"""

import json
from typing import Any

import pytest

from providers.errors.failures import read_failure
from providers.errors.other_shapes import CALL_IDS, RESULT_ORDER
from providers.errors.rejected import find_rejected, find_sole_rejected
from providers.errors.tool_turns import separate_results, shorten_ids
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, Raw, Script

ID = "Tool call id was toolu_01A09q90qw90lq917835lq9 but must be a-z, A-Z, 0-9, with a length of 9."
ORDER = "Unexpected role 'user' after role 'tool'"
HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "add"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_01A09q90", "name": "add", "input": {}}]},
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "toolu_01A09q90", "content": "3"},
            {"type": "text", "text": "and now?"},
        ],
    },
]
TOOLS = [{"name": "add", "input_schema": {"type": "object", "properties": {}}}]


def rejection(message: str) -> Raw:
    return Raw(400, JSON, (json.dumps({"object": "error", "message": message, "code": "3280"}).encode(),))


@pytest.mark.parametrize("name", ["mistral/x", "custom/x"])
def test_claude_code_continues_with_mistral(upstream, name):
    base = upstream.url if name.startswith("mistral") else f"{upstream.url}/v1"
    with gateway_thread(config([provider(name, base, ["chat"], name="x")])) as gateway:
        upstream.script(rejection(ID), rejection(ORDER), Script(text="yes"), Script(text="yes"))
        body = {"model": "x", "max_tokens": 9, "messages": HISTORY, "tools": TOOLS}
        replies = [gateway.request("POST", "/v1/messages", body) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200], replies[0].body
        for seen in upstream.seen[2:]:
            roles = [message["role"] for message in seen.json["messages"]]
            assert roles == ["user", "assistant", "tool", "assistant", "user"]
            (call,) = seen.json["messages"][1]["tool_calls"]
            assert call["id"] == seen.json["messages"][2]["tool_call_id"]
            assert len(call["id"]) == 9
            assert call["id"].isalnum()
        assert len(upstream.seen) == 4
        for reply in replies:
            assert "messages[].tool_call_id=short" in reply.headers["x-trigate-adapted"]
            assert "messages[]+assistant" in reply.headers["x-trigate-adapted"]


@each_row(("message", "shape"), [(ID, CALL_IDS), (ORDER, RESULT_ORDER)])
def test_the_words_are_known(message, shape):
    error = read_failure(400, json.dumps({"object": "error", "message": message}).encode())
    assert find_rejected(error) == find_sole_rejected(error) == (shape,)


@each_row(
    "messages",
    [
        [{"role": "tool", "tool_call_id": "a1B2c3D4e", "content": "3"}, {"role": "assistant", "content": "3"}, "x"],
        [{"role": "assistant", "tool_calls": [{"id": "a1B2c3D4e"}, {"id": None}, "x"]}],
        "hi",
        None,
    ],
)
def test_other_messages_stay(messages):
    assert shorten_ids({"messages": messages}) == separate_results({"messages": messages}) == {}
