"""Texts in lists, at Chat servers that accept only one text in a message.

Claude Code sends its system prompt in several texts, and DeepSeek, Groq and Fireworks reject lists
(QwenLM/qwen-code#2320, microsoft/PyRIT#704, mozilla-ai/any-llm#1228).
"""

import json
from typing import Any

import pytest

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, Raw, Script

REJECTION = (
    "Failed to deserialize the JSON body into the target type: messages[0]: invalid type: sequence, expected a string "
    "at line 1 column 99"
)


def texts(*words: str, kind: str = "text") -> list[dict[str, str]]:
    return [{"type": kind, "text": word} for word in words]


CLIENTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [{"role": "system", "content": texts("a", "b")}, {"role": "user", "content": texts("c", "d")}]
    },
    "/v1/messages": {
        "max_tokens": 9,
        "system": texts("a", "b"),
        "messages": [{"role": "user", "content": texts("c", "d")}],
    },
    "/v1/responses": {
        "input": [
            {"role": "system", "content": texts("a", "b", kind="input_text")},
            {"role": "user", "content": texts("c", "d", kind="input_text")},
        ]
    },
    "/v1beta/models/deepseek:generateContent": {
        "systemInstruction": {"parts": [{"text": "a"}, {"text": "b"}]},
        "contents": [{"role": "user", "parts": [{"text": "c"}, {"text": "d"}]}],
    },
    "/model/deepseek/converse": {
        "system": [{"text": "a"}, {"text": "b"}],
        "messages": [{"role": "user", "content": [{"text": "c"}, {"text": "d"}]}],
    },
}
JOINED = [{"role": "system", "content": "a\n\nb"}, {"role": "user", "content": "c\n\nd"}]


def rejection() -> Raw:
    return Raw(400, JSON, (json.dumps({"error": {"message": REJECTION}}).encode(),))


def entry(model: str, url: str) -> dict[str, Any]:
    return provider(model, f"{url}/v1", ["chat"], name="deepseek")


@pytest.mark.parametrize("path", [path for path in CLIENTS if path != "/v1/chat/completions"])
@pytest.mark.parametrize("stream", [False, True])
def test_translated_messages_have_one_text(upstream, path, stream):
    if stream and not path.startswith("/v1/"):
        path = path.replace(":generateContent", ":streamGenerateContent").replace("/converse", "/converse-stream")
    body = CLIENTS.get(path) or CLIENTS[path.replace("streamG", "g").replace("-stream", "")]
    with gateway_thread(config([entry("deepseek/deepseek-chat", upstream.url)])) as gateway:
        upstream.script(Script(text="yes"))
        members = {"model": "deepseek", "stream": stream} if path.startswith("/v1/") else {}
        reply = gateway.request("POST", path, {**body, **members})
        assert reply.status == 200, reply.body
        assert [seen.json["messages"] for seen in upstream.seen] == [JOINED]


@pytest.mark.parametrize("headers", [{}, {"x-trigate-strict": "1"}], ids=["usual", "strict"])
def test_a_rejected_list_is_sent_again_as_one_text_and_this_is_remembered(upstream, headers):
    """Strict mode allows it because nothing is lost."""
    with gateway_thread(config([entry("deepseek/deepseek-chat", upstream.url)])) as gateway:
        upstream.script(rejection(), Script(text="yes"), Script(text="yes"))
        body = {"model": "deepseek", **CLIENTS["/v1/chat/completions"]}
        first, second = (gateway.request("POST", "/v1/chat/completions", body, headers) for _ in range(2))
        assert (first.status, second.status) == (200, 200), first.body + second.body
        assert [seen.json["messages"] for seen in upstream.seen] == [body["messages"], JOINED, JOINED]
        assert {reply.headers["x-trigate-adapted"] for reply in (first, second)} == {"messages[].content=text"}
        assert "x-trigate-dropped" not in second.headers


def test_openai_gets_the_lists(upstream):
    with gateway_thread(config([entry("openai/gpt-4o", upstream.url)])) as gateway:
        upstream.script(Script(text="yes"))
        reply = gateway.request("POST", "/v1/messages", {"model": "deepseek", **CLIENTS["/v1/messages"]})
        assert reply.status == 200, reply.body
        assert upstream.seen[0].json["messages"] == CLIENTS["/v1/chat/completions"]["messages"]
