"""Claude's own reasoning across platforms: Claude's signature is valid on each, also within a tool loop
(https://platform.claude.com/docs/en/build-with-claude/extended-thinking)."""

import json
from typing import Any

from providers.apis import CODECS
from providers.catalog.models import quirks_of
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.seal import Issuer, seal
from tests.support.cases import case
from tests.support.converse_requests import check
from tests.support.each_row import each_row

BEDROCK = ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "eu.anthropic.claude-sonnet-4-6")
ANTHROPIC = ("claude-sonnet-4-5", "claude-opus-4-6")
SIGNED = {"type": "thinking", "thinking": "hm", "signature": "EqkE+/=="}
UNSHOWN = {"type": "thinking", "thinking": "", "signature": "EqkE"}
REDACTED = {"type": "redacted_thinking", "data": "b3Bh"}
AS_CONVERSE = {
    "hm": {"reasoningText": {"text": "hm", "signature": "EqkE+/=="}},
    "": {"reasoningText": {"text": "", "signature": "EqkE"}},
    "b3Bh": {"redactedContent": "b3Bh"},
}
"""The same as Bedrock has it, by its text or data."""
BUDGET = {"type": "enabled", "budget_tokens": 2048}


def to(model: str) -> Recipient:
    quirks = quirks_of(Quirks(), model)
    return Recipient(model, Issuer("other", "b2"), quirks, quirks)


def from_messages(*thoughts: Any) -> dict[str, Any]:
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "done"}
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [*thoughts, use]},
        {"role": "user", "content": [result]},
    ]
    tools = [{"name": "f", "input_schema": {"type": "object"}}]
    return {"model": "m", "max_tokens": 9000, "messages": turns, "tools": tools, "thinking": BUDGET}


def from_converse(*thoughts: Any) -> dict[str, Any]:
    use = {"toolUse": {"toolUseId": "t1", "name": "f", "input": {}}}
    result = {"toolResult": {"toolUseId": "t1", "content": [{"text": "done"}]}}
    turns = [
        {"role": "user", "content": [{"text": "hi"}]},
        {"role": "assistant", "content": [*({"reasoningContent": one} for one in thoughts), use]},
        {"role": "user", "content": [result]},
    ]
    tools = {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}]}
    more = {"thinking": BUDGET}
    return {"messages": turns, "toolConfig": tools, "additionalModelRequestFields": more}


def write(client: str, body: dict[str, Any], provider: str, model: str) -> tuple[Any, Outgoing]:
    written = CODECS[provider].write_request(CODECS[client].read_request(body), to(model))
    return json.loads(written.body), written


@each_row("model", BEDROCK)
def test_from_anthropic_to_bedrock_in_the_middle_of_a_loop(model: str):
    body, written = write("messages", from_messages(SIGNED, UNSHOWN, REDACTED), "converse", model)
    check(body)
    blocks = body["messages"][1]["content"]
    assert [block["reasoningContent"] for block in blocks[:-1]] == list(AS_CONVERSE.values())
    assert "toolUse" in blocks[-1]
    assert body["additionalModelRequestFields"]["thinking"]["type"] in ("enabled", "adaptive")
    assert written.dropped == ()


@each_row("model", ANTHROPIC)
def test_from_bedrock_to_anthropic_in_the_middle_of_a_loop(model: str):
    body, written = write("converse", from_converse(*AS_CONVERSE.values()), "messages", model)
    assert body["messages"][1]["content"][:-1] == [SIGNED, UNSHOWN, REDACTED]
    assert body["messages"][1]["content"][-1]["type"] == "tool_use"
    assert body["thinking"]["type"] in ("enabled", "adaptive")
    assert written.dropped == ()


def test_no_other_model_gets_the_setting():
    for client, provider, model in [
        ("messages", "converse", "us.amazon.nova-2-lite-v1:0"), ("messages", "converse", "deepseek.v3-v1:0"),
        ("messages", "converse", "anthropic.claude-3-opus-20240229-v1:0"), ("converse", "messages", "MiniMax-M2"),
        ("messages", "chat", "claude-sonnet-4-5"), ("messages", "gemini", "gemini-3-pro"),
    ]:  # fmt: skip
        with case((client, provider, model)):
            asked = from_messages(SIGNED, REDACTED) if client == "messages" else from_converse(*AS_CONVERSE.values())
            _, written = write(client, asked, provider, model)
            assert b"EqkE" not in written.body
            assert b"b3Bh" not in written.body
            assert written.dropped


def test_unsigned_and_foreign_thinking_is_omitted():
    unsigned = {"type": "thinking", "thinking": "hm", "signature": ""}
    sealed = {**SIGNED, "signature": seal(Issuer("third", "c3"), "messages", SIGNED)}
    for thought in (unsigned, sealed):
        body, written = write("messages", from_messages(thought), "converse", BEDROCK[0])
        assert [next(iter(block)) for block in body["messages"][1]["content"]] == ["toolUse"]
        assert "messages[].content[]" in written.dropped
    for item in ({"reasoningText": {"text": "hm"}}, {"redactedContent": ""}):
        body, written = write("converse", from_converse(item), "messages", ANTHROPIC[0])
        assert [block["type"] for block in body["messages"][1]["content"]] == ["tool_use"]
        assert written.dropped
