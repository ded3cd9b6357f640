"""A scripted provider of endpoints on a real socket, which records its requests byte for byte."""

import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import attrs
import h11
import trio

from tests.support.bare_provider import listening
from tests.support.in_process import InProcess, gateway
from tests.support.upstreams import STREAM


@attrs.frozen
class ReceivedRequest:
    """A received request, with header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@attrs.frozen
class ScriptedAnswer:
    """An answer in pieces, each written separately.

    ``cut`` closes the connection before its end. With ``length`` it has a ``content-length``, otherwise it is chunked.
    """

    pieces: Sequence[bytes]
    status: int = 200
    headers: Sequence[tuple[str, str]] = (("content-type", "application/json"),)
    cut: bool = False
    length: bool = False


def json_answer(value: Any, status: int = 200, *headers: tuple[str, str]) -> ScriptedAnswer:
    """Return a JSON answer with the content ``value``."""
    return ScriptedAnswer(
        (json.dumps(value).encode(),), status, (("content-type", "application/json"), *headers), length=True
    )


def events(*pieces: bytes, cut: bool = False) -> ScriptedAnswer:
    """Return server-sent events, unchanged."""
    return ScriptedAnswer(pieces, headers=STREAM, cut=cut)


Answering: TypeAlias = Callable[[ReceivedRequest], ScriptedAnswer | Awaitable[ScriptedAnswer]]


class EndpointProvider:
    """A provider.

    ``asked`` are its complete requests, ``heads`` the requests with at least a head; ``left`` counts connections that
    the gateway closed within a request or its answer. ``body_bytes`` counts received bytes. Between the pieces of an
    answer it waits until ``go`` is set.
    """

    def __init__(self, answering: Answering) -> None:
        self.url = ""
        self.asked: list[ReceivedRequest] = []
        self.heads: list[tuple[str, str]] = []
        self.left = 0
        self.left_now = trio.Event()
        self.body_bytes = 0
        self.keeps_bodies = True
        self.begun = trio.Event()
        self.go = trio.Event()
        self.go.set()
        self._answering = answering

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            connection = h11.Connection(h11.SERVER)
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while await self._answer_request(stream, connection):
                    connection.start_next_cycle()

    async def _answer_request(self, stream: trio.SocketStream, connection: h11.Connection) -> bool:
        head, body = None, bytearray()
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                head = event
                self.heads.append((event.method.decode(), event.target.decode()))
                self.begun.set()
            elif isinstance(event, h11.Data):
                self.body_bytes += len(event.data)
                if self.keeps_bodies:
                    body += event.data
            elif event is h11.NEED_DATA:
                data = await stream.receive_some(65536)
                if not data and head is not None:
                    self._on_disconnect()
                if not data:
                    return False
                connection.receive_data(data)
            else:
                return False
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in head.headers}
        asked = ReceivedRequest(head.method.decode(), head.target.decode(), headers, bytes(body))
        self.asked.append(asked)
        whole = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, stream, nursery.cancel_scope)
            found = self._answering(asked)
            answer = found if isinstance(found, ScriptedAnswer) else await found
            with contextlib.suppress(trio.BrokenResourceError):  # here, because a nursery would raise a group
                whole = await self._send_answer(stream, connection, answer)
            nursery.cancel_scope.cancel()
        return whole

    async def _watch(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        """Detect that the client leaves. The beginning of its next request, after a complete answer, stays unread."""
        with contextlib.suppress(OSError):
            if await stream.socket.recv(1, socket.MSG_PEEK):
                return
        self._on_disconnect()
        scope.cancel()

    def _on_disconnect(self) -> None:
        self.left += 1
        self.left_now.set()

    async def _send_answer(self, stream: trio.SocketStream, connection: h11.Connection, answer: ScriptedAnswer) -> bool:
        headers = list(answer.headers)
        if answer.length:
            headers.append(("content-length", str(sum(map(len, answer.pieces)))))
        await stream.send_all(connection.send(h11.Response(status_code=answer.status, headers=headers)))
        for piece in answer.pieces:
            await self.go.wait()
            await stream.send_all(connection.send(h11.Data(data=piece)))
        if answer.cut:
            return False
        await stream.send_all(connection.send(h11.EndOfMessage()))
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE


@contextlib.asynccontextmanager
async def endpoint_provider(answering: Answering) -> AsyncIterator[EndpointProvider]:
    """Run a provider until the end of the block."""
    found = EndpointProvider(answering)
    async with listening(found.serve) as found.url:
        yield found


def settings(*entries: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a configuration with these entries."""
    return {"version": "v0.3.0", "model_providers": list(entries), **more}


@contextlib.asynccontextmanager
async def before(
    answering: Answering, model: str = "openai/m-1", entry: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[tuple[InProcess, EndpointProvider]]:
    """Run a gateway with one provider, whose model is ``model``."""
    async with endpoint_provider(answering) as provider:
        own = {"model": model, "access_key": "provider-key", "base_url": f"{provider.url}/v1", **(entry or {})}
        async with gateway(settings(own, **more)) as served:
            yield served, provider
