"""Thought signatures in the calls of a Chat provider, which Gemini 3 requires back.

Google's endpoint for OpenAI's SDKs sends them in ``extra_content``, and rejects an agent's next request without them
(https://ai.google.dev/gemini-api/docs/thought-signatures, earendil-works/pi#8590).
"""

import json
from typing import Any

from tests.support.client_turns import ClientInput, Setting, body, items
from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, config, provider
from tests.support.returned_answers import answer_items, calls_of
from tests.support.upstreams import JSON, STREAM, Raw, Script
from tests.support.wire_clients import ALL, path_of

SETTING = Setting(tools=("get_weather", "get_time"))
SIGNED = {"google": {"thought_signature": "c2lnbmF0dXJl"}}
CALLS = [
    {"index": 0, "id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"},
     "extra_content": SIGNED},
    {"index": 1, "id": "call_2", "type": "function", "function": {"name": "get_time", "arguments": "{}"}},
]  # fmt: skip


@serve_module
def gateway(upstream):
    entries = [
        provider(f"{name}/gemini-3-pro", f"{upstream.url}/v1", ["chat"], name=name, provider_interface="openai")
        for name in ("signed", "other")
    ]
    return config(entries)


def answer(stream: bool) -> Raw:
    choice = {"index": 0, "finish_reason": "tool_calls"}
    head = {"id": "chatcmpl-1", "created": 1, "model": "gemini-3-pro"}
    if not stream:
        message = {"role": "assistant", "content": None, "tool_calls": CALLS}
        whole = {**head, "object": "chat.completion", "choices": [{**choice, "message": message}]}
        return Raw(200, JSON, (json.dumps(whole).encode(),))
    deltas = [{"role": "assistant", "tool_calls": CALLS[:1]}, {"tool_calls": CALLS[1:]}]
    chunks = [
        {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    chunks.append({**head, "object": "chat.completion.chunk", "choices": [{**choice, "delta": {}}]})
    events = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    return Raw(200, STREAM, (*events, b"data: [DONE]\n\n"))


def ask(gateway: Gateway, client: str, model: str, history: list[Any], stream: bool) -> bytes:
    asked = {**body(client, SETTING, history, has_format=False), "model": model}
    if client == "responses":
        asked |= {"include": ["reasoning.encrypted_content"], "store": False}
    if client in ("gemini", "converse"):
        del asked["model"]
    else:
        asked["stream"] = stream
    reply = gateway.request("POST", path_of(client, model, stream=stream), asked)
    assert reply.status == 200, reply.body
    return reply.body


@each_row("stream", [True, False], ids=["stream", "whole"])
@each_row("client", [api for api in ALL if api != "chat"])
def test_the_signature_of_a_call_returns_to_its_provider_alone(gateway, upstream, client, stream):
    upstream.script(answer(stream), Script(text="Sunny."), Script(text="Sunny."))
    history = items(client, ClientInput(texts=("Weather?",)), [])
    returned = answer_items(client, ask(gateway, client, "signed", history, stream), streamed=stream)
    calls = calls_of(client, returned)
    assert [name for _, name in calls] == ["get_weather", "get_time"]
    history += [*returned, *items(client, ClientInput(texts=(), results="27 °C"), calls)]
    ask(gateway, client, "signed", history, stream)
    ask(gateway, client, "other", history, stream)
    _, second, third = (seen.json["messages"] for seen in upstream.seen)
    (turn,) = (message for message in second if message["role"] == "assistant")
    assert [call.get("extra_content") for call in turn["tool_calls"]] == [SIGNED, None]
    assert "reasoning_details" not in turn
    (turn,) = (message for message in third if message["role"] == "assistant")
    assert [call.get("extra_content") for call in turn["tool_calls"]] == [None, None]
