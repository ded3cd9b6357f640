"""Clients of Bedrock's InvokeModel with a Claude: Amazon's SDK and Anthropic's, as LiteLLM serves them at /bedrock."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from anthropic import AnthropicBedrock, RateLimitError

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, provider, request
from tests.support.upstreams import Raw, Script, ToolCall, Upstream, render

pytest.importorskip("botocore", reason="Amazon's SDK is not installed")
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError
from botocore.session import Session

KEY = "sk-invoke-1234567890abcdef"
CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
VERSION = "bedrock-2023-05-31"
HELLO = {"anthropic_version": VERSION, "max_tokens": 99, "messages": [{"role": "user", "content": "Hello"}]}
BEARER = {"authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module", params=["messages", "chat"])
def gateway(upstream: Upstream, request: pytest.FixtureRequest) -> Iterator[Gateway]:
    """Run a gateway whose provider speaks the API of the parameter."""
    maker = {"messages": "anthropic/claude-sonnet-4-5", "chat": "openai/gpt-5"}[request.param]
    entry = provider(maker, upstream.url, [request.param], name=CLAUDE)
    settings = config([entry], client_keys=[{"name": "a", "key": KEY}], compatibility=["litellm"])
    with gateway_thread(settings) as found:
        yield found


def amazon(url: str, key: str = KEY) -> Any:
    """Return Amazon's client; botocore sends the key of Bedrock only over TLS, so that a hook adds it."""
    how = Config(retries={"total_max_attempts": 1}, signature_version=UNSIGNED)
    made = Session().create_client(
        "bedrock-runtime", region_name="eu-central-1", endpoint_url=f"{url}/bedrock", config=how
    )

    def add_key(request: Any, **_: Any) -> None:
        request.headers["authorization"] = f"Bearer {key}"

    made.meta.events.register("before-send.*", add_key)
    return made


def anthropic(url: str) -> AnthropicBedrock:
    """Return Anthropic's client, which sends a key of Bedrock as a bearer token."""
    return AnthropicBedrock(base_url=f"{url}/bedrock", aws_region="eu-central-1", api_key=KEY, max_retries=0)


def chunks_of(reply: Any) -> list[dict[str, Any]]:
    with contextlib.closing(reply["body"]) as stream:
        return [json.loads(event["chunk"]["bytes"]) for event in stream]


@pytest.mark.sample(2)
def test_amazons_sdk_reads_a_whole_answer(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(Script("Hi there."))
    reply = amazon(gateway.url).invoke_model(modelId=CLAUDE, body=json.dumps(HELLO))
    answer = json.loads(reply["body"].read())
    assert (answer["type"], answer["content"][0]["text"]) == ("message", "Hi there.")
    assert reply["contentType"] == "application/json"
    sent = upstream.seen[-1].json
    assert "anthropic_version" not in sent
    assert not sent.get("stream")


@pytest.mark.sample(2)
def test_amazons_sdk_reads_a_stream(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(Script("Hi there."))
    reply = amazon(gateway.url).invoke_model_with_response_stream(modelId=CLAUDE, body=json.dumps(HELLO))
    chunks = chunks_of(reply)
    assert [chunks[0]["type"], chunks[-1]["type"]] == ["message_start", "message_stop"]
    deltas = [one["delta"]["text"] for one in chunks if one["type"] == "content_block_delta"]
    assert "".join(deltas) == "Hi there."
    assert reply["contentType"] == "application/json"


@pytest.mark.sample(2)
def test_anthropics_sdk_reads_answers_and_tools(gateway: Gateway, upstream: Upstream) -> None:
    upstream.script(Script("Hi there."))
    client = anthropic(gateway.url)
    messages: Any = [{"role": "user", "content": "Hello"}]
    assert client.messages.create(model=CLAUDE, max_tokens=99, messages=messages).content[0].text == "Hi there."  # type: ignore[union-attr]
    upstream.script(Script("", calls=(ToolCall("toolu_1", "get_weather", '{"city": "Zürich"}'),)))
    tools: Any = [{"name": "get_weather", "input_schema": {"type": "object"}}]
    with client.messages.stream(model=CLAUDE, max_tokens=99, messages=messages, tools=tools) as stream:
        blocks = stream.get_final_message().content
    assert [(one.name, one.input) for one in blocks if one.type == "tool_use"] == [("get_weather", {"city": "Zürich"})]


@pytest.mark.sample(2)
def test_errors_have_amazons_form(gateway: Gateway, upstream: Upstream) -> None:
    refusal = Raw(429, (("content-type", "application/json"),), (b'{"error": {"message": "slow down"}}',))
    upstream.script(refusal, refusal)
    with pytest.raises(ClientError) as raised:
        amazon(gateway.url).invoke_model(modelId=CLAUDE, body=json.dumps(HELLO))
    assert raised.value.response["Error"]["Code"] == "ThrottlingException"
    assert raised.value.response["Error"]["Message"]
    with pytest.raises(RateLimitError):
        anthropic(gateway.url).messages.create(model=CLAUDE, max_tokens=9, messages=[{"role": "user", "content": "x"}])


def test_a_wrong_key_has_amazons_form(gateway: Gateway) -> None:
    with pytest.raises(ClientError) as raised:
        amazon(gateway.url, "sk-wrong-1234567890").invoke_model(modelId=CLAUDE, body=json.dumps(HELLO))
    assert raised.value.response["Error"]["Code"] == "AccessDeniedException"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 401


@pytest.mark.parametrize("gateway", ["messages"], indirect=True)
def test_a_stream_that_breaks_ends_with_an_exception(gateway: Gateway, upstream: Upstream) -> None:
    whole = render(Script("Hi there."), "messages", {"model": "claude-sonnet-4-5", "stream": True})
    upstream.script(attrs.evolve(whole, pieces=(b"".join(whole.pieces)[:700],), end="cut"))
    reply = amazon(gateway.url).invoke_model_with_response_stream(modelId=CLAUDE, body=json.dumps(HELLO))
    with pytest.raises(EventStreamError):
        chunks_of(reply)


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
    for end in ("invoke", "invoke-with-response-stream"):
        reply = gateway.request("POST", f"/model/{CLAUDE}/{end}", body, BEARER)
        assert reply.status == 400
        assert message in json.loads(reply.body)["message"]
        assert dict(reply.headers)["x-amzn-errortype"] == "ValidationException"


def test_betas_in_the_body_reach_a_provider_of_the_same_api(upstream: Upstream) -> None:
    entry = provider("anthropic/claude-sonnet-4-5", upstream.url, ["messages"], name=CLAUDE)
    upstream.script(Script("Hi."))
    with gateway_thread(config([entry], compatibility=["litellm"])) as found:
        body = {**HELLO, "anthropic_beta": ["context-1m-2025-08-07"]}
        assert found.request("POST", f"/bedrock/model/{CLAUDE}/invoke", body).status == 200
    (seen,) = upstream.seen
    assert "context-1m-2025-08-07" in (seen.header("anthropic-beta") or "")
    assert "anthropic_beta" not in seen.json


def test_the_paths_exist_only_for_clients_of_litellm(upstream: Upstream) -> None:
    entry = provider("anthropic/claude-sonnet-4-5", upstream.url, ["messages"], name=CLAUDE)
    for compatibility in ([], ["azure"]):
        with gateway_thread(config([entry], compatibility=compatibility)) as found:
            assert request(found.url, "POST", f"/model/{CLAUDE}/invoke", HELLO).status == 404
