"""Providers of other endpoints that send keep-alives alone: after ``timeouts.progress`` they have failed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from streams.sse import is_blank
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import config, provider
from tests.support.pinging_provider import PingingProvider, Pings
from tests.support.raw_call import line
from tests.support.upstreams import serve_upstream

JSON, STREAM = "application/json", "text/event-stream"
REQUESTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "embeddings": ("/v1/embeddings", {"model": "m", "input": "x"}),
    "images": ("/v1/images/generations", {"model": "m", "prompt": "x"}),
    "speech": ("/v1/audio/speech", {"model": "m", "input": "x", "voice": "alloy"}),
    "completions": ("/v1/completions", {"model": "m", "prompt": "x", "stream": True}),
    "passed": ("/m/v1/threads/runs", {"assistant_id": "a", "stream": True}),
}
KEEP_ALIVES: Final = ((JSON, b"\n"), (STREAM, b": ping\n\n"))


@pytest.fixture(scope="module")
def pinging() -> Iterator[PingingProvider]:
    with serve_upstream(PingingProvider) as found:
        yield found


@serve_module
def gateway(pinging):
    entry = {**provider("openai/gpt-4o-mini", f"{pinging.url}/v1", ["chat"], name="m"), "passthrough": True}
    return config([entry], timeouts={"progress": 1})


@each_row("kind", KEEP_ALIVES)
def test_a_response_of_keep_alives_ends_with_an_error(gateway, pinging, kind):
    """All requests are sent at the same time, because each takes a second."""
    pinging.send(Pings(kind[0], b"", kind[1]))
    with ThreadPoolExecutor(len(REQUESTS)) as threads:
        replies = [*threads.map(lambda request: gateway.request("POST", *request), REQUESTS.values())]
    for name, reply in zip(REQUESTS, replies, strict=True):
        with case(name):
            found = line(gateway, reply.headers["x-request-id"])
            assert (found["ended"], found["error"]) == ("upstream_error", "timeout"), found
            assert "sent only keep-alives for 1 s" in found["message"]


def test_a_response_may_follow_keep_alives(gateway, pinging):
    path, body = REQUESTS["embeddings"]
    rest = b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.0]}],"usage":{"prompt_tokens":1}}'
    pinging.send(Pings(JSON, b"", b"\n", 9, rest))
    reply = gateway.request("POST", path, body)
    assert (reply.status, reply.json["data"][0]["embedding"]) == (200, [1.0])


@each_row(("piece", "blank"), [
    (b"", True), (b" \r\n\t", True), (b": ping\n\n", True), (b"\n: a\r\n: b\r\n\r\n", True),
    (b": a\ndata: b\n\n", False), (b"data: a\n\n", False), (b"{", False), (b"\x00", False),
])  # fmt: skip
def test_comments_and_white_space_are_no_content(piece, blank):
    assert is_blank(piece) == blank
