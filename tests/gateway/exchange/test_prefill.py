"""Conversations that end with a message of the model, for models that reject them (router-for-me/CLIProxyAPI#5319)."""

import json
from typing import Any

import pytest

from providers.errors.failures import read_failure
from providers.errors.other_shapes import LAST_TURN
from providers.errors.rejected import find_rejected, find_sole_rejected
from providers.errors.tool_turns import add_user_turn
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, Raw, Script

ANTHROPIC = "This model does not support assistant message prefill. The conversation must end with a user message."
TURNS = [{"role": "user", "content": "count"}, {"role": "assistant", "content": "1, 2"}]
CLIENTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": TURNS},
    "/v1/responses": {"input": TURNS},
    "/v1/messages": {"max_tokens": 9, "messages": TURNS},
}


@pytest.mark.parametrize("api", ["chat", "messages", "responses", "converse"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_message_of_the_user_is_added_and_this_is_remembered(upstream, api, stream):
    entry = provider("custom/new", f"{upstream.url}{'' if api == 'converse' else '/v1'}", [api], name="new")
    with gateway_thread(config([entry])) as gateway:
        rejection = Raw(400, JSON, (json.dumps({"message": ANTHROPIC, "error": {"message": ANTHROPIC}}).encode(),))
        upstream.script(rejection, *(Script(text="3") for _ in CLIENTS))
        for path, body in CLIENTS.items():
            reply = gateway.request("POST", path, {"model": "new", "stream": stream, **body})
            assert reply.status == 200, reply.body
            assert "[]+user" in reply.headers["x-trigate-adapted"]
        assert len(upstream.seen) == len(CLIENTS) + 1
        first, *others = ([item["role"] for item in seen.json.get("messages") or seen.json["input"]]
                          for seen in upstream.seen)  # fmt: skip
        assert first == ["user", "assistant"]
        assert others == [["user", "assistant", "user"]] * len(CLIENTS)


@each_row(
    "message",
    [
        ANTHROPIC,
        f"The model returned the following errors: {ANTHROPIC}",  # anomalyco/opencode#29760
        "Assistant response prefill is incompatible with enable_thinking.",  # ggml-org/llama.cpp#20861
        # crewAIInc/crewAI#2194
        "Expected last role User or Tool (or Assistant with prefix True) for serving but got assistant",
    ],
)
def test_the_words_are_known(message):
    error = read_failure(400, json.dumps({"error": {"message": message}}).encode())
    assert find_rejected(error) == find_sole_rejected(error) == (LAST_TURN,)


@each_row(
    "body",
    [
        {"messages": TURNS[:1]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}]},
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "1"}]}]},
        {"messages": [{"role": "assistant", "content": [{"toolUse": {"toolUseId": "1"}}]}]},
        {"input": [{"type": "function_call"}]},
        {"input": "hi"},
        {"messages": []},
        {},
    ],
)
def test_other_conversations_stay(body):
    assert add_user_turn(body) == {}
