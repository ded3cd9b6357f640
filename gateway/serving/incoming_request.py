"""A client's request as the routes see it, with its body, and the one that comes directly from the server."""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import NoReturn, Protocol, TypeAlias, cast

import trio

from gateway.http.headers import as_text
from gateway.http.pieces import add_piece, join_pieces
from gateway.http.request_scope import RequestScope
from gateway.serving.asgi_extensions import (
    INVALID_BODY,
    ON_LEAVING,
    ON_READING,
    PACE_BODY,
    TAKE_NOW,
    AsgiMessage,
    AsgiReceive,
    AsgiScope,
    OnLeaving,
    OnReading,
    PaceBody,
    TakeNow,
)
from streams.errors import GatewayError

CountArrived: TypeAlias = Callable[[int], object]
"""Called with the number of bytes of a body that have arrived. Raises ``GatewayError`` if there is no room for them."""


def ignore_arrived(size: int) -> None:
    """Accept any number of bytes."""


def too_large(max_bytes: int | None) -> GatewayError:
    """Return the error of a request whose body has more than ``max_bytes`` bytes."""
    return GatewayError("too_large", f"the request body is larger than the limit of {max_bytes} bytes")


def invalid_body() -> GatewayError:
    """Return the error of a request whose body is not HTTP."""
    return GatewayError("invalid_request", "the request body is not valid HTTP: check its transfer-encoding")


def too_slow() -> GatewayError:
    """Return the error of a request whose body did not arrive in time."""
    return GatewayError("invalid_request", "the request body did not arrive in time", status=408)


class IncomingRequest(Protocol):
    """A client's request, with lower-case header names."""

    @property
    def scope(self) -> RequestScope: ...

    @property
    def headers(self) -> tuple[tuple[str, str], ...]: ...

    @property
    def query(self) -> str: ...

    @property
    def asgi(self) -> AsgiScope: ...

    async def read(self, count_arrived: CountArrived) -> bytes:
        """Return the whole body. Raises ``GatewayError`` (413, 408), also from ``count_arrived``.

        A disconnect of the client cancels it."""

    def take_arrived(self, max_bytes: int) -> bytes:
        """Return the body of a refused request if it has arrived and has at most ``max_bytes``, otherwise nothing.

        Never waits. Nothing can read the body afterwards."""


class PiecesRequest(IncomingRequest, Protocol):
    """A client's request whose body can be read in pieces."""

    def pieces(self, max_bytes: int) -> AsyncIterator[bytes]:
        """Yield the body in non-empty pieces as it arrives, up to ``max_bytes`` bytes.

        A slow reader slows the client. Raises ``GatewayError`` (413, 408). A disconnect of the client cancels a waiting
        reader."""


class AsgiRequest:
    """The ``IncomingRequest`` of a route, directly from the server."""

    def __init__(
        self, scope: RequestScope, asgi: AsgiScope, receive: AsgiReceive, max_bytes: int, seconds: float
    ) -> None:
        self.scope = scope
        self.asgi = asgi
        self.headers = as_text(asgi["headers"])
        self.query = asgi["query_string"].decode("latin-1")
        self._receive = receive
        self._take_now: TakeNow = asgi["extensions"].get(TAKE_NOW, _no_message)
        self._max_bytes = max_bytes
        self._seconds = seconds
        on_leaving: OnLeaving | None = asgi["extensions"].get(ON_LEAVING)
        self._listening = on_leaving is not None
        if on_leaving is not None:
            on_leaving(scope.leave)

    async def read(self, count_arrived: CountArrived) -> bytes:
        length = dict(self.headers).get("content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise too_large(self._max_bytes)
        if ON_READING in self.asgi["extensions"]:
            await send_continue(self.asgi)
        body = _ArrivingBody(self._max_bytes, count_arrived)
        while not body.is_whole and (message := self._take_now()) is not None:  # usually it came with the head
            await self._add(body, message)
        if not body.is_whole:
            with trio.move_on_after(self._seconds) as time:
                while not body.is_whole:
                    await self._add(body, await self._receive())
            if time.cancelled_caught:
                raise too_slow()
        self.listen()
        return await join_pieces(body.parts, body.size)

    def take_arrived(self, max_bytes: int) -> bytes:
        body = _ArrivingBody(max_bytes, ignore_arrived)
        with contextlib.suppress(GatewayError):
            while not body.is_whole and (message := self._take_now()) is not None:
                if message["type"] != "http.request":
                    break
                body.add(message)
            return b"".join(body.parts) if body.is_whole else b""
        return b""

    async def _add(self, body: "_ArrivingBody", message: AsgiMessage) -> None:
        """Add the part in ``message``. Raises ``GatewayError``; if the client has disconnected, the request is
        cancelled."""
        if message["type"] == "http.request":
            body.add(message)
        else:
            await self.end_reading(message)

    async def end_reading(self, message: AsgiMessage) -> NoReturn:
        """Handle a ``message`` after which no part of the body follows. Raises ``GatewayError`` (400) for an invalid
        body; if the client has disconnected, the request is cancelled."""
        if message["type"] == INVALID_BODY:
            raise invalid_body()
        self.scope.leave()
        await trio.sleep_forever()

    def pieces(self, max_bytes: int) -> AsyncIterator[bytes]:
        return _BodyPieces(self, self._receive, max_bytes, self._seconds)

    def listen(self) -> None:
        """Cancel the request from now on if the client disconnects; ASGI's message for that follows the body."""
        if not self._listening:
            self._listening = True
            self.scope.nursery.start_soon(self._listen)

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.scope.leave()


class _ArrivingBody:
    """The parts of a body that have arrived, up to ``max_bytes`` bytes. ``count_arrived`` is called with their size."""

    __slots__ = ("_count_arrived", "_max_bytes", "is_whole", "parts", "size")

    def __init__(self, max_bytes: int, count_arrived: CountArrived) -> None:
        self.parts: list[bytes | bytearray] = []
        self.is_whole = False
        self.size = 0
        self._max_bytes = max_bytes
        self._count_arrived = count_arrived

    def add(self, message: AsgiMessage) -> None:
        """Add a part. Raises ``GatewayError`` (413), also from ``count_arrived``."""
        if part := message.get("body", b""):
            self.size += len(part)
            if self.size > self._max_bytes:
                raise too_large(self._max_bytes)
            self._count_arrived(self.size)
            if self.parts:
                add_piece(self.parts, part)
            else:
                self.parts.append(part)
        self.is_whole = not message.get("more_body", False)


def _no_message() -> None:
    """Return nothing, because a server without ``TakeNow`` passes its messages one at a time."""


class _BodyPieces:
    """The pieces of a body. ``seconds`` is the time limit for each. After the last one, a disconnect cancels the
    request."""

    def __init__(self, request: AsgiRequest, receive: AsgiReceive, max_bytes: int, seconds: float) -> None:
        self._request = request
        self._receive = receive
        self._bytes_left = self._max_bytes = max_bytes
        self._seconds = seconds
        self._is_over = self._has_started = False
        pace = cast("PaceBody | None", request.asgi["extensions"].get(PACE_BODY))
        self._report_taken = _ignore_taken if pace is None else pace()

    def __aiter__(self) -> "_BodyPieces":
        return self

    async def __anext__(self) -> bytes:
        if not self._has_started:
            self._has_started = True
            await send_continue(self._request.asgi)
        while not self._is_over:
            with trio.move_on_after(self._seconds) as silence:
                message = await self._receive()
            if silence.cancelled_caught:
                raise too_slow()
            if message["type"] != "http.request":
                await self._request.end_reading(message)
            self._is_over = not message.get("more_body", False)
            piece: bytes = message.get("body", b"")
            self._report_taken(len(piece))
            self._bytes_left -= len(piece)
            if self._bytes_left < 0:
                raise too_large(self._max_bytes)
            if self._is_over:
                self._request.listen()
            if piece:
                return piece
        raise StopAsyncIteration


def _ignore_taken(size: int) -> None:
    """Do nothing, because a server without ``PaceBody`` bounds the body itself."""


async def send_continue(asgi: AsgiScope) -> None:
    """Send 100 (Continue) to a client that waits for it."""
    if (on_reading := asgi["extensions"].get(ON_READING)) is not None:
        await cast("OnReading", on_reading)()
