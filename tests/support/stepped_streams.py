"""A provider that streams an answer step by step, and clients that leave in the middle of it."""

import contextlib
import json
from typing import Any

import httpx2
import trio

from tests.support.asgi_app import eventually
from tests.support.bare_provider import read_request
from tests.support.harness import PATIENCE
from tests.support.wire_clients import body_of, path_of

SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WORDS = ("one ", "two ", "three ", "four")


def chunk(**choice: Any) -> bytes:
    made = {"index": 0, "delta": {}, "finish_reason": None, **choice}
    data = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [made]}
    return b"data: " + json.dumps(data).encode() + b"\n\n"


EVENTS = (
    chunk(delta={"role": "assistant", "content": ""}),
    *(chunk(delta={"content": word}) for word in WORDS),
    chunk(finish_reason="stop") + b"data: [DONE]\n\n",
)


class SteppedProvider:
    """A provider whose events come one by one, when the test sends them. ``calls`` is the number of requests,
    ``closed`` the number of those that the gateway has closed."""

    def __init__(self) -> None:
        self.calls = 0
        self.closed = 0
        self.refused = 0
        self.may_end = trio.Event()
        """The body ends after its last event only once this is set, at first."""
        self.may_end.set()
        self._steps, self._taken = trio.open_memory_channel[bytes | None](1000)

    def send(self, *events: bytes) -> None:
        for event in events:
            self._steps.send_nowait(event)

    def cut(self) -> None:
        self._steps.send_nowait(None)

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            if not await read_request(stream):
                return
            self.calls += 1
            if self.refused:
                self.refused -= 1
                await self._taken.receive()
                await stream.send_all(b"HTTP/1.1 503 X\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, stream, nursery.cancel_scope)
                await self._answer(stream)
                nursery.cancel_scope.cancel()

    async def _answer(self, stream: trio.SocketStream) -> None:
        await stream.send_all(SSE)
        async for event in self._taken.clone():
            if event is None:
                return
            await stream.send_all(b"%x\r\n%b\r\n" % (len(event), event))
            if b"[DONE]" in event:
                await self.may_end.wait()
                await stream.send_all(b"0\r\n\r\n")
                return

    async def _watch(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            while await stream.receive_some():
                pass
        self.closed += 1
        scope.cancel()


class SteppedClient:
    """One request, and what has come of its answer."""

    def __init__(
        self,
        nursery: trio.Nursery,
        gateway_url: str,
        *,
        model: str = "cached",
        stream: bool = True,
        text: str = "Hi",
        api: str = "chat",
        **headers: str,
    ) -> None:
        self.body = bytearray()
        self.text = ""
        self.status: int | None = None
        self.headers: Any = {}
        self.over = trio.Event()
        self.broken = False
        self._scope = trio.CancelScope()
        body = body_of(api, model, text, stream=stream)
        nursery.start_soon(self._ask, gateway_url, path_of(api, model, stream=stream), body, headers)

    async def has(self, word: str) -> None:
        await eventually(lambda: word in self.text)

    def leave(self) -> None:
        self._scope.cancel()

    async def _ask(self, url: str, path: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        with self._scope:
            async with (
                httpx2.AsyncClient(base_url=url, verify=False, trust_env=False, timeout=PATIENCE) as client,
                client.stream("POST", path, json=body, headers=headers) as answer,
            ):
                self.status, self.headers = answer.status_code, answer.headers
                try:
                    async for piece in answer.aiter_bytes():
                        self.body += piece
                        self.text += piece.decode(errors="replace")
                except httpx2.HTTPError:
                    self.broken = True
        self.over.set()


async def all_of(clients: list[SteppedClient], patience: float = PATIENCE) -> None:
    with trio.fail_after(patience):
        for client in clients:
            await client.over.wait()
