"""The stand-in's models with a prompt cache over HTTP: their counts in each API's usage, and the path ``/cache``."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cache_rules import cache_descriptions
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.harness import Gateway, Reply, config, provider, request
from tests.support.prompt_caches import LONG, text, user

CHAT = "/v1/chat/completions"
MARKED = {"cache_control": {"type": "ephemeral"}}
BODIES: dict[str, Any] = {
    "messages": {"system": [text(LONG, **MARKED)], "messages": [user("Hello")], "max_tokens": 9},
    "chat": {"messages": [{"role": "system", "content": LONG}, {"role": "user", "content": "Hello"}]},
    "responses": {"instructions": LONG, "input": "Hello"},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": LONG}]}]},
    "interactions": {"system_instruction": LONG, "input": "Hello"},
    "converse": {
        "system": [{"text": LONG}, {"cachePoint": {"type": "default"}}],
        "messages": [{"role": "user", "content": [{"text": "Hello"}]}],
    },
}
MARKED_CHAT = {"messages": [{"role": "system", "content": [text(LONG, **MARKED)]}, user("Hello")]}


@pytest.fixture(scope="module")
def mock() -> Iterator[Gateway]:
    with mock_thread() as served:
        yield served


@pytest.fixture(autouse=True)
def forgotten(mock) -> None:
    assert control(mock, forget=True).status == 200


def control(mock: Gateway, **wanted: Any) -> Reply:
    return request(mock.url, "POST", "/cache", wanted)


def path(api: str, model: str) -> str:
    return {
        "messages": "/v1/messages", "chat": CHAT, "responses": "/v1/responses",
        "gemini": f"/v1beta/models/{model}:generateContent", "converse": f"/model/{model}/converse",
        "interactions": "/v1beta/interactions",
    }[api]  # fmt: skip


def usage(mock: Gateway, api: str, model: str, **more: Any) -> dict[str, Any]:
    """Return the usage of a whole response."""
    members = {} if api in ("gemini", "converse") else {"model": model}
    reply = request(mock.url, "POST", path(api, model.replace("/", "%2F")), BODIES[api] | members | more)
    assert reply.status == 200, reply.body
    return reply.json.get("usage") or reply.json["usageMetadata"]


@each_row(
    ("api", "model", "read"),
    [
        ("messages", "cache/anthropic", lambda usage: usage["cache_read_input_tokens"]),
        ("converse", "cache/bedrock", lambda usage: usage["cacheReadInputTokens"]),
        ("chat", "cache/openai", lambda usage: usage["prompt_tokens_details"]["cached_tokens"]),
        ("chat", "cache/openai-5.6", lambda usage: usage["prompt_tokens_details"]["cached_tokens"]),
        ("responses", "cache/openai-5.6", lambda usage: usage["input_tokens_details"]["cached_tokens"]),
        ("chat", "cache/deepseek", lambda usage: usage["prompt_cache_hit_tokens"]),
        ("chat", "cache/blocks", lambda usage: usage["prompt_tokens_details"]["cached_tokens"]),
        ("gemini", "cache/openai", lambda usage: usage.get("cachedContentTokenCount", 0)),
        ("interactions", "cache/openai", lambda usage: usage["total_cached_tokens"]),
    ],
)
def test_a_second_request_reads_the_prompt_of_the_first(mock, api, model, read):
    first, second = usage(mock, api, model), usage(mock, api, model)
    assert (read(first), read(second) > 1900) == (0, True)
    sums = request(mock.url, "GET", "/cache").json["models"][model]
    assert sums["requests"] >= 2
    assert sums["read"] >= read(second)


def test_parts_of_the_input_are_those_of_each_api(mock):
    written = usage(mock, "messages", "cache/anthropic")
    read = usage(mock, "messages", "cache/anthropic")
    assert written["cache_creation"] == {
        "ephemeral_5m_input_tokens": written["cache_creation_input_tokens"], "ephemeral_1h_input_tokens": 0,
    }  # fmt: skip
    assert read["cache_read_input_tokens"] == written["cache_creation_input_tokens"]
    assert read["input_tokens"] == written["input_tokens"] < 20
    long_lived = {"cachePoint": {"type": "default", "ttl": "1h"}}
    found = usage(mock, "converse", "cache/bedrock", system=[{"text": LONG}, long_lived])
    assert found["cacheDetails"] == [{"ttl": "1h", "inputTokens": found["cacheWriteInputTokens"]}]
    details = usage(mock, "chat", "cache/openai-5.6")["prompt_tokens_details"]
    assert details["cache_write_tokens"] > 1900
    assert usage(mock, "chat", "cache/openai")["prompt_tokens_details"] == {"cached_tokens": 0}
    found = usage(mock, "chat", "cache/deepseek")
    assert found["prompt_cache_miss_tokens"] == found["prompt_tokens"]


def test_streams_report_the_same_counts(mock):
    usage(mock, "messages", "cache/anthropic")
    sent = BODIES["messages"] | {"model": "cache/anthropic", "stream": True}
    events = request(mock.url, "POST", "/v1/messages", sent).events()
    at_start, at_end = events[0][1]["message"]["usage"], events[-2][1]["usage"]
    assert at_start["cache_read_input_tokens"] == at_end["cache_read_input_tokens"] > 1900
    sent = BODIES["chat"] | {"model": "cache/deepseek", "stream": True, "stream_options": {"include_usage": True}}
    first, second = (request(mock.url, "POST", CHAT, sent).events()[-2][1]["usage"] for _ in range(2))
    assert (first["prompt_cache_hit_tokens"], second["prompt_cache_hit_tokens"] > 1900) == (0, True)


@each_row(
    ("api", "model"),
    [("messages", "anthropic"), ("chat", "openai-5.6"), ("responses", "openai"), ("converse", "bedrock")],
)
def test_a_silent_cache_reports_no_counts(mock, api, model):
    for _ in range(2):
        found = usage(mock, api, f"cache/{model}/silent")
        assert [name for name in found if "cache" in name.lower() or ("details" in name and "input" in name)] == []
        assert (found.get("input_tokens") or found.get("inputTokens") or found["prompt_tokens"]) > 1900
    assert request(mock.url, "GET", "/cache").json["models"][f"cache/{model}"]["read"] > 1900


def test_streams_of_a_silent_cache_report_no_counts(mock):
    sent = BODIES["messages"] | {"model": "cache/anthropic/silent", "stream": True}
    events = request(mock.url, "POST", "/v1/messages", sent).events()
    for found in (events[0][1]["message"]["usage"], events[-2][1]["usage"]):
        assert [name for name in found if "cache" in name] == []


def test_the_clock_can_be_advanced_and_entries_removed(mock):
    def read() -> int:
        return usage(mock, "messages", "cache/anthropic")["cache_read_input_tokens"]

    assert [read() > 0, read() > 0] == [False, True]
    control(mock, advance=299)
    assert read() > 0
    control(mock, advance=301)
    assert [read() > 0, read() > 0] == [False, True]
    control(mock, forget=True)
    assert read() == 0


def test_other_names_can_use_a_cache(mock):
    assert usage(mock, "messages", "claude-sonnet-4-6")["cache_creation_input_tokens"] == 0
    assert control(mock, models={"claude-sonnet-4-6": "cache/anthropic"}).status == 200
    assert usage(mock, "messages", "claude-sonnet-4-6")["cache_creation_input_tokens"] > 1900


@each_row(
    ("wanted", "status", "message"),
    [
        ({"advance": -1}, 400, "advance must be a number of seconds"),
        ({"advance": True}, 400, "advance must be a number of seconds"),
        ({"forget": 1}, 400, "forget must be true or false"),
        ({"models": ["a"]}, 400, "models must be an object"),
        ({"models": {"a": "mock-small"}}, 400, "no model with a prompt cache"),
        ({"models": {"a": "cache/nothing"}}, 404, "use one of cache/anthropic"),
        ({"time": 1}, 400, "unknown member time; use advance, forget or models"),
    ],
)
def test_a_wrong_setting_is_refused(mock, wanted, status, message):
    reply = control(mock, **wanted)
    assert (reply.status, message in reply.json["error"]["message"]) == (status, True)


@each_row("body", [b"", b"[]", b"{", b'"x"'])
def test_a_setting_that_is_no_object_is_refused(mock, body):
    assert request(mock.url, "POST", "/cache", body).status == 400


def test_a_refused_request_leaves_no_entry(mock):
    sent = BODIES["messages"] | {"model": "cache/anthropic/529-then-ok"}
    statuses = [request(mock.url, "POST", "/v1/messages", sent).status for _ in range(2)]
    assert statuses == [529, 200]
    control(mock, forget=True)
    assert request(mock.url, "POST", "/v1/messages", sent).status == 529
    assert usage(mock, "messages", "cache/anthropic")["cache_read_input_tokens"] == 0


def test_a_provider_refuses_marks_in_its_own_words(mock):
    parts = [text(str(at), **MARKED) for at in range(5)]
    reply = request(mock.url, "POST", "/v1/messages", BODIES["messages"] | {
        "model": "cache/anthropic", "messages": [{"role": "user", "content": parts}]})  # fmt: skip
    assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_request_error")
    assert reply.json["error"]["message"] == "A maximum of 4 blocks with cache_control may be provided. Found 6."


def test_paths_before_the_api_are_endpoints_with_their_own_caches(mock):
    sent = BODIES["chat"] | {"model": "cache/blocks"}

    def read(endpoint: str) -> int:
        reply = request(mock.url, "POST", f"/{endpoint}{CHAT}", sent)
        return reply.json["usage"]["prompt_tokens_details"]["cached_tokens"]

    assert [read(endpoint) > 0 for endpoint in ("gpu-1", "gpu-2", "gpu-1")] == [False, False, True]


def test_models_are_listed(mock):
    listed = [model["id"] for model in request(mock.url, "GET", "/v1/models").json["data"]]
    assert set(cache_descriptions()) < set(listed)


def test_clients_of_the_gateway_see_the_counts_in_their_own_api(mock):
    """Both lanes: the entry's provider speaks the client's API, or another one."""
    entries = [
        provider("own/cache/anthropic", mock.url, ["messages"]),
        provider("own/cache/openai-5.6", mock.url, ["chat"]),
    ]
    with gateway_thread(config(entries)) as served:
        for model, api, lane in (
            ("cache/anthropic", "messages", "byte"),
            ("cache/anthropic", "chat", "hub"),
            ("cache/openai-5.6", "chat", "byte"),
            ("cache/openai-5.6", "messages", "hub"),
        ):
            sent = (BODIES["messages"] if api == "messages" else MARKED_CHAT) | {"model": f"own/{model}"}
            with case((model, api)):
                first, second = (request(served.url, "POST", path(api, model), sent) for _ in range(2))
                assert (first.headers["x-trigate-lane"], second.headers["x-trigate-lane"]) == (lane, lane)
                usage = second.json["usage"]
                details = usage.get("prompt_tokens_details", {})
                assert usage.get("cache_read_input_tokens", details.get("cached_tokens")) > 1900
