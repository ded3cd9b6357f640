"""Web searches between APIs: the tool, its calls and results in answers, and those of earlier turns."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from providers.apis import CODECS
from providers.grammar import judge
from providers.neutral.codec import Recipient, Reply
from providers.neutral.quirks import Quirks
from providers.neutral.seal import Issuer
from providers.neutral.searches import (
    FoundPage,
    FoundPages,
    answer_with_own_searches,
    read_item,
    search_items,
    with_own_searches,
    with_searches_as_calls,
)
from streams.events import Api, Citation, Event
from streams.fold import fold
from tests.support.each_row import each_row
from tests.support.recordings import ABSENT, files
from tests.support.strings import strings

PLACE = {"type": "approximate", "city": "Bern"}
DOMAINS = {"allowed_domains": ["a.test"], "blocked_domains": ["b.test"]}
ISSUER = Issuer("p", "")
USER: dict[str, Any] = {"messages": [{"role": "user", "content": "x"}]}
CLIENTS: dict[str, dict[str, Any]] = {
    "messages": {**USER, "max_tokens": 9, "tools": [
        {"type": "web_search_20260209", "name": "web_search", "max_uses": 3, "user_location": PLACE, **DOMAINS}]},
    "responses": {"input": "x", "tools": [
        {"type": "web_search", "filters": DOMAINS, "user_location": PLACE, "search_context_size": "low"}]},
    "chat": {**USER, "web_search_options": {
        "search_context_size": "low", "user_location": {"type": "approximate", "approximate": {"city": "Bern"}}}},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "x"}]}], "tools": [{"googleSearch": {}}]},
    "interactions": {"input": "x", "tools": [{"type": "google_search"}]},
    "converse": {"messages": [{"role": "user", "content": [{"text": "x"}]}],
                 "toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}},
}  # fmt: skip


def body_for(client: str, provider: str, search: Any, **request: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body for a provider whose search is ``search``, and the lost paths."""
    read = CODECS[client].read_request({"model": "m", **CLIENTS[client], **request})
    outgoing = CODECS[provider].write_request(read, Recipient("m", ISSUER, Quirks(web_search=search)))
    return json.loads(outgoing.body), outgoing.dropped


@each_row(
    ("client", "provider", "search", "tool", "lost"),
    [
        ("responses", "messages", "tool",
         {"type": "web_search_20250305", "name": "web_search", "allowed_domains": ["a.test"], "user_location": PLACE},
         ("tools[].filters.blocked_domains", "tools[].search_context_size")),
        ("chat", "messages", "tool", {"type": "web_search_20250305", "name": "web_search", "user_location": PLACE},
         ("web_search_options.search_context_size",)),
        ("gemini", "messages", "tool", {"type": "web_search_20250305", "name": "web_search"}, ()),
        ("messages", "responses", "tool", {"type": "web_search", "filters": DOMAINS, "user_location": PLACE},
         ("tools[].max_uses",)),
        ("chat", "responses", "tool", {"type": "web_search", "search_context_size": "low", "user_location": PLACE}, ()),
        ("interactions", "responses", "tool", {"type": "web_search"}, ()),
        ("converse", "gemini", "tool", {"googleSearch": {}}, ()),
        ("converse", "interactions", "tool", {"type": "google_search"}, ()),
        ("messages", "gemini", "tool", {"googleSearch": {}},
         ("tools[].max_uses", "tools[].user_location", "tools[].allowed_domains", "tools[].blocked_domains")),
        ("messages", "chat", "openrouter",
         {"type": "openrouter:web_search", "parameters": {
             "max_uses": 3, "allowed_domains": ["a.test"], "user_location": PLACE}},
         ("tools[].blocked_domains",)),
        ("responses", "chat", "openrouter",
         {"type": "openrouter:web_search", "parameters": {
             "allowed_domains": ["a.test"], "user_location": PLACE, "search_context_size": "low"}},
         ("tools[].filters.blocked_domains",)),
    ],
)  # fmt: skip
def test_a_search_becomes_the_providers_own(client, provider, search, tool, lost):
    body, dropped = body_for(client, provider, search)
    assert body["tools"] == [tool]
    assert sorted({*dropped} - {"model"}) == sorted(lost)  # the address of Converse has the model


def test_models_that_search_in_chat_get_options():
    body, dropped = body_for("messages", "chat", "options")
    assert body["web_search_options"] == {"user_location": {"type": "approximate", "approximate": {"city": "Bern"}}}
    assert "tools" not in body
    assert sorted(dropped) == ["tools[].allowed_domains", "tools[].blocked_domains", "tools[].max_uses"]
    body, dropped = body_for("responses", "chat", "always")
    assert body["search_domain_filter"] == ["a.test", "-b.test"]
    assert body["web_search_options"]["search_context_size"] == "low"
    assert not dropped


@pytest.mark.parametrize("client", ["messages", "responses", "gemini"])
def test_a_provider_without_a_search_loses_the_tool_by_name(client):
    body, dropped = body_for(client, "chat", "none")
    assert "tools" not in body
    assert any(": " in path for path in dropped), dropped


def test_a_forced_search_of_messages_is_forced_in_responses():
    body, _ = body_for("messages", "responses", "tool", tool_choice={"type": "tool", "name": "web_search"})
    assert body["tool_choice"] == {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]}
    assert body["include"] == ["web_search_call.action.sources"]


@pytest.mark.parametrize(("provider", "search"), [("messages", "tool"), ("chat", "openrouter"), ("gemini", "tool")])
def test_sources_that_a_client_of_responses_requests_are_not_lost(provider, search):
    """Its answer lists them always."""
    tools = [{"type": "web_search"}]
    _, dropped = body_for("responses", provider, search, tools=tools, include=["web_search_call.action.sources"])
    assert not [one for one in dropped if one.startswith("include")]


RESPONSES = {
    "id": "resp_1", "object": "response", "status": "completed", "model": "m",
    "usage": {"input_tokens": 5, "output_tokens": 2},
    "output": [
        {"type": "web_search_call", "id": "ws_1", "status": "completed",
         "action": {"type": "search", "query": "q", "sources": [{"type": "url", "url": "https://a.test/1"}]}},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": "Yes.", "annotations": []}]},
    ],
}  # fmt: skip
MESSAGES = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
    "usage": {"input_tokens": 5, "output_tokens": 2, "server_tool_use": {"web_search_requests": 1}},
    "content": [
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "q"}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [
            {"type": "web_search_result", "url": "https://a.test/1", "title": "A", "encrypted_content": "x"}]},
        {"type": "text", "text": "Yes."},
    ],
}  # fmt: skip
GEMINI = {
    "candidates": [{
        "content": {"role": "model", "parts": [{"text": "Yes."}]}, "finishReason": "STOP",
        "groundingMetadata": {
            "webSearchQueries": ["q"], "groundingChunks": [{"web": {"uri": "https://a.test/1", "title": "A"}}],
            "groundingSupports": [{"segment": {"endIndex": 4}, "groundingChunkIndices": [0]}]},
    }],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2},
}  # fmt: skip
ANSWERS = {"responses": RESPONSES, "messages": MESSAGES, "gemini": GEMINI}


def answer_for(provider: str, client: str, *, stream: bool) -> str:
    """Return the answer of ``provider`` for ``client``, whole or as a stream."""
    events = CODECS[provider].read_answer(json.dumps(ANSWERS[provider]).encode())
    request = CODECS[client].read_request({"model": "m", **CLIENTS[client]})
    codec, reply = CODECS[client], Reply(request, ISSUER, 1)
    if stream:
        writer = with_own_searches(codec.writer(reply), client, request)
        return b"".join(map(writer.send, events)).decode()
    return codec.write_answer(answer_with_own_searches(fold(events), client, request), reply).decode()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("provider", "client", "marks"),
    [
        ("responses", "messages", ("server_tool_use", "query", "web_search_tool_result", "https://a.test/1")),
        ("gemini", "messages", ("server_tool_use", "web_search_tool_result", "https://a.test/1", '"title":"A"')),
        ("messages", "responses", ("web_search_call", '"query":"q"', "https://a.test/1")),
        ("messages", "interactions", ("google_search_call", "google_search_result", "https://a.test/1")),
        ("responses", "interactions", ("google_search_call", '"queries":["q"]', "google_search_result")),
    ],
)  # fmt: skip
def test_searches_of_a_provider_are_in_the_clients_form(provider, client, marks, stream):
    text = answer_for(provider, client, stream=stream)
    places = [text.find(mark) for mark in marks]
    assert -1 not in places, (marks, text)
    assert text.count("web_search_tool_result") == (client == "messages")


def test_messages_clients_get_the_number_of_searches():
    assert '"web_search_requests":1' in answer_for("gemini", "messages", stream=True)


@pytest.mark.parametrize("api", ["messages", "responses", "interactions"])
def test_written_items_are_read_back(api):
    call = FoundPages("s1", "q")
    ended = FoundPages("s1", "q", (FoundPage("https://a.test", "A", "Text é", "May"),))
    (item,) = search_items(api, call)
    assert read_item(api, item) == [call]
    (item,) = search_items(api, ended)
    *_, found = read_item(api, json.loads(json.dumps(item)))
    assert (found.id, found.sources[0].url) == ("s1", "https://a.test")
    if api == "messages":
        assert (found.sources[0].text, found.sources[0].age, found.is_ours) == ("Text é", "May", True)
        (item,) = search_items(api, FoundPages("s1", error="unavailable"))
        assert read_item(api, item)[0].error == "unavailable"


@pytest.mark.parametrize("hostile", [None, 1, "x", [], {}, {"type": "web_search_tool_result", "content": [None, 1, {}]},
                                     {"type": "web_search_tool_result", "content": {"error_code": 1}},
                                     {"type": "web_search_tool_result", "content": [{"encrypted_content": "tg1.%%%"}]},
                                     {"type": "server_tool_use", "name": "web_search", "input": [1]}])  # fmt: skip
def test_any_item_can_be_read(hostile):
    for found in read_item("messages", hostile):
        assert found.as_text()


def test_earlier_searches_of_another_api_are_calls_with_results():
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": MESSAGES["content"]}]
    read = CODECS["messages"].read_request({"model": "m", "max_tokens": 9, "messages": turns})
    made = with_searches_as_calls(read, "chat", Quirks())
    assert [(one.role, [type(part).__name__ for part in one.parts]) for one in made.messages[1:]] == [
        ("assistant", ["ToolCallPart"]), ("user", ["ToolResultPart"]), ("assistant", ["TextPart"]),
    ]  # fmt: skip
    assert with_searches_as_calls(read, "messages", Quirks(web_search="tool")).messages == read.messages
    lone = [*turns[:1], {"role": "assistant", "content": [*MESSAGES["content"][1:]]}]  # type: ignore[index]
    alone = CODECS["messages"].read_request({"model": "m", "max_tokens": 9, "messages": lone})
    assert "messages[].content[]" in CODECS["chat"].write_request(
        with_searches_as_calls(alone, "chat", Quirks()), Recipient("m", ISSUER)
    ).dropped  # fmt: skip


def test_a_search_that_must_not_reach_live_pages_is_not_translated():
    tools = [{"type": "web_search", "external_web_access": False}]
    for provider in ("messages", "chat", "gemini", "interactions"):
        body, dropped = body_for("responses", provider, "openrouter" if provider == "chat" else "tool", tools=tools)
        assert "tools" not in body, provider
        assert "tools[]: web_search" in dropped


def strings_of(text: str) -> set[str]:
    """Return all strings of an answer. ``text`` is JSON, or a stream."""
    if not text.startswith(("data:", "event:")):
        return set(strings(json.loads(text)))
    told = [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:") and "[DONE]" not in line]
    typed: dict[int, str] = {}  # calls' inputs in Messages
    for one in told:
        if "partial_json" in one.get("delta", {}):
            typed[one["index"]] = typed.get(one["index"], "") + one["delta"]["partial_json"]
    inputs = [json.loads(one) for one in typed.values() if one.endswith("}")]
    return set(strings([told, inputs]))


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(item)


def recorded_searches(path: Path) -> tuple[set[str], set[str]]:
    """Return the queries and the addresses of the pages in a recorded answer, read by hand."""
    body = path.read_text()
    lines = [body] if path.suffix == ".json" else [one[5:] for one in body.splitlines() if one.startswith("data:")]
    found = [one for line in lines if "[DONE]" not in line for one in objects(json.loads(line))]
    searched = [one.get("action", {}) for one in found if one.get("type") == "web_search_call"]
    searched += [one["input"] for one in found if one.get("name") == "web_search" and one.get("input")]
    queries = {one["query"] for one in searched if one.get("query")}
    queries |= {query for one in found for query in one.get("webSearchQueries", ()) if query.strip()}
    pages = {one["url"] for one in found if one.get("type") in ("web_search_result", "url")}
    pages |= {one["web"]["uri"] for one in found if isinstance(one.get("web"), dict)}
    pages |= {page["url"] for one in found for page in one.get("search_results") or () if page["url"]}
    return queries, pages


def read_recorded(api: Api, path: Path) -> list[Event]:
    body = path.read_bytes()
    if path.suffix == ".json":
        return [*CODECS[api].read_answer(body)]
    reader, events = CODECS[api].reader(), list[Event]()
    for block in body.replace(b"\r\n", b"\n").split(b"\n\n"):
        lines = dict(line.split(b":", 1) for line in block.split(b"\n") if line[:1] not in (b"", b":"))
        if b"data" in lines:
            events += reader.read_event(lines.get(b"event", b"").strip().decode(), lines[b"data"].strip())
    return [*events, *reader.close()]


FOLDERS: dict[str, Api] = {
    "openai_responses": "responses", "anthropic_messages": "messages", "gemini": "gemini", "openai_chat": "chat",
}  # fmt: skip
FOREIGN = ("x-search", "image-generation")
"""xAI's own tools, whose items no grammar has."""


@cache
def recorded_answers() -> list[tuple[Path, list[Event], set[str], set[str]]]:
    """Return the recorded answers with searches: their events, queries and pages."""
    found = []
    for folder, api in FOLDERS.items():
        for path in (*files(folder, "*.response.json"), *files(folder, "*.response.sse")):
            text = path.read_text()
            if _SEARCHES.search(text) and not any(one in path.name for one in FOREIGN):
                queries, pages = recorded_searches(path)
                if queries or pages:
                    found.append((path, read_recorded(api, path), queries, pages))
    return found


_SEARCHES = re.compile(r'"(?:web_search_call|web_search_tool_result|webSearchQueries|groundingChunks|search_results)"')


@pytest.mark.skipif(not files("gemini", "*.sse"), reason=ABSENT)
@pytest.mark.parametrize("client", [one for one in CLIENTS if one != "converse"])
def test_recorded_searches_are_in_the_clients_form(client):
    """Queries and pages of each provider, streamed and whole."""
    request = CODECS[client].read_request({"model": "m", **CLIENTS[client]})
    codec, reply = CODECS[client], Reply(request, ISSUER, 1)
    assert len(recorded_answers()) > 15
    for path, events, queries, pages in recorded_answers():
        writer = with_own_searches(codec.writer(reply), client, request)
        streamed = b"".join(map(writer.send, events)).decode()
        whole = codec.write_answer(answer_with_own_searches(fold(events), client, request), reply).decode()
        cited = {one.item.get("url") for one in events if isinstance(one, Citation) and isinstance(one.item, dict)} - {
            None
        }
        for text in (streamed, whole):
            if client != "interactions":
                verdict = judge(client, text.encode(), streamed=text is streamed)
                assert verdict.broken is None, (path.name, verdict)
            seen = strings_of(text)
            assert seen >= (cited if client == "chat" else pages | cited), (path.name, text is whole)
            if client != "chat":
                joined = "\n".join(seen)
                assert all(query in joined for query in queries), (path.name, queries, text is whole)
