"""Lanes of Responses over a WebSocket: frames with different ids are answered simultaneously.

See https://developers.openai.com/api/docs/guides/websocket-mode.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types.responses import ResponseSteerFailedEvent

from gateway.features.responses_websocket.envelopes import MAX_STREAM_ID
from gateway.features.responses_websocket.lanes import LIMIT_REACHED, MAX_OPEN, MAX_RUNNING
from tests.support.gateway_thread import serve_module
from tests.support.harness import Listening, Wire, config, eventually, provider, retried_when_late
from tests.support.processes import open_files
from tests.support.raw_call import LIMIT, SSE, answer_stream, chunks
from tests.support.upstreams import Script
from tests.support.websocket_client import Client, lines


@serve_module
def gateway(upstream, by_hand):
    entries = [
        provider("openai/on-chat", upstream.url, ["chat"]),
        provider("openai/hand", by_hand.url, ["chat"], price={"input": 1, "output": 2}),
    ]
    return config(entries, limits={"request_body": 300_000})


@pytest.fixture
def client(gateway) -> Iterator[Client]:
    with Client.connect(gateway.port) as own:
        yield own


def text_of(frames: list[dict[str, Any]]) -> str:
    return "".join(frame["delta"] for frame in frames if frame["type"] == "response.output_text.delta")


@contextlib.contextmanager
def slow_lane(client: Client, by_hand: Listening, **lane: str) -> Iterator[Wire]:
    """Start a request on a lane, whose provider has received it and does not respond."""
    client.create("hand", **lane)
    with by_hand.accept() as up:
        up.read_request()
        yield up


@pytest.mark.parametrize("slow", [{"stream_id": "a"}, {}], ids=["an id", "no id"])
def test_a_fast_lane_is_answered_before_a_slow_one(gateway, client, by_hand, upstream, slow):
    upstream.script(Script(text="quick"), Script(text="again"))
    with slow_lane(client, by_hand, **slow) as up:
        for text in ("quick", "again"):
            frames = client.ask("on-chat", stream_id="b")
            assert text_of(frames) == text
            assert {frame["stream_id"] for frame in frames} == {"b"}
        up.send(answer_stream("chat").whole)
        frames = client.answer()
        assert {frame.get("stream_id") for frame in frames} == {slow.get("stream_id")}
        assert frames[-1]["type"] == "response.completed"
    assert [line["ended"] for line in lines(gateway, client, 3)] == ["complete"] * 3


def test_the_events_of_lanes_that_run_together_arrive_whole(client, by_hand):
    streams = {}
    with contextlib.ExitStack() as stack:
        for id in ("a", "b", "c"):
            streams[id] = stack.enter_context(slow_lane(client, by_hand, stream_id=id))
        for up in streams.values():
            up.send(SSE + chunks(*answer_stream("chat").opening))
        whole = answer_stream("chat").whole
        for up in streams.values():
            up.send(whole.removeprefix(SSE + chunks(*answer_stream("chat").opening)))
        frames = [frame for _ in streams for frame in client.answer()]
    for id in streams:
        own = [frame for frame in frames if frame["stream_id"] == id]
        assert [frame["sequence_number"] for frame in own] == list(range(len(own)))
        assert own[-1]["type"] == "response.completed"


def test_lanes_fork_from_one_response(client, upstream):
    """Whatever lane it was on, also if it was not stored."""
    upstream.script(Script(text="root"), Script(text="left"), Script(text="right"))
    root = client.ask("on-chat", "question", stream_id="a", store=False)[-1]["response"]["id"]
    for id in ("b", "c"):
        client.ask("on-chat", id, stream_id=id, store=False, previous_response_id=root)
    sent = [[message["content"] for message in seen.json["messages"]] for seen in upstream.seen]
    assert sent == [["question"], ["question", "root", "b"], ["question", "root", "c"]]


def test_steering_fails_immediately_with_the_original_input(client, by_hand):
    given = [{"role": "user", "content": "stop \u00e9"}]
    with slow_lane(client, by_hand, stream_id="a") as up:
        client.send({"type": "response.steer", "previous_response_id": "resp_1", "input": given})
        frame = client.next()
        assert frame["type"] == "response.steer.failed"
        assert frame["error"]["code"] == "steering_not_supported"
        assert frame["steer"] == {"input": given, "previous_response_id": "resp_1"}
        ResponseSteerFailedEvent.model_validate(
            {**frame, "steer": {**frame["steer"], "input": "x"}}, strict=True
        )  # the SDK's class of input needs a type, which its parameters do not
        up.send(answer_stream("chat").whole)
        assert client.answer()[-1]["type"] == "response.completed"


def test_an_error_of_a_lane_has_its_id(client, upstream):
    upstream.script(Script(text="x"))
    client.send({"type": "response.create", "model": "on-chat", "input": 5, "stream_id": "a"})
    assert client.next()["stream_id"] == "a"
    client.create("on-chat", stream_id="b" * (MAX_STREAM_ID + 1))
    error = client.next()
    assert (error["error"]["param"], "stream_id" in error) == ("stream_id", False)
    assert text_of(client.ask("on-chat", stream_id="a")) == "x"


LEAVING = {
    "a close": lambda wire: wire.close(),
    "a half-close": lambda wire: wire.sock.shutdown(socket.SHUT_WR),
    "a reset": lambda wire: wire.reset(),
}
"""The kernel closes or resets the sockets of a killed process."""


@pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
@retried_when_late
def test_a_client_that_leaves_ends_and_bills_the_requests_of_all_lanes(gateway, by_hand, leave):
    sockets = count_sockets()
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(Client.connect(gateway.port))
        ups = [stack.enter_context(slow_lane(client, by_hand, stream_id=str(i))) for i in range(MAX_RUNNING)]
        for up in ups:
            up.send(answer_stream("chat").half)
        for _ in ups:
            client.until(lambda frame: frame["type"] == "response.output_text.delta")
        left = time.perf_counter()
        leave(client.wire)
        for up in ups:
            up.closes_within(LIMIT, left)
        found = lines(gateway, client, MAX_RUNNING)
    assert {line["ended"] for line in found} == {"client_disconnected"}
    assert len({(line["input_tokens"], line["output_tokens"], line["cost_usd"]) for line in found}) == 1
    assert found[0]["output_tokens"] > 0
    assert found[0]["cost_usd"] == pytest.approx(found[0]["input_tokens"] / 1e6 + 2 * found[0]["output_tokens"] / 1e6)
    eventually(lambda: gateway.lifecycle.in_flight == 0, what="the end of all exchanges")
    eventually(lambda: count_sockets() <= sockets, what="the end of all connections")


def count_sockets() -> int:
    """Return the number of this process's sockets, which are those of the gateway and of the test."""
    return sum(name.startswith("socket:") for name in open_files(os.getpid()))


@pytest.mark.soak
def test_ten_thousand_lanes_are_refused_and_the_gateway_serves_others(gateway, upstream):
    upstream.script(Script(text="still here"))
    with Client.connect(gateway.port) as hostile:
        for number in range(10_000):
            try:
                hostile.create("missing", stream_id=str(number))
            except OSError:  # the gateway has closed the connection
                break
        with Client.connect(gateway.port) as other:
            assert text_of(other.ask("on-chat", stream_id="x")) == "still here"


def test_the_33rd_lane_is_an_error_that_closes_no_other(client, upstream):
    upstream.script(*(Script(text="x") for _ in range(MAX_OPEN + 1)))
    for number in range(MAX_OPEN):
        client.ask("on-chat", stream_id=f"s-{number}")
    for _ in range(3):
        (error,) = client.ask("on-chat", stream_id="one more")
        assert (error["type"], error["status"], error["stream_id"]) == ("error", 400, "one more")
        assert error["error"]["code"] == LIMIT_REACHED
    assert text_of(client.ask("on-chat", stream_id="s-0")) == "x"


def test_the_budget_header_of_the_handshake_applies_to_each_request(gateway):
    with Client.connect(gateway.port, {"x-trigate-budget": "0.0000001 usd"}) as client:
        for _ in range(2):
            (frame,) = client.ask("hand")
            assert (frame["type"], frame["status"]) == ("error", 402)
