"""Tests of Responses over a websocket in the byte lane: Codex and a provider of Responses exchange the same requests
and events as over HTTP."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.features import needs_feature
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, config, eventually, provider
from tests.support.upstreams import STREAM, Raw, Script
from tests.support.websocket_client import Client

pytestmark = needs_feature("responses_websocket")

ASKED = {
    "instructions": "You are Codex.", "tools": [], "tool_choice": "auto", "parallel_tool_calls": True, "store": False,
    "reasoning": {"effort": "high", "summary": "auto", "context": "auto"}, "include": ["reasoning.encrypted_content"],
    "client_metadata": {"session": "s"}, "prompt_cache_key": "k",
}  # fmt: skip
"""A request with the members of Codex 0.169; other APIs lack some of them."""

ACCOUNT = {"authorization": "Bearer eyJlogin.x.y", "chatgpt-account-id": "acc-1", "originator": "codex_exec"}
SEALED = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA", "content": None}
BARE = {"type": "reasoning", "id": "rs_2", "summary": []}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": "{}", "status": "done"}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "fur"}


@serve_module
def gateway(upstream):
    entries = [
        *(provider(f"openai/on-{api}", upstream.url, [api]) for api in ("chat", "messages", "responses")),
        provider("chatgpt/*", f"{upstream.url}/v1", ["responses"], passthrough_auth=True, key=""),
    ]
    aliases = {"either": {"targets": ["on-responses", "on-chat"]}}
    return config(entries, model_aliases=aliases, version="v0.4.0")


@pytest.fixture
def client(gateway) -> Iterator[Client]:
    with Client.connect(gateway.port, ACCOUNT) as own:
        yield own


def events(*items: dict[str, Any], id: str = "resp_p1", repeats: bool = True) -> Raw:
    """Return a stream of ``items``; if ``repeats``, its last event has them, too. ChatGPT's backend omits them."""
    response = {"id": id, "object": "response", "created_at": 1, "model": "m", "status": "in_progress", "output": []}
    usage = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
    ended = {**response, "status": "completed", "output": list(items) if repeats else [], "usage": usage}
    found: list[dict[str, Any]] = [{"type": "response.created", "response": response}]
    for place, item in enumerate(items):
        found.append({"type": "response.output_item.added", "output_index": place, "item": item})
        found.append({"type": "response.output_item.done", "output_index": place, "item": item})
    found.append({"type": "response.completed", "response": ended})
    text = "".join(
        f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': place})}\n\n"
        for place, event in enumerate(found)
    )
    return Raw(200, STREAM, (text.encode(),))


def parse_events(raw: Raw) -> list[dict[str, Any]]:
    lines = b"".join(raw.pieces).decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def last_line(gateway: Gateway, model: str) -> dict[str, Any]:
    def lines() -> list[dict[str, Any]]:
        found = [json.loads(one) for one in gateway.log if '"event":"exchange"' in one]
        return [one for one in found if one["model"] == model]

    return eventually(lines, what="the line")[-1]


@pytest.mark.parametrize("model", ["on-responses", "chatgpt/gpt-5-codex", "either"])
def test_the_providers_own_api_gets_every_member_and_its_events_come_back(gateway, client, upstream, model):
    answer = events(SEALED, CALL)
    upstream.script(answer)
    frames = client.ask(model, "hi", **ASKED)
    assert upstream.seen[0].json == {
        "model": upstream.seen[0].json["model"], "input": "hi", **ASKED, "stream": True
    }  # fmt: skip
    first = frames[0].pop("headers")
    assert first["x-trigate-lane"] == "byte"
    assert "x-trigate-dropped" not in first
    assert frames == parse_events(answer)
    line = last_line(gateway, model)
    assert line["lane"] == "byte"
    assert "dropped" not in line


def test_the_headers_of_a_login_reach_the_provider(client, upstream):
    upstream.script(events(CALL))
    client.ask("chatgpt/gpt-5-codex", "hi", **ASKED)
    (seen,) = upstream.seen
    assert {name: seen.header(name) for name in ACCOUNT} == ACCOUNT


def test_the_headers_of_a_login_reach_the_provider_of_a_translated_turn(gateway, upstream):
    upstream.script(Script(text="ok"))
    body = {"model": "chatgpt/gpt-5-codex", "input": "hi"}
    assert gateway.request("POST", "/v1/responses", body, ACCOUNT).status == 200
    (seen,) = upstream.seen
    assert (seen.header("authorization"), seen.header("chatgpt-account-id")) == (ACCOUNT["authorization"], "acc-1")


@pytest.mark.parametrize("repeats", [True, False])
def test_a_turn_continues_with_the_whole_conversation(client, upstream, repeats):
    upstream.script(events(SEALED, CALL, repeats=repeats), events(CALL, id="resp_p2"), Script(text="bye"))
    question = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "look"}]}
    client.ask("on-responses", [question], **ASKED)
    client.ask("on-responses", [RESULT], previous_response_id="resp_p1", **ASKED)
    client.ask("on-responses", "thanks", previous_response_id="resp_p2", **ASKED)
    second, third = (seen.json for seen in upstream.seen[1:])
    assert second["input"] == [question, SEALED, CALL, RESULT]
    assert third["input"] == [question, SEALED, CALL, RESULT, CALL, {"role": "user", "content": "thanks"}]
    assert "previous_response_id" not in second
    assert second["reasoning"] == ASKED["reasoning"]


def test_unreadable_reasoning_is_omitted_with_the_ids_that_need_it(client, upstream):
    """A provider without it returns "Item 'rs_2' not found", or reports that ``fc_1`` lacks its reasoning."""
    upstream.script(events(BARE, CALL), Script(text="bye"))
    client.ask("on-responses", "look", store=False)
    client.ask("on-responses", [RESULT], previous_response_id="resp_p1", store=False)
    plain = {name: value for name, value in CALL.items() if name != "id"}
    assert upstream.seen[1].json["input"] == [{"role": "user", "content": "look"}, plain, RESULT]


def test_a_turn_continues_at_a_provider_of_another_api(client, upstream):
    upstream.script(events(CALL), Script(text="a cat"))
    client.ask("on-responses", "look", store=False)
    frames = client.ask("on-chat", [RESULT], previous_response_id="resp_p1", store=False)
    assert frames[-1]["type"] == "response.completed"
    assert [one["role"] for one in upstream.seen[1].json["messages"]] == ["user", "assistant", "tool"]


def test_a_stored_turn_continues_from_an_unstored_one(gateway, client, upstream):
    upstream.script(events(CALL), Script(text="a cat"))
    client.ask("on-responses", "look", store=False)
    ended = client.ask("on-responses", [RESULT], previous_response_id="resp_p1")[-1]["response"]
    assert ended["store"] is False
    assert "fur" in upstream.seen[1].body.decode()


@pytest.mark.parametrize("over", ["websocket", "http"])
@pytest.mark.parametrize("model", ["on-chat", "on-messages"])
def test_a_translated_response_repeats_nothing_that_was_not_sent(gateway, client, upstream, model, over):
    look = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": False}
    asked = {**ASKED, "tools": [{"type": "file_search", "vector_store_ids": ["vs"]}, look,
                                {"type": "namespace", "name": "box", "tools": [look]}]}  # fmt: skip
    upstream.script(Script(text="ok"))
    if over == "websocket":
        frames = client.ask(model, "hi", **asked)
        dropped, ended = frames[0]["headers"]["x-trigate-dropped"], frames[-1]["response"]
    else:
        reply = gateway.request("POST", "/v1/responses", {"model": model, "input": "hi", **asked})
        dropped, ended = reply.headers["x-trigate-dropped"], reply.json
    assert {"reasoning.context", "tools[]"} <= set(dropped.split(","))
    assert [tool["type"] for tool in ended["tools"]] == ["function", "namespace"]
    assert "context" not in ended["reasoning"]
    assert ended["reasoning"]["effort"] == "high"
    assert (ended["prompt_cache_key"] is None) == ("prompt_cache_key" in dropped.split(","))
