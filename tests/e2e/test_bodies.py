"""Request bodies that come compressed: read like any other, within the limit on bodies, or refused in shape."""

import gzip
import json
import zlib
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Reply, complaint, config, eventually, provider
from tests.support.upstreams import PATHS, Script

LIMIT = 100_000
ASKED = b'{"model": "up", "max_tokens": 9, "messages": [{"role": "user", "content": "h\xc3\xa9llo"}]}'
PACKED = gzip.compress(ASKED, mtime=0)  # the same in every process that collects the tests


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    settings = config([provider("openai/up", upstream.url, ["messages"])], limits={"request_body": LIMIT})
    with gateway_thread(settings) as process:
        yield process


def send(gateway: Gateway, body: bytes, coding: str, path: str = PATHS["messages"]) -> Reply:
    return gateway.request("POST", path, body, {"content-encoding": coding})


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("coding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("GZIP", gzip.compress), ("identity", bytes)],
)
def test_a_compressed_body_reaches_the_provider_unchanged(gateway, upstream, coding, pack):
    upstream.script(Script(text="hello"))
    assert send(gateway, pack(ASKED), coding).status == 200
    (seen,) = upstream.seen
    assert seen.body == ASKED
    assert seen.header("content-encoding") is None


def test_counting_reads_them_too(gateway, upstream):
    upstream.script(Script(text="hello"))
    assert send(gateway, gzip.compress(ASKED), "gzip", "/v1/messages/count_tokens").status == 200


@each_row(("coding", "api"), product(["br", "gzip, gzip", "compress"], PATHS), every=3)
def test_an_unknown_coding_is_a_415(gateway, upstream, api, coding):
    upstream.script()
    reply = send(gateway, gzip.compress(ASKED), coding, PATHS[api])
    kind = ("code", "invalid_request") if api == "interactions" else ("type", "invalid_request_error")
    assert (reply.status, reply.json["error"][kind[0]]) == (415, kind[1])
    assert "gzip" in reply.headers["accept-encoding"]
    assert upstream.seen == []


@each_row("api", PATHS, every=3)
def test_a_bomb_is_a_413_and_the_connection_lives(gateway, upstream, api):
    upstream.script()
    error = complaint(api, send(gateway, gzip.compress(bytes(50 * 2**20)), "gzip", PATHS[api]), 413)
    assert str(LIMIT) in error["message"]
    assert upstream.seen == []
    assert gateway.request("GET", "/healthz").status == 200


def test_a_body_just_within_the_limit_is_read(gateway, upstream):
    upstream.script(Script(text="hello"))
    asked: dict[str, Any] = json.loads(ASKED)
    asked["messages"][0]["content"] = "x" * (LIMIT - 100)
    plain = json.dumps(asked).encode()
    assert len(plain) <= LIMIT
    assert send(gateway, gzip.compress(plain), "gzip").status == 200


@each_row("body", [b"", b"x", ASKED, PACKED[:-1], PACKED + b"x"], every=2)
def test_a_body_that_is_not_what_it_says_is_a_400(gateway, upstream, body):
    upstream.script()
    reply = send(gateway, body, "gzip")
    assert "content-encoding" in complaint("messages", reply, 400)["message"]
    id = reply.headers["x-request-id"]
    (line,) = eventually(lambda: [json.loads(text) for text in gateway.log if id in text], what="the line")
    assert (line["status"], line["ended"]) == (400, "refused")
