"""Tests of the demo's answers in all three APIs, as streams and whole, with tools, thinking and translation."""

import json
from collections.abc import Iterable, Iterator
from itertools import product

import pytest

from gateway.commands.demo import demo_config
from gateway.config.credentials import secrets_in
from tests.support.apis import OLDER, question
from tests.support.covering import covering_rows
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import demo_thread
from tests.support.harness import Gateway, Reply, request
from tests.support.raw_call import SUCCESS
from tests.support.raw_call import line as ledger_line
from tests.support.returned_answers import answer_items
from tests.support.upstreams import PATHS

MODELS = ("demo", "demo-chat", "demo-messages", "demo-responses", "demo-gemini", "demo-converse", "demo-interactions")
TYPED = ("demo-embedding", "demo-rerank", "demo-image", "demo-speech", "demo-transcription", "demo-moderation")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = {
    "chat": [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}],
    "messages": [{"name": "weather", "input_schema": SCHEMA}],
    "responses": [{"type": "function", "name": "weather", "parameters": SCHEMA}],
}
THINKING = {
    "chat": {"reasoning_effort": "low"},
    "messages": {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4000},
    "responses": {"reasoning": {"effort": "low", "summary": "auto"}},
}
ANSWER = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "kind": {"enum": ["good", "bad"]}, "score": {"type": "integer"}},
    "required": ["title", "kind", "score"],
    "additionalProperties": False,
}
FORMATS = {
    "chat": {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": ANSWER}}},
    "messages": {"output_config": {"format": {"type": "json_schema", "schema": ANSWER}}},
    "responses": {"text": {"format": {"type": "json_schema", "name": "answer", "schema": ANSWER}}},
}
FILLED = {"title": "Hello", "kind": "good", "score": 1}
SAID, THOUGHT, CALLED = "You said: “Hello”", "Here a real model would think", {"city": "Paris"}
ENDED = "stand-in model"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with demo_thread() as process:
        yield process


def ask(gateway: Gateway, api: str, model: str, **more: object) -> Reply:
    limit = {"max_tokens": 500} if api == "messages" else {}
    reply = request(gateway.url, "POST", PATHS[api], question(api, model, "Hello", **(limit | more)))
    assert reply.status == 200, reply.body
    assert not reply.cut
    return reply


def read(api: str, reply: Reply, stream: bool = False) -> tuple[str, str, list]:
    """Check that an answer ends with success, and return its text, thinking and tool calls."""
    assert not stream or SUCCESS[api] in reply.body
    items = answer_items(api, reply.body, streamed=stream)
    if api == "chat":
        (message,) = items
        calls = [call["function"] for call in message.get("tool_calls") or ()]
        return message["content"] or "", message.get("reasoning_content") or "", decode_calls(calls)
    items = items if api == "responses" else items[0]["content"]
    of = {kind: [item for item in items if item["type"] == kind] for kind in {item["type"] for item in items}}
    if api == "messages":
        thinking = "".join(item["thinking"] for item in of.get("thinking", ()))
        calls = [(item["name"], item["input"]) for item in of.get("tool_use", ())]
        return "".join(item["text"] for item in of.get("text", ())), thinking, calls
    text = "".join(part["text"] for item in of.get("message", ()) for part in item["content"])
    thinking = "".join(part["text"] for item in of.get("reasoning", ()) for part in item["summary"])
    return text, thinking, decode_calls(of.get("function_call", ()))


def decode_calls(calls: Iterable[dict]) -> list:
    return [(call["name"], json.loads(call["arguments"])) for call in calls]


@each_row("api, stream, model", covering_rows(OLDER, [False, True], MODELS))
def test_answers_have_text_tools_thinking_and_json(gateway, api, model, stream):
    def read_answer(**more: object) -> tuple[str, str, list]:
        return read(api, ask(gateway, api, model, stream=stream, **more), stream)

    text, *others = read_answer()
    assert SAID in text
    assert others == ["", []]
    assert read_answer(tools=TOOLS[api])[2] == [("weather", CALLED)]
    text, thought, _ = read_answer(**THINKING[api])
    assert thought.startswith(THOUGHT)
    assert SAID in text
    assert json.loads(read_answer(**FORMATS[api])[0]) == FILLED


def test_no_model_and_no_key_are_needed(gateway):
    reply = request(gateway.url, "POST", PATHS["chat"], {"messages": [{"role": "user", "content": "Hello"}]})
    assert (reply.status, reply.headers["x-trigate-target"]) == (200, "demo/mock-large")


@each_row(
    ("api", "model"),
    [("messages", "claude-opus-4-8"), ("messages", "claude-haiku-4-5-20251001"), ("responses", "gpt-5.4"),
     ("chat", "gemini-2.5-pro"), ("chat", "stand-in/whatever"),
     ("messages", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"), ("chat", "amazon.nova-pro-v1:0"),
     ("chat", "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-v1:0"),
     ("responses", "llama3.2"), ("chat", "llama3.2:latest"), ("chat", "openai/gpt-4o"), ("chat", "openrouter/auto"),
     ("chat", "meta-llama/Llama-3.3-70B-Instruct"), ("chat", "qwen/qwen3-32b:free"),
     ("chat", "fireworks_ai/some-model"), ("messages", "deepseek/deepseek-chat"), ("chat", "facebook/opt-1.3b"),
     ("chat", "falcon3:10b")],
)  # fmt: skip
def test_names_of_real_models_are_answered_by_the_stand_in(gateway, api, model):
    reply = ask(gateway, api, model)
    assert reply.headers["x-trigate-target"] == f"stand-in/{model.removeprefix('stand-in/')}"
    assert ENDED in read(api, reply)[0]


@each_row(
    ("name", "works"),
    [
        ("mine", "stand-in/mine"),
        ("demo-chta", "demo-chat"),
        ("demo-chat2", "demo-chat"),
        ("falt/429", "fault/429"),
        ("fault-429", "stand-in/fault-429"),
        ("fault/rate-limited", "fault/rate_limited"),
        ("fault-messages/rate-limited", "fault/rate_limited"),
        ("demo/mock", "demo/mock-large"),
    ],
)
def test_an_unknown_name_returns_404_with_a_name_that_works(gateway, name, works):
    asked = {"model": name, "messages": [{"role": "user", "content": "Hello"}]}
    reply = request(gateway.url, "POST", PATHS["chat"], asked)
    assert reply.status == 404
    assert works in reply.json["error"]["message"]
    assert f"fault/{name}" not in reply.json["error"]["message"]


def test_no_text_of_the_demo_is_masked_as_its_key(gateway):
    said = [ask(gateway, "messages", model, stream=stream).body for model in MODELS for stream in (False, True)]
    keys = secrets_in(demo_config("http://127.0.0.1"))
    assert keys
    assert [key for key in keys if any(key.encode() in body for body in said)] == []


@needs_feature("model_lists")
def test_the_models_are_listed(gateway):
    listed = request(gateway.url, "GET", "/v1/models").json["data"]
    assert [model["id"] for model in listed] == [*MODELS, *TYPED]
    assert [f"demo-{model['type']}" for model in listed[len(MODELS) :]] == list(TYPED)
    assert request(gateway.url, "GET", "/v1/audio/models").json == {"models": [{"id": "demo-speech"}]}


@each_row(("api", "stream"), product(OLDER, [False, True]))
def test_a_newcomer_sees_prices_and_the_cause_of_a_miss(gateway, api, stream):
    lines, model = [], f"demo-{api}"
    for at in ("9:00", "9:00", "9:01"):
        body = question(api, model, "Hello", stream=stream, **({"max_tokens": 500} if api == "messages" else {}))
        text = f"It is {at}. {' '.join(map(str, range(1000 * stream, 4000)))}"
        if api == "chat":
            body["messages"].insert(0, {"role": "system", "content": text})
        else:
            body["system" if api == "messages" else "instructions"] = text
        reply = request(gateway.url, "POST", PATHS[api], body)
        lines.append(ledger_line(gateway, reply.headers["x-request-id"]))
    assert [line["cached_tokens"] > 2000 for line in lines] == [False, True, False]
    assert lines[1]["cost_usd"] < lines[0]["cost_usd"] == lines[2]["cost_usd"]
    assert (lines[2]["prompt_cache_cause"], lines[2]["prompt_cache_usd"] > 0) == ("system", True)
