"""Clients of Claude in a cloud, on the paths of LiteLLM: Bedrock's InvokeModel at /bedrock, with the SDKs of Amazon
and Anthropic, and Vertex AI at /vertex_ai, with Anthropic's SDK for it."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from anthropic import AnthropicBedrock, AnthropicVertex, APIStatusError, AuthenticationError, RateLimitError

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, provider, request
from tests.support.upstreams import Raw, Script, ToolCall, Upstream, render

pytest.importorskip("botocore", reason="Amazon's SDK is not installed")
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError
from botocore.session import Session

from tests.support.each_row import each_row
from tests.support.features import needs_feature

KEY = "sk-cloud-1234567890abcdef"
BEARER = {"authorization": f"Bearer {KEY}"}
BEDROCK, VERTEX = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5@20250929"
PLACE = "/v1/projects/some-project/locations/europe-west1/publishers/anthropic/models"
MESSAGES: Any = [{"role": "user", "content": "Hello"}]
INVOKED = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 99, "messages": MESSAGES}
PREDICTED = {**INVOKED, "anthropic_version": "vertex-2023-10-16"}
BETA = "context-1m-2025-08-07"
WEATHER = Script("", calls=(ToolCall("toolu_1", "get_weather", '{"city": "Zürich"}'),))
TOOLS: Any = [{"name": "get_weather", "input_schema": {"type": "object"}}]
SLOW_DOWN = Raw(429, (("content-type", "application/json"),), (b'{"error": {"message": "slow down"}}',))


def entries(upstream: Upstream, api: str = "messages") -> list[dict[str, Any]]:
    maker = {"messages": "anthropic/claude-sonnet-4-5", "chat": "openai/gpt-5"}[api]
    return [provider(maker, upstream.url, [api], name=name) for name in (BEDROCK, VERTEX)]


@pytest.fixture(scope="module", params=["messages", "chat"])
def gateway(upstream: Upstream, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """Run a gateway whose provider speaks the API of the parameter."""
    own = entries(upstream, request.param)
    with gateway_thread(config(own, client_keys=[{"name": "a", "key": KEY}], compatibility=["litellm"])) as found:
        yield found


def cut() -> Raw:
    """Return an answer that breaks off."""
    whole = render(Script("Hi there."), "messages", {"model": "claude-sonnet-4-5", "stream": True})
    return attrs.evolve(whole, pieces=(b"".join(whole.pieces)[:700],), end="cut")


def tool_calls(stream: Any) -> list[Any]:
    return [(one.name, one.input) for one in stream.get_final_message().content if one.type == "tool_use"]


# Bedrock


def amazon(url: str, key: str = KEY) -> Any:
    """Return Amazon's client; botocore sends a Bedrock key only over TLS, so a hook adds it."""
    how = Config(retries={"total_max_attempts": 1}, signature_version=UNSIGNED)
    made = Session().create_client(
        "bedrock-runtime", region_name="eu-central-1", endpoint_url=f"{url}/bedrock", config=how
    )

    def add_key(request: Any, **_: Any) -> None:
        request.headers["authorization"] = f"Bearer {key}"

    made.meta.events.register("before-send.*", add_key)
    return made


def anthropic_bedrock(url: str) -> AnthropicBedrock:
    """Return Anthropic's client, which sends a Bedrock key as a bearer token."""
    return AnthropicBedrock(base_url=f"{url}/bedrock", aws_region="eu-central-1", api_key=KEY, max_retries=0)


def chunks_of(reply: Any) -> list[dict[str, Any]]:
    with contextlib.closing(reply["body"]) as stream:
        return [json.loads(event["chunk"]["bytes"]) for event in stream]


def test_amazons_sdk_reads_a_whole_answer(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(Script("Hi there."))
    reply = amazon(gateway.url).invoke_model(modelId=BEDROCK, body=json.dumps(INVOKED))
    answer = json.loads(reply["body"].read())
    assert (answer["type"], answer["content"][0]["text"]) == ("message", "Hi there.")
    assert reply["contentType"] == "application/json"
    sent = upstream.seen[-1].json
    assert "anthropic_version" not in sent
    assert not sent.get("stream")


def test_amazons_sdk_reads_a_stream(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(Script("Hi there."))
    reply = amazon(gateway.url).invoke_model_with_response_stream(modelId=BEDROCK, body=json.dumps(INVOKED))
    chunks = chunks_of(reply)
    assert [chunks[0]["type"], chunks[-1]["type"]] == ["message_start", "message_stop"]
    deltas = [one["delta"]["text"] for one in chunks if one["type"] == "content_block_delta"]
    assert "".join(deltas) == "Hi there."
    assert reply["contentType"] == "application/json"


def test_anthropics_sdk_for_bedrock_reads_answers_and_tools(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(Script("Hi there."), WEATHER)
    asked: Any = {"model": BEDROCK, "max_tokens": 99, "messages": MESSAGES}
    client = anthropic_bedrock(gateway.url)
    assert client.messages.create(**asked).content[0].text == "Hi there."
    with client.messages.stream(**asked, tools=TOOLS) as stream:
        assert tool_calls(stream) == [("get_weather", {"city": "Zürich"})]


def test_errors_have_amazons_form(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(SLOW_DOWN, SLOW_DOWN)
    with pytest.raises(ClientError) as raised:
        amazon(gateway.url).invoke_model(modelId=BEDROCK, body=json.dumps(INVOKED))
    assert raised.value.response["Error"]["Code"] == "ThrottlingException"
    assert raised.value.response["Error"]["Message"]
    with pytest.raises(RateLimitError):
        anthropic_bedrock(gateway.url).messages.create(model=BEDROCK, max_tokens=9, messages=MESSAGES)


def test_a_wrong_key_has_amazons_form(gateway: Gateway) -> None:
    with pytest.raises(ClientError) as raised:
        amazon(gateway.url, "sk-wrong-1234567890").invoke_model(modelId=BEDROCK, body=json.dumps(INVOKED))
    assert raised.value.response["Error"]["Code"] == "AccessDeniedException"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 401


@pytest.mark.parametrize("gateway", ["messages"], indirect=True)
def test_a_stream_of_bedrock_that_breaks_ends_with_an_exception(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(cut())
    reply = amazon(gateway.url).invoke_model_with_response_stream(modelId=BEDROCK, body=json.dumps(INVOKED))
    with pytest.raises(EventStreamError):
        chunks_of(reply)


# Vertex AI


def anthropic_vertex(url: str, base: str = "/vertex_ai/v1", key: str = KEY) -> AnthropicVertex:
    """Return Anthropic's client, which sends a Google token as a bearer token."""
    place = {"region": "europe-west1", "project_id": "some-project"}
    return AnthropicVertex(base_url=url + base, access_token=key, max_retries=0, **place)  # type: ignore[arg-type]


def ask(url: str, base: str = "/vertex_ai/v1", key: str = KEY, **members: Any) -> Any:
    """Return the answer to a request with ``members``, or the events of a stream."""
    with anthropic_vertex(url, base, key) as client:
        found = client.messages.create(**{"model": VERTEX, "max_tokens": 99, "messages": MESSAGES, **members})
        return list(found) if members.get("stream") else found


@each_row("base", ["/vertex_ai/v1", "/vertex-ai/v1", "/vertex_ai", "/v1"])
def test_anthropics_sdk_for_vertex_reads_a_whole_answer(gateway: Gateway, upstream: Upstream, base: str) -> None:
    upstream.script(Script("Hi there."))
    answer = ask(gateway.url, base)
    assert (answer.type, answer.content[0].text) == ("message", "Hi there.")
    sent = upstream.seen[-1].json
    assert "anthropic_version" not in sent
    assert not sent.get("stream")


def test_anthropics_sdk_for_vertex_reads_streams_and_tools(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(Script("Hi there."), WEATHER)
    texts = [event.delta.text for event in ask(gateway.url, stream=True) if event.type == "content_block_delta"]
    assert "".join(texts) == "Hi there."
    assert upstream.seen[-1].json["stream"] is True
    with (
        anthropic_vertex(gateway.url) as client,
        client.messages.stream(model=VERTEX, max_tokens=99, messages=MESSAGES, tools=TOOLS) as stream,
    ):
        assert tool_calls(stream) == [("get_weather", {"city": "Zürich"})]


def test_the_path_selects_the_model_and_the_stream(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(Script("Hi there."), Script("Hi there."))
    other = {**PREDICTED, "model": "not-configured"}
    whole = gateway.request("POST", f"/vertex_ai{PLACE}/{VERTEX}:rawPredict", {**other, "stream": True}, BEARER)
    assert (whole.status, dict(whole.headers)["content-type"]) == (200, "application/json")
    streamed = gateway.request("POST", f"/vertex_ai{PLACE}/{VERTEX}:streamRawPredict", other, BEARER)
    assert (streamed.status, b"message_stop" in streamed.body) == (200, True)


def test_tokens_are_counted(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(Raw(200, (("content-type", "application/json"),), (b'{"input_tokens": 7}',)))
    with anthropic_vertex(gateway.url) as client:
        assert client.messages.count_tokens(model=VERTEX, messages=MESSAGES).input_tokens > 0
    for seen in upstream.seen:  # a provider with the Chat API has no endpoint that counts
        assert (seen.path, seen.json["model"]) == ("/v1/messages/count_tokens", "claude-sonnet-4-5")


def test_errors_have_anthropics_form(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(SLOW_DOWN)
    with pytest.raises(RateLimitError) as raised:
        ask(gateway.url)
    assert raised.value.body["error"]["type"] == "rate_limit_error"  # type: ignore[index]
    with pytest.raises(AuthenticationError):
        ask(gateway.url, key="sk-wrong-1234567890")


@pytest.mark.parametrize("gateway", ["messages"], indirect=True)
def test_a_stream_of_vertex_that_breaks_ends_with_an_error(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(cut())
    with pytest.raises(APIStatusError):
        ask(gateway.url, stream=True)


@needs_feature("steps")
def test_limits_and_steps_of_the_key_apply(upstream: Upstream) -> None:
    settings = config(
        entries(upstream),
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


@pytest.mark.parametrize("model", ["mistralai/models/mistral-large", "anthropic/models"])
def test_other_publishers_are_refused(gateway: Gateway, model: str) -> None:
    place = PLACE.removesuffix("anthropic/models")
    assert gateway.request("POST", f"{place}{model}:rawPredict", PREDICTED, BEARER).status == 404


# Both


@each_row(
    ("change", "message"),
    [
        ({"anthropic_version": None}, "anthropic_version is required"),
        ({"anthropic_beta": "one"}, "anthropic_beta must be a list of strings"),
        ({"messages": None}, "messages is required"),
    ],
)
def test_other_bodies_are_the_clients_mistake(gateway: Gateway, change: dict[str, Any], message: str) -> None:
    for path, hello in (
        (f"/model/{BEDROCK}/invoke", INVOKED), (f"/model/{BEDROCK}/invoke-with-response-stream", INVOKED),
        (f"{PLACE}/{VERTEX}:rawPredict", PREDICTED), (f"{PLACE}/{VERTEX}:streamRawPredict", PREDICTED),
    ):  # fmt: skip
        body = {name: value for name, value in {**hello, **change}.items() if value is not None}
        reply = gateway.request("POST", path, body, BEARER)
        assert reply.status == 400
        is_amazons = hello is INVOKED
        assert message in (reply.json if is_amazons else reply.json["error"])["message"]
        assert reply.headers.get("x-amzn-errortype") == ("ValidationException" if is_amazons else None)


@pytest.mark.parametrize("gateway", ["messages"], indirect=True)
def test_betas_reach_a_provider_of_the_same_api(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(*[Script("Hi.")] * 3)
    ask(gateway.url, extra_headers={"anthropic-beta": BETA})
    for path, hello in ((f"{PLACE}/{VERTEX}:rawPredict", PREDICTED), (f"/bedrock/model/{BEDROCK}/invoke", INVOKED)):
        assert gateway.request("POST", path, {**hello, "anthropic_beta": [BETA]}, BEARER).status == 200
    assert len(upstream.seen) == 3
    for seen in upstream.seen:
        assert BETA in (seen.header("anthropic-beta") or "")
        assert "anthropic_beta" not in seen.json


def test_the_paths_exist_only_for_clients_of_litellm(upstream: Upstream) -> None:
    for compatibility in ([], ["azure"]):
        with gateway_thread(config(entries(upstream), compatibility=compatibility)) as found:
            assert request(found.url, "POST", f"/model/{BEDROCK}/invoke", INVOKED).status == 404
            assert request(found.url, "POST", f"{PLACE}/{VERTEX}:rawPredict", PREDICTED).status == 404
