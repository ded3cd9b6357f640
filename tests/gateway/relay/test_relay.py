"""A relayed request from socket to socket: what passes, what is counted, and how it ends."""

import json
from typing import Any

import httpx2
import pytest
import trio

from tests.support.asgi_app import eventually
from tests.support.cases import case
from tests.support.endpoint_provider import ReceivedRequest, ScriptedAnswer, before, events, json_answer
from tests.support.in_process import InProcess
from tests.support.relayed_requests import ASKED, MULTIPART, body_of

WHOLE = {
    "id": "cmpl-1", "object": "text_completion", "model": "m-1",
    "choices": [{"index": 0, "text": " there", "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}  # fmt: skip
CHUNK = b'data: {"object":"text_completion","choices":[{"index":0,"text":"%b","finish_reason":null}]}\n\n'
LAST = b'data: {"object":"text_completion","choices":[{"index":0,"text":"","finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


async def post(served: InProcess, **body: Any) -> httpx2.Response:
    return await served.post("/v1/completions", json={"model": "m-1", "prompt": "Hello", **body})


async def test_only_the_model_changes_on_the_way():
    async with before(lambda asked: json_answer(WHOLE), entry={"name": "mine"}) as (served, provider):
        body = b'{"prompt":[1, 2],  "model":"mine","x-unknown":{"a":1.50},"max_tokens":0}'
        answer = await served.post("/v1/completions", content=body, headers={"content-type": "application/json"})
        assert answer.json() == WHOLE
        assert answer.headers["x-trigate-target"] == "openai/m-1"
        (asked,) = provider.asked
        assert (asked.method, asked.path) == ("POST", "/v1/completions")
        assert asked.headers["authorization"] == "Bearer provider-key"
        assert asked.json == {"prompt": [1, 2], "model": "m-1", "x-unknown": {"a": 1.5}, "max_tokens": 0}
        assert b'"x-unknown":{"a":1.50}' in asked.body


async def test_events_pass_immediately_and_whole():
    answer = events(CHUNK % b"a" + CHUNK[:20] % (), *(), CHUNK[20:] % b"b" + LAST, DONE)
    async with before(lambda asked: answer) as (served, _):
        found = await post(served, stream=True)
        assert found.headers["content-type"] == "text/event-stream"
        assert found.content == CHUNK % b"a" + CHUNK % b"b" + LAST + DONE


async def test_an_error_of_the_provider_is_reported_in_the_clients_words():
    async with before(lambda asked: json_answer({"message": "no such thing"}, 422)) as (served, _):
        found = await post(served)
        assert found.status_code == 422
        assert "no such thing" in found.json()["error"]["message"]


async def test_a_stream_that_breaks_off_ends_in_an_error_event():
    async with before(lambda asked: events(CHUNK % b"a", cut=True)) as (served, _):
        found = await post(served, stream=True)
        assert found.content.startswith(CHUNK % b"a")
        assert b"[DONE]" not in found.content
        assert json.loads(found.content.rpartition(b"data: ")[2])["error"]


@pytest.mark.sample(2)
@pytest.mark.parametrize("kind", ["audio/mpeg", "application/json"])
async def test_a_body_that_breaks_off_does_not_look_whole(kind):
    big = (b"[" + b"1," * 2**19, b"1," * 2**19)
    answer = ScriptedAnswer(big, headers=(("content-type", kind),), cut=True)
    async with before(lambda asked: answer) as (served, _):
        with pytest.raises(httpx2.RemoteProtocolError):
            await post(served)


async def test_a_short_answer_that_breaks_off_is_an_error():
    async with before(lambda asked: ScriptedAnswer((b'{"choices":',), cut=True)) as (served, _):
        found = await post(served)
        assert found.status_code == 502
        assert found.json()["error"]["message"]


async def test_another_method_is_refused_with_what_is_allowed():
    async with before(lambda asked: json_answer(WHOLE)) as (served, _):
        found = await served.get("/v1/completions")
        assert found.status_code == 405
        assert "POST" in found.headers["allow"]


# A client that leaves closes its provider's connection at every endpoint


MODEL = "trigate/m-1"
FIRST = list({endpoint: (endpoint, path) for endpoint, path in reversed(ASKED)}.values())
"""The first path of each endpoint: it takes OpenAI's form."""

PIECES = {
    "audio/mpeg": (b"x" * 2**16, b"y" * 2**16),
    "text/event-stream": (b'data: {"choices":[{"index":0,"text":"a"}]}\n\n', b"data: [DONE]\n\n"),
    "application/json": (b"[" + b"1," * 2**19, b"1]"),
}


async def never(asked: ReceivedRequest) -> ScriptedAnswer:
    await trio.sleep_forever()
    raise AssertionError


def request(endpoint: str, path: str, share: float = 1.0) -> bytes:
    """The request, or the first part of it."""
    headers, body = body_of(endpoint, MODEL)
    if endpoint in MULTIPART and share < 1:
        body = body.replace(b"xyz", b"x" * 2**20)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
    return head.encode() + body[: int(len(body) * share)]


async def all_over(served: InProcess) -> None:
    """Wait until nothing of any request is left."""
    await eventually(lambda: not served.service.ledger.open_records and not served.service.upstream.stats().active)


@pytest.mark.sample(3, by="turns")
@pytest.mark.parametrize("kind", [None, *PIECES])
async def test_before_the_first_byte_and_in_the_answer(kind, caplog):
    """``None``: the provider says nothing."""
    caplog.set_level("INFO", "trigate")
    answering = never if kind is None else lambda asked: ScriptedAnswer(PIECES[kind], headers=(("content-type", kind),))
    async with before(answering, MODEL) as (served, provider):
        for endpoint, path in FIRST:
            with case(path):
                left = provider.left
                provider.begun, provider.left_now, provider.go = trio.Event(), trio.Event(), trio.Event()
                stream = await trio.open_tcp_stream("127.0.0.1", int(served.url.rpartition(":")[2]))
                await stream.send_all(request(endpoint, path))
                with trio.fail_after(5):
                    await provider.begun.wait()
                await stream.aclose()
                with trio.fail_after(1):
                    await provider.left_now.wait()
                assert provider.left == left + 1
                await all_over(served)
    ends = [json.loads(one.getMessage())["ended"] for one in caplog.records if one.name == "trigate.exchange"]
    assert ends == ["client_disconnected"] * len(FIRST)


@pytest.mark.soak
async def test_in_every_tenth_of_an_upload():
    async with before(never, MODEL) as (served, provider):
        for endpoint, path in (one for one in FIRST if one[0] in MULTIPART):
            for tenth in range(10):
                with case(f"{path} after {tenth} tenths"):
                    stream = await trio.open_tcp_stream("127.0.0.1", int(served.url.rpartition(":")[2]))
                    await stream.send_all(request(endpoint, path, tenth / 10))
                    with trio.move_on_after(0.05 if tenth else 0):
                        await provider.begun.wait()
                    await stream.aclose()
                    await all_over(served)
                    provider.begun = trio.Event()
        assert provider.asked == []
