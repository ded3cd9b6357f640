"""Pictures and transcripts whose client leaves before their end: the provider bills them whole."""

import contextlib
import json
from typing import Any

import trio

from tests.support.asgi_app import Client, eventually
from tests.support.bare_provider import head, listening, read_request
from tests.support.each_row import each_row
from tests.support.in_process import gateway
from tests.support.multipart import KIND, multipart, part
from tests.support.settled import lines

KEY = "sk-client-of-the-gateway-1"
BODIES = {
    "images/generations": ("application/json", json.dumps({"model": "m", "prompt": "a cat"}).encode()),
    "audio/transcriptions": (KIND, multipart([part("model", b"m"), part("file", b"RIFF" + bytes(64_000), "a.wav")])),
}


async def serve_half(stream: trio.SocketStream, sent: int) -> None:
    """Send ``sent`` bytes of a long JSON answer, and wait for the end of the connection."""
    assert await read_request(stream) is not None
    whole = head(200, ("content-type", "application/json"), ("content-length", str(2**22)))
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(whole + b'{"created":1,"data":[{"b64_json":"'.ljust(sent, b"A"))
        await stream.receive_some()


def settings(url: str) -> dict[str, Any]:
    entry = {"model": "openai/m", "base_url": f"{url}/v1", "access_key": "k", "price": {"input": 10, "output": 100}}
    return {"version": "v0.3.0", "model_providers": [entry], "client_keys": [{"name": "one", "key": KEY}]}


@each_row("endpoint", BODIES)
@each_row("sent", [100, 2**21])
async def test_a_client_that_leaves_within_an_answer_pays_the_estimate(endpoint, sent):
    """A model billed by tokens has no price for an image or a second, so their counts alone would be free."""
    kind, body = BODIES[endpoint]
    async with listening(lambda stream: serve_half(stream, sent)) as url, gateway(settings(url)) as served:
        client = Client(trio.socket.socket())
        await client.sock.connect(("127.0.0.1", int(served.url.rpartition(":")[2])))
        with lines(served) as settled:
            fields = f"host: x\r\nauthorization: Bearer {KEY}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}"
            await client.send(f"POST /v1/{endpoint} HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body)
            if sent > 2**20:
                await client.until(b"AAAA")
            else:
                await eventually(lambda: served.service.upstream.stats().active)
                await trio.testing.wait_all_tasks_blocked(0.01)
            client.leave("rst")
            await eventually(lambda: bool(settled))
    (line,) = settled
    assert line["ended"] == "client_disconnected"
    assert line["cost_usd"] > 0.001
