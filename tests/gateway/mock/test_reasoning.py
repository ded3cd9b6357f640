"""The stand-in's reasoning and ids are those of a provider: a gateway in front of it returns them unchanged."""

import json

import pytest

from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.harness import config, provider

RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"


@pytest.fixture(scope="module")
def gateway():
    with mock_thread() as mock:
        entries = [
            provider("openai/gpt-5", mock.url + "/v1", ["responses"], name="responses"),
            provider("anthropic/claude-sonnet-4-6", mock.url, ["messages"], name="messages"),
        ]
        with gateway_thread(config(entries)) as running:
            yield running


@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_with_responses_reasoning_is_sent_unchanged(gateway, stream):
    question = {"role": "user", "content": "Hi"}
    body = {"model": "responses", "store": False, "input": [question], "reasoning": {"effort": "high"},
            "include": ["reasoning.encrypted_content"], "stream": stream}  # fmt: skip
    reply = gateway.request("POST", RESPONSES, body)
    assert reply.status == 200, reply.body
    answer = [data for _, data in reply.events()][-1]["response"] if stream else reply.json
    assert any(item.get("encrypted_content") for item in answer["output"])
    assert "tg1." not in json.dumps(answer["output"])
    again = gateway.request("POST", RESPONSES, {**body, "input": [question, *answer["output"], question]})
    assert again.status == 200
    assert "x-trigate-dropped" not in again.headers


@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_with_thinking_is_sent_unchanged(gateway, stream):
    question = {"role": "user", "content": "Hi"}
    thinking = {"type": "enabled", "budget_tokens": 1024}
    body = {"model": "messages", "max_tokens": 2000, "messages": [question], "thinking": thinking, "stream": False}
    reply = gateway.request("POST", MESSAGES, body)
    assert reply.status == 200, reply.body
    content = reply.json["content"]
    assert any(block.get("signature") for block in content)
    turns = [question, {"role": "assistant", "content": content}, question]
    again = gateway.request("POST", MESSAGES, {**body, "stream": stream, "messages": turns})
    assert again.status == 200
    assert "x-trigate-dropped" not in again.headers
