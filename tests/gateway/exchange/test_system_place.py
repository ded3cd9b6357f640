"""System messages in the middle of a conversation, at a server whose chat template accepts only one.

Claude Code and Codex send them. Source: vLLM's tests (`test_anthropic_messages_conversion.py`), Bifrost
(`TestMultiBlockSystemToChatRequest`), ggml-org/llama.cpp#27367.
"""

import json
from typing import Any

import pytest

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


def test_a_server_that_rejects_it_again_is_asked_no_third_time(upstream):
    with gateway_thread(config([entry(upstream.url)])) as gateway:
        upstream.script(rejection(), rejection(), Script(text="yes"))
        reply = gateway.request("POST", "/v1/chat/completions", {"model": "qwen", **CLIENTS["/v1/chat/completions"]})
        assert (reply.status, len(upstream.seen)) == (400, 2)


def test_strict_mode_shows_the_rejection(upstream):
    with gateway_thread(config([entry(upstream.url)])) as gateway:
        upstream.script(rejection(), Script(text="yes"))
        body = {"model": "qwen", **CLIENTS["/v1/chat/completions"]}
        reply = gateway.request("POST", "/v1/chat/completions", body, {"x-trigate-strict": "1"})
        assert (reply.status, len(upstream.seen)) == (400, 1)
        assert b"must be at the beginning" in reply.body or b"messages[].role" in reply.body


def test_a_request_without_one_gets_the_error(upstream):
    with gateway_thread(config([entry(upstream.url)])) as gateway:
        upstream.script(rejection(), Script(text="yes"))
        reply = gateway.request("POST", "/v1/chat/completions", {"model": "qwen", "messages": [USER]})
        assert (reply.status, len(upstream.seen)) == (400, 1)
