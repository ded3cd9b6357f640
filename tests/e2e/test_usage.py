"""Tests that the log has the tokens of every answer: the gateway requests them, or estimates and marks them."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.covering import covering_rows
from tests.support.each_row import each_row
from tests.support.every_api import entries_of_every_api
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, Reply, config, provider
from tests.support.raw_call import line
from tests.support.upstreams import JSON, STREAM, Raw, Script, Tokens
from tests.support.wire_clients import ALL, body_of, path_of, usage_of

ANSWER = Script(text="one two three", tokens=Tokens(prompt=20, cache_read=5, output=9))


@serve_module
def gateway(upstream):
    entries = [
        provider("mistral/m", upstream.url),
        provider("xai/*", upstream.url, ["chat"]),
        provider("deepseek/left-alone", upstream.url, usage="as_asked"),
        provider("somebody/unknown", upstream.url),
        provider("anthropic/messages", upstream.url, ["messages"]),
    ]
    return config(entries)


@serve_module
def every_api(upstream):
    return config(entries_of_every_api(upstream.url, price={"input": 1, "output": 1}))


def ask(gateway: Gateway, model: str, **members: Any) -> Reply:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **members}
    reply = gateway.request("POST", "/v1/chat/completions", body)
    assert reply.status == 200, reply.body
    return reply


def ledger_line(gateway: Gateway, reply: Reply) -> dict[str, Any]:
    return line(gateway, reply.headers["x-request-id"])


def without_choices(reply: Reply) -> list[Any]:
    return [chunk for _, chunk in reply.events() if chunk != "[DONE]" and not chunk["choices"]]


def test_a_stream_is_counted_if_its_client_did_not_request_usage(gateway, upstream):
    upstream.script(ANSWER)
    reply = ask(gateway, "xai/m", stream=True)
    assert upstream.seen[0].json["stream_options"] == {"include_usage": True}
    assert without_choices(reply) == [], "clients index choices[0] (microsoft/foundry-local#905)"
    assert reply.events()[-1] == ("", "[DONE]")
    assert reply.headers["x-trigate-adapted"] == "stream_options.include_usage=true"
    found = ledger_line(gateway, reply)
    assert (found["input_tokens"], found["cached_tokens"], found["output_tokens"]) == (20, 5, 9)
    assert found["usage_complete"]
    assert "usage_estimated" not in found


def test_a_client_that_requests_usage_gets_its_chunk(gateway, upstream):
    upstream.script(ANSWER)
    reply = ask(gateway, "xai/m", stream=True, stream_options={"include_usage": True})
    assert [chunk["usage"]["completion_tokens"] for chunk in without_choices(reply)] == [9]
    assert "x-trigate-adapted" not in reply.headers


@pytest.mark.parametrize("every", [1, 7, 10_000])
def test_other_chunks_without_choices_pass_with_any_size_of_reads(gateway, upstream, every):
    """Azure's first chunk has its filter's results for the prompt, and every chunk has ``usage: null``."""
    filtered = b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}],"usage":null}\n\n'
    said = b'data: {"choices":[{"index":0,"delta":{"content":"\\"choices\\":[]"}}],"usage":null}\r\n\r\n'
    ended = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    usage = b'data: {"choices" : [ ],"usage":{"prompt_tokens":20,"completion_tokens":9,"total_tokens":29}}\n\n'
    data = filtered + said + ended + usage + b"data: [DONE]\n\n"
    upstream.script(Raw(200, STREAM, tuple(data[i : i + every] for i in range(0, len(data), every)), "chunked"))
    reply = ask(gateway, "xai/m", stream=True)
    assert reply.body == filtered + said + ended + b"data: [DONE]\n\n"
    assert ledger_line(gateway, reply)["output_tokens"] == 9


@pytest.mark.parametrize("model", ["deepseek/left-alone", "somebody/unknown"])
def test_an_unchanged_request_is_estimated_and_marked(gateway, upstream, model):
    upstream.script(Script(text="x" * 400))
    reply = ask(gateway, model, stream=True)
    assert "stream_options" not in upstream.seen[0].json
    found = ledger_line(gateway, reply)
    assert found["ended"] == "complete"
    assert found["output_tokens"] == 100
    assert found["input_tokens"] > 0
    assert found["usage_estimated"] is True
    assert found["usage_complete"] is False


NO_COUNTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "empty": lambda usage: {},
    "null": lambda usage: dict.fromkeys(usage),
    "text": lambda usage: dict.fromkeys(usage, "9"),
    "negative": lambda usage: dict.fromkeys(usage, -9),
    "true": lambda usage: dict.fromkeys(usage, True),
    "other members": lambda usage: {name: one for name, one in usage.items() if isinstance(one, dict)},
}


@each_row("api, stream, text", covering_rows(ALL, (True, False), ("x" * 400, "")))
def test_usage_without_a_count_counts_as_missing(every_api, upstream, api, stream, text):
    """Otherwise such answers are free, and clients of another API receive zeros."""

    def play(client: str, edit: Callable[[dict[str, Any]], Any]) -> tuple[Any, ...]:
        upstream.script(Script(text=text, tokens=Tokens(edit=edit)))
        model = f"m-{api}"
        path, body = path_of(client, model, stream=stream), body_of(client, model, stream=stream)
        reply = every_api.request("POST", path, body)
        assert reply.status == 200, reply.body
        found = ledger_line(every_api, reply)
        named = ("input_tokens", "output_tokens", "usage_estimated", "usage_complete", "cost_usd", "cost_grade")
        return (None if client == api else usage_of(client, reply.body, stream=stream), *map(found.get, named))

    for client in (api, "gemini" if api == "messages" else "messages"):
        missing = play(client, lambda usage: None)
        assert missing[-2] >= 0.00002, "the estimated input, at a dollar for a million tokens"
        assert missing[-1] == "estimated"
        assert client == api or min(missing[0]) >= bool(text)
        for name, edit in NO_COUNTS.items():
            assert play(client, edit) == missing, (client, name)


@each_row("stream", [True, False], ids=["stream", "whole"])
@each_row("api", ALL)
def test_one_missing_count_is_estimated(every_api, upstream, api, stream):
    for words, expected in ((_OUTPUTS, (1000, 100)), (_INPUTS, (None, 50))):

        def edit(usage: dict[str, Any], words: tuple[str, ...] = words) -> dict[str, Any]:
            return {name: one for name, one in usage.items() if not any(word in name for word in words)}

        upstream.script(Script(text="x" * 400, tokens=Tokens(prompt=1000, output=50, edit=edit)))
        body = body_of(api, f"m-{api}", stream=stream)
        found = ledger_line(every_api, every_api.request("POST", path_of(api, f"m-{api}", stream=stream), body))
        assert found["input_tokens"] == expected[0] or (expected[0] is None and 20 <= found["input_tokens"] < 50)
        assert (found["output_tokens"], found["usage_estimated"]) == (expected[1], True)
        assert found["cost_usd"] == pytest.approx((found["input_tokens"] + found["output_tokens"]) / 10**6)


_OUTPUTS = ("output", "completion", "candidates", "thoughts", "total_tokens", "totalToken", "thought")
_INPUTS = ("input", "prompt", "total_tokens", "totalToken")


def test_a_request_is_retried_without_a_refused_usage_option(gateway, upstream):
    refusal = {"error": {"message": "Unrecognized request argument supplied: stream_options", "type": "invalid"}}
    upstream.script(Raw(400, JSON, (json.dumps(refusal).encode(),)), ANSWER, ANSWER)
    reply = ask(gateway, "xai/refuses", stream=True)
    assert ["stream_options" in seen.json for seen in upstream.seen] == [True, False]
    assert "x-trigate-dropped" not in reply.headers, "the client has lost nothing"
    assert ledger_line(gateway, reply)["usage_estimated"] is True
    ask(gateway, "xai/refuses", stream=True)
    assert "stream_options" not in upstream.seen[2].json, "learned"


def test_a_provider_that_refuses_the_usage_option_does_not_get_it(gateway, upstream):
    usage = b'"usage":{"prompt_tokens":20,"completion_tokens":9,"total_tokens":29}'
    chunk = (
        b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}],%b}\n\ndata: [DONE]\n\n' % usage
    )
    upstream.script(Raw(200, STREAM, (chunk,), "chunked"))
    reply = ask(gateway, "mistral/m", stream=True, stream_options={"include_usage": True})
    assert "stream_options" not in upstream.seen[0].json
    assert reply.body == chunk
    assert ledger_line(gateway, reply)["output_tokens"] == 9


def test_a_chat_client_of_a_provider_of_messages_is_counted_without_a_chunk(gateway, upstream):
    upstream.script(ANSWER)
    reply = ask(gateway, "anthropic/messages", stream=True)
    assert without_choices(reply) == []
    assert ledger_line(gateway, reply)["output_tokens"] == 9
