"""A relayed request from socket to socket: the forwarded bytes, the counts, and the end."""

import json
from collections.abc import Mapping
from typing import Any

import httpx2
import pytest
import trio

from tests.support.asgi_app import eventually
from tests.support.cases import case
from tests.support.endpoint_provider import ReceivedRequest, ScriptedAnswer, before, json_answer
from tests.support.features import needs_feature
from tests.support.in_process import InProcess
from tests.support.multipart import KIND, multipart, part
from tests.support.relayed_requests import ASKED, body_of

WHOLE = {
    "id": "cmpl-1", "object": "text_completion", "model": "m-1",
    "choices": [{"index": 0, "text": " there", "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}  # fmt: skip
DONE = b"data: [DONE]\n\n"


async def post(served: InProcess, **body: Any) -> httpx2.Response:
    return await served.post("/v1/completions", json={"model": "m-1", "prompt": "Hello", **body})


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


async def test_another_method_is_refused_with_the_allowed_ones():
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


def request_bytes(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
    return head.encode() + body


RELAYED = {path: request_bytes("POST", path, *body_of(endpoint, MODEL)) for endpoint, path in FIRST}
_IS_JSON = {"content-type": "application/json"}
KEPT = {
    f"{method} {path}": request_bytes(method, path, headers, body)
    for method, path, headers, body in (
        (
            "POST",
            "/v1/files",
            {"content-type": KIND},
            multipart([part("purpose", b"user_data"), part("file", b"x", "a")]),
        ),
        ("POST", "/v1/uploads", _IS_JSON, b'{"bytes": 5, "filename": "a", "purpose": "assistants"}'),
        ("POST", "/v1/vector_stores", _IS_JSON, b'{"name": "s"}'),
        ("DELETE", "/v1/files/file-1", {}, b""),
        ("GET", "/v1/files/file-1", {}, b""),
        ("GET", "/v1/files/file-1/content", {}, b""),
        ("GET", "/v1/batches/batch_1", {}, b""),
    )
}
"""Requests about stored objects that cost nothing."""


async def all_over(served: InProcess) -> None:
    """Wait until no request is open any more."""
    await eventually(lambda: not served.service.ledger.open_records and not served.service.upstream.stats().active)


@pytest.mark.parametrize("kind", [None, *PIECES])
@pytest.mark.parametrize(
    ("model", "requests"),
    [
        pytest.param(MODEL, RELAYED, id="relayed"),
        pytest.param("openai/*", KEPT, id="kept", marks=needs_feature("files")),
    ],
)
async def test_before_the_first_byte_and_in_the_answer(model, requests, kind, caplog):
    """``None``: the provider sends nothing."""
    caplog.set_level("INFO", "trigate")
    answering = never if kind is None else lambda asked: ScriptedAnswer(PIECES[kind], headers=(("content-type", kind),))
    async with before(answering, model) as (served, provider):
        for name, request in requests.items():
            with case(name):
                left = provider.left
                provider.begun, provider.left_now, provider.go = trio.Event(), trio.Event(), trio.Event()
                stream = await trio.open_tcp_stream("127.0.0.1", int(served.url.rpartition(":")[2]))
                await stream.send_all(request)
                with trio.fail_after(5):
                    await provider.begun.wait()
                await stream.aclose()
                with trio.fail_after(10):
                    await provider.left_now.wait()
                assert provider.left == left + 1
                await all_over(served)
    ends = [json.loads(one.getMessage())["ended"] for one in caplog.records if one.name == "trigate.exchange"]
    assert ends == ["client_disconnected"] * len(requests)
