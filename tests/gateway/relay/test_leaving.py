"""A client that leaves closes its provider's connection at every endpoint, at each point of its request, and nothing is
left of it (BlockRunAI/ClawRouter#251, openclaw/openclaw#116146, metadist/synaplan#1155)."""

import json

import pytest
import trio

from tests.support.asgi_app import eventually
from tests.support.cases import case
from tests.support.endpoint_provider import Asked, Told, before
from tests.support.in_process import InProcess
from tests.support.relayed_requests import ASKED, MULTIPART, body_of

MODEL = "trigate/m-1"
FIRST = list({endpoint: (endpoint, path) for endpoint, path in reversed(ASKED)}.values())
"""The first path of each endpoint: it takes OpenAI's form."""

PIECES = {
    "audio/mpeg": (b"x" * 2**16, b"y" * 2**16),
    "text/event-stream": (b'data: {"choices":[{"index":0,"text":"a"}]}\n\n', b"data: [DONE]\n\n"),
    "application/json": (b"[" + b"1," * 2**19, b"1]"),
}


async def never(asked: Asked) -> Told:
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


@pytest.mark.parametrize("kind", [None, *PIECES])
async def test_before_the_first_byte_and_in_the_answer(kind, caplog):
    """``None``: the provider says nothing."""
    caplog.set_level("INFO", "trigate")
    answering = never if kind is None else lambda asked: Told(PIECES[kind], headers=(("content-type", kind),))
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
