"""A large request with request members delays no stream (CWE-400): the gateway reads it outside its loop."""

import msgspec
import pytest

from tests.support.gateway_thread import gateway_thread
from tests.support.growing_requests import REQUESTS
from tests.support.harness import config, provider
from tests.support.loop_steps import check_steps
from tests.support.upstreams import Script
from tests.support.wire_clients import path_of

MEMBERS = {"default": {"temperature": 0.2}, "system": {"before": "Before.", "after": "After."}}
SIZE = 2_000_000
TURNS = {"interactions": "steps"}
"""The shape with many turns, if it is not ``turns``."""


@pytest.fixture(scope="module")
def gateway(upstream):
    entries = [
        provider("up/chat", f"{upstream.url}/v1", ["chat"], name="chat", request=MEMBERS),
        provider("anthropic/m", upstream.url, ["messages"], name="messages", request=MEMBERS),
        provider("up/responses", f"{upstream.url}/v1", ["responses"], name="responses", request=MEMBERS),
        provider("gemini/m", f"{upstream.url}/v1beta", ["gemini"], name="gemini", request=MEMBERS),
    ]
    with gateway_thread(config(entries)) as served:
        yield served


def large(api: str, to: str) -> bytes:
    make = REQUESTS[api][TURNS.get(api, "turns")]
    members = make(100 * SIZE // len(msgspec.json.encode(make(100))))
    return msgspec.json.encode(members if api in ("gemini", "converse") else {**members, "model": to})


@pytest.mark.sample(6, by="turns")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("api", "to"),
    [
        ("messages", "gemini"), ("chat", "messages"), ("responses", "responses"), ("gemini", "chat"),
        ("converse", "gemini"), ("interactions", "gemini"),
    ],
)  # fmt: skip
def test_no_large_request_blocks_the_loop(gateway, upstream, api, to):
    body = large(api, to)

    def send() -> None:
        upstream.script(Script("ok"))
        assert gateway.request("POST", path_of(api, to, stream=False), body).status == 200

    check_steps(gateway, send)
