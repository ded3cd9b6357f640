"""Clients of Claude on Vertex AI: Anthropic's SDK for it, as LiteLLM serves it at /vertex_ai."""

import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from anthropic import AnthropicVertex, APIStatusError, AuthenticationError, RateLimitError

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, provider, request
from tests.support.upstreams import Raw, Script, ToolCall, Upstream, render

KEY = "sk-vertex-1234567890abcdef"
CLAUDE = "claude-sonnet-4-5@20250929"
VERSION = "vertex-2023-10-16"
MESSAGES: Any = [{"role": "user", "content": "Hello"}]
HELLO = {"anthropic_version": VERSION, "max_tokens": 99, "messages": MESSAGES}
BEARER = {"authorization": f"Bearer {KEY}"}
PLACE = "/v1/projects/some-project/locations/europe-west1/publishers/anthropic/models"


@pytest.fixture(scope="module", params=["messages", "chat"])
def gateway(upstream: Upstream, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """Run a gateway whose provider speaks the API of the parameter."""
    maker = {"messages": "anthropic/claude-sonnet-4-5", "chat": "openai/gpt-5"}[request.param]
    entry = provider(maker, upstream.url, [request.param], name=CLAUDE)
    settings = config([entry], client_keys=[{"name": "a", "key": KEY}], compatibility=["litellm"])
    with gateway_thread(settings) as found:
        yield found


def anthropic(url: str, base: str = "/vertex_ai/v1", key: str = KEY) -> AnthropicVertex:
    """Return Anthropic's client, which sends the token of Google as a bearer token."""
    place = {"region": "europe-west1", "project_id": "some-project"}
    return AnthropicVertex(base_url=url + base, access_token=key, max_retries=0, **place)  # type: ignore[arg-type]


def ask(url: str, base: str = "/vertex_ai/v1", key: str = KEY, **members: Any) -> Any:
    """Return the answer to a request with ``members``, or the events of a stream."""
    with anthropic(url, base, key) as client:
        found = client.messages.create(**{"model": CLAUDE, "max_tokens": 99, "messages": MESSAGES, **members})
        return list(found) if members.get("stream") else found


@pytest.mark.sample(9)
@pytest.mark.parametrize("base", ["/vertex_ai/v1", "/vertex-ai/v1", "/vertex_ai", "/v1"])
def test_anthropics_sdk_reads_a_whole_answer(gateway: Gateway, upstream: Upstream, base: str) -> None:
    upstream.script(Script("Hi there."))
    answer = ask(gateway.url, base)
    assert (answer.type, answer.content[0].text) == ("message", "Hi there.")
    sent = upstream.seen[-1].json
    assert "anthropic_version" not in sent
    assert not sent.get("stream")


@pytest.mark.sample(2)
def test_anthropics_sdk_reads_streams_and_tools(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(Script("Hi there."), Script("", calls=(ToolCall("toolu_1", "get_weather", '{"city": "Zürich"}'),)))
    texts = [event.delta.text for event in ask(gateway.url, stream=True) if event.type == "content_block_delta"]
    assert "".join(texts) == "Hi there."
    assert upstream.seen[-1].json["stream"] is True
    tools: Any = [{"name": "get_weather", "input_schema": {"type": "object"}}]
    with (
        anthropic(gateway.url) as client,
        client.messages.stream(model=CLAUDE, max_tokens=99, messages=MESSAGES, tools=tools) as stream,
    ):
        blocks = stream.get_final_message().content
    assert [(one.name, one.input) for one in blocks if one.type == "tool_use"] == [("get_weather", {"city": "Zürich"})]


@pytest.mark.sample(2)
def test_the_path_selects_the_model_and_the_stream(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(Script("Hi there."), Script("Hi there."))
    other = {**HELLO, "model": "not-configured"}
    whole = gateway.request("POST", f"/vertex_ai{PLACE}/{CLAUDE}:rawPredict", {**other, "stream": True}, BEARER)
    assert (whole.status, dict(whole.headers)["content-type"]) == (200, "application/json")
    streamed = gateway.request("POST", f"/vertex_ai{PLACE}/{CLAUDE}:streamRawPredict", other, BEARER)
    assert (streamed.status, b"message_stop" in streamed.body) == (200, True)


@pytest.mark.sample(2)
def test_tokens_are_counted(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(Raw(200, (("content-type", "application/json"),), (b'{"input_tokens": 7}',)))
    with anthropic(gateway.url) as client:
        assert client.messages.count_tokens(model=CLAUDE, messages=MESSAGES).input_tokens > 0
    for seen in upstream.seen:  # a provider of Chat counts nothing
        assert (seen.path, seen.json["model"]) == ("/v1/messages/count_tokens", "claude-sonnet-4-5")


@pytest.mark.sample(2)
def test_errors_have_anthropics_form(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(Raw(429, (("content-type", "application/json"),), (b'{"error": {"message": "slow down"}}',)))
    with pytest.raises(RateLimitError) as raised:
        ask(gateway.url)
    assert raised.value.body["error"]["type"] == "rate_limit_error"  # type: ignore[index]
    with pytest.raises(AuthenticationError):
        ask(gateway.url, key="sk-wrong-1234567890")


@pytest.mark.parametrize("gateway", ["messages"], indirect=True)
def test_a_stream_that_breaks_ends_with_an_error(gateway: Gateway, upstream: Upstream) -> None:
    whole = render(Script("Hi there."), "messages", {"model": "claude-sonnet-4-5", "stream": True})
    upstream.script(attrs.evolve(whole, pieces=(b"".join(whole.pieces)[:700],), end="cut"))
    with pytest.raises(APIStatusError):
        ask(gateway.url, stream=True)


@pytest.mark.sample(9)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anthropic_version": None}, "anthropic_version is required"),
        ({"anthropic_beta": "one"}, "anthropic_beta must be a list of strings"),
        ({"messages": None}, "messages is required"),
    ],
)
def test_other_bodies_are_the_clients_mistake(gateway: Gateway, change: dict[str, Any], message: str) -> None:
    body = {name: value for name, value in {**HELLO, **change}.items() if value is not None}
    for end in (":rawPredict", ":streamRawPredict"):
        reply = gateway.request("POST", f"{PLACE}/{CLAUDE}{end}", body, BEARER)
        assert reply.status == 400
        assert message in json.loads(reply.body)["error"]["message"]


@pytest.mark.parametrize("gateway", ["messages"], indirect=True)
def test_betas_reach_a_provider_of_the_same_api(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(Script("Hi."), Script("Hi."))
    beta = "context-1m-2025-08-07"
    ask(gateway.url, extra_headers={"anthropic-beta": beta})
    gateway.request("POST", f"{PLACE}/{CLAUDE}:rawPredict", {**HELLO, "anthropic_beta": [beta]}, BEARER)
    for seen in upstream.seen[-2:]:
        assert beta in (seen.header("anthropic-beta") or "")
        assert "anthropic_beta" not in seen.json


def test_limits_and_steps_of_the_key_apply(upstream: Upstream) -> None:
    entry = provider("anthropic/claude-sonnet-4-5", upstream.url, ["messages"], name=CLAUDE)
    settings = config(
        [entry],
        client_keys=[{"name": "a", "key": KEY, "ratelimits": {"requests": "2/m"}}],
        steps=[{"use": "regex", "action": "refuse", "with": {"patterns": {"project": "falcon-[0-9]+"}}}],
        compatibility=["litellm"],
    )
    upstream.script(Script("Hi."))
    with gateway_thread(settings) as found:
        with pytest.raises(APIStatusError, match="project"):
            ask(found.url, messages=[{"role": "user", "content": "falcon-12"}], stream=True)
        ask(found.url)
        with pytest.raises(RateLimitError):
            ask(found.url)


def test_the_paths_exist_only_for_clients_of_litellm(upstream: Upstream) -> None:
    entry = provider("anthropic/claude-sonnet-4-5", upstream.url, ["messages"], name=CLAUDE)
    for compatibility in ([], ["azure"]):
        with gateway_thread(config([entry], compatibility=compatibility)) as found:
            assert request(found.url, "POST", f"{PLACE}/{CLAUDE}:rawPredict", HELLO).status == 404


@pytest.mark.sample(9)
@pytest.mark.parametrize("model", ["mistralai/models/mistral-large", "anthropic/models"])
def test_other_publishers_are_refused(gateway: Gateway, model: str) -> None:
    place = PLACE.removesuffix("anthropic/models")
    assert gateway.request("POST", f"{place}{model}:rawPredict", HELLO, BEARER).status == 404
