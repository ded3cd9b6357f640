"""Results of tools with several texts, for Chat servers: one text.

Chat templates lose an array without an error (vllm-project/vllm#39899, strands-agents/harness-sdk#1696), and some
servers reject it (MoonshotAI/kimi-cli#1771). vLLM asserts the same (`TestToolResultContent`).
"""

import json

from providers.apis import CODECS
from providers.chat import CHAT
from providers.neutral.codec import Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.seal import Issuer
from tests.support.each_row import each_row

TEXTS = [{"type": "text", "text": "line 1"}, {"type": "text", "text": "line 2"}]
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}


def messages_request(*content: dict, **result) -> dict:
    return {
        "model": "m",
        "max_tokens": 9,
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {}}]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "c1", "content": list(content), **result}],
            },
        ],
    }


RESPONSES = {
    "model": "m",
    "input": [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [{"type": "input_text", "text": "line 1"}, {"type": "input_text", "text": "line 2"}],
        },
    ],
}


def write_result(api: str, body: dict, **quirks) -> str | list:
    outgoing = CHAT.write_request(CODECS[api].read_request(body), Recipient("m", Issuer("a", "b"), Quirks(**quirks)))
    (result,) = (one for one in json.loads(outgoing.body)["messages"] if one["role"] == "tool")
    return result["content"]


@each_row(
    ("api", "body", "expected"),
    [
        ("messages", messages_request(*TEXTS), "line 1\nline 2"),
        ("messages", messages_request(*TEXTS, is_error=True), "Error: line 1\nline 2"),
        ("messages", messages_request(TEXTS[0], IMAGE, TEXTS[1]), "line 1\nline 2"),
        ("messages", messages_request(IMAGE), ""),
        ("messages", messages_request(), ""),
        ("responses", RESPONSES, "line 1\nline 2"),
    ],
)
def test_several_texts_become_one(api, body, expected):
    assert write_result(api, body) == expected


def test_marks_keep_the_texts_apart():
    marked = [TEXTS[0], {**TEXTS[1], "cache_control": {"type": "ephemeral"}}]
    assert write_result("messages", messages_request(*marked), cache_breakpoints=False) == "line 1\nline 2"
    found = write_result("messages", messages_request(*marked), cache_breakpoints=True)
    assert [piece["text"] for piece in found] == ["line 1", "line 2"]
    assert write_result("messages", messages_request(IMAGE | {"cache_control": {"type": "ephemeral"}})) == ""
