"""Thinking that Bedrock rejects: the turn continues without it after one rejection."""

import json

from tests.support.endpoint_provider import ReceivedRequest, ScriptedAnswer, before, json_answer

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
REFUSAL = "The model returned the following errors: messages.1.content.0: Invalid `signature` in `thinking` block"
ANSWER = {
    "output": {"message": {"role": "assistant", "content": [{"text": "done"}]}}, "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 1, "totalTokens": 4}, "metrics": {"latencyMs": 1},
}  # fmt: skip


def bedrock(asked: ReceivedRequest) -> ScriptedAnswer:
    return json_answer({"message": REFUSAL}, 400) if b"reasoningContent" in asked.body else json_answer(ANSWER)


async def test_a_signature_that_is_not_claudes_costs_one_more_request():
    """Other models that speak Anthropic's API sign their thinking, too."""
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    thought = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}
    turns = [
        {"role": "user", "content": "hi"}, {"role": "assistant", "content": [thought, use]},
        {"role": "user", "content": [result]},
    ]  # fmt: skip
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    body = {"model": "one", "max_tokens": 9000, "messages": turns, "tools": tools}
    async with before(bedrock, f"bedrock/{CLAUDE}", {"name": "one", "speaks": ["converse"]}) as (served, provider):
        answer = await served.post("/v1/messages", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["content"][0]["text"] == "done"
        sent = [
            [next(iter(block)) for block in json.loads(one.body)["messages"][1]["content"]] for one in provider.asked
        ]
    assert sent == [["reasoningContent", "toolUse"], ["toolUse"]]
    assert "messages[].content[]" in answer.headers["x-trigate-dropped"]
