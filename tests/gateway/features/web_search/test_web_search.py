"""Searches by the gateway, between clients of each API and a model whose provider has no search."""

import base64
import gc
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import trio

from configfile.document import ConfigError
from gateway.config_files.loading import from_mapping
from gateway.features.web_search.origin import SearchOrigin
from gateway.features.web_search.services import Domains
from gateway.stores.memory import MemoryStore
from tests.support.bare_provider import listening, read_request, response
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.harness import PATIENCE, ROOT
from tests.support.live_objects import live_objects
from tests.support.scripts import Script, Tokens, ToolCall
from tests.support.step_gateway import SIGNING_KEY
from tests.support.web_search import (
    PAGES,
    PlayedModel,
    PlayedService,
    Searched,
    answering,
    entry,
    search_gateway,
    searching,
)
from tests.support.wire_clients import text_of

QUESTION = "What is new?"
USER = [{"role": "user", "content": QUESTION}]
ANTHROPIC = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": USER, "web_search_options": {}}),
    "messages": ("/v1/messages", {"max_tokens": 99, "messages": USER, "tools": [ANTHROPIC],
                                  "tool_choice": {"type": "tool", "name": "web_search"}}),
    "responses": ("/v1/responses", {"input": QUESTION, "tools": [{"type": "web_search"}], "store": False}),
    "gemini": ("/v1beta/models/m:generateContent", {
        "contents": [{"role": "user", "parts": [{"text": QUESTION}]}], "tools": [{"google_search": {}}]}),
    "converse": ("/model/m/converse", {
        "messages": [{"role": "user", "content": [{"text": QUESTION}]}],
        "toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}}),
    "interactions": ("/v1beta/interactions", {
        "input": QUESTION, "tools": [{"type": "google_search"}], "store": False}),
}  # fmt: skip


async def ask(stage: Searched, api: str, *, stream: bool = False, **more: Any) -> httpx2.Response:
    path, body = REQUESTS[api]
    if api in ("gemini", "converse"):
        path = path.replace("generateContent", "streamGenerateContent?alt=sse") if stream else path
        path = path + "-stream" if stream and api == "converse" else path
        return await stage.gate.post(path, json={**body, **more})
    return await stage.gate.post(path, json={"model": "m", **body, "stream": stream, **more})


def events(answer: httpx2.Response) -> list[Any]:
    found = (line[5:].strip() for line in answer.text.splitlines() if line.startswith("data:"))
    return [json.loads(one) for one in found if one != "[DONE]"]


def shown_text(answer: httpx2.Response) -> str:
    """Return the texts of an answer in Messages, whole or streamed."""
    if answer.headers["content-type"].startswith("application/json"):
        return "".join(one.get("text", "") for one in answer.json()["content"])
    return "".join(one["delta"].get("text", "") for one in events(answer) if one["type"] == "content_block_delta")


@each_row("stream", [False, True])
@each_row("api", [*REQUESTS])
async def test_clients_of_each_api_get_the_search_in_its_form(api, stream):
    """BerriAI/litellm#31902, #29649, #25242"""
    async with search_gateway(searching("trio 7"), answering()) as stage:
        answer = await ask(stage, api, stream=stream)
        assert (answer.status_code, len(stage.service.asked)) == (200, 1), answer.text
        assert stage.service.asked[0]["q"] == "trio 7"
        text = answer.content.decode("utf-8", "replace")
        assert "It is [7](https://docs.example.com/7)." in text.replace('"}}\n', "") or stream
        marks = {
            "chat": ("url_citation", "Version 7"), "messages": (
                "server_tool_use", "web_search_tool_result", "trio 7", "web_search_result_location"),
            "responses": ("web_search_call", '"sources"', "url_citation"),
            "gemini": ('"webSearchQueries":["trio 7"]', "groundingSupports", "Version 7"),
            "converse": ("citation", "docs.example.com"),
            "interactions": ("google_search_call", "google_search_result"),
        }[api]  # fmt: skip
        assert all(mark in text for mark in marks), text
        assert '"name":"web_search","arguments"' not in text, "the model's own call is not the client's"

        first, second = stage.model.bodies
        (function,) = first["tools"]
        assert function["function"]["name"] == "web_search"
        *_, call, result = second["messages"]
        assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {"query": "trio 7"}
        assert result["role"] == "tool", result
        assert "Seven came out in May." in result["content"], result
        assert "https://docs.example.com/7" in result["content"], result

        (line,) = await stage.lines.next()
        assert (line["input_tokens"], line["output_tokens"], line["units"]) == (300, 30, {"search": 1}), line
        assert [one["target"] for one in line["tried"]] == ["m", "web_search", "m"], line
        assert (round(line["cost_usd"], 9), line["cost_grade"]) == (0.0056, "exact"), line
        assert (line["attempts"], line["ended"], line["usage_complete"]) == (2, "complete", True), line
        assert "dropped" not in line, line


SEVEN = PAGES[0]["url"]


@pytest.mark.parametrize(("text", "linked"), [
    ("It is seven.", []), (f"See {SEVEN}7.", []), (f"See {SEVEN}.", [SEVEN]),
    (f"([docs]({SEVEN})), [7]({SEVEN})", [SEVEN]),
    (f"<{SEVEN}> and {PAGES[1]['url']}", [one["url"] for one in PAGES]),
])  # fmt: skip
async def test_only_pages_that_a_text_links_are_cited(text, linked):
    """The gateway invents no positions: other pages are only in the list of sources."""
    async with search_gateway(*[searching("a"), answering(text)] * 4) as stage:
        (*_, block) = (await ask(stage, "messages")).json()["content"]
        assert [one["url"] for one in block["citations"]] == linked
        (*_, message) = (await ask(stage, "responses")).json()["output"]
        notes = message["content"][0]["annotations"]
        assert [text[one["start_index"] : one["end_index"]] for one in notes] == linked
        notes = [
            one["url_citation"] for one in (await ask(stage, "chat")).json()["choices"][0]["message"]["annotations"]
        ]
        assert {one["url"] for one in notes} == {one["url"] for one in PAGES}
        assert [text[one["start_index"] : one["end_index"]] for one in notes if one["end_index"]] == linked
        found = (await ask(stage, "gemini")).json()["candidates"][0]["groundingMetadata"]
        chunks, supports = found["groundingChunks"], found.get("groundingSupports", [])
        assert [one["web"]["uri"] for one in chunks] == [one["url"] for one in PAGES]
        assert [chunks[one["groundingChunkIndices"][0]]["web"]["uri"] for one in supports] == linked


async def test_the_blocks_of_messages_are_in_order_and_a_forced_search_is_forced_once():
    async with search_gateway(searching("a", "b", text="I look."), answering()) as stage:
        found = events(await ask(stage, "messages", stream=True))
        started = [one["content_block"] for one in found if one["type"] == "content_block_start"]
        assert [one["type"] for one in started] == [
            "text", "server_tool_use", "web_search_tool_result", "server_tool_use", "web_search_tool_result", "text",
        ]  # fmt: skip
        assert [one["index"] for one in found if one["type"] == "content_block_start"] == [0, 1, 2, 3, 4, 5]
        assert started[1]["id"] == started[2]["tool_use_id"] != started[3]["id"]
        typed = [
            one["delta"]["partial_json"] for one in found if one.get("delta", {}).get("type") == "input_json_delta"
        ]
        assert [json.loads(one) for one in typed] == [{"query": "a"}, {"query": "b"}]
        page = started[2]["content"][0]
        assert (page["url"], page["title"], page["page_age"]) == (
            "https://docs.example.com/7",
            "Version 7",
            "2026-05-01",
        )
        (last,) = [one for one in found if one["type"] == "message_delta"]
        assert last["delta"]["stop_reason"] == "end_turn"
        assert (last["usage"]["input_tokens"], last["usage"]["output_tokens"]) == (300, 30)
        assert last["usage"]["server_tool_use"] == {"web_search_requests": 2, "web_fetch_requests": 0}
        forced, free = [one.get("tool_choice") for one in stage.model.bodies]
        assert (forced, free) == ({"type": "function", "function": {"name": "web_search"}}, "auto")


async def test_a_responses_stream_shows_a_search_when_it_begins():
    service = PlayedService(held=True)
    async with search_gateway(searching("trio 7"), answering(), service=service, search={"timeout": 0.3}) as stage:
        found = events(await ask(stage, "responses", stream=True))
    kinds = [
        one["type"]
        for one in found
        if "web_search" in one["type"] or one.get("item", {}).get("type") == "web_search_call"
    ]
    begin = "response.output_item.added", "response.web_search_call.in_progress", "response.web_search_call.searching"
    assert kinds == [*begin, "response.web_search_call.completed", "response.output_item.done"]
    items = [one["item"] for one in found if one.get("item", {}).get("type") == "web_search_call"]
    assert [one["action"].get("query") for one in items] == [None, "trio 7"], "as OpenAI does"
    assert found[-1]["response"]["output"][0]["status"] == "failed"


@pytest.mark.parametrize(
    ("service", "search", "reason", "paid"),
    [
        (PlayedService(status=500), {}, "server_error", 0), (PlayedService(status=429), {}, "rate_limited", 0),
        (PlayedService(status=401), {}, "credential", 0), (PlayedService(body=b"<html>"), {}, "bad_answer", 1),
        (PlayedService(body=b"[" * 99), {}, "bad_answer", 1), (PlayedService(body=b" " * 2**21), {}, "bad_answer", 1),
        (PlayedService(), {"url": "http://127.0.0.1:1"}, "connection", 0),
        (PlayedService(held=True), {"timeout": 0.3}, "timeout", 1),
        (PlayedService(cut=True), {}, "connection", 1),
    ],
)  # fmt: skip
async def test_the_model_learns_that_the_service_fails(service, search, reason, paid):
    """The model answers without results. The search is free only if the service has certainly not run it."""
    async with search_gateway(searching("x"), answering("Nothing."), service=service, search=search) as stage:
        answer = await ask(stage, "messages")
        result = answer.json()["content"][1]["content"]
        code = "too_many_requests" if reason == "rate_limited" else "unavailable"
        assert result == {"type": "web_search_tool_result_error", "error_code": code}
        assert code in stage.model.bodies[1]["messages"][-1]["content"]
        (line,) = await stage.lines.next()
        assert line["tried"][1]["reason"] == reason
        assert line.get("units") == ({"search": 1} if paid else None), line
        assert answer.json()["usage"]["server_tool_use"] is None
        assert line["cost_usd"] == pytest.approx(paid * 0.005 + 300e-6 + 30 * 10e-6, abs=1e-12)
        assert line["cost_grade"] == ("estimated" if paid else "exact")
        assert (line["input_tokens"], line["output_tokens"]) == (300, 30), line


@pytest.mark.parametrize("text", [b"\\ud83d", b"\\udc00 \\ud83d\\ude00", b"\xff\xfe"])
async def test_a_page_that_is_no_valid_text_leaves_the_others(text):
    """Services cut texts by UTF-16 units."""
    first = b'{"url": "https://a.test/1", "title": "%s", "content": "%s"}' % (text, text)
    service = PlayedService(body=b'{"results": [%s, %s]}' % (first, json.dumps(PAGES[0]).encode()))
    async with search_gateway(searching("a"), answering(), service=service) as stage:
        found = (await ask(stage, "messages")).json()["content"][1]["content"]
        assert [one["url"] for one in found] == ["https://a.test/1", PAGES[0]["url"]]
        assert "\ufffd" in found[0]["title"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [("{}", "invalid_tool_input"), ('{"query": " "}', "invalid_tool_input"), ('{"query": 7}', "invalid_tool_input"),
     ("[1]", "invalid_tool_input"), (json.dumps({"query": "q" * 401}), "query_too_long")],
)  # fmt: skip
async def test_a_call_without_a_usable_query_is_an_error_for_the_model(arguments, code):
    call = Script(calls=(ToolCall("c", "web_search", arguments),), stop="tool_calls")
    async with search_gateway(call, answering("Nothing.")) as stage:
        answer = await ask(stage, "messages")
        assert answer.json()["content"][1]["content"]["error_code"] == code, answer.text
        assert not stage.service.asked


async def test_searches_and_turns_are_limited():
    async with search_gateway(searching("a", "b", "c"), answering(), search={"max_uses": 2}) as stage:
        content = (await ask(stage, "messages")).json()["content"]
        assert [isinstance(one["content"], list) for one in content if "tool_use_id" in one] == [True, True, False]
        assert content[5]["content"]["error_code"] == "max_uses_exceeded"
    async with search_gateway(searching("a"), search={"max_uses": 2}) as stage:  # without end
        answer = (await ask(stage, "messages")).json()
        assert (answer["stop_reason"], len(stage.model.bodies), len(stage.service.asked)) == ("pause_turn", 10, 2)
    async with search_gateway(searching("a"), answering()) as stage:
        tools = [{**ANTHROPIC, "max_uses": 0}]
        assert (await ask(stage, "messages", tools=tools)).status_code == 200
        assert not stage.service.asked


async def test_domains_are_sent_and_enforced():
    tool = {
        "type": "web_search",
        "filters": {"allowed_domains": ["example.com"], "blocked_domains": ["no.example.com"]},
    }
    search = {"blocked_domains": ["other.test"]}
    async with search_gateway(searching("a"), answering(), search=search) as stage:
        answer = await ask(stage, "responses", tools=[tool])
        assert stage.service.asked[0]["q"] == "a site:example.com -site:other.test -site:no.example.com"
        assert answer.json()["output"][0]["action"]["sources"] == [{"type": "url", "url": "https://docs.example.com/7"}]
    async with search_gateway(searching("a"), answering(), search={"allowed_domains": ["third.test"]}) as stage:
        answer = await ask(stage, "messages", tools=[{**ANTHROPIC, "allowed_domains": ["example.com"]}])
        assert answer.json()["content"][1]["content"] == []


async def test_long_lists_of_domains_are_enforced_and_sent_as_far_as_they_fit():
    """Brave accepts queries of at most 400 characters."""
    own = {"blocked_domains": [*(f"d{number}.test" for number in range(150)), "other.test"]}
    long = {**ANTHROPIC, "allowed_domains": ["a" * 200_000, "example.com"]}
    pages = [*PAGES, {"url": "https://other.test./y", "title": "Y", "content": "No."}]
    for tool, found in ((ANTHROPIC, 1), (long, 1)):
        async with search_gateway(searching("a"), answering(), service=PlayedService(pages), search=own) as stage:
            answer = await ask(stage, "messages", tools=[tool])
            assert len(answer.json()["content"][1]["content"]) == found
            assert len(stage.service.asked[0]["q"]) <= 400
            assert ("site:example.com" in stage.service.asked[0]["q"]) == (tool is long)


@pytest.mark.parametrize(
    ("kind", "key", "posted"),
    [
        ("tavily", "authorization: bearer s3cret", {
            "query": "a", "max_results": 5, "include_domains": ["example.com"]}),
        ("exa", "x-api-key: s3cret", {
            "query": "a", "numResults": 5, "includeDomains": ["example.com"],
            "contents": {"text": {"maxCharacters": 2000}}}),
    ],
)  # fmt: skip
async def test_services_get_queries_in_their_forms(kind, key, posted):
    async with search_gateway(searching("a"), answering(), search={"type": kind, "key": "s3cret"}) as stage:
        await ask(stage, "messages", tools=[{**ANTHROPIC, "allowed_domains": ["example.com"]}])
        assert stage.service.posted == [posted]
        assert key.encode() in stage.service.heads[0].lower()


async def test_brave_has_its_own_form():
    pages = [{"url": "https://docs.example.com/7", "title": "T", "description": "D", "age": "2 days ago"}]
    service = PlayedService(body=json.dumps({"web": {"results": pages}}).encode())
    async with search_gateway(
        searching("a b"), answering(), service=service, search={"type": "brave", "key": "k1"}
    ) as stage:
        answer = await ask(stage, "messages")
        assert stage.service.asked == [{"q": "a b", "count": "5", "text_decorations": "false"}]
        assert b"x-subscription-token: k1" in stage.service.heads[0].lower()
        assert answer.json()["content"][1]["content"][0]["page_age"] == "2 days ago"


async def test_a_replayed_search_is_a_call_with_its_result():
    """A client sends the blocks back; the model has no such blocks (BerriAI/litellm#27886)."""
    async with search_gateway(searching("trio 7", text="I look."), answering()) as stage:
        content = (await ask(stage, "messages")).json()["content"]
        turns = [*USER, {"role": "assistant", "content": content}, {"role": "user", "content": "And 8?"}]
        stage.model.turns[:] = [answering("Later.")]
        answer = await ask(stage, "messages", messages=turns, tool_choice={"type": "auto"})
        assert answer.json()["content"][0]["text"] == "Later."
        _, said, result, answered, again = stage.model.bodies[-1]["messages"]
        assert (said["content"], said["tool_calls"][0]["function"]["name"]) == ("I look.", "web_search")
        assert result["tool_call_id"] == said["tool_calls"][0]["id"]
        assert "Seven came out in May." in result["content"]
        assert answered["content"].startswith("It is [7]")
        assert again["content"] == "And 8?"


async def test_a_turn_may_also_call_a_tool_of_the_client():
    mine = {"name": "read", "description": "Read.", "input_schema": {"type": "object", "properties": {}}}
    call = ToolCall("call_r", "read", "{}")
    async with search_gateway(searching("a", calls=(call,)), answering("Done.")) as stage:
        more = {"tools": [ANTHROPIC, mine], "tool_choice": {"type": "auto"}}
        answer = (await ask(stage, "messages", **more)).json()
        assert answer["stop_reason"] == "tool_use"
        assert {one["type"] for one in answer["content"]} == {"server_tool_use", "web_search_tool_result", "tool_use"}
        assert len(stage.model.bodies) == 1
        result = {"type": "tool_result", "tool_use_id": "call_r", "content": "text"}
        turns = [*USER, {"role": "assistant", "content": answer["content"]}, {"role": "user", "content": [result]}]
        await ask(stage, "messages", messages=turns, **more)
        _, said, *results = stage.model.bodies[-1]["messages"]
        assert len(said["tool_calls"]) == 2
        assert {one["tool_call_id"] for one in results} == {one["id"] for one in said["tool_calls"]}


async def test_a_client_with_its_own_function_of_that_name_keeps_it():
    mine = {"type": "function", "function": {"name": "web_search", "parameters": {"type": "object", "properties": {}}}}
    call = Script(calls=(ToolCall("c", "web_search", "{}"),), stop="tool_calls")
    async with search_gateway(call) as stage:
        answer = (await ask(stage, "chat", tools=[mine])).json()
        assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "web_search"
        assert [one["function"]["name"] for one in stage.model.bodies[0]["tools"]] == ["web_search", "search_the_web"]
        assert not stage.service.asked


@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_that_dies_in_a_later_turn_is_an_error_and_both_turns_are_paid(stream):
    model = PlayedModel(searching("a"), answering("one two three four five six"), cut=1)
    async with search_gateway(model=model, entries={}) as stage:
        answer = await ask(stage, "messages", stream=stream)
        if stream:
            assert (answer.status_code, events(answer)[-1]["type"]) == (200, "error")
        else:
            assert answer.status_code == 502, answer.text
        (line,) = await stage.lines.next()
        assert line["ended"] == "upstream_error"
        assert line["cost_usd"] > 0.005 + 100e-6 + 10 * 10e-6


async def test_a_turn_that_breaks_after_its_last_word_is_complete():
    """The provider of this turn does not send ``[DONE]``."""
    model = PlayedModel(searching("a"), answering("Seven it is."), unsent=1)
    async with search_gateway(model=model, entries={}) as stage:
        answer = await ask(stage, "messages", stream=True)
        assert (shown_text(answer), events(answer)[-1]["type"]) == ("Seven it is.", "message_stop")
        (line,) = await stage.lines.next()
        assert (line["ended"], line.get("error"), len(model.bodies)) == ("complete", None, 2)


async def test_a_client_that_leaves_ends_the_search():
    service = PlayedService(held=True)
    async with search_gateway(searching("a"), answering(), service=service) as stage:
        path, body = REQUESTS["messages"]
        async with stage.gate.leaving("m", path, **body, stream=True):
            await service.has_begun.wait()
        with trio.fail_after(PATIENCE):
            await service.was_left.wait()
        (line,) = await stage.lines.next()
        assert line["ended"] == "client_disconnected", line
        assert [one["reason"] for one in line["tried"]] == ["ok", "client_left"], line
        assert line["cost_usd"] == pytest.approx(0.005 + 100e-6 + 10 * 10e-6, abs=1e-12), line
        assert len(stage.model.bodies) == 1


ALICE = "tg-alice-a-key-of-more-than-enough-characters"


@pytest.mark.parametrize(("turns", "cost"), [(["a", None, "a"], 0.0002), (["a", "b"], 0.4004)])
async def test_a_search_beyond_the_budget_ends_the_answer(turns, cost):
    """The search is reserved before it runs, in addition to earlier turns, and does not wait for its own answer."""
    keys = [{"name": "alice", "key": ALICE, "budgets": ["0.5 usd/day"]}]
    scripts = [answering() if one is None else searching(one) for one in turns]
    async with search_gateway(*scripts, search={"price": 0.4}, client_keys=keys) as stage:
        headers = {"authorization": f"Bearer {ALICE}"}
        path, body = REQUESTS["messages"]
        status, number = 200, 0
        while status == 200:
            answer = await stage.gate.post(path, json={"model": "m", **body}, headers=headers)
            status, number = answer.status_code, number + 1
        assert (status, number) == (402, 1 + turns.count(None)), answer.text
        assert len(stage.service.asked) == 1
        lines = await stage.lines.next(number)
        assert lines[-1]["cost_usd"] == pytest.approx(cost, abs=1e-12)


async def test_requests_to_a_target_with_its_own_search_are_unchanged():
    """The provider gets the client's bytes."""
    entries = {"model": "anthropic/claude-x", "speaks": ["messages"]}
    async with search_gateway(answering("Native."), entries=entries) as stage:
        answer = await ask(stage, "messages")
        assert answer.headers["x-trigate-lane"] == "byte"
        assert stage.model.bodies[0]["tools"] == [ANTHROPIC]
    quirks = {**entries, "quirks": {"web_search": "none"}}
    async with search_gateway(searching("a"), answering(), entries=quirks) as stage:
        content = (await ask(stage, "messages")).json()["content"]
        assert [one["type"] for one in content] == ["server_tool_use", "web_search_tool_result", "text"]


async def test_the_gateway_runs_a_search_that_must_not_reach_live_pages():
    """Codex offers only such a search unless its user permits live pages."""
    entries = {"model": "anthropic/claude-x", "speaks": ["messages"]}
    async with search_gateway(searching("a"), answering(), entries=entries) as stage:
        tools = [{"type": "web_search", "external_web_access": False}]
        output = (await ask(stage, "responses", tools=tools)).json()["output"]
        assert [one["type"] for one in output] == ["web_search_call", "message"]
        assert stage.model.bodies[0]["tools"][0]["name"] == "web_search"
        assert len(stage.service.asked) == 1
    own = {"model": "openai/gpt-x", "speaks": ["responses"]}
    async with search_gateway(answering("Native."), entries=own) as stage:
        assert (await ask(stage, "responses", tools=tools)).headers["x-trigate-lane"] == "byte"
        assert stage.model.bodies[0]["tools"] == tools


LIVE = {
    "type": "web_search", "external_web_access": True, "search_content_types": ["text"], "search_context_size": "low",
    "user_location": {"type": "approximate", "city": "Bern", "region": None, "accuracy": 3},
    "filters": {"allowed_domains": ["example.com"]},
}  # fmt: skip
REFUSALS = [
    "'claude-x' does not support tool types: web_search_20250305",
    "web search is not enabled for this organization",
    "tools.0: Input tag 'web_search_20250305' found using 'type' does not match any of the expected tags: 'custom'",
]


@each_row("stream", [False, True])
@each_row("refusal", REFUSALS)
async def test_the_gateway_runs_a_search_that_a_provider_rejects(stream, refusal):
    """The provider gets no member of the tool that only OpenAI has."""
    model = PlayedModel(searching("a"), answering(), answering(), status={0: 400}, refusal=refusal)
    entries = {"model": "anthropic/claude-x", "speaks": ["messages"]}
    async with search_gateway(model=model, entries=entries) as stage:
        model.turns.insert(0, answering())  # of the refused request
        answer = await ask(stage, "responses", tools=[LIVE], stream=stream)
        assert answer.status_code == 200, answer.text
        assert "https://docs.example.com/7" in answer.text
        (tool,), (function,) = (one["tools"] for one in model.bodies[:2])
        assert tool == {
            "type": "web_search_20250305", "name": "web_search", "allowed_domains": ["example.com"],
            "user_location": {"type": "approximate", "city": "Bern"},
        }  # fmt: skip
        assert function["name"] == "web_search"
        (line,) = await stage.lines.next()
        assert [(one["target"], one["reason"]) for one in line["tried"]] == [
            ("m", "invalid"), ("m", "ok"), ("web_search", "ok"), ("m", "ok")]  # fmt: skip
        assert (line["units"], line["ended"]) == ({"search": 1}, "complete")
        assert line["cost_usd"] == pytest.approx(0.005 + 300e-6 + 30 * 10e-6, abs=1e-12), line


@pytest.mark.parametrize(("api", "refusal"), [("responses", "tools.0.web_search: bad"), ("messages", REFUSALS[0])])
async def test_another_rejection_reaches_the_client(api, refusal):
    """A rejection of the client's own tool in the provider's API reaches it, too."""
    model = PlayedModel(answering(), status=dict.fromkeys(range(9), 400), refusal=refusal)
    async with search_gateway(model=model, entries={"model": "anthropic/claude-x", "speaks": ["messages"]}) as stage:
        answer = await ask(stage, api)
        assert (answer.status_code, len(model.bodies)) == (400, 1)
        assert refusal in answer.text


@pytest.mark.parametrize("stream", [False, True])
async def test_several_choices_with_a_search_are_refused_at_no_cost(stream):
    async with search_gateway(searching("a"), answering()) as stage:
        answer = await ask(stage, "chat", stream=stream, n=2)
        assert answer.status_code == 400
        assert (
            answer.json()["error"]["message"]
            == "n must be 1: the gateway searches the web for groq/m, in one answer alone"
        )
        assert not stage.model.bodies


async def test_requests_without_a_search_are_unchanged():
    async with search_gateway(answering("Plain.")) as stage:
        answer = await ask(stage, "chat", web_search_options=None)
        assert answer.headers["x-trigate-lane"] == "byte"
        assert "tools" not in stage.model.bodies[0]


async def test_usage_that_a_provider_does_not_report_is_estimated():
    turn = Script(calls=(ToolCall("c", "web_search", '{"query": "a"}'),), stop="tool_calls",
                  tokens=Tokens(edit=lambda usage: None))  # fmt: skip
    async with search_gateway(turn, answering()) as stage:
        await ask(stage, "chat")
        (line,) = await stage.lines.next()
        assert line["cost_usd"] > 0.005 + 200e-6 + 20 * 10e-6
        assert line["cost_grade"] == "estimated"


@needs_feature("steps")
@pytest.mark.parametrize("action", ["mask", "refuse"])
@pytest.mark.parametrize("stream", [False, True])
async def test_steps_see_results_before_the_model_and_the_client(stream, action):
    pages = [{"url": "https://docs.example.com/7", "title": "On falcon-7", "content": "The falcon-7 is out."}]
    steps = [{"use": "tests.support.word_steps:words", "name": "words", "action": action}]
    service = PlayedService(pages)
    async with search_gateway(searching("a"), answering("Done."), service=service, steps=steps) as stage:
        answer = await ask(stage, "messages", stream=stream)
        assert "falcon-7" not in answer.text
        assert "falcon-7" not in json.dumps(stage.model.bodies)
        assert base64.urlsafe_b64encode(b"The falcon-7 is").decode()[:18] not in answer.text
        if action == "mask":
            assert len(stage.model.bodies) == 2
            assert "Done." in shown_text(answer)
            assert "https://docs.example.com/7" in answer.text
        else:
            assert len(stage.model.bodies) == 1
            assert (answer.status_code == 200) == stream
            (line,) = await stage.lines.next()
            assert line["ended"] == "refused", line
            assert line["cost_usd"] == pytest.approx(0.005 + 100e-6 + 10 * 10e-6, abs=1e-12), line


@needs_feature("steps")
@each_row("stream", [False, True])
@each_row("api", [*REQUESTS])
async def test_a_step_that_refuses_a_page_may_end_the_answer_with_its_own_text(api, stream):
    pages = [{"url": "https://docs.example.com/7", "title": "On falcon-7", "content": "The falcon-7 is out."}]
    refusal = {"as": "stop", "message": "Not here."}
    steps = [{"use": "tests.support.word_steps:words", "name": "words", "action": "refuse", "refusal": refusal}]
    turn = searching("a", text="I look.")
    async with search_gateway(turn, answering("Done."), service=PlayedService(pages), steps=steps) as stage:
        answer = await ask(stage, api, stream=stream)
        assert answer.status_code == 200, answer.text
        shown = text_of(api, answer.content, stream=stream)
        assert (shown.startswith("I look."), shown.endswith("Not here.")) == (True, True)
        assert b"falcon-7" not in answer.content
        (line,) = await stage.lines.next()
        assert (line["ended"], line["refused_by"]) == ("refused", "words")
        assert line["cost_usd"] == pytest.approx(0.005 + 100e-6 + 10 * 10e-6, abs=1e-12)


@needs_feature("steps")
async def test_restored_values_are_restored_in_each_turn():
    """The model, the service and observers see a placeholder, and the client sees its own word."""
    steps = [{"use": "tests.support.word_steps:words", "name": "words", "action": "mask", "restore": True}]
    async with search_gateway(searching("a"), answering("Done."), steps=steps, signing_key=SIGNING_KEY) as stage:
        said = [{"role": "user", "content": "What about falcon-1?"}]
        await ask(stage, "messages", messages=said)
        placeholder = stage.model.bodies[0]["messages"][0]["content"].split()[-1].strip("?")
        assert placeholder != "falcon-1"
        text = f"I look for {placeholder}."
        query = f"the {placeholder}"
        stage.model.turns[:] = [searching(query, text=text)] * 3 + [answering(f"It is {placeholder}.")]
        for stream in (False, True):
            stage.model.bodies[:] = [{}, {}]
            answer = await ask(stage, "messages", messages=said, stream=stream)
            whole = shown_text(answer)
            assert "I look for falcon-1." in whole, whole
            assert "It is falcon-1." in whole, whole
            assert "the falcon-1" in answer.text
            assert placeholder not in answer.text
            assert "falcon-1" not in json.dumps(stage.model.bodies)
            assert stage.service.asked[-1]["q"] == query


async def test_pages_that_the_gateway_found_are_text_for_a_provider():
    """Anthropic refuses an ``encrypted_content`` that is not its own."""
    async with search_gateway(searching("trio 7"), answering()) as stage:
        content = (await ask(stage, "messages")).json()["content"]
    entries = {"model": "anthropic/claude-x", "speaks": ["messages"]}
    turns = [*USER, {"role": "assistant", "content": content}, {"role": "user", "content": "And 8?"}]
    async with search_gateway(answering("Later."), entries=entries) as stage:
        answer = await ask(stage, "messages", messages=turns)
        assert answer.headers["x-trigate-lane"] == "byte"
        sent = stage.model.bodies[0]["messages"][1]["content"]
        assert [one["type"] for one in sent] == ["text", "text", "text"]
        assert "Seven came out in May." in sent[1]["text"]
        assert content[-1]["citations"], "the gateway's own, which Anthropic refuses, too"
        assert "citations" not in sent[2]


async def test_a_fallback_to_a_provider_with_a_search_uses_its_own():
    own = PlayedModel(answering("Native."))
    async with listening(own.serve) as url:
        second = {**entry(url), "model": "anthropic/claude-x", "name": "n", "speaks": ["messages"]}
        first = PlayedModel(answering(), status={0: 500, 1: 500})
        aliases = {"both": {"targets": ["m", "n"]}}
        async with search_gateway(model=first, more=[second], model_aliases=aliases) as stage:
            path, body = REQUESTS["messages"]
            answer = await stage.gate.post(path, json={"model": "both", **body})
            assert answer.json()["content"][0]["text"] == "Native."
            assert first.bodies[0]["tools"][0]["type"] == "function"
            assert own.bodies[0]["tools"][0]["type"] == ANTHROPIC["type"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_later_turn_may_fall_back_to_a_provider_with_a_search(stream):
    """The later turn continues the answer with the function, and is billed."""
    own = PlayedModel(searching("b"), answering("Two."))
    async with listening(own.serve) as url:
        second = {**entry(url), "model": "anthropic/claude-x", "name": "n", "speaks": ["messages"]}
        first = PlayedModel(searching("a"), answering(), status=dict.fromkeys(range(1, 9), 500))
        aliases = {"both": {"targets": ["m", "n"]}}
        async with search_gateway(model=first, more=[second], model_aliases=aliases) as stage:
            path, body = REQUESTS["messages"]
            answer = await stage.gate.post(path, json={"model": "both", **body, "stream": stream})
            assert shown_text(answer) == "Two.", answer.text
            assert [one["q"] for one in stage.service.asked] == ["a", "b"]
            assert all("input_schema" in tool for one in own.bodies for tool in one["tools"])
            (line,) = await stage.lines.next()
            assert (line["ended"], line["input_tokens"], line["units"]) == ("complete", 400, {"search": 2}), line
            assert line["cost_usd"] == pytest.approx(2 * 0.005 + 400e-6 + 40 * 10e-6, abs=1e-12), line


def _read_recording(program: str, kind: str) -> dict[str, Any]:
    """Return a recorded request of ``program`` whose tools have one of ``kind``, without cut texts."""
    folder = ROOT.parent / "shared" / "clients" / program
    if not folder.is_dir():
        pytest.skip(f"there are no recorded requests of {program}")
    for file in sorted(folder.glob("*.request.json")):
        body: dict[str, Any] = json.loads(file.read_text())["body"] or {}
        if any((one.get("type") or "").startswith(kind) for one in body.get("tools", ())):
            return body
    pytest.skip(f"no recorded request of {program} has a tool {kind}")


async def test_codex_searches_through_a_chat_model():
    body = {**_read_recording("codex", "web_search"), "model": "m"}
    async with search_gateway(searching("trio 7"), answering()) as stage:
        answer = await stage.gate.post("/v1/responses", json=body, headers={"originator": "codex_exec"})
        found = events(answer)
        kinds = [one["type"] for one in found]
        assert "response.web_search_call.searching" in kinds
        assert kinds[-1] == "response.completed"
        output = found[-1]["response"]["output"]
        assert [one["type"] for one in output] == ["web_search_call", "message"]
        assert output[0]["action"]["query"] == "trio 7"
        names = [one["function"]["name"] for one in stage.model.bodies[0]["tools"]]
        assert names[-1] == "web_search"
        assert len(names) > 1
        again = {**body, "input": [*body["input"], *output, {"type": "message", "role": "user", "content": "And 8?"}]}
        stage.model.turns[:] = [answering("Later.")]
        assert "Later." in (await stage.gate.post("/v1/responses", json=again)).text
        calls = [one for one in stage.model.bodies[-1]["messages"] if one.get("tool_calls")]
        assert "trio 7" in calls[-1]["tool_calls"][0]["function"]["arguments"]


async def test_claude_code_searches_through_a_chat_model():
    """Claude Code sends a search as a separate request with the members of its other requests."""
    recorded = _read_recording("claude-code", "")
    search = {"messages": [{"role": "user", "content": "Perform a web search for the query: trio 7"}],
              "tools": [ANTHROPIC], "tool_choice": {"type": "tool", "name": "web_search"}}  # fmt: skip
    async with search_gateway(searching("trio 7"), answering()) as stage:
        answer = await stage.gate.post("/v1/messages?beta=true", json={**recorded, **search, "model": "m"})
        started = [one["content_block"]["type"] for one in events(answer) if one["type"] == "content_block_start"]
        assert started == ["server_tool_use", "web_search_tool_result", "text"]
        assert events(answer)[-1]["type"] == "message_stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_first_target_with_its_own_search_gets_the_bytes_of_the_client(stream):
    """A later target of the route may need the gateway's search."""
    first, second = PlayedModel(answering("Native.")), PlayedModel(searching("a"), answering("By the gateway."))
    async with listening(first.serve) as url, listening(second.serve) as other:
        more = [
            {**entry(url), "model": "anthropic/claude-x", "name": "n", "speaks": ["messages"]},
            {**entry(other), "name": "o"},
        ]
        aliases = {"both": {"targets": ["n", "o"]}}
        async with search_gateway(answering(), more=more, model_aliases=aliases) as stage:
            path, body = REQUESTS["messages"]
            asked = {"model": "both", **body, "stream": stream}
            answer = await stage.gate.post(path, json=asked)
            assert (answer.headers["x-trigate-lane"], shown_text(answer)) == ("byte", "Native.")
            assert first.bodies[0]["tools"] == [ANTHROPIC]
            (line,) = await stage.lines.next()
            assert (line["attempts"], line["ended"], line["usage_complete"]) == (1, "complete", True), line
            assert line["cost_usd"] == pytest.approx(200e-6 + 20 * 10e-6, abs=1e-12)
            first.status.update(dict.fromkeys(range(9), 500))
            answer = await stage.gate.post(path, json=asked)
            assert (answer.headers["x-trigate-lane"], shown_text(answer)) == ("hub", "By the gateway.")
            assert len(stage.service.asked) == 1


async def test_stored_turns_of_responses_have_the_searches():
    stored: Any = {"store": MemoryStore(60, 2**20), "state_storage": {"type": "memory"}}
    async with search_gateway(searching("trio 7"), answering(), **stored) as stage:
        first = (await ask(stage, "responses", store=True)).json()
        assert [one["type"] for one in first["output"]] == ["web_search_call", "message"]
        stage.model.turns[:] = [answering("Later.")]
        more = {"store": True, "previous_response_id": first["id"], "input": "And 8?"}
        answer = await ask(stage, "responses", stream=True, **more)
        assert "Later." in events(answer)[-1]["response"]["output"][0]["content"][0]["text"]
        _, said, result, *_ = stage.model.bodies[-1]["messages"]
        assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == {"query": "trio 7"}
        assert "https://docs.example.com/7" in result["content"]


@pytest.mark.parametrize(
    ("search", "path", "word"),
    [
        ({}, "web_search", "`url`"), ({"type": "brave"}, "web_search", "`key`"),
        ({"type": "bing", "url": "http://x"}, "web_search.type", "brave"),
        ({"url": "http://x", "max_uses": 0}, "web_search.max_uses", "1 or more"),
        ({"url": "http://x", "blocked_domains": ["https://a.test"]}, "web_search.blocked_domains[0]", "https://"),
    ],
)  # fmt: skip
def test_mistakes_in_the_settings_are_reported(search, path, word):
    with pytest.raises(ConfigError) as refused:
        from_mapping({"version": "v0.4.0", "model_providers": [entry("http://x")], "web_search": search})
    assert path in str(refused.value)
    assert word in str(refused.value)


def test_a_key_that_is_sent_without_tls_is_a_warning():
    for url, warns in (("http://s.example/search", True), ("http://127.0.0.1/search", False)):
        config = from_mapping({
            "version": "v0.4.0", "model_providers": [entry("http://x")], "web_search": {"url": url, "key": "k" * 9},
        })  # fmt: skip
        assert any("web_search.url" in one for one in config.warnings) == warns


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_leaves_no_cycle_behind(stream):
    """The collector removes cycles late on a busy gateway."""
    turns = [searching("a"), answering()]
    async with search_gateway(*turns * 3) as stage:
        await ask(stage, "messages", stream=stream)
        gc.collect()
        gc.disable()
        try:
            await ask(stage, "messages", stream=stream)
            await stage.lines.next(2)
            assert not live_objects(SearchOrigin)
        finally:
            gc.enable()


async def test_a_client_that_leaves_in_a_later_turn_ends_it():
    """Both turns are billed, the second one up to its end."""
    model = PlayedModel(searching("a"), answering("one two three four five six"), holds=1)
    async with search_gateway(model=model) as stage:
        path, body = REQUESTS["messages"]
        received = b""
        async with stage.gate.leaving("m", path, **body, stream=True) as stream:
            with trio.fail_after(PATIENCE):
                while b"text_delta" not in received:
                    received += await stream.receive_some()
        with trio.fail_after(PATIENCE):
            await model.was_left.wait()
        (line,) = await stage.lines.next()
        assert line["ended"] == "client_disconnected", line
        assert len(line["tried"]) == 3, line
        assert line["cost_usd"] > 0.005 + 100e-6 + 10 * 10e-6, line


@each_row(
    ("domains", "permits"),
    [
        (["example.com"], True), (["https://docs.example.com/path"], True), (["*.example.com"], True),
        (["DOCS.example.com"], True), (["ample.com"], False), (["com OR site:x"], False), ([""], False),
        (["x" * 300], False), (["\n"], False), (["other.test", "example.com"], True),
    ],
)  # fmt: skip
def test_a_clients_domains_are_hosts(domains, permits):
    assert Domains.of([domains], []).permit("https://docs.example.com/7") == permits
    assert Domains.of([], [domains]).permit("https://docs.example.com/7") != permits


class LateSearch(PlayedService):
    """A search service that answers after ``pass_time``."""

    pass_time: Callable[[], None]

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            if await read_request(stream) is not None:
                self.pass_time()
                await stream.send_all(response(200, json.dumps({"results": PAGES}).encode()))


@each_row("stream", [False, True])
async def test_the_deadline_of_the_first_content_ends_no_stream_that_has_begun(stream):
    """The second turn of a stream failed after the deadline, although its client had received a search."""
    service = LateSearch()
    async with search_gateway(
        searching("trio 7"), answering(), service=service, retries={"attempts": 2, "deadline": "1m"}
    ) as stage:
        clock = stage.gate.clock
        service.pass_time = lambda: setattr(clock, "now", clock.now + 61)
        answer = await ask(stage, "messages", stream=stream)
        assert answer.status_code == (200 if stream else 504), "a whole answer has not begun"
        assert (not stream) or shown_text(answer) == "It is [7](https://docs.example.com/7)."


@each_row("stream", [False, True])
@each_row("api", [*REQUESTS])
async def test_a_turn_that_may_not_begin_is_an_error_for_the_client(api, stream):
    """Clients of a stream that shows no search, as in Chat, lost their connection without a response."""
    limited = {"ratelimits": {"requests": "1/h"}}
    async with search_gateway(searching("trio 7"), answering(), entries=limited) as stage:
        answer = await ask(stage, api, stream=stream)
        assert answer.status_code == 429 or stream
        assert "1 requests/h" in answer.text
        (line,) = await stage.lines.next()
        assert (line["ended"], line["error"]) == ("upstream_error", "rate_limited")
        assert line["cost_usd"] == pytest.approx(0.0052), "one turn and one search"
