"""Tests that answers of providers of each API and of the demo keep to the schemas of Open Responses."""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from tests.support.each_row import each_row
from tests.support.gateway_thread import demo_thread, serve_module
from tests.support.harness import Gateway, Reply, config, provider
from tests.support.harness import request as ask
from tests.support.open_responses import misfits, misfits_of_stream
from tests.support.upstreams import STREAM, Raw, Script, Tokens, ToolCall

PATH = "/v1/responses"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "name": "weather", "parameters": SCHEMA}
WEATHER = ToolCall("call_w1", "weather", '{"city": "Zürich"}')

SAID: dict[str, tuple[Script, str]] = {
    "text": (Script(text="Hello"), "completed"),
    "call": (Script(text="I look.", calls=(WEATHER,), stop="tool_calls"), "completed"),
    "reasoning": (Script(text="x", thinking="hm", seal="c2VhbA==", tokens=Tokens(reasoning=5)), "completed"),
    "cut": (Script(text="Hel", stop="length"), "incomplete"),
    "refused": (Script(text="I", stop="content_filter"), "incomplete"),
}


def check(reply: Reply, status: str) -> dict[str, Any]:
    """Check that each event of an answer is valid, and return the response object."""
    assert reply.status == 200, reply.body
    if reply.headers["content-type"] == "application/json":
        told = reply.json
    else:
        events = [event for _, event in reply.events()]
        assert misfits_of_stream(events) == []
        assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
        told = events[-1]["response"]
    assert misfits(told) == []
    assert told["status"] == status
    return told  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def demo_gateway() -> Iterator[Gateway]:
    with demo_thread() as process:
        yield process


@pytest.fixture(params=[True, False], ids=["stream", "whole"])
def stream(request) -> bool:
    return request.param


@each_row("entry", ["fault", "fault-chat", "fault-messages", "fault-responses"])
@each_row("fault", ["error-event", "no-finish", "cut-after-3", "half-an-event"])
def test_a_stream_that_fails_ends_validly(demo_gateway, entry, fault):
    body = {"model": f"{entry}/{fault}", "input": "Hello", "stream": True}
    reply = ask(demo_gateway.url, "POST", PATH, body)
    told = check(reply, "failed")
    assert told["error"]["message"]


@serve_module
def gateway(upstream):
    apis = ("chat", "messages", "responses")
    entries = [provider(f"openai/up-{api}", upstream.url, [api], name=f"on-{api}", state="ours") for api in apis]
    entries.append(provider("openai/up-passed", upstream.url, ["responses"], name="passed"))
    return config(entries)


@each_row("api, said, stream", product(["chat", "messages", "responses"], SAID.values(), [True, False]))
def test_translated_answers_are_valid(gateway, upstream, api, said, stream):
    script, status = said
    upstream.script(script)
    reply = gateway.request("POST", PATH, {"model": f"on-{api}", "input": "Hello", "stream": stream, "tools": [TOOL]})
    assert reply.headers["x-trigate-lane"] == "hub"
    told = check(reply, status)
    assert told["incomplete_details"] == (
        None if status == "completed" else {"reason": {"length": "max_output_tokens"}.get(script.stop, script.stop)}
    )
    assert told["tools"] == [{**TOOL, "description": None, "strict": False}]


@pytest.mark.parametrize("api", ["chat", "messages", "responses"])
def test_penalties_reach_providers_that_have_them(gateway, upstream, api):
    penalties = {"presence_penalty": 0.5, "frequency_penalty": -0.5}
    upstream.script(Script(text="Hello"))
    reply = gateway.request("POST", PATH, {"model": f"on-{api}", "input": "Hello", **penalties})
    told = check(reply, "completed")
    kept = dict.fromkeys(penalties, 0.0) if api == "messages" else penalties
    assert {name: told[name] for name in penalties} == kept, "a response repeats what its provider got"
    lost = set(filter(None, reply.headers.get("x-trigate-dropped", "").split(",")))
    sent = upstream.seen[0].json
    assert {name: sent[name] for name in penalties if name in sent} == ({} if api == "messages" else penalties)
    assert lost == (penalties.keys() if api == "messages" else set())


VENDORS_OWN = {"type": "acme:note", "id": "note_1", "text": "as it is"}
OPTIONS = {"continuation_id": "cont_1"}


def test_a_vendors_items_and_options_pass_to_a_provider_of_this_api(gateway, upstream):
    """The client gets those of the answer, in streams and whole answers."""
    answer = {
        "id": "resp_1", "object": "response", "status": "completed", "model": "m", "output": [VENDORS_OWN],
        "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
    }  # fmt: skip
    upstream.script(Raw(200, (("content-type", "application/json"),), (json.dumps(answer).encode(),)))
    body = {"model": "passed", "input": [VENDORS_OWN], "background_options": OPTIONS, "store": False}
    reply = gateway.request("POST", PATH, body)
    assert (reply.status, reply.headers["x-trigate-lane"], reply.json["output"]) == (200, "byte", [VENDORS_OWN])
    assert upstream.seen[0].json == {**body, "model": "up-passed"}
    added = {"type": "response.output_item.added", "output_index": 0, "item": VENDORS_OWN}
    ended = {"type": "response.completed", "response": answer}
    text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in (added, ended))
    upstream.script(Raw(200, STREAM, (text.encode(),)))
    assert gateway.request("POST", PATH, {**body, "stream": True}).body.decode() == text


@pytest.mark.parametrize("api", ["chat", "messages"])
def test_a_vendors_items_and_options_are_reported_if_they_are_dropped(gateway, upstream, api):
    upstream.script(Script(text="Hello"))
    items = [{"role": "user", "content": "hi"}, VENDORS_OWN]
    reply = gateway.request("POST", PATH, {"model": f"on-{api}", "input": items, "background_options": OPTIONS})
    assert reply.status == 200
    assert {"background_options", "input[]"} <= set(reply.headers["x-trigate-dropped"].split(","))


def test_an_output_without_its_call_is_refused_before_a_provider_request(gateway, upstream):
    output = {"type": "function_call_output", "call_id": "call_w1", "output": "27 °C"}
    upstream.script(Script(calls=(WEATHER,), stop="tool_calls"), Script(text="Warm."))
    body = {"model": "on-chat", "input": [output], "tools": [TOOL]}
    refused = gateway.request("POST", PATH, body)
    assert (refused.status, refused.json["error"]["param"]) == (400, "input[0].call_id")
    assert upstream.seen == []
    asked = gateway.request("POST", PATH, {**body, "input": "How warm is it?"}).json
    told = check(gateway.request("POST", PATH, {**body, "previous_response_id": asked["id"]}), "completed")
    assert told["output"][0]["content"][0]["text"] == "Warm."


def test_a_provider_of_this_api_states_the_owner_of_its_output(demo_gateway):
    """The stand-in refuses the request like a provider; the gateway passes the request unchanged."""
    output = {"type": "function_call_output", "call_id": "call_w1", "output": "27 °C"}
    body = {"model": "demo-responses", "input": [output], "store": False}
    reply = ask(demo_gateway.url, "POST", PATH, body)
    assert (reply.status, reply.headers["x-trigate-lane"]) == (400, "byte")
