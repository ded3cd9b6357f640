"""Complete bodies and streams in another framing than their content type: the provider's failure, not the gateway's."""

import itertools
import json
from collections.abc import Iterator

import pytest

from streams.event_stream import event_frame
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, provider
from tests.support.upstreams import Raw, Upstream
from tests.support.wire_clients import ALL, body_of, path_of

VENDORS = {"chat": "openai", "messages": "anthropic", "responses": "openai", "gemini": "gemini",
           "converse": "amazon_bedrock", "interactions": "gemini"}  # fmt: skip
FRAMES, EVENTS = "application/vnd.amazon.eventstream", "text/event-stream"
FRAME = event_frame("messageStart", b'{"role":"assistant"}')
BODIES = {
    "events": b"data: [DONE]\n\n",
    "a frame with a wrong checksum": FRAME[:-1] + bytes([FRAME[-1] ^ 1]),
    "half a frame": FRAME[:-3],
    "a length of 4 GiB": b"\xff" * 64,
    "nothing but zeros": bytes(64),
}


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    entries = [provider(f"{VENDORS[api]}/up-{api}", upstream.url, [api], name=f"m-{api}") for api in ALL]
    with gateway_thread(config(entries)) as process:
        yield process
        assert "Traceback" not in "\n".join(process.log)


def failures() -> Iterator[tuple[str, str, str, str, bool]]:
    """Yield each API with each type in both lanes, streamed and whole, and by turns with each body."""
    kinds = (FRAMES, EVENTS, "application/json")
    names = itertools.cycle(BODIES)
    for (at, api), kind, lane, stream in itertools.product(enumerate(ALL), kinds, ("byte", "hub"), (False, True)):
        yield api, api if lane == "byte" else ALL[at - 1], next(names), kind, stream


@each_row(("api", "client", "name", "kind", "stream"), failures())
def test_it_is_a_502(gateway: Gateway, upstream: Upstream, api: str, client: str, name: str, kind: str, stream: bool):
    upstream.script(Raw(200, (("content-type", kind),), (BODIES[name],)))
    model = f"m-{api}"
    reply = gateway.request("POST", path_of(client, model, stream=stream), body_of(client, model, stream=stream))
    assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (502, "application/json")
    assert isinstance(json.loads(reply.body), dict)
