"""Amazon's SDK for Python through a complete gateway, to a provider of each API. The tests use botocore's client, which
boto3 uses, too."""

import contextlib
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from gateway.app import whole_app
from gateway.config_files.loading import from_mapping
from gateway.open_service import open_service
from gateway.serving.lifecycle import Lifecycle
from providers.grammar import judge
from tests.support.gateway_thread import app_thread
from tests.support.harness import config, provider, request
from tests.support.upstreams import Raw, Script, ToolCall, render

pytest.importorskip("botocore", reason="Amazon's SDK is not installed")
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, EventStreamError
from botocore.session import Session

UPSTREAMS = ("chat", "messages", "responses", "gemini", "converse", "interactions")
KEY = "tg-alice-0123456789abcdefghijklmnop"
PROFILE = "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
ODD = "50%2F50 of all:free"
CALL = ToolCall("call_w1", "get_weather", '{"city": "Zürich"}')
TOOLS = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": {"type": "object"}}}}]}
HI = [{"role": "user", "content": [{"text": "Hi"}]}]


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[str]:
    """Run a gateway on a thread, and yield its address."""
    rows = [("openai", "chat"), ("anthropic", "messages"), ("openai", "responses"), ("gemini", "gemini"),
            ("amazon_bedrock", "converse"), ("gemini", "interactions")]  # fmt: skip
    entries = [provider(f"{maker}/up-{api}", upstream.url, [api], name=f"up-{api}") for maker, api in rows]
    entries.append(provider("anthropic/claude-opus-5", upstream.url, ["messages"], name="opus", key="sk-other"))
    aliases = {PROFILE: {"target": "up-chat"}, ODD: {"target": "up-messages"}}
    keys = [{"name": "alice", "key": KEY}]
    settings = from_mapping(config(entries, 1, model_aliases=aliases, client_keys=keys, state_storage={"type": "none"}))
    lifecycle = Lifecycle()
    app = whole_app(settings, open_service(settings, lifecycle, None, True))
    with app_thread(app, lifecycle) as port:
        yield f"http://127.0.0.1:{port}"


@cache
def client(url: str, signed: bool = False, **headers: str) -> Any:
    """Return Amazon's client. It sends a Bedrock API key only over TLS, so this function adds the header of the key. If
    ``signed``, the client has no key and signs with its own credentials."""
    session = Session()
    how = Config(retries={"total_max_attempts": 1}, signature_version="v4" if signed else UNSIGNED)
    if signed:
        session._credentials = Credentials(
            "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "session"
        )
    else:
        headers["authorization"] = f"Bearer {KEY}"
    made = session.create_client("bedrock-runtime", region_name="eu-central-1", endpoint_url=url, config=how)
    for name, value in headers.items():
        made.meta.events.register("before-send.*", _header(name.replace("_", "-"), value))
    return made


def _header(name: str, value: str) -> Any:
    def add(request: Any, **_: Any) -> None:
        request.headers[name] = value

    return add


def read_stream(events: Any) -> dict[str, Any]:
    """Return the parts of a stream, combined as programs do it."""
    text, input, found = "", "", {}
    with contextlib.closing(events["stream"]) as stream:
        for event in stream:
            ((name, value),) = event.items()
            found[name] = value
            if name == "contentBlockDelta":
                text += value["delta"].get("text", "")
                input += value["delta"].get("toolUse", {}).get("input", "")
    return {**found, "text": text, "input": input, "ResponseMetadata": events["ResponseMetadata"]}


def test_answers_are_the_same_with_and_without_a_stream(gateway, upstream):
    for api in UPSTREAMS:
        bedrock = client(gateway)
        upstream.script(Script(text="Grüezi 😀"), Script(text="Grüezi 😀"))
        asked = {"modelId": f"up-{api}", "messages": HI, "inferenceConfig": {"maxTokens": 50}}
        answer = bedrock.converse(**asked)
        assert answer["output"]["message"] == {"role": "assistant", "content": [{"text": "Grüezi 😀"}]}, api
        assert (answer["stopReason"], answer["usage"]["totalTokens"]) == ("end_turn", 18), api
        streamed = read_stream(bedrock.converse_stream(**asked))
        assert streamed["text"] == "Grüezi 😀", api
        assert streamed["messageStop"] == {"stopReason": "end_turn"}, api
        assert streamed["metadata"]["usage"] == answer["usage"], api
        assert all(f"up-{api}" in (seen.json.get("model"), *seen.path.split("/")) or api == "gemini"
                   for seen in upstream.seen), api  # fmt: skip
        lanes = {one["ResponseMetadata"]["HTTPHeaders"]["x-trigate-lane"] for one in (answer, streamed)}
        assert lanes == {"byte" if api == "converse" else "hub"}, api


def test_a_tool_call_and_its_result_pass(gateway, upstream):
    for api in UPSTREAMS:
        bedrock = client(gateway)
        upstream.script(Script(text="Let me look.", calls=(CALL,), stop="tool_calls"), Script(text="Warm."))
        asked = {"modelId": f"up-{api}", "messages": HI, "toolConfig": TOOLS}
        answer = read_stream(bedrock.converse_stream(**asked))
        call = answer["contentBlockStart"]["start"]["toolUse"]
        assert (call["name"], json.loads(answer["input"])) == ("get_weather", {"city": "Zürich"}), api
        assert answer["messageStop"] == {"stopReason": "tool_use"}, api
        use = {"toolUse": {**call, "input": json.loads(answer["input"])}}
        result = {"toolResult": {"toolUseId": call["toolUseId"], "content": [{"json": {"degrees": 27}}]}}
        turns = [
            {"role": "assistant", "content": [{"text": answer["text"]}, use]},
            {"role": "user", "content": [result]},
        ]
        again = bedrock.converse(modelId=f"up-{api}", messages=HI + turns, toolConfig=TOOLS)
        assert again["output"]["message"]["content"] == [{"text": "Warm."}], api
        assert "degrees" in upstream.seen[-1].body.decode(), api


def test_a_message_removes_a_tool(gateway, upstream):
    """The source is ``ToolRemovalBlock`` in the service's model."""
    other = {"toolSpec": {"name": "search", "inputSchema": {"json": {"type": "object"}}}}
    asked = {
        "messages": [*HI, {"role": "system", "content": [{"toolRemoval": {"tool": {"name": "get_weather"}}}]}],
        "toolConfig": {"tools": [*TOOLS["tools"], other]},
    }
    bedrock = client(gateway)
    for api in UPSTREAMS:
        upstream.script(Script(text="Fine."), Script(text="Fine."))
        assert read_stream(bedrock.converse_stream(modelId=f"up-{api}", **asked))["text"] == "Fine.", api
        bedrock.converse(modelId=f"up-{api}", **asked)
        for seen in upstream.seen:
            names = [one in json.dumps(seen.json) for one in ("get_weather", "search")]
            assert names == [api == "converse", True], api
    upstream.script(Script(text="Fine."))
    bedrock.converse(modelId="opus", **asked)
    (seen,) = upstream.seen
    change = {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "get_weather"}}
    assert seen.json["messages"][-1] == {"role": "system", "content": [change]}
    assert [tool["name"] for tool in seen.json["tools"]] == ["get_weather", "search"]
    assert "mid-conversation-tool-changes-2026-07-01" in (seen.header("anthropic-beta") or "")


def test_the_id_of_a_model_is_decoded_once(gateway, upstream):
    for model, api in ((PROFILE, "chat"), (ODD, "messages")):
        upstream.script(Script(text="ok"), Script(text="ok"))
        bedrock = client(gateway)
        made = bedrock.meta.service_model.operation_model("Converse")
        assert made.input_shape.members["modelId"].serialization["location"] == "uri"
        assert bedrock.converse(modelId=model, messages=HI)["output"]["message"]["content"] == [{"text": "ok"}]
        assert read_stream(bedrock.converse_stream(modelId=model, messages=HI))["text"] == "ok"
        assert [seen.json["model"] for seen in upstream.seen] == [f"up-{api}"] * 2


def test_a_signed_request_also_needs_a_gateway_key(gateway, upstream):
    with pytest.raises(ClientError) as refused:
        client(gateway, signed=True).converse(modelId="up-chat", messages=HI)
    error = refused.value.response["Error"]
    assert error["Code"] == "AccessDeniedException"
    assert "AWS_BEARER_TOKEN_BEDROCK" in error["Message"]
    upstream.script(Script(text="ok"))
    answer = client(gateway, signed=True, x_trigate_key=KEY).converse(modelId="up-chat", messages=HI)
    assert answer["output"]["message"]["content"] == [{"text": "ok"}]
    sent = dict(upstream.seen[-1].headers)
    assert sent["authorization"] == "Bearer sk-upstream"
    assert not {name for name in sent if name.startswith("x-amz")}, "nothing of the client's own signature goes on"


def test_an_error_is_the_exception_that_programs_catch(gateway, upstream):
    bedrock = client(gateway)
    cases = [
        (Raw(429, (("retry-after", "7"),), (b'{"error": {"message": "slow down", "type": "rate_limit_error"}}',)),
         bedrock.exceptions.ThrottlingException, "slow down"),
        (Raw(400, (), (b'{"error": {"message": "no such tool", "type": "invalid_request_error"}}',)),
         bedrock.exceptions.ValidationException, "no such tool"),
        (Raw(400, (), (b'{"error": {"message": "too long", "code": "context_length_exceeded"}}',)),
         bedrock.exceptions.ValidationException, "Input is too long for requested model"),
    ]  # fmt: skip
    for raw, kind, words in cases:
        for ask in (bedrock.converse, bedrock.converse_stream):
            upstream.script(raw)
            with pytest.raises(kind) as caught:
                ask(modelId="up-chat", messages=HI)
            assert words in caught.value.response["Error"]["Message"]
    with pytest.raises(bedrock.exceptions.ResourceNotFoundException):
        bedrock.converse(modelId="nobody", messages=HI)
    with pytest.raises(bedrock.exceptions.ValidationException) as caught:
        bedrock.converse(modelId="up-chat", messages=HI, guardrailConfig={"guardrailIdentifier": "g"})
    assert "guardrailConfig is not supported" in caught.value.response["Error"]["Message"]


def test_a_stream_that_breaks_off_raises(gateway, upstream):
    for api in UPSTREAMS:
        raw = render(Script(text="one two three"), api, {"stream": True, "model": "up"})
        at = next(i for i, piece in enumerate(raw.pieces) if b'"one t' in piece)
        upstream.script(Raw(200, raw.headers, raw.pieces[: at + 1], "cut"))
        with pytest.raises(EventStreamError) as broken:
            read_stream(client(gateway).converse_stream(modelId=f"up-{api}", messages=HI))
        assert "modelStreamErrorException" in str(broken.value), api


def test_the_bytes_of_a_stream_keep_the_grammar(gateway, upstream):
    upstream.script(Script(text="one two three", calls=(CALL,), stop="tool_calls"))
    head = {"authorization": f"Bearer {KEY}"}
    reply = request(gateway, "POST", "/model/up-chat/converse-stream", {"messages": HI}, head)
    assert reply.headers["content-type"] == "application/vnd.amazon.eventstream"
    assert reply.headers["x-amzn-requestid"] == reply.headers["x-request-id"]
    verdict = judge("converse", reply.body)
    assert (verdict.broken, verdict.outcome) == (None, "complete")


def test_tokens_are_counted(gateway, upstream):
    counted = client(gateway).count_tokens(modelId="up-chat", input={"converse": {"messages": HI}})
    assert counted["inputTokens"] > 0
