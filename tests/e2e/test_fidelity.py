"""Tests of losses in translations: strict mode, tool names and reasoning that a provider refuses, token counts, and the
check of live streams."""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from tests.support.apis import OLDER, question
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, complaint, config, eventually, provider
from tests.support.upstreams import JSON, PATHS, STREAM, Raw, Script, ToolCall

MODELS = {api: f"only-{api}" for api in OLDER}
LONG = "mcp__a_server_with_a_long_name__" + "a.tool_" * 10
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    entries = [provider(f"anthropic/{name}", upstream.url, [api], name=name) for api, name in MODELS.items()]
    with gateway_thread(config(entries), check_streams=True) as process:
        yield process


# Strict mode


def test_a_loss_is_reported_by_default_and_refused_in_strict_mode(gateway, upstream):
    asked = question("chat", MODELS["messages"], seed=7, logit_bias={"1": 2}, user="u-1")
    upstream.script(Script(text="fine"))
    reply = gateway.request("POST", PATHS["chat"], asked)
    assert reply.status == 200
    assert set(reply.headers["x-trigate-dropped"].split(",")) == {"seed", "logit_bias"}
    upstream.script()
    for word in ("1", "True", "on"):
        error = complaint("chat", gateway.request("POST", PATHS["chat"], asked, {"x-trigate-strict": word}), 400)
        assert error["param"] == "seed"
        assert "seed, logit_bias" in error["message"]
    plain = question("chat", MODELS["messages"])
    error = complaint("chat", gateway.request("POST", PATHS["chat"], plain, {"x-trigate-strict": "yes"}), 400)
    assert error["param"] == "x-trigate-strict"
    assert upstream.seen == []


def test_one_request_can_turn_off_the_strict_mode_of_the_config(upstream):
    entry = provider("anthropic/m", upstream.url, ["messages"], name="m")
    with gateway_thread(config([entry], strict=True)) as process:
        upstream.script(Script(text="fine"))
        complaint("chat", process.request("POST", PATHS["chat"], question("chat", "m", seed=7)), 400)
        reply = process.request("POST", PATHS["chat"], question("chat", "m", seed=7), {"x-trigate-strict": "False"})
        assert reply.status == 200


# Tool names (BerriAI/litellm#13609)


def tool(api: str, name: str) -> dict[str, Any]:
    match api:
        case "chat":
            return {"type": "function", "function": {"name": name, "parameters": SCHEMA}}
        case "messages":
            return {"name": name, "input_schema": SCHEMA}
        case _:
            return {"type": "function", "name": name, "parameters": SCHEMA, "strict": False}


@each_row("stream", [True, False], ids=["stream", "whole"])
@each_row(("api", "other"), [(a, b) for a in OLDER for b in OLDER if a != b])
def test_the_client_gets_its_own_tool_name_if_providers_refuse_it(gateway, upstream, api, other, stream):
    upstream.script(Raw(500, JSON, (b"{}",)))  # the first request shows the name that the provider gets
    asked = question(api, MODELS[other], tools=[tool(api, LONG)], stream=stream)
    gateway.request("POST", PATHS[api], asked)
    sent = upstream.seen[0].json["tools"][0]
    name = sent["function"]["name"] if other == "chat" else sent["name"]
    assert len(name) <= 64
    assert "." not in name
    upstream.script(Script(calls=(ToolCall("call_1", name, '{"a":1}'),), stop="tool_calls"))
    reply = gateway.request("POST", PATHS[api], asked)
    assert reply.status == 200
    assert LONG in reply.body.decode()
    assert name not in reply.body.decode()


# Reasoning that the provider refuses (maximhq/bifrost#5892, anthropics/anthropic-sdk-python#1598)

REFUSALS = {
    "messages": b'{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: '
    b'Invalid `signature` in `thinking` block"}}',
    "responses": b'{"error":{"message":"The encrypted content for item rs_1 could not be verified.","type":'
    b'"invalid_request_error","param":null,"code":"invalid_encrypted_content"}}',
}


def with_thoughts(api: str) -> dict[str, Any]:
    if api == "messages":
        thought = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
        turns = [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [thought, {"type": "text", "text": "ho"}]},
            {"role": "user", "content": "again"},
        ]
        return question(api, MODELS[api]) | {"messages": turns}
    items = [
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"role": "assistant", "content": "ho"},
        {"role": "user", "content": "again"},
    ]
    return question(api, MODELS[api]) | {"input": items}


@each_row(("stream", "api"), product([True, False], REFUSALS))
def test_a_request_with_refused_reasoning_is_retried_without_it(gateway, upstream, api, stream):
    upstream.script(Raw(400, JSON, (REFUSALS[api],)), Script(text="fine"))
    reply = gateway.request("POST", PATHS[api], with_thoughts(api) | {"stream": stream})
    assert reply.status == 200
    assert reply.headers["x-trigate-attempts"] == "2"
    assert reply.headers["x-trigate-dropped"] == ("messages[].content[]" if api == "messages" else "input[]")
    first, second = upstream.seen
    assert b"c2ln" in first.body or b"gAAA" in first.body
    assert b"c2ln" not in second.body
    assert b"gAAA" not in second.body
    assert b"again" in second.body


NOT_STORED = (
    "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false. Try again with `store` set "
    "to true, or remove this item from your input."
)
PARTED = (
    "Item 'fc_1' of type 'function_call' was provided without its required 'reasoning' item: 'rs_1'.",
    "Item 'msg_1' of type 'message' was provided without its required 'reasoning' item: 'rs_1'.",
    "Item 'rs_1' of type 'reasoning' was provided without its required following item.",
    "Duplicate item found with id msg_1. Remove duplicate items from your input and try again.",
    "The encrypted content for item rs_1 could not be verified. Reason: Encrypted content could not be decrypted.",
    NOT_STORED,
    "Invalid 'input[2].id': '019f629b-43ee'. Expected an ID that begins with 'msg'.",
)
"""OpenAI links the ids of items. Clients that drop, move or repeat one lose the conversation (cline/cline#12242,
continuedev/continue#12736, mastra-ai/mastra#11090, openai/openai-agents-python#2503, vercel/ai#7883). It also rejects
ids that it has not stored (can1357/oh-my-pi#41, anomalyco/opencode#8987) or made (openai/codex#33176)."""


@each_row("has_reasoning", [True, False])
@each_row("message", PARTED)
def test_items_that_are_refused_without_each_other_are_sent_without_links(gateway, upstream, message, has_reasoning):
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    text = {"type": "output_text", "text": "ho", "annotations": []}
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}
    rest = [
        {"role": "user", "content": "hi"},
        search,
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]},
        call,
        {"type": "function_call_output", "id": "fco_1", "call_id": "call_1", "output": "1"},
    ]
    items = [rest[0], reasoning, *rest[1:]] if has_reasoning else rest
    refusal = {"error": {"message": message, "type": "invalid_request_error", "param": "input", "code": None}}
    status = 404 if message == NOT_STORED else 400
    upstream.script(Raw(status, JSON, (json.dumps(refusal).encode(),)), Script(text="fine"))
    body = question("responses", MODELS["responses"]) | {"input": items, "store": False}
    reply = gateway.request("POST", PATHS["responses"], body)
    assert (reply.status, reply.headers["x-trigate-attempts"]) == (200, "2")
    assert reply.headers["x-trigate-dropped"] == ("input[],input[].id" if has_reasoning else "input[].id")
    linked = ("message", "function_call")
    unlinked = [{n: v for n, v in item.items() if n != "id" or item.get("type") not in linked} for item in rest]
    assert json.loads(upstream.seen[1].body)["input"] == unlinked


@pytest.mark.parametrize("client", ["chat", "responses"])
def test_sealed_reasoning_that_is_refused_is_left_out_too(gateway, upstream, client):
    upstream.script(Script(thinking="hm", seal="c2ln", text="ho"))
    answer = gateway.request("POST", PATHS[client], question(client, MODELS["messages"])).json
    if client == "chat":
        history = {"messages": [{"role": "user", "content": "hi"}, answer["choices"][0]["message"],
                                {"role": "user", "content": "again"}]}  # fmt: skip
    else:
        history = {
            "input": [{"role": "user", "content": "hi"}, *answer["output"], {"role": "user", "content": "again"}]
        }
    upstream.script(Raw(400, JSON, (REFUSALS["messages"],)), Script(text="fine"))
    reply = gateway.request("POST", PATHS[client], question(client, MODELS["messages"]) | history)
    assert reply.status == 200
    assert b"c2ln" in upstream.seen[0].body
    assert b"c2ln" not in upstream.seen[1].body


# Counts: a 404 makes Claude Code send a paid request for each, and a 0 stops its compaction (Wei-Shaw/sub2api#657,
# BerriAI/litellm#13252, #37102, router-for-me/CLIProxyAPI#679)

COUNT = "/v1/messages/count_tokens"


def count(gateway: Gateway, model: str, path: str = COUNT):
    asked = {"model": model, "messages": [{"role": "user", "content": "hello " * 100}], "tools": []}
    return gateway.request("POST", path, asked, {"anthropic-beta": "x-1"})


def test_a_provider_with_token_counting_is_used(gateway, upstream):
    upstream.script(Raw(200, JSON, (b'{"input_tokens":123}',)))
    reply = count(gateway, MODELS["messages"], f"{COUNT}?beta=true")
    assert (reply.status, reply.json) == (200, {"input_tokens": 123})
    assert "x-trigate-estimated" not in reply.headers
    (seen,) = upstream.seen
    assert (seen.path, seen.query, seen.header("anthropic-beta")) == (COUNT, "beta=true", "x-1")


@each_row("model", [MODELS["chat"], MODELS["responses"]])
def test_other_apis_get_an_estimate_that_is_marked(gateway, upstream, model):
    upstream.script()
    reply = count(gateway, model)
    assert reply.status == 200
    assert reply.headers["x-trigate-estimated"] == "1"
    assert 100 <= reply.json["input_tokens"] <= 400
    assert upstream.seen == []


@each_row("status", [404, 405, 501])
def test_a_messages_server_without_token_counts_causes_no_error(gateway, upstream, status):
    upstream.script(Raw(status, JSON, (b"{}",)))
    reply = count(gateway, MODELS["messages"])
    assert (reply.status, reply.headers["x-trigate-estimated"]) == (200, "1")


NO_THINKING = Raw(
    400, JSON, (b'{"error":{"type":"invalid_request_error","message":"\\"m\\" does not support thinking"}}',)
)
COUNTED = Raw(200, JSON, (b'{"input_tokens":123}',))
THINKING: dict[str, dict[str, Any]] = {
    COUNT: {"messages": [{"role": "user", "content": "hi"}], "thinking": {"type": "adaptive"}},
    "/v1/responses/input_tokens": {"input": "hi", "reasoning": {"effort": "high"}},
}


@each_row("path", THINKING)
def test_a_count_is_sent_again_without_a_rejected_member(gateway, upstream, path):
    """Claude Code showed no tokens and never compacted (anthropics/claude-code#63532)."""
    upstream.script(NO_THINKING, COUNTED, Script(text="yes"))
    asked = {"model": MODELS["messages"], **THINKING[path]}
    reply = gateway.request("POST", path, asked)
    assert (reply.status, reply.json["input_tokens"]) == (200, 123)
    assert "x-trigate-estimated" not in reply.headers
    if path == COUNT:  # the gateway learns nothing about answers from a count
        assert gateway.request("POST", "/v1/messages", {**asked, "max_tokens": 9}).status == 200
    first, second, *answers = (seen.json for seen in upstream.seen)
    assert "thinking" in first or "output_config" in first
    assert not {"thinking", "output_config"} & second.keys()
    assert all("thinking" in sent for sent in answers)


@each_row(
    "raw",
    [
        Raw(400, JSON, (b'{"error":{"type":"invalid_request_error","message":"tools.0: a mystery"}}',)),
        Raw(400, JSON, (b'{"error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8"}}',)),
        Raw(422, JSON, (b'{"detail":[{"loc":["body","x"],"msg":"no"}]}',)),
        Raw(200, JSON, (b'{"input_tokens":0}',)),
    ],
)
def test_a_count_that_a_provider_rejects_is_estimated(gateway, upstream, raw):
    upstream.script(raw)
    reply = count(gateway, MODELS["messages"])
    assert (reply.status, reply.headers["x-trigate-estimated"]) == (200, "1")
    assert reply.json["input_tokens"] > 100
    assert len(upstream.seen) == 1


def test_a_failed_count_is_an_error_in_the_clients_api(gateway, upstream):
    upstream.script(Raw(429, JSON, (b'{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}',)))
    error = complaint("messages", count(gateway, MODELS["messages"]), 429, passed=True)
    assert error["message"] == "slow"


# The check of live streams


def test_a_stream_that_breaks_its_grammar_is_logged(gateway, upstream):
    broken = (
        b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}\n\nid: 7\ndata: [DONE]\n\n'
    )
    upstream.script(Raw(200, STREAM, (broken,)))
    gateway.request("POST", PATHS["chat"], question("chat", MODELS["chat"], stream=True))
    assert eventually(lambda: [line for line in gateway.log if "the stream violates" in line])


def test_good_streams_are_not_logged(gateway, upstream):
    for api in OLDER:
        for other in OLDER:
            upstream.script(
                Script(thinking="hm", text="one two", calls=(ToolCall("call_1", "f", "{}"),), stop="tool_calls")
            )
            reply = gateway.request("POST", PATHS[api], question(api, MODELS[other], stream=True))
            request_id = reply.headers["x-request-id"]
            eventually(lambda id=request_id: any(id in line for line in gateway.log))
            assert [line for line in gateway.log if request_id in line and "the stream violates" in line] == []


@each_row("api", REFUSALS)
def test_a_second_refusal_is_not_retried(gateway, upstream, api):
    upstream.script(*[Raw(400, JSON, (REFUSALS[api],))] * 3)
    complaint(api, gateway.request("POST", PATHS[api], with_thoughts(api)), 400, passed=True)
    assert len(upstream.seen) == 2
