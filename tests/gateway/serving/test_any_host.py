"""Hosts that DNS does not allow, and that anyone in the network may send: they cause no error in the gateway."""

from collections.abc import Iterator

import pytest

from tests.support.each_row import each_row
from tests.support.features import has_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Wire, config, provider

HOSTS = ["a..b", ".", "a." + "b" * 64, "c" * 300, "xn--a", "_a_", "%41", "[::1]", "[v1.a]", ":80", "", "b.:443"]
PATHS = ["/", "/healthz", "/v1/models", "/ui", "/nothing", "/v1/responses/resp_1", "/v1/embeddings", "/v1/messages"]

HEAD = b"GET %s HTTP/1.1\r\nhost: %s\r\n%s\r\n"
FIELDS = (b"", b"connection: close\r\n")


@pytest.fixture(scope="module", params=["keys", "keys and cors"])
def gateway(request, upstream) -> Iterator[Gateway]:
    more = {"cors": ["https://app.example"]} if "cors" in request.param else {}
    entry = provider("openai/m", upstream.url)
    with gateway_thread(config([entry], client_keys=[{"name": "one", "key": "key-of-a-client"}], **more)) as served:
        yield served


def _status_of(gateway: Gateway, head: bytes) -> int:
    with Wire.connect(gateway.port) as wire:
        wire.send(head)
        return int(wire.read_until(b"\r\n\r\n").split(b" ")[1])


@pytest.fixture(scope="module")
def usual_statuses(gateway) -> dict[tuple[str, bytes], int]:
    return {
        (path, fields): _status_of(gateway, HEAD % (path.encode(), b"a.example", fields))
        for path in PATHS
        for fields in FIELDS
    }


@each_row("host", HOSTS)
def test_any_host_gets_the_responses_of_others(gateway, usual_statuses, host):
    before = len(gateway.log)
    for path in PATHS:
        for fields in FIELDS:
            status = _status_of(gateway, HEAD % (path.encode(), host.encode(), fields))
            assert status == usual_statuses[path, fields], path
    assert not [line for line in gateway.log[before:] if "raceback" in line]


@each_row("host", HOSTS)
def test_a_handshake_for_any_host_is_refused_without_a_key(gateway, host):
    before = len(gateway.log)
    head = (
        f"GET /v1/responses HTTP/1.1\r\nhost: {host}\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    assert _status_of(gateway, head.encode()) == (401 if has_feature("responses_websocket") else 426)
    assert not [line for line in gateway.log[before:] if "raceback" in line]
