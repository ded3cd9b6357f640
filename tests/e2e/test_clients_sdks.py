"""Tests of SDK helpers and agent frameworks on every route: the helpers run unmodified, and answers have the members
that they require."""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import anthropic
import openai
import pydantic
import pytest

from tests.support.apis import OLDER
from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, Reply, config, provider
from tests.support.upstreams import JSON, PATHS, Raw, Script, Tokens, ToolCall, Upstream

CALLS = (ToolCall("call_1", "get", '{"a": 1}'), ToolCall("call_2", "get", '{"a": 2}'))
ANSWER = Script(text="Two calls.", calls=CALLS, stop="tool_calls", tokens=Tokens(prompt=30, cache_read=10, output=7))
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


class City(pydantic.BaseModel):
    name: str
    people: int


PARIS = Script(text='{"name": "Paris", "people": 2000000}')


@serve_module
def gateway(upstream):
    entries = [
        provider("openai/gpt-4o", upstream.url, ["chat"], name="chat"),
        provider("anthropic/claude-sonnet-4-5", upstream.url, ["messages"], name="messages"),
        provider("openai/gpt-4.1", upstream.url, ["responses"], name="responses"),
    ]
    return config(entries)


@pytest.fixture(scope="module")
def openai_sdk(gateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="any", base_url=f"{gateway.url}/v1", max_retries=0, timeout=20) as sdk:
        yield sdk


@pytest.fixture(scope="module")
def anthropic_sdk(gateway) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key="any", base_url=gateway.url, max_retries=0, timeout=20) as sdk:
        yield sdk


def request_body(api: str, model: str, **more: Any) -> dict[str, Any]:
    own: dict[str, Any] = {"input": "hi"} if api == "responses" else {"messages": [{"role": "user", "content": "hi"}]}
    function = {"name": "get", "parameters": SCHEMA, "strict": True}
    match api:
        case "chat":
            tools: list[Any] = [{"type": "function", "function": function}]
        case "messages":
            tools = [{"name": "get", "input_schema": SCHEMA}]
        case _:
            tools = [{"type": "function", **function}]
    return {"model": model, **own, "tools": tools, **({"max_tokens": 500} if api == "messages" else {}), **more}


def ask(gateway: Gateway, upstream: Upstream, api: str, model: str, script: Script, **more: Any) -> Reply:
    upstream.script(script)
    reply = gateway.request("POST", PATHS[api], request_body(api, model, **more))
    assert reply.status == 200, reply.body
    return reply


# Helpers; test_matrix.py has their streams


@each_row("model", OLDER)
def test_helpers_parse_answers_of_both_openai_apis(openai_sdk, upstream, model):
    upstream.script(PARIS, PARIS)
    talk = [{"role": "user", "content": "hi"}]
    chat = openai_sdk.chat.completions.parse(model=model, messages=talk, response_format=City)
    responses = openai_sdk.responses.parse(model=model, input="hi", text_format=City, store=False)
    assert chat.choices[0].message.parsed == responses.output_parsed == City(name="Paris", people=2000000)
    schemas = [json.dumps(seen.json) for seen in upstream.seen]
    assert all('"people"' in schema for schema in schemas)


@each_row("model", OLDER)
def test_a_response_that_is_not_whole_raises_as_it_does_with_openai(openai_sdk, upstream, model):
    """The helper then has no final response, as with OpenAI itself; the last event has all of it."""
    upstream.script(Script(text="half an ans", stop="length"))
    with openai_sdk.responses.stream(model=model, input="hi", store=False) as stream:
        events = list(stream)
        with pytest.raises(RuntimeError, match=r"response\.completed"):
            stream.get_final_response()
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.output_text == "half an ans"


# Members that frameworks read


@each_row("model", OLDER)
def test_every_chunk_has_choices_and_a_calls_first_chunk_its_id_type_and_name(gateway, upstream, model):
    """Vercel's SDK and OpenCode require this (anomalyco/opencode#1298, #30580, vercel/ai#7417, #9579)."""
    reply = ask(gateway, upstream, "chat", model, ANSWER, stream=True)
    chunks = [data for _, data in reply.events()[:-1]]
    assert reply.events()[-1][1] == "[DONE]"
    assert all(isinstance(chunk["choices"], list) for chunk in chunks)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    fragments = [f for c in chunks for choice in c["choices"] for f in choice["delta"].get("tool_calls") or ()]
    firsts = {}
    for fragment in fragments:
        firsts.setdefault(fragment["index"], fragment)
    assert sorted(firsts) == [0, 1]
    assert [(f["id"], f["type"], f["function"]["name"]) for f in firsts.values()] == [
        ("call_1", "function", "get"), ("call_2", "function", "get"),
    ]  # fmt: skip
    finishes = [choice["finish_reason"] for c in chunks for choice in c["choices"] if choice["finish_reason"]]
    assert finishes == ["tool_calls"]


def whole_numbers(usage: Any) -> bool:
    if isinstance(usage, dict):
        return all(whole_numbers(value) for value in usage.values())
    return isinstance(usage, int) and not isinstance(usage, bool)


@each_row(("stream", "model"), product([True, False], OLDER))
def test_all_usage_is_whole_numbers(gateway, upstream, model, stream):
    """(openai/openai-agents-python#760, #2190)"""
    chat = ask(gateway, upstream, "chat", model, ANSWER, stream=stream, **(
        {"stream_options": {"include_usage": True}} if stream else {}))  # fmt: skip
    usage = next(d["usage"] for _, d in chat.events() if d != "[DONE]" and d.get("usage")) if stream else (
        chat.json["usage"])  # fmt: skip
    assert whole_numbers(usage)
    responses = ask(gateway, upstream, "responses", model, ANSWER, stream=stream, store=False)
    answer = responses.events()[-1][1]["response"] if stream else responses.json
    assert whole_numbers(answer["usage"])
    assert {"cached_tokens"} <= set(answer["usage"]["input_tokens_details"])
    assert {"reasoning_tokens"} <= set(answer["usage"]["output_tokens_details"])


@each_row("model", OLDER)
def test_content_is_null_with_calls_and_calls_are_absent_without_any(gateway, upstream, model):
    """(langchain-ai/langchain#34807)"""
    called = Script(calls=CALLS[:1], stop="tool_calls")
    message = ask(gateway, upstream, "chat", model, called).json["choices"][0]["message"]
    assert message["content"] is None
    assert "content" in message
    message = ask(gateway, upstream, "chat", model, Script(text="no calls")).json["choices"][0]["message"]
    assert "tool_calls" not in message


@each_row("model", OLDER)
def test_the_start_and_the_end_of_a_message_both_count_its_input(gateway, upstream, model):
    """langchain-anthropic only reads the end, and others only read the start."""
    events = [data for _, data in ask(gateway, upstream, "messages", model, ANSWER, stream=True).events()]
    start = next(event for event in events if event["type"] == "message_start")["message"]["usage"]
    end = next(event for event in events if event["type"] == "message_delta")["usage"]
    assert start["input_tokens"] > 0
    assert (end["input_tokens"], end["output_tokens"]) == (20, 7)


@each_row(("model", "api"), product(OLDER, OLDER))
def test_an_errors_message_is_a_text_in_the_clients_shape(gateway, upstream, api, model):
    """The provider's own form does not matter: its code may be a number, or its error a text."""
    upstream.script(Raw(400, JSON, (b'{"error":"no such thing","code":400}',)))
    reply = gateway.request("POST", PATHS[api], request_body(api, model))
    assert reply.status == 400
    error = reply.json["error"]
    assert error["message"] == "no such thing"
    assert error["type"] == "invalid_request_error"
    assert error.get("code") is None


# OpenCode


def test_cache_marks_are_removed_for_providers_that_refuse_them(gateway, upstream):
    """OpenCode adds them for model names with ``claude``, and OpenAI does not know them."""
    marked = {"role": "user", "content": "hi", "cache_control": {"type": "ephemeral"}}
    body = request_body("chat", "chat", messages=[{"role": "system", "content": "s", "cache_control": {}}, marked])
    refusal = {"message": "Unknown parameter: 'messages[0].cache_control'.", "type": "invalid_request_error",
               "param": "messages[0].cache_control", "code": "unknown_parameter"}  # fmt: skip
    json_type = JSON
    upstream.script(Raw(400, json_type, (json.dumps({"error": refusal}).encode(),)), Script(text="ok"))
    reply = gateway.request("POST", PATHS["chat"], body)
    assert (reply.status, reply.headers["x-trigate-dropped"]) == (200, "messages[].cache_control")
    assert [set(message) for message in upstream.seen[1].json["messages"]] == [{"role", "content"}] * 2
