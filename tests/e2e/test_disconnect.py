"""When a client goes away, the provider's connection is closed at once: before the first byte, in mid-stream and in a
call that is not streamed, in both lanes, whether the client closes or resets."""

import contextlib
import json
import time
from collections.abc import Iterator

import attrs
import pytest
from harness import Listening, Wire, config, eventually, free_port, post, provider, running
from upstreams import PATHS, Script, render

LIMIT = 0.1  # seconds from the client's close to the provider's socket seeing it

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STREAMED = {"model": "up", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 100, "stream": True}
UNARY = {**STREAMED, "stream": False}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Listening]:
    with Listening() as listening:
        yield listening


@pytest.fixture(scope="module")
def gateway(upstream):
    port = free_port()
    with running(config([provider("openai/up", upstream.url, ["chat"])], port), port) as process:
        yield process


@attrs.frozen
class Ways:
    """How a test's client goes, and through which lane it came."""

    path: str
    leave: str

    def close(self, client: Wire) -> float:
        """The client leaves; when it did."""
        left = time.perf_counter()
        client.reset() if self.leave == "reset" else client.close()
        return left


@pytest.fixture(params=["byte_lane", "hub_lane"])
def lane(request) -> str:
    return PATHS["chat"] if request.param == "byte_lane" else PATHS["messages"]


@pytest.fixture(params=["close", "reset"])
def ways(request, lane) -> Ways:
    return Ways(lane, request.param)


@contextlib.contextmanager
def call(gateway, upstream: Listening, path: str, body: dict) -> Iterator[tuple[Wire, Wire]]:
    """Both ends of a call that the gateway has passed on: the client's connection and the provider's."""
    with Wire.connect(gateway.port) as client:
        client.send(post(path, body))
        with upstream.accept() as provider_end:
            sent = provider_end.read_request()
            assert json.loads(sent)["model"] == "up"
            yield client, provider_end


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# The text comes as "one t", "wo th", "ree".
OPENING, *REST = render(Script(text="one two three"), "chat", {"stream": True, "model": "up"}).pieces


def test_the_client_leaves_before_the_providers_first_byte(gateway, upstream, ways):
    with call(gateway, upstream, ways.path, STREAMED) as (client, provider_end):
        assert provider_end.closed_after(ways.close(client)) < LIMIT


def test_the_client_leaves_after_the_providers_headers(gateway, upstream, ways):
    with call(gateway, upstream, ways.path, STREAMED) as (client, provider_end):
        provider_end.send(HEAD)
        assert provider_end.closed_after(ways.close(client)) < LIMIT


def test_the_client_leaves_before_the_first_content(gateway, upstream, ways):
    with call(gateway, upstream, ways.path, STREAMED) as (client, provider_end):
        provider_end.send(HEAD + chunk(OPENING))
        assert provider_end.closed_after(ways.close(client)) < LIMIT


def test_the_client_leaves_in_mid_stream(gateway, upstream, ways):
    with call(gateway, upstream, ways.path, STREAMED) as (client, provider_end):
        provider_end.send(HEAD + chunk(OPENING) + chunk(REST[0]))
        client.read_until(b"one t")
        assert provider_end.closed_after(ways.close(client)) < LIMIT


def test_the_client_leaves_while_the_provider_is_talking(gateway, upstream, ways):
    with call(gateway, upstream, ways.path, STREAMED) as (client, provider_end):
        provider_end.send(HEAD + chunk(OPENING))
        for _ in range(200):
            provider_end.send(chunk(REST[0]))
        client.read_until(b"one t")
        assert provider_end.closed_after(ways.close(client)) < LIMIT


def test_the_client_leaves_a_call_that_is_not_streamed(gateway, upstream, ways):
    with call(gateway, upstream, ways.path, UNARY) as (client, provider_end):
        assert provider_end.closed_after(ways.close(client)) < LIMIT


def test_the_client_leaves_in_the_middle_of_a_whole_answer(gateway, upstream, ways):
    with call(gateway, upstream, ways.path, UNARY) as (client, provider_end):
        provider_end.send(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{"id":')
        assert provider_end.closed_after(ways.close(client)) < LIMIT


def test_a_pipelined_second_request_does_not_hide_the_leaving(gateway, upstream, lane):
    with call(gateway, upstream, lane, STREAMED) as (client, provider_end):
        provider_end.send(HEAD + chunk(OPENING) + chunk(REST[0]))
        client.read_until(b"one t")
        client.send(post(lane, STREAMED))
        assert provider_end.closed_after(Ways(lane, "close").close(client)) < LIMIT


def test_a_client_that_reads_on_gets_everything(gateway, upstream, lane):
    """The other side of the coin: with nobody leaving, nothing is cut."""
    with call(gateway, upstream, lane, STREAMED) as (client, provider_end):
        provider_end.send(HEAD + b"".join(map(chunk, [OPENING, *REST])) + b"0\r\n\r\n")
        answer = client.read_until(b"\r\n0\r\n\r\n")
    assert (b"[DONE]" if lane == PATHS["chat"] else b"message_stop") in answer


def test_leaving_costs_nobody_else_their_stream(gateway, upstream, lane):
    with call(gateway, upstream, lane, STREAMED) as (stays, serving):
        serving.send(HEAD + chunk(OPENING) + chunk(REST[0]))
        stays.read_until(b"one t")
        for leave in ("close", "reset"):
            with call(gateway, upstream, lane, STREAMED) as (leaves, provider_end):
                provider_end.closed_after(Ways(lane, leave).close(leaves))
        serving.send(b"".join(map(chunk, REST[1:])) + b"0\r\n\r\n")
        assert b"ree" in stays.read_until(b"\r\n0\r\n\r\n")


def test_leaving_leaves_no_traceback(gateway, upstream, lane):
    before = len(gateway.log)
    with call(gateway, upstream, lane, STREAMED) as (client, provider_end):
        provider_end.send(HEAD + chunk(OPENING) + chunk(REST[0]))
        client.read_until(b"one t")
        provider_end.closed_after(Ways(lane, "reset").close(client))
    eventually(lambda: gateway.request("GET", "/healthz").status == 200)
    assert not [line for line in gateway.log[before:] if "Traceback" in line]
