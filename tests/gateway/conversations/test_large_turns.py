"""A large stored turn delays no stream (CWE-400): its events are made outside the gateway's loop."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.support.gateway_thread import gateway_thread
from tests.support.growing_requests import REQUESTS
from tests.support.harness import PATIENCE, Gateway, Reply, config, eventually, provider
from tests.support.loop_steps import LONGEST, check_steps
from tests.support.upstreams import Script
from tests.support.websocket_client import Client

TOOLS: Final = [
    {"type": "function", "name": f"tool_{at}", "description": "x" * 200, "parameters": {"type": "object"}}
    for at in range(10_000)
]
"""About 3 MB, which each event with the response repeats."""


@pytest.fixture(scope="module")
def gateway(upstream):
    with gateway_thread(config([provider("up/chat", f"{upstream.url}/v1", ["chat"], name="chat")])) as served:
        yield served


def create(gateway: Gateway, upstream: Any, **more: Any) -> Reply:
    upstream.script(Script("ok"))
    body = {"model": "chat", "input": "hi", "tools": TOOLS, **more}
    return gateway.request("POST", "/v1/responses", body)


def read(gateway: Gateway, id: str, query: str = "") -> Reply:
    return gateway.request("GET", f"/v1/responses/{id}{query}")


def run_in_background(gateway: Gateway, upstream: Any) -> Callable[[], None]:
    def run() -> None:
        id = json.loads(create(gateway, upstream, background=True).body)["id"]
        eventually(lambda: b'"status":"completed"' in read(gateway, id).body[:500], PATIENCE, "the end of the turn")

    return run


def replay(gateway: Gateway, upstream: Any) -> Callable[[], None]:
    id = json.loads(create(gateway, upstream).body)["id"]

    def run() -> None:
        assert read(gateway, id, "?stream=true").body.count(b"event: response.completed") == 1

    return run


@pytest.mark.soak
@pytest.mark.parametrize("make", [run_in_background, replay])
def test_no_large_turn_blocks_the_loop(gateway, upstream, make):
    check_steps(gateway, make(gateway, upstream), longest=LONGEST / 2)


@pytest.mark.soak
def test_a_large_turn_over_a_websocket_has_its_whole_stream(gateway, upstream):
    """Its first event repeats the request, and has more elements than an event of a provider may have."""
    request_body = REQUESTS["responses"]["allowed tools"](21_000)
    upstream.script(Script("ok"))
    with Client.connect(gateway.port) as client:
        client.send({**request_body, "type": "response.create", "model": "chat", "store": False})
        frames = client.answer()
    assert [frame["type"] for frame in frames][:1] == ["response.created"]
    assert frames[-1]["type"] == "response.completed"
    assert len(frames[-1]["response"]["tools"]) == 21_000
