"""Tests that other clients' bodies do not delay a stream, even if they need much memory or work (CWE-400, CWE-409).

The tests measure the delay of its chunks in a real process, without the time in which the process waited for its core.
On a quiet machine, the delay is below 30 ms, and below 250 ms with the largest bodies. Before large bodies were bounded
and parsed in threads, they stopped all streams for 1 to 30 seconds.
"""

import contextlib
import gzip
import http.client
import json
import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.support.harness import Gateway, Listening, config, provider, running
from tests.support.processes import kept_waiting
from tests.support.upstreams import PATHS, Script

pytestmark = [pytest.mark.process, pytest.mark.soak]

EVERY = 0.01
"""Seconds between two chunks."""

LATE = 0.8
"""The largest allowed delay of a chunk in seconds, on a busy machine."""

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
TURN = b'{"role":"user","content":"a"},'


def chunk(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    said = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(said).encode() + b"\n\n"


class Paced:
    """A stream whose chunks contain their time of sending; ``late`` has their delays through the gateway ``pid``."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.late: list[float] = []
        self.over = threading.Event()

    def provide(self, server: Listening) -> None:
        wire = server.accept()
        with wire, contextlib.suppress(OSError):
            wire.read_request()
            wire.send(HEAD)
            while not self.over.wait(EVERY):
                wire.send(chunk(f"{time.monotonic()} {kept_waiting(self.pid)}"))

    def read(self, gateway: Gateway) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
        asked = {"model": "paced", "stream": True, "messages": [{"role": "user", "content": "go"}]}
        connection.request("POST", PATHS["chat"], json.dumps(asked), {"content-type": "application/json"})
        with contextlib.closing(connection), connection.getresponse() as response:
            while not self.over.is_set() and (line := response.readline()):
                if b'"content"' in line:
                    sent, before = map(float, json.loads(line[6:])["choices"][0]["delta"]["content"].split())
                    self.late.append(time.monotonic() - sent - (kept_waiting(self.pid) - before))


@contextlib.contextmanager
def streaming(gateway: Gateway, server: Listening) -> Iterator[Paced]:
    paced = Paced(gateway.pid)
    threads = [
        threading.Thread(target=paced.provide, args=(server,)),
        threading.Thread(target=paced.read, args=(gateway,)),
    ]
    for thread in threads:
        thread.start()
    try:
        deadline = time.monotonic() + 10
        while len(paced.late) < 10 and time.monotonic() < deadline:
            time.sleep(EVERY)
        paced.late.clear()
        yield paced
    finally:
        paced.over.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[Listening]:
    with Listening() as listening:
        yield listening


@pytest.fixture(scope="module")
def gateway(upstream, server) -> Iterator[Gateway]:
    entries = [
        provider("openai/paced", server.url, ["chat"]),
        provider("openai/byte", upstream.url, ["chat"]),
        provider("anthropic/hub", upstream.url, ["messages"]),
    ]
    with running(config(entries)) as process:
        yield process


def turns(count: int, member: bytes = b"messages") -> bytes:
    return b'{"model":"hub","' + member + b'":[' + TURN * count + TURN[:-1] + b"]}"


def lists(count: int) -> bytes:
    return b'{"model":"byte","messages":[' + TURN[:-1] + b'],"other":[' + b"[]," * count + b"0]}"


def members(count: int) -> bytes:
    return b'{"model":"byte","messages":[' + TURN[:-1] + b"]," + b",".join(b'"m%d":0' % i for i in range(count)) + b"}"


def files(count: int) -> bytes:
    file = b'{"type":"image_url","image_url":{"url":"data:image/png;base64,' + b"A" * 2**22 + b'"}}'
    return b'{"model":"hub","messages":[{"role":"user","content":[' + b",".join([file] * count) + b"]}]}"


@pytest.mark.parametrize(
    ("api", "make", "coding", "status"),
    [
        ("chat", partial(turns, 500_000), "gzip", 413),
        ("responses", partial(turns, 500_000, b"input"), "gzip", 413),
        ("chat", partial(turns, 500_000), "", 413),
        ("chat", partial(lists, 5_000_000), "gzip", 413),
        ("chat", partial(turns, 60_000), "", 200),
        ("responses", partial(turns, 30_000, b"input"), "", 200),
        ("chat", partial(members, 90_000), "", 200),
        ("chat", partial(files, 5), "", 200),
        ("chat", partial(files, 15), "", 200),
    ],
    ids=["turns-gzip", "kept-gzip", "turns", "lists", "most-turns", "most-kept", "members", "20MiB", "60MiB"],
)
def test_no_large_body_delays_a_stream(gateway, upstream, server, api, make, coding, status):
    upstream.script(Script(text="hello"))
    body = make()
    sent, headers = (gzip.compress(body, 1), {"content-encoding": coding}) if coding else (body, {})
    with streaming(gateway, server) as paced:
        reply = gateway.request("POST", PATHS[api], sent, headers)
        time.sleep(2 * EVERY)
    assert reply.status == status, reply.body[:300]
    assert max(paced.late) < LATE
