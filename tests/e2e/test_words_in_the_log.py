"""The log has a provider's own word for the end of an answer and the model that answered, for clients of each API."""

import json
from typing import Any

import pytest

from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, Reply, config, eventually, exchanges, provider
from tests.support.upstreams import JSON, STREAM, Raw
from tests.support.wire_clients import ALL, body_of, path_of, text_of

OPUS, HAIKU = "claude-opus-5", "claude-haiku-5-5"


@serve_module
def gateway(upstream):
    entries = [
        provider("gemini/gemini-4-argon", upstream.url, ["gemini"], name="argon"),
        provider(f"anthropic/{OPUS}", upstream.url, ["messages"], name="opus"),
    ]
    return config(entries)


def ask(gateway: Gateway, client: str, model: str, *, stream: bool) -> tuple[Reply, dict[str, Any]]:
    """Return the response and its log line."""
    reply = gateway.request("POST", path_of(client, model, stream=stream), body_of(client, model, stream=stream))
    id = reply.headers["x-request-id"]
    eventually(lambda: exchanges(gateway.log, id), what="the log line")
    assert (reply.status, text_of(client, reply.body, stream=stream)) == (200, "Hello")
    return reply, exchanges(gateway.log, id)[0]


def gemini_answer(word: str, *, stream: bool) -> Raw:
    candidate = {"content": {"role": "model", "parts": [{"text": "Hello"}]}, "index": 0, "finishReason": word}
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 1, "totalTokenCount": 6}
    body = json.dumps({"candidates": [candidate], "usageMetadata": usage}).encode()
    return Raw(200, STREAM, (b"data: " + body + b"\n\n",), "chunked") if stream else Raw(200, JSON, (body,))


@each_row("stream", [True, False], ids=["stream", "whole"])
@each_row("client", ALL)
def test_the_log_has_a_word_that_the_reason_does_not_state(gateway, upstream, client, stream):
    for word, reason, own in [
        ("STOP", "stop", None),
        ("CONTINUATION", "length", "CONTINUATION"),
        ("ESCALATION", "refusal", "ESCALATION"),
        ("SOMETHING_NEW", "stop", "SOMETHING_NEW"),
    ]:
        upstream.script(gemini_answer(word, stream=stream))
        reply, line = ask(gateway, client, "argon", stream=stream)
        assert (line["reason"], line.get("provider_reason")) == (reason, own)
        unknown = word if word == "SOMETHING_NEW" and not stream else None
        assert reply.headers.get("x-trigate-unknown-end") == unknown


@each_row("client", ALL)
def test_the_log_has_the_model_to_which_the_provider_fell_back(gateway, upstream, client):
    upstream.script(Raw(200, JSON, (json.dumps(FALLBACK).encode(),)))
    _, line = ask(gateway, client, "opus", stream=False)
    assert (line["served_model"], line["attempts"]) == (HAIKU, 1)
    cost = (100 * 5 + 3 * 25 + 100 * 0.1 + 7 * 0.5) / 1e6  # dollars for a million tokens of either model
    assert (line["cost_usd"], line["cost_grade"]) == (pytest.approx(cost), "exact")


def step(kind: str, model: str, output: int) -> dict[str, Any]:
    counts = {"input_tokens": 100, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {"type": kind, "model": model, "output_tokens": output, **counts}


FALLBACK: dict[str, Any] = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": HAIKU, "stop_reason": "end_turn",
    "stop_sequence": None,
    "content": [
        {"type": "fallback", "from": {"model": OPUS}, "to": {"model": HAIKU},
         "trigger": {"type": "refusal", "category": "cyber"}},
        {"type": "text", "text": "Hello"},
    ],
    "usage": {"input_tokens": 100, "output_tokens": 7,
              "iterations": [step("message", OPUS, 3), step("fallback_message", HAIKU, 7)]},
}  # fmt: skip
