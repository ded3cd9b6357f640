"""Tool calls of servers that differ from OpenAI, in answers that pass unchanged: the SDK builds the calls that were
meant, and nothing else is changed."""

import json
from typing import Any

import httpx2
import openai

from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, config, eventually, exchanges, provider
from tests.support.upstreams import JSON, STREAM, Raw

TOOLS: Any = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in "fg"]
MESSAGES: Any = [{"role": "user", "content": "hi"}]


@serve_module
def gateway(upstream):
    entries = [
        provider("ollama/m", upstream.url, ["chat"], name="repaired"),
        provider("ollama/m", upstream.url, ["chat"], name="unrepaired", repair=False),
    ]
    return config(entries)


def fragment(name: str | None, arguments: Any, **members: Any) -> dict[str, Any]:
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {**members, "type": "function", "function": function}


def stream_of(*deltas: list[dict[str, Any]]) -> bytes:
    choices = [{"index": 0, "delta": {"tool_calls": calls}, "finish_reason": None} for calls in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    events = [b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n" for choice in choices]
    return b"".join([*events, b"data: [DONE]\n\n"])


GOOD = stream_of(
    [fragment("f", "", index=0, id="a")],
    [{"index": 0, "function": {"arguments": '{"x": 1}'}}],
    [fragment("g", "{}", index=1, id="b")],
)

FAULTS = {
    "one number for all calls": stream_of(  # vercel/ai#14277
        [fragment("f", '{"x": 1}', index=0, id="a")], [fragment("g", "{}", index=0, id="b")]
    ),
    "no number": stream_of(  # openai/openai-python#2806
        [fragment("f", '{"x": ', id="a")], [{"function": {"arguments": "1}"}}], [fragment("g", "{}", id="b")]
    ),
    "numbers from 1": stream_of(
        [fragment("f", '{"x": 1}', index=1, id="a")], [fragment("g", "{}", index=2, id="b")]
    ),
    "id and name in each fragment": stream_of(  # SillyTavern/SillyTavern#5948, NousResearch/hermes-agent#12230
        [fragment("f", '{"x": ', index=0, id="a")],
        [fragment("f", "", index=0, id="a")],
        [fragment("f", "1}", index=0, id="a")],
        [fragment("g", "{}", index=1, id="b")],
    ),
    "a name after the first arguments": stream_of(  # anomalyco/opencode#24137, anomalyco/opencode#26433
        [{"index": 0, "id": "a", "type": "function", "function": {"arguments": '{"x": '}}],
        [{"index": 0, "function": {"name": "f", "arguments": "1}"}}],
        [{"index": 1, "id": "b", "type": "function", "function": {"name": None, "arguments": ""}}],
        [{"index": 1, "function": {"name": "g"}}],
        [{"index": 1, "function": {"name": None, "arguments": "{}"}}],
    ),
    "an object as arguments": stream_of(  # ggml-org/llama.cpp#20198
        [fragment("f", {"x": 1}, index=0, id="a"), fragment("g", {}, index=1, id="b")]
    ),
}  # fmt: skip


def built_calls(gateway: Gateway, model: str) -> list[tuple[str, str, Any]]:
    http = httpx2.Client(verify=False, trust_env=False)
    with (
        openai.OpenAI(api_key="k", base_url=f"{gateway.url}/v1", max_retries=0, http_client=http) as client,
        client.chat.completions.stream(model=model, messages=MESSAGES, tools=TOOLS) as stream,
    ):
        message = stream.get_final_completion().choices[0].message
    return [(call.id, call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()]


@each_row("fault", FAULTS)
def test_an_sdk_builds_the_calls_that_were_streamed(gateway, upstream, fault):
    upstream.script(Raw(200, STREAM, (FAULTS[fault],)))
    assert built_calls(gateway, "repaired") == [("a", "f", {"x": 1}), ("b", "g", {})]
    assert eventually(lambda: [line for line in exchanges(gateway.log) if line.get("repaired")])


def test_the_first_fragment_of_each_call_has_its_name(gateway, upstream):
    """Vercel's SDK rejects any other (vercel/ai#6687)."""
    upstream.script(Raw(200, STREAM, (FAULTS["a name after the first arguments"],)))
    asked = {"model": "repaired", "messages": MESSAGES, "tools": TOOLS, "stream": True}
    events = [data for _, data in gateway.request("POST", "/v1/chat/completions", asked).events()]
    found = [call for event in events if isinstance(event, dict) for choice in event["choices"]
             for call in choice["delta"].get("tool_calls", ())]  # fmt: skip
    assert [(call.get("id"), call["function"].get("name"), call["function"]["arguments"]) for call in found] == [
        ("a", "f", '{"x": 1}'), ("b", "g", ""), (None, None, "{}"),
    ]  # fmt: skip
    assert events[-1] == "[DONE]"


def test_a_call_without_any_name_passes_at_the_end(gateway, upstream):
    nameless = {"index": 0, "id": "a", "type": "function", "function": {"arguments": "{}"}}
    upstream.script(Raw(200, STREAM, (stream_of([nameless]),)))
    asked = {"model": "repaired", "messages": MESSAGES, "tools": TOOLS, "stream": True}
    events = [data for _, data in gateway.request("POST", "/v1/chat/completions", asked).events()]
    assert [event["choices"][0]["delta"] for event in events[:-1]] == [{}, {"tool_calls": [nameless]}]


def test_calls_without_ids_get_ids(gateway, upstream):
    upstream.script(Raw(200, STREAM, (stream_of([fragment("f", "{}", index=0, id=""), fragment("g", "{}", index=1)]),)))
    (first, *_), (second, *_) = built_calls(gateway, "repaired")
    assert first
    assert second not in ("", first)


@each_row(("model", "body"), [("repaired", GOOD), *[("unrepaired", body) for body in FAULTS.values()]])
def test_the_bytes_pass_without_a_fault_or_with_repair_false(gateway, upstream, model, body):
    upstream.script(Raw(200, STREAM, (body,)))
    asked = {"model": model, "messages": MESSAGES, "stream": True}
    assert gateway.request("POST", "/v1/chat/completions", asked).body == body


def test_a_whole_answer_is_repaired(gateway, upstream):
    calls = [fragment("f", {"x": 1}, id="a"), fragment("g", "{}")]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "extra": 1.0}
    body["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]  # as OpenAI, if a call is forced
    upstream.script(Raw(200, JSON, (json.dumps(body).encode(),)))
    answer = gateway.request("POST", "/v1/chat/completions", {"model": "repaired", "messages": MESSAGES}).json
    first, second = answer["choices"][0]["message"].pop("tool_calls")
    assert (first["id"], first["function"]["arguments"]) == ("a", '{"x":1}')
    assert second["id"]
    assert "index" not in second
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["extra"] == 1.0


def test_calls_of_another_choice_are_repaired_next_to_the_text_of_the_first(gateway, upstream):
    called = stream_of([fragment("f", "{}", index=0, id="a"), fragment("g", "{}", index=0, id="b")])
    text = b'[{"index": 0, "delta": {"content": "one"}}, {"index": 1,'
    upstream.script(Raw(200, STREAM, (called.replace(b'[{"index": 0,', text, 1),)))
    asked = {"model": "repaired", "messages": MESSAGES, "tools": TOOLS, "stream": True, "n": 2}
    (_, first), *_ = gateway.request("POST", "/v1/chat/completions", asked).events()
    assert [call["index"] for call in first["choices"][1]["delta"]["tool_calls"]] == [0, 1]
