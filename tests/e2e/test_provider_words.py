"""Providers' own words for the end of an answer and for its model, at clients of every API and in the log.

Source: ``FinishReason`` and ``InteractionStatus`` of google-genai, ``BetaFallbackBlock`` and
``BetaFallbackMessageIterationUsage`` of anthropic.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import interactions_answers as interactions
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, eventually, exchanges, provider
from tests.support.upstreams import JSON, STREAM, Raw
from tests.support.wire_clients import ALL, body_of, events_of, path_of, text_of

LENGTH = {"chat": "length", "messages": "max_tokens", "responses": "incomplete", "gemini": "MAX_TOKENS",
          "converse": "max_tokens", "interactions": "incomplete"}  # fmt: skip
REFUSAL = {"chat": "content_filter", "messages": "refusal", "responses": "incomplete", "gemini": "ESCALATION",
           "converse": "content_filtered", "interactions": "incomplete"}  # fmt: skip
OPUS, HAIKU = "claude-opus-5", "claude-haiku-5-5"


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    entries = [
        provider("gemini/gemini-4-argon", upstream.url, ["gemini"], name="gemini-m"),
        provider(f"anthropic/{OPUS}", upstream.url, ["messages"], name="opus"),
        provider("gemini/gemini-4-argon", upstream.url, ["interactions"], name="interactions-m", key="sk-other"),
    ]
    with gateway_thread(config(entries)) as process:
        yield process


def ask(gateway: Gateway, client: str, model: str, *, stream: bool) -> tuple[Any, dict[str, Any]]:
    """Return the response and its log line."""
    reply = gateway.request("POST", path_of(client, model, stream=stream), body_of(client, model, stream=stream))
    id = reply.headers["x-request-id"]
    eventually(lambda: exchanges(gateway.log, id), what="the log line")
    return reply, exchanges(gateway.log, id)[0]


def end_of(client: str, body: bytes, *, stream: bool) -> str | None:
    """Return the word for the end in a client's response."""
    found = None
    for event in events_of(client, body) if stream else [json.loads(body)]:
        match client:
            case "chat":
                word = next((choice.get("finish_reason") for choice in event.get("choices", ())), None)
            case "messages":
                word = (event.get("delta") or event).get("stop_reason")
            case "responses":
                word = (event.get("response") or event).get("status")
            case "gemini":
                word = next((one.get("finishReason") for one in event.get("candidates", ())), None)
            case "interactions":
                word = event.get("interaction", event).get("status")
            case _:
                word = (event.get("messageStop") or event).get("stopReason")
        found = word or found
    return found


def gemini_answer(stream: bool, **candidate: Any) -> Raw:
    chunk = {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}, "index": 0, **candidate}],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 1, "totalTokenCount": 6},
    }
    body = json.dumps(chunk).encode()
    return Raw(200, STREAM, (b"data: " + body + b"\n\n",), "chunked") if stream else Raw(200, JSON, (body,))


@pytest.mark.sample(5, by="turns")
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("client", ALL)
def test_a_continued_answer_of_gemini_is_incomplete(gateway, upstream, client, stream):
    for word in ("CONTINUATION", "STOP"):
        upstream.script(gemini_answer(stream, finishReason=word, continuationToken="dG9rZW4="))
        reply, line = ask(gateway, client, "gemini-m", stream=stream)
        own = word if client == "gemini" else LENGTH[client]
        assert (reply.status, text_of(client, reply.body, stream=stream)) == (200, "Hello")
        assert (end_of(client, reply.body, stream=stream), line["reason"]) == (own, "length")
        assert line.get("provider_reason") == ("CONTINUATION" if word == "CONTINUATION" else None)


@pytest.mark.sample(5, by="turns")
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("client", ALL)
def test_an_escalation_of_gemini_is_a_refusal(gateway, upstream, client, stream):
    upstream.script(gemini_answer(stream, finishReason="ESCALATION"))
    reply, line = ask(gateway, client, "gemini-m", stream=stream)
    assert (end_of(client, reply.body, stream=stream), line["reason"]) == (REFUSAL[client], "refusal")
    assert line["provider_reason"] == "ESCALATION"


@pytest.mark.sample(5, by="turns")
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("client", [client for client in ALL if client != "gemini"])
def test_a_limited_account_at_google_is_an_error(gateway, upstream, client, stream):
    upstream.script(gemini_answer(stream, finishReason="PUP_LIMITED_DISABLED"))
    reply, line = ask(gateway, client, "gemini-m", stream=stream)
    assert (reply.status, line["ended"]) == (502, "upstream_error")
    assert b"limited or disabled" in reply.body


@pytest.mark.sample(2)
@pytest.mark.parametrize("client", ALL)
def test_an_unknown_word_is_in_the_log(gateway, upstream, client):
    upstream.script(gemini_answer(True, finishReason="SOMETHING_NEW"))
    _, line = ask(gateway, client, "gemini-m", stream=True)
    assert (line["reason"], line["provider_reason"]) == ("stop", "SOMETHING_NEW")


@pytest.mark.sample(5, by="turns")
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("client", ALL)
def test_an_unfinished_interaction_is_incomplete(gateway, upstream, client, stream):
    """N12: only the client of this API gets Google's word."""
    for word in ("incomplete", "budget_exceeded", "requires_continuation"):
        text = interactions.piece(0, type="text", text="Hello")
        events = interactions.stream(interactions.begin(0), text, interactions.stop(0), status=word)
        whole = interactions.interaction(interactions.text_step("Hello"), status=word)
        upstream.script(Raw(200, STREAM, (b"".join(events),), "chunked") if stream else Raw(200, JSON, (whole,)))
        reply, line = ask(gateway, client, "interactions-m", stream=stream)
        own = word if client == "interactions" else LENGTH[client]
        assert (reply.status, text_of(client, reply.body, stream=stream)) == (200, "Hello")
        assert (end_of(client, reply.body, stream=stream), line["reason"]) == (own, "length")
        assert line["provider_reason"] == word


def step(kind: str, model: str, output: int) -> dict[str, Any]:
    counts = {"input_tokens": 100, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {"type": kind, "model": model, "output_tokens": output, **counts}


MESSAGE: dict[str, Any] = {
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
"""An answer that the second model gave after the first one had declined."""


def fallback_answer(stream: bool) -> Raw:
    if not stream:
        return Raw(200, JSON, (json.dumps(MESSAGE).encode(),))
    start = {**MESSAGE, "content": [], "stop_reason": None, "usage": {"input_tokens": 100, "output_tokens": 1}}
    block, text = MESSAGE["content"]
    events = [
        {"type": "message_start", "message": start},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": text["text"]}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": MESSAGE["usage"]},
        {"type": "message_stop"},
    ]  # fmt: skip
    written = (f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events)
    return Raw(200, STREAM, (b"".join(written),), "chunked")


@pytest.mark.sample(5, by="turns")
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("client", ALL)
def test_a_fallback_of_the_provider_is_logged_and_priced_by_model(gateway, upstream, client, stream):
    upstream.script(fallback_answer(stream))
    reply, line = ask(gateway, client, "opus", stream=stream)
    assert (reply.status, text_of(client, reply.body, stream=stream)) == (200, "Hello")
    assert (line["served_model"], line["attempts"]) == (HAIKU, 1)
    cost = (100 * 5 + 3 * 25 + 100 * 0.1 + 7 * 0.5) / 1e6  # dollars for a million tokens of either model
    assert (line["cost_usd"], line["cost_grade"]) == (pytest.approx(cost), "exact")
