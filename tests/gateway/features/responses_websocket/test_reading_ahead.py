"""A client's frames wait in its socket, not in the gateway's memory, however fast it sends them."""

import json
import tracemalloc

from tests.support.in_process import gateway
from tests.support.websocket_caller import calling

KEY = "sk-client-of-the-gateway-1"
SIZE, FRAMES = 4096, 1500


async def test_acknowledgements_do_not_fill_the_memory():
    """Acknowledgements require no work, so no limit on requests applies to them."""
    entry = {"model": "openai/m", "base_url": "http://127.0.0.1:1/v1", "access_key": "k"}
    settings = {"version": "v0.3.0", "model_providers": [entry], "client_keys": [{"name": "one", "key": KEY}]}
    acknowledgement = json.dumps({"type": "response.processed", "response_id": "r" * SIZE})
    async with (
        gateway(settings) as running,
        calling(running.url, "/v1/responses", (("authorization", f"Bearer {KEY}"),)) as caller,
    ):
        assert caller.status == 101
        frames = b"".join(caller.frame(acknowledgement) for _ in range(16))
        tracemalloc.start()
        try:
            for _ in range(FRAMES // 16):
                await caller.stream.send_all(frames)
            await caller.send("no json")
            assert (await caller.event())["type"] == "error"
            assert tracemalloc.get_traced_memory()[1] < SIZE * FRAMES / 6
        finally:
            tracemalloc.stop()
