"""The number of choices that an entry sets: the client receives each one that the provider bills."""

import json

import pytest

from tests.support.each_row import each_row
from tests.support.features import rows_of
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import Raw
from tests.support.wire_clients import body_of, path_of

TEXTS = ("First", "Second")
MASK = [{"use": "pii", "at": ["request", "response"], "action": "mask"}]


def complete_answer(to: str) -> Raw:
    if to == "gemini":
        several = [
            {"index": at, "content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}
            for at, text in enumerate(TEXTS)
        ]
        return json_answer({"candidates": several})
    several = [
        {"index": at, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        for at, text in enumerate(TEXTS)
    ]
    return json_answer({"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": several})


def json_answer(value: object) -> Raw:
    return Raw(200, (("content-type", "application/json"),), (json.dumps(value).encode(),))


def stream_of_choices() -> Raw:
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    events = [
        {"index": at, "delta": delta, "finish_reason": reason}
        for at, text in enumerate(TEXTS)
        for delta, reason in (({"role": "assistant", "content": text}, None), ({}, "stop"))
    ]
    pieces = [b"data: %b\n\n" % json.dumps({**head, "choices": [one]}).encode() for one in events]
    return Raw(200, (("content-type", "text/event-stream"),), (*pieces, b"data: [DONE]\n\n"))


@pytest.fixture(scope="module", params=[{}, *rows_of("steps", {"steps": MASK})], ids=str)
def gateway(upstream, request):
    two = {"set": {"n": 2}}
    entries = [
        provider("up/chat", f"{upstream.url}/v1", ["chat"], name="chat", request=two),
        provider("gemini/m", f"{upstream.url}/v1beta", ["gemini"], name="gemini", request=two),
    ]
    with gateway_thread(config(entries, **request.param)) as running:
        yield running


@each_row(
    ("api", "to", "stream"),
    [*((api, to, False) for api in ("chat", "gemini") for to in ("chat", "gemini")), ("chat", "chat", True)],
)
def test_a_complete_response_and_a_stream_of_the_clients_api_have_all_choices(gateway, upstream, api, to, stream):
    upstream.script(stream_of_choices() if stream else complete_answer(to))
    reply = gateway.request("POST", path_of(api, to, stream=stream), body_of(api, to, stream=stream))
    assert reply.status == 200
    assert all(text in reply.body.decode() for text in TEXTS)


@pytest.mark.parametrize(("api", "to"), [("chat", "gemini"), ("gemini", "chat")])
def test_a_translated_stream_is_refused_before_the_provider_is_paid(gateway, upstream, api, to):
    upstream.script()
    reply = gateway.request("POST", path_of(api, to, stream=True), body_of(api, to, stream=True))
    assert reply.status == 400
    assert "configuration requests 2 choices" in reply.body.decode()
    assert not upstream.seen
