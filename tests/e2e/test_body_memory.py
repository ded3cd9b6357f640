"""Tests of the memory budget for bodies of running requests, on every route (OWASP API4, LLM10)."""

import gzip
import json
import tracemalloc

from tests.support.features import needs_feature
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, Wire, config, eventually, provider
from tests.support.upstreams import PATHS, Script
from tests.support.websocket_client import Client

KIB = 1024
KEYS = {
    "alice": "sk-of-alice-which-is-long",
    "bob": "sk-of-bob-which-is-long-too",
    "carol": "sk-of-carol-which-is-long",
}
ASKED = {"model": "up", "messages": [{"role": "user", "content": "x" * 300 * KIB}]}


@serve_module
def gateway(upstream):
    keys = [{"name": name, "key": key} for name, key in KEYS.items()]
    return config([provider("openai/up", upstream.url, ["chat"])], limits={"bodies": "2MiB"}, client_keys=keys)


def head(name: str, length: int) -> bytes:
    lines = (f"POST {PATHS['chat']} HTTP/1.1", "host: localhost", f"authorization: Bearer {KEYS[name]}")
    return "\r\n".join([*lines, "content-type: application/json", f"content-length: {length}", "", ""]).encode()


def wait_until_read(gateway: Gateway) -> None:
    """Let the gateway read the sent bytes: otherwise, the next request may reserve memory before them."""
    for _ in range(30):
        assert gateway.request("GET", "/healthz").status == 200


def status(gateway: Gateway, name: str, path: str = PATHS["chat"]) -> tuple[int, str]:
    reply = gateway.request("POST", path, ASKED, {"authorization": f"Bearer {KEYS[name]}"})

    return reply.status, reply.headers.get("retry-after", "")


def test_a_slow_upload_only_uses_its_clients_share(gateway, upstream):
    """The received bytes count until the request ends, also if the client disconnects."""
    upstream.script(*[Script(text="hello")] * 1000)
    with Wire.connect(gateway.port) as slow:
        slow.send(head("alice", 9 * 2**20) + b" " * 900 * KIB)
        wait_until_read(gateway)
        assert status(gateway, "alice") == (429, "1")
        assert status(gateway, "alice", "/v1/conversations") == (429, "1")
        assert status(gateway, "bob") == (200, "")
    eventually(lambda: status(gateway, "alice") == (200, ""), what="the share is given back")


def test_a_stated_length_reserves_no_memory(gateway, upstream):
    upstream.script(*[Script(text="hello")] * 1000)
    with Wire.connect(gateway.port) as slow:
        slow.send(head("alice", 60 * 2**20))
        assert status(gateway, "alice") == (200, "")


def test_all_clients_together_stay_within_the_total_memory(gateway, upstream):
    upstream.script(*[Script(text="hello")] * 1000)
    with Wire.connect(gateway.port) as one, Wire.connect(gateway.port) as other:
        one.send(head("alice", 9 * 2**20) + b" " * 1000 * KIB)
        other.send(head("bob", 9 * 2**20) + b" " * 900 * KIB)
        wait_until_read(gateway)
        assert status(gateway, "carol") == (503, "1")
    eventually(lambda: status(gateway, "carol") == (200, ""), what="the memory is given back")


def test_one_clients_large_body_leaves_the_others_their_memory(gateway, upstream):
    upstream.script(*[Script(text="hello")] * 1000)
    with Wire.connect(gateway.port) as large:
        large.send(head("alice", 9 * 2**20) + b" " * 3000 * KIB)
        wait_until_read(gateway)
        assert status(gateway, "alice") == (429, "1")
        assert status(gateway, "bob") == (200, "")


def test_a_compressed_body_counts_with_its_decompressed_size(gateway, upstream):
    upstream.script(*[Script(text="hello")] * 1000)
    turns = [{"role": "user", "content": str(i)} for i in range(6000)]
    body = gzip.compress(json.dumps({"model": "up", "messages": turns}).encode())
    headers = {"authorization": f"Bearer {KEYS['alice']}", "content-encoding": "gzip"}
    with Wire.connect(gateway.port) as slow:
        slow.send(head("alice", 9 * 2**20) + b" " * 100 * KIB)
        wait_until_read(gateway)
        assert gateway.request("POST", PATHS["chat"], body, headers).status == 429
    eventually(lambda: gateway.request("POST", PATHS["chat"], body, headers).status == 200)


@needs_feature("responses_websocket")
def test_waiting_frames_of_a_websocket_count(gateway, upstream):
    upstream.script(*[Script(text="hello")] * 1000)
    client = Client.connect(gateway.port, {"authorization": f"Bearer {KEYS['alice']}"})
    with client.wire:
        client.send_part("x" * 900 * KIB)
        wait_until_read(gateway)
        assert status(gateway, "alice") == (429, "1")
        assert status(gateway, "bob") == (200, "")
    eventually(lambda: status(gateway, "alice") == (200, ""), what="the share is given back")


def test_a_body_in_tiny_chunks_takes_no_more_memory_than_its_bytes(gateway):
    """Each chunk was an object of its own: 8 MB in chunks of two bytes took 750 MB (CWE-770)."""
    lines = (f"POST {PATHS['chat']} HTTP/1.1", "host: localhost", f"authorization: Bearer {KEYS['carol']}")
    spaces, last = b"2\r\n  \r\n" * 10_000, b'1e\r\n{"model":"other","messages":[]\r\n1\r\n}\r\n0\r\n\r\n'
    with Wire.connect(gateway.port) as wire:
        wire.send("\r\n".join([*lines, "transfer-encoding: chunked", "", ""]).encode())
        wait_until_read(gateway)
        tracemalloc.start()
        try:
            wire.send(spaces + last)
            assert wire.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 404 ")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 800_000
