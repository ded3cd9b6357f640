"""Pages of browsers before a gateway that asks for no key, on real sockets: every route but the probes refuses them."""

import json
from collections.abc import Iterator

import pytest

from tests.support.harness import Gateway, Wire, config, eventually, free_port, provider, running
from tests.support.upstreams import PATHS

EVIL = "https://evil.example"


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    port = free_port()
    settings = config([provider("openai/up", upstream.url, list(PATHS))], port, trusted_proxies=["127.0.0.1"])
    with running(settings, port) as process:
        yield process


SIMPLE = (
    *(("POST", path) for path in PATHS.values()), ("POST", "/v1/conversations"),
    ("POST", "/v1/responses/resp_of_the_provider/cancel"), ("POST", "/v1/conversations/conv_1/items"),
    ("GET", "/v1/responses/resp_of_the_provider"), ("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/v1//models"),
)  # fmt: skip


@pytest.mark.parametrize(("method", "path"), SIMPLE)
def test_neither_a_form_nor_an_image_nor_a_rebound_name_reaches_anything(gateway, upstream, method, path):
    before = len(upstream.seen)
    for headers in (
        {"origin": EVIL, "content-type": "text/plain"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"host": "rebound.example:12000", "origin": "http://rebound.example:12000", "sec-fetch-site": "same-origin"},
    ):
        reply = gateway.request(method, path, {} if method == "POST" else None, headers)
        assert reply.status == 403
        assert reply.json["error"]["message"]
        assert not [name for name in reply.headers if name.startswith("access-control-")]
    assert len(upstream.seen) == before
    assert gateway.request("GET", "/v1/models").status == 200


@pytest.mark.parametrize("headers", [f"host: localhost\r\norigin: {EVIL}\r\n", "host: rebound.example\r\n"])
def test_no_websocket_is_opened_for_them(gateway, headers):
    with Wire.connect(gateway.port) as wire:
        wire.send(
            f"GET /v1/responses HTTP/1.1\r\n{headers}connection: upgrade\r\nupgrade: websocket\r\n"
            "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        answer = wire.read_to_end()
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["type"] == "permission_error"


def test_probes_and_programs_are_answered_as_before(gateway):
    for path in ("/healthz", "/readyz", "/health/liveliness"):
        assert gateway.request("GET", path, headers={"host": "10.0.0.1.nip.io", "origin": EVIL}).status == 200
    with Wire.connect(gateway.port) as wire:
        wire.send(b"GET /v1/models HTTP/1.0\r\n\r\n")
        assert wire.read_to_end().startswith(b"HTTP/1.1 200 ")


def test_the_line_of_an_exchange_says_whose_address_it_was(gateway):
    for forwarded, address in ((None, "127.0.0.1"), ("6.6.6.6, 198.51.100.7", "198.51.100.7")):
        headers = {"x-request-id": f"of-{address}", **({"x-forwarded-for": forwarded} if forwarded else {})}
        gateway.request("POST", "/v1/chat/completions", {}, headers)
        lines = eventually(lambda id=f"of-{address}": [text for text in list(gateway.log) if id in text])
        assert json.loads(lines[0])["address"] == address
