"""``on_disconnect: finish``: the provider's answer is read to its end without the client, for the ledger, and no longer
than it may be."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from harness import Gateway, Listening, Wire, config, eventually, free_port, post, provider, running
from upstreams import PATHS, Script, Tokens, render

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ASKED = {
    "model": "up", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100, "stream": True,
    "stream_options": {"include_usage": True},
}  # fmt: skip
SCRIPT = Script(text="one two three", tokens=Tokens(prompt=31, output=17))
OPENING, FIRST, *REST = render(SCRIPT, "chat", ASKED).pieces
END = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Listening]:
    with Listening() as listening:
        yield listening


def settings(upstream: Listening, port: int, **more: Any) -> dict[str, Any]:
    finish = {"speaks": ["chat"], "on_disconnect": "finish"}
    entries = [
        provider("openai/up", upstream.url, **finish),
        provider("openai/short", upstream.url, timeouts={"total": "400ms"}, **finish),
    ]
    return config(entries, port, limits={"answer": "100kB"}, **more)


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    port = free_port()
    with running(settings(upstream, port), port) as process:
        yield process


@pytest.fixture(params=["byte_lane", "hub_lane"])
def path(request) -> str:
    return PATHS["chat"] if request.param == "byte_lane" else PATHS["messages"]


@pytest.fixture(params=["close", "reset"])
def leave(request) -> str:
    return request.param


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


NUMBERS = iter(range(1000))


@contextlib.contextmanager
def call(gateway: Gateway, upstream: Listening, path: str, **more: Any) -> Iterator[tuple[str, Wire, Wire]]:
    """The request's id, and both ends of a call that the gateway has passed on."""
    id = f"call-{next(NUMBERS)}"
    with Wire.connect(gateway.port) as client:
        asked = {name: value for name, value in ASKED.items() if path == PATHS["chat"] or name != "stream_options"}
        client.send(post(path, {**asked, **more}, {"x-request-id": id}))
        with upstream.accept() as provider_end:
            provider_end.read_request()
            yield id, client, provider_end


def lines(gateway: Gateway, id: str) -> list[Mapping[str, Any]]:
    return [json.loads(text) for text in list(gateway.log) if f'"{id}"' in text and text.startswith('{"event"')]


def settled(gateway: Gateway, id: str) -> Mapping[str, Any]:
    """The one line of the request, with a look at what all of them share."""
    (line,) = eventually(lambda: lines(gateway, id), what="the line")
    assert (line["ended"], line["status"]) == ("client_disconnected", 499)
    return line


def is_open(provider_end: Wire) -> bool:
    """Whether the gateway has kept the connection for the time that closing it would have taken."""
    provider_end.sock.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        return bool(provider_end.sock.recv(1))
    return True


def test_a_stream_is_read_to_its_end(gateway, upstream, path, leave):
    with call(gateway, upstream, path) as (id, client, provider_end):
        provider_end.send(HEAD + chunks(OPENING, FIRST))
        client.read_until(b"one t")
        getattr(client, leave)()
        assert is_open(provider_end)
        assert lines(gateway, id) == []
        provider_end.send(chunks(*REST) + END)
        line = settled(gateway, id)
    assert (line["input_tokens"], line["output_tokens"], line["usage_complete"]) == (31, 17, True)
    assert line["reason"]


def test_a_client_that_leaves_before_the_first_byte(gateway, upstream, path, leave):
    with call(gateway, upstream, path) as (id, client, provider_end):
        getattr(client, leave)()
        assert is_open(provider_end)
        provider_end.send(HEAD + chunks(OPENING, FIRST, *REST) + END)
        assert settled(gateway, id)["output_tokens"] == 17


def test_a_client_that_leaves_before_the_first_content(gateway, upstream, path):
    with call(gateway, upstream, path) as (id, client, provider_end):
        provider_end.send(HEAD + chunks(OPENING))
        client.close()
        assert is_open(provider_end)
        provider_end.send(chunks(FIRST, *REST) + END)
        assert settled(gateway, id)["output_tokens"] == 17


def test_a_client_that_reads_nothing_and_leaves(gateway, upstream):
    """What was queued for it must not hold the provider up."""
    with call(gateway, upstream, PATHS["chat"]) as (id, client, provider_end):
        provider_end.send(HEAD + chunks(OPENING))
        client.reset()
        provider_end.send(chunks(*[FIRST] * 300, *REST) + END)
        assert settled(gateway, id)["output_tokens"] == 17


def test_an_answer_that_is_not_streamed_is_read_to_its_end(gateway, upstream, path, leave):
    with call(gateway, upstream, path, stream=False, stream_options=None) as (id, client, provider_end):
        body = render(SCRIPT, "chat", {"model": "up"}).pieces[0]
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
        provider_end.send(head + body[:50])
        getattr(client, leave)()
        assert is_open(provider_end)
        provider_end.send(body[50:])
        line = settled(gateway, id)
    assert (line["input_tokens"], line["output_tokens"], line["usage_complete"]) == (31, 17, True)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_provider_that_breaks_off_is_noted_beside_the_leaving(gateway, upstream, stream):
    with call(gateway, upstream, PATHS["chat"], stream=stream) as (id, client, provider_end):
        provider_end.send(HEAD + chunks(OPENING, FIRST))
        client.close() if not stream else (client.read_until(b"one t"), client.close())
        assert is_open(provider_end)
        provider_end.reset()
        assert settled(gateway, id)["error"] == "upstream"


def test_the_total_limit_ends_it(gateway, upstream, path):
    with call(gateway, upstream, path, model="short") as (id, client, provider_end):
        provider_end.send(HEAD + chunks(OPENING, FIRST))
        client.read_until(b"one t")
        client.close()
        assert provider_end.closed_after(time.perf_counter()) < 1
        line = settled(gateway, id)
        assert (line["usage_complete"], line["usage_estimated"]) == (False, True)  # what had come by then
        assert 0 < line["output_tokens"] < 17


def test_an_endless_answer_ends_at_the_limit_of_answers(gateway, upstream):
    with call(gateway, upstream, PATHS["chat"]) as (id, client, provider_end):
        provider_end.send(HEAD + chunks(OPENING, FIRST))
        client.read_until(b"one t")
        client.close()
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            provider_end.send(chunks(FIRST) * 100_000)
        settled(gateway, id)


def test_a_client_that_stays_sees_no_difference(gateway, upstream, path):
    with call(gateway, upstream, path) as (id, client, provider_end):
        provider_end.send(HEAD + chunks(OPENING, FIRST, *REST) + END)
        answer = client.read_until(b"\r\n0\r\n\r\n")
        (line,) = eventually(lambda: lines(gateway, id), what="the line")
    assert (b"[DONE]" if path == PATHS["chat"] else b"message_stop") in answer
    assert (line["ended"], line["status"], line["output_tokens"]) == ("complete", 200, 17)


def test_a_client_that_stays_is_told_of_a_failure(gateway, upstream, path):
    with call(gateway, upstream, path) as (id, client, provider_end):
        provider_end.send(b"HTTP/1.1 429 Too Many\r\nretry-after: 7\r\ncontent-length: 2\r\n\r\n{}")
        assert b"retry-after: 7" in client.read_until(b"\r\n\r\n")
        (line,) = eventually(lambda: lines(gateway, id), what="the line")
    assert (line["ended"], line["status"]) == ("upstream_error", 429)


def test_the_drain_ends_it(upstream):
    port = free_port()
    with running(settings(upstream, port, drain="300ms"), port) as gateway:
        with call(gateway, upstream, PATHS["chat"]) as (id, client, provider_end):
            provider_end.send(HEAD + chunks(OPENING, FIRST))
            client.read_until(b"one t")
            client.close()
            assert is_open(provider_end)
            os.kill(gateway.pid, signal.SIGTERM)
            assert provider_end.closed_after(time.perf_counter()) < 1.5
            settled(gateway, id)
        eventually(lambda: not _is_alive(gateway.pid), what="the exit")


def _is_alive(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"
