"""A provider that rejects a large request early, and reads no more of it: its response reaches the client."""

import contextlib
import functools
import itertools
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import trio

from tests.support.asgi_app import eventually
from tests.support.bare_provider import listening, response
from tests.support.each_row import each_row
from tests.support.features import members_of, needs_feature
from tests.support.harness import PATIENCE
from tests.support.in_process import InProcess, gateway
from tests.support.multipart import KIND, multipart, part
from tests.support.upstreams import PATHS

TEXT = "x" * 8_000_000
TOLD = {413: 413, 401: 502, 429: 429, 400: 400}
"""The client's status by the provider's: a rejected key is the gateway's own."""

JSON = "application/json"
MESSAGES = [{"role": "user", "content": TEXT}]
FORM = multipart([part("model", b"heard"), part("file", bytes(8_000_000), "a.wav")])
REQUESTS: dict[str, tuple[str, str, Any]] = {
    "chat": (PATHS["chat"], JSON, {"model": "mine", "messages": MESSAGES}),
    "chat in a stream": (PATHS["chat"], JSON, {"model": "mine", "messages": MESSAGES, "stream": True}),
    "chat for messages": (PATHS["chat"], JSON, {"model": "theirs", "messages": MESSAGES}),
    "messages": (PATHS["messages"], JSON, {"model": "theirs", "max_tokens": 9, "messages": MESSAGES}),
    "responses": (PATHS["responses"], JSON, {"model": "mine", "input": TEXT}),
    "embeddings": ("/v1/embeddings", JSON, {"model": "mine", "input": TEXT}),
    "an upload": ("/v1/audio/transcriptions", KIND, FORM),
    **members_of("pass_through", passed=("/mine/v1/anything", JSON, {"text": TEXT})),
}


@functools.lru_cache(1)
def content_of(name: str) -> bytes:
    """Return the body of one of ``REQUESTS``."""
    body = REQUESTS[name][2]
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@contextlib.asynccontextmanager
async def refusing(status: int) -> AsyncIterator[InProcess]:
    """Run a gateway with a provider that answers each request with ``status`` as soon as its head has arrived."""

    async def refuse(stream: trio.SocketStream) -> None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await stream.receive_some(10)
        error = {"error": {"type": "invalid_request_error", "message": "no more of it"}}
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(response(status, json.dumps(error).encode()))
            await trio.sleep_forever()

    async with listening(refuse) as url:
        entries = [
            {"model": f"{model}/m", "name": name, "access_key": "k",
             "base_url": url if name == "theirs" else f"{url}/v1", **members_of("pass_through", passthrough=True)}
            for model, name in (("openai", "mine"), ("anthropic", "theirs"), ("openai", "heard"))
        ]  # fmt: skip
        async with gateway({"version": "v0.3.0", "model_providers": entries}) as running:
            yield running


@needs_feature("other_endpoints")
@each_row(("name", "status"), [*zip(REQUESTS, itertools.cycle(TOLD), strict=False)])
async def test_an_early_rejection_reaches_the_client(name, status):
    """The request was written to its end first, and the client got a 504 after ten minutes."""
    path, kind, _ = REQUESTS[name]
    async with refusing(status) as running:
        with trio.fail_after(PATIENCE):
            found = await running.post(path, content=content_of(name), headers={"content-type": kind})
        assert found.status_code == TOLD[status], found.text
        stats = running.service.upstream.stats
        await eventually(lambda: stats().connections == 0)  # none is used again: its provider waits for the rest
