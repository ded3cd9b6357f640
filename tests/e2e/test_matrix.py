"""Tests of every client API with every provider API, as streams and whole: the real SDKs send requests through a
gateway to hand-written providers."""

from collections.abc import Iterator
from typing import Any

import anthropic
import attrs
import openai
import pytest

from tests.support.apis import OLDER
from tests.support.covering import covering_rows
from tests.support.gateway_thread import serve_module
from tests.support.harness import config, provider
from tests.support.sdk_clients import CLIENTS
from tests.support.upstreams import PATHS, STOP_WORDS, Script, Tokens, ToolCall, Upstream
from tests.support.wire_transcript import conversation_of

MODELS = {"chat": "up-chat", "messages": "up-messages", "responses": "up-responses"}
WEATHER = ToolCall("call_w1", "get_weather", '{"city": "Zürich", "days": 12}')
TIME = ToolCall("call_t2", "get_time", '{"city": "Łódź", "days": 1}')


@serve_module
def gateway(upstream):
    vendors = {"chat": "openai", "messages": "anthropic", "responses": "openai"}
    entries = [
        provider(f"{vendors[api]}/{MODELS[api]}", upstream.url, [api], name=f"entry-{api}", key=f"sk-{api}-upstream")
        for api in OLDER
    ]
    return config(entries)


@pytest.fixture(scope="module")
def sdks(gateway) -> Iterator[dict[str, Any]]:
    """Return one SDK client per API for the whole module: creating one takes longer than a test."""
    options: dict[str, Any] = {"api_key": "test-key", "max_retries": 0, "timeout": 20}
    with (
        openai.OpenAI(base_url=f"{gateway.url}/v1", **options) as openai_sdk,
        anthropic.Anthropic(base_url=gateway.url, **options) as anthropic_sdk,
    ):
        yield {"chat": openai_sdk, "messages": anthropic_sdk, "responses": openai_sdk}


@attrs.frozen
class Cell:
    """A client's API, a provider's API, and streams or whole answers."""

    client: Any
    client_api: str
    upstream_api: str
    stream: bool
    upstream: Upstream

    def script(self, *scripts: Script) -> None:
        self.upstream.script(*scripts)

    def provider_input(self, turn: int = 0) -> list[tuple[Any, ...]]:
        """Return the conversation that the provider received with the request of that turn."""
        seen = self.upstream.seen[turn]
        assert seen.path == PATHS[self.upstream_api]
        assert bool(seen.json.get("stream")) is self.stream
        assert seen.json["model"] == MODELS[self.upstream_api]
        return conversation_of(self.upstream_api, seen.json)


@pytest.fixture(params=[True, False], ids=["stream", "whole"])
def stream(request) -> bool:
    return request.param


@pytest.fixture(params=OLDER, ids=[f"to_{api}" for api in OLDER])
def upstream_api(request) -> str:
    return request.param


@pytest.fixture(params=OLDER, ids=[f"{api}_client" for api in OLDER])
def cell(request, sdks, upstream, upstream_api, stream) -> Cell:
    client = CLIENTS[request.param](sdks[request.param], MODELS[upstream_api], stream)
    return Cell(client, request.param, upstream_api, stream, upstream)


def test_thinking_and_parallel_calls_reach_the_client_and_return_to_the_provider(cell):
    """With each client API, the provider gets its own reasoning with the next turn, byte for byte."""
    seal = {"chat": "", "messages": "EqoBCkgIBxABGAIi+/==", "responses": "gAAAAABo-opaque_=="}[cell.upstream_api]
    tokens = Tokens(prompt=1220, cache_read=1000, cache_write=117, output=30, reasoning=12)
    thought = "First, think. Then act."
    cell.script(Script("Two calls.", thought, seal, (WEATHER, TIME), "tool_calls", tokens), Script())
    cell.client.user("Weather and time?")
    got = cell.client.ask(tools=True, think=True)
    assert (got.thinking, got.text, got.usage) == (thought, "Two calls.", (1220, 1000, 117, 30, 12))
    assert got.calls == (
        ("call_w1", "get_weather", {"city": "Zürich", "days": 12}),
        ("call_t2", "get_time", {"city": "Łódź", "days": 1}),
    )
    cell.client.results(("call_w1", "rain"), ("call_t2", "noon"))
    cell.client.user("And?")
    last = cell.client.ask(tools=True, think=True)  # an answer without any content is still an answer
    assert (last.text, last.calls, last.stop) == ("", (), STOP_WORDS[cell.client_api]["stop"])
    assert cell.provider_input(1) == [
        ("user", "Weather and time?"),
        ("thinking", thought, seal),
        ("text", "Two calls."),
        ("call", "call_w1", "get_weather", {"city": "Zürich", "days": 12}),
        ("call", "call_t2", "get_time", {"city": "Łódź", "days": 1}),
        ("result", "call_w1", "rain"),
        ("result", "call_t2", "noon"),
        ("user", "And?"),
    ]
    assert b"tg1." not in cell.upstream.seen[1].body
    if cell.client_api != cell.upstream_api and cell.upstream_api != "responses":
        # Messages gets both results and the text in one user message, results first.
        roles = [message["role"] for message in cell.upstream.seen[1].json["messages"]]
        results = ["tool", "tool", "user"] if cell.upstream_api == "chat" else ["user"]
        assert roles == ["user", "assistant", *results]


def test_thinking_before_a_text_returns_to_its_provider(cell):
    cell.script(Script("Hello.", "First, think.", "c2VhbA==" * (cell.upstream_api != "chat")), Script(text="Done."))
    cell.client.user("Think.")
    assert cell.client.ask(think=True).text == "Hello."
    cell.client.user("Go on.")
    assert cell.client.ask(think=True).text == "Done."
    kinds = [line[0] for line in cell.provider_input(1)]
    assert kinds == ["user", "thinking", "text", "user"]


@pytest.mark.parametrize(
    ("cell", "upstream_api", "stream", "stop"),
    covering_rows(OLDER, OLDER, (True, False), ("stop", "length", "tool_calls", "content_filter")),
    indirect=["cell", "upstream_api", "stream"],
)
def test_each_client_gets_its_apis_stop_reason(cell, stop):
    calls = (WEATHER,) if stop == "tool_calls" else ()
    cell.script(Script(text="So", calls=calls, stop=stop))
    cell.client.user("Go.")
    got = cell.client.ask(helper=stop in ("stop", "tool_calls"))
    assert got.stop == STOP_WORDS[cell.client_api][stop]
    assert got.text == "So"
