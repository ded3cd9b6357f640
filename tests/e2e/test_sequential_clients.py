"""Tests of a client that sends one request after another on new connections: it never exceeds a limit of one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Wire, config, free_port, post, provider, running
from tests.support.upstreams import Script, fake_upstream

KEY = "sk-alice-0123456789abcdef"
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello"}]},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9},
    "/v1/responses": {"input": "Hello", "store": False},
}
LAST = {"/v1/chat/completions": b"[DONE]", "/v1/messages": b"message_stop", "/v1/responses": b"response.completed"}
"""The end of a stream for clients: few of them wait for the connection's end."""


@pytest.fixture(scope="module")
def gateway(request) -> Iterator[Gateway]:
    port, one = free_port(), {"ratelimits": {"concurrent": 1, "requests": "100000/m"}}
    of_key, of_entry = ({}, one) if request.param == "of the entry" else (one, {})
    with fake_upstream(Script("Hello")) as upstream:
        entry = provider("openai/gpt-4o-mini", upstream.url, ["chat"], **of_entry)
        given = config([entry], port, client_keys=[{"name": "alice", "key": KEY, **of_key}])
        workers = request.param == "two workers"
        with running(given, port, "--workers", "2") if workers else gateway_thread(given, port) as started:
            yield started


@pytest.mark.parametrize(
    ("gateway", "path"),
    [
        ("of the key", "/v1/chat/completions"),
        ("of the entry", "/v1/messages"),
        pytest.param("two workers", "/v1/responses", marks=pytest.mark.process),
    ],
    indirect=["gateway"],
)
def test_no_request_of_a_sequential_client_is_refused(gateway, path):
    """Of 100 requests, 8 to 34 were refused, although each was sent after the previous answer."""
    refused = []
    for stream in (False,) * 15 + (True,) * 15:
        body = json.dumps({"model": "gpt-4o-mini", "stream": stream, **BODIES[path]}).encode()
        with Wire.connect(gateway.port) as client:
            client.send(post(path, body, {"authorization": f"Bearer {KEY}"}))
            head = client.read_until(b"\r\n\r\n")
            if b" 200 " not in head.partition(b"\r\n")[0]:
                refused.append(head)
            else:
                client.read_until(LAST[path] if stream else b"usage")
    assert refused == []
