"""Responses over a WebSocket: one message asks, and each event of the answer is a message. A connection is kept for the
next request, one at a time (OpenAI's WebSocket mode)."""

from typing import Final, Protocol

import msgspec
import trio

from loadtest.wire.answers import AnswerTaker, OutgoingRequest, ResponseHead
from loadtest.wire.connections import Connections
from loadtest.wire.websocket import TimedWebSocket
from streams.surrogates import NOT_JSON

ASKED: Final = b'{"type":"response.create",'
FAILED: Final = frozenset(("error", "response.failed"))  # kinds of events behind which nothing comes
OK: Final = 200


class HearsEvents(AnswerTaker, Protocol):
    """Who takes the events of an answer, as of a stream of server-sent ones."""

    connected: float | None
    reads: int
    received: int

    def sends(self) -> None:
        """The connection is there."""
        ...

    def has_sent(self) -> None:
        """The request is out."""
        ...

    @property
    def has_heard_the_end(self) -> bool: ...


class SpokenWebSockets:
    """The open sockets of a load to one server, kept for the next request where its ``connections`` are."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._idle: list[TimedWebSocket] = []

    async def ask(self, request: OutgoingRequest, taker: HearsEvents) -> None:
        """Send a request and hand on its answer, until its end. Raises ``WireError``."""
        socket = self._taken() or await self._opened(request, taker)
        whole = False
        before = socket.reads, socket.received
        try:
            taker.sends()
            await socket.send((ASKED + request.body.lstrip()[1:]).decode())
            taker.has_sent()
            await self._heard(socket, taker)
            whole = taker.has_heard_the_end
        finally:
            taker.reads += socket.reads - before[0]
            taker.received += socket.received - before[1]
            if whole and self._connections.keeps:
                self._idle.append(socket)
            else:
                socket.close()

    async def _heard(self, socket: TimedWebSocket, taker: HearsEvents) -> None:
        headed, at = False, trio.current_time()
        while not taker.has_heard_the_end:
            text, at = await socket.receive()
            if not headed:
                headed = True
                taker.take_head(ResponseHead(OK, dict(socket.headers), "websocket"), at)
            kind = _kind(text)
            taker.take_content(_as_sent_event(kind, text), at)
            if kind in FAILED:
                break
        taker.take_end(at)

    def _taken(self) -> TimedWebSocket | None:
        while self._idle:
            socket = self._idle.pop()
            if socket.usable:
                return socket
            socket.close()
        return None

    async def _opened(self, request: OutgoingRequest, taker: HearsEvents) -> TimedWebSocket:
        since = trio.current_time()
        headers = tuple(pair for pair in request.headers if pair[0] != "content-type")
        transport = await self._connections.transport()
        socket = await TimedWebSocket.open(transport, self._connections.address, request.path, headers)
        taker.connected = trio.current_time() - since
        return socket

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


def _as_sent_event(kind: str, text: str) -> bytes:
    """The event as a stream of server-sent events would have it, for those who read and judge those."""
    lines = text if "\n" not in text and "\r" not in text else " ".join(text.split())
    return f"event: {kind}\ndata: {lines}\n\n".encode()


class _TypedEvent(msgspec.Struct):
    type: str


_typed = msgspec.json.Decoder(_TypedEvent)  # the rest is passed over: what a message holds may be much


def _kind(text: str) -> str:
    try:
        kind = _typed.decode(text).type
    except NOT_JSON:
        return "message"
    return kind if kind.isprintable() else "message"
