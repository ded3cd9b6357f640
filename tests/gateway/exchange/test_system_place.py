"""System messages in the middle of a conversation, at a server whose chat template accepts only one.

Claude Code and Codex send them. Source: vLLM's tests (`test_anthropic_messages_conversion.py`), Bifrost
(`TestMultiBlockSystemToChatRequest`), ggml-org/llama.cpp#27367.
"""

import json
from typing import Any

import pytest

from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, Raw, Script

USER = {"role": "user", "content": "hi"}
LATE = {"role": "user", "content": "<system>\nlate\n</system>"}
CLIENTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [{"role": "system", "content": "a"}, USER, {"role": "system", "content": "late"}]
    },
    "/v1/messages": {"max_tokens": 9, "system": "a", "messages": [USER, {"role": "system", "content": "late"}]},
    "/v1/responses": {"instructions": "a", "input": [USER, {"role": "developer", "content": "late"}]},
}


def rejection(status: int = 400) -> Raw:
    message = "System message must be at the beginning."
    return Raw(status, JSON, (json.dumps({"error": {"message": message, "code": status}}).encode(),))


def entry(url: str, **more: Any) -> dict[str, Any]:
    return provider("vllm/Qwen/Qwen3.6-27B", f"{url}/v1", ["chat"], name="qwen", **more)


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("path", CLIENTS)
def test_a_later_system_message_is_sent_as_the_users_and_this_is_remembered(upstream, path, status):
    with gateway_thread(config([entry(upstream.url)])) as gateway:
        upstream.script(rejection(status), Script(text="yes"), Script(text="yes"))
        first, second = (gateway.request("POST", path, {"model": "qwen", **CLIENTS[path]}) for _ in range(2))
        assert (first.status, second.status) == (200, 200), first.body + second.body
        sent = [seen.json["messages"] for seen in upstream.seen]
        assert [[message["role"] for message in messages] for messages in sent] == [
            ["system", "user", "system"], ["system", "user", "user"], ["system", "user", "user"],
        ]  # fmt: skip
        assert sent[1] == sent[2] == [{"role": "system", "content": "a"}, USER, LATE]
        assert {first.headers["x-trigate-dropped"], second.headers["x-trigate-dropped"]} == {"messages[].role"}


LATE_SYSTEM = CLIENTS["/v1/chat/completions"]


@each_row(
    ("answers", "members", "headers", "requests"),
    [
        ([rejection(), rejection()], LATE_SYSTEM, {}, 2),
        ([rejection()], LATE_SYSTEM, {"x-trigate-strict": "1"}, 1),
        ([rejection()], {"messages": [USER]}, {}, 1),
    ],
    ids=["rejected again", "strict mode", "nothing to change"],
)
def test_a_rejection_that_no_change_avoids_is_the_clients(upstream, answers, members, headers, requests):
    with gateway_thread(config([entry(upstream.url)])) as gateway:
        upstream.script(*answers, Script(text="yes"))
        reply = gateway.request("POST", "/v1/chat/completions", {"model": "qwen", **members}, headers)
        assert (reply.status, len(upstream.seen)) == (400, requests)
        assert b"must be at the beginning" in reply.body or b"messages[].role" in reply.body
