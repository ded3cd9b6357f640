"""One HTTP request and its response as ASGI messages, for HTTP/1.1 and HTTP/2."""

from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Any, Final, Protocol, cast

import trio

from gateway.http.response import WriteNow
from gateway.serving.app_tasks import AppInbox
from gateway.serving.asgi_extensions import (
    CLIENT_LEFT,
    IMMEDIATE,
    INVALID_BODY,
    ON_LEAVING,
    ON_READING,
    PACE_BODY,
    WRITE_NOW,
    AsgiMessage,
    AsgiScope,
    OnReading,
)
from gateway.serving.connections import ConnectionContext
from gateway.serving.refusals import error_response

BACKLOG: Final = 256 * 1024
"""Bytes of a body that wait for the app; beyond it no more is read from the client."""


class Backlog:
    """The bytes of a paced request body that the app has not taken yet. Bytes of other bodies are not counted, because
    their readers never wait."""

    def __init__(self) -> None:
        self.size = 0
        self.is_paced = False
        self.on_taken: Callable[[int], object] | None = None
        """Called synchronously with the number of bytes that the app has taken."""
        self._room: trio.Event | None = None

    def pace(self) -> Callable[[int], object]:
        """Start to count, and return the function to call with the number of bytes taken (``PaceBody``)."""
        self.is_paced = True
        return self._take

    def add(self, size: int) -> None:
        """Count ``size`` bytes that wait for the app."""
        if self.is_paced:
            self.size += size

    @property
    def is_full(self) -> bool:
        return self.size > BACKLOG

    async def wait(self, seconds: float) -> None:
        if self.is_full:
            self._room = trio.Event()
            with trio.move_on_after(seconds):
                await self._room.wait()

    def end(self) -> None:
        """Stop counting, because the app reads no more of the body or the rest is dropped."""
        if self.is_paced:
            self.is_paced = False
            self._take(self.size)

    def _take(self, size: int) -> None:
        taken = min(size, self.size)
        self.size -= taken
        if self._room is not None and not self.is_full:
            self._room.set()
        if self.on_taken is not None and taken:
            self.on_taken(taken)


class ResponseSender(Protocol):
    """Sends the response of one request in its HTTP version. Called directly, because an event for each part would cost
    one percent of a small request."""

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the head, perhaps together with the first bytes of the body."""

    async def send_body(self, data: bytes) -> None:
        """Send a non-empty piece of the body."""

    async def end(self) -> None: ...

    async def close(self) -> None:
        """End the request: its app sends nothing more."""


class ResponseState(Enum):
    """The parts of a response that the app has sent."""

    UNSENT = auto()
    BODY = auto()
    NO_BODY = auto()
    """The head of a response without a body: a body from the app is dropped."""
    ENDED = auto()


class HttpStream:
    """One request and its response."""

    _inbox: AppInbox

    def __init__(
        self,
        connection: ConnectionContext,
        sender: ResponseSender,
        write_now: WriteNow | None = None,
    ) -> None:
        """Prepare the request. ``write_now`` writes pieces of the body that can be written without waiting."""
        self._connection = connection
        self._registry = connection.server.registry
        self._sender = sender
        self._write_now = write_now
        self._state = ResponseState.UNSENT
        self._closed = False  # the client has disconnected or has its response
        self.is_running = False
        """Neither the response nor the app has ended: it is one of the registry's requests in flight."""
        self._on_left: Callable[[], bool] | None = None
        self.was_left_with_slot = False
        """The client has disconnected from a request with a slot."""
        self.backlog = Backlog()
        self.on_end: Callable[[], object] | None = None
        """Called when the app has ended."""

    @property
    def is_immediate(self) -> bool:
        """Whether the response is dropped if it cannot be sent immediately."""
        return bool(self.scope.get(IMMEDIATE, False))

    @property
    def has_response(self) -> bool:
        """The app has sent the head of the response."""
        return self._state is not ResponseState.UNSENT

    def begin(
        self,
        method: str,
        version: str,
        target: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        on_reading: OnReading | None = None,
    ) -> None:
        """Start the app for a request whose head has arrived. ``on_reading`` is awaited before the app reads the
        body."""
        server = self._connection.server
        scheme = "https" if self._connection.is_secure else "http"
        asgi = {"spec_version": "2.1", "version": "3.0"}
        self.scope: AsgiScope = self._connection.scope(
            version, target, headers, type="http", asgi=asgi, method=method, scheme=scheme
        )
        extensions: dict[str, Any] = self.scope["extensions"]
        extensions[ON_LEAVING], extensions[PACE_BODY] = self._on_leaving, self.backlog.pace
        if self._write_now is not None:
            extensions[WRITE_NOW] = self._write_now
        if on_reading is not None:
            extensions[ON_READING] = on_reading
        self.is_running = True
        self._registry.in_flight += 1
        self._inbox = self._connection.tasks.start_app(server.app, self.scope, self.app_send)

    def take_body(self, data: bytes) -> None:
        """Pass a piece of the request's body to the app."""
        if not self._closed:
            size = len(data)
            self.backlog.add(size)
            self._inbox.put_body(data, size)

    def take_whole_body(self, data: bytes) -> None:
        """Pass the whole body to the app, which has not run yet."""
        self._inbox.put({"type": "http.request", "body": data, "more_body": False})

    def end_body(self) -> None:
        """Pass the end of the request's body to the app."""
        if not self._closed:
            self._inbox.put({"type": "http.request", "body": b"", "more_body": False})

    def break_body(self) -> None:
        """Report to the app that the rest of the request's body cannot be read."""
        self._inbox.put({"type": INVALID_BODY})

    def close(self) -> None:
        """Notify the app that the client has disconnected or has its whole response."""
        if self._closed:
            return
        self._closed = True
        self.backlog.end()
        self.scope[CLIENT_LEFT] = self._state is not ResponseState.ENDED
        self._report_left()
        self._inbox.put({"type": "http.disconnect"})

    def _on_leaving(self, callback: Callable[[], bool]) -> None:
        self._on_left = callback
        if self._closed:
            callback()

    def _report_left(self) -> None:
        on_left, self._on_left = self._on_left, None
        if on_left is not None:
            self.was_left_with_slot = on_left()

    # The response

    async def app_send(self, message: AsgiMessage | None) -> None:
        """Send a message of the app; ``None`` after the app and all its tasks have ended."""
        if message is None:
            await self._end_app()
        elif self._state is ResponseState.BODY and message.get("more_body"):  # by far the most frequent
            if data := message.get("body"):
                await self._sender.send_body(cast("bytes", data))
        elif message["type"] == "http.response.start" and self._state is ResponseState.UNSENT:
            status = message["status"]
            await self._sender.start(status, list(message["headers"]))
            has_no_body = status < 200 or status in (204, 304) or self.scope["method"] == "HEAD"
            self._state = ResponseState.NO_BODY if has_no_body else ResponseState.BODY
        elif message["type"] == "http.response.body" and self._state in (ResponseState.BODY, ResponseState.NO_BODY):
            await self._body(message)
        else:
            raise RuntimeError(f"unexpected ASGI message {message['type']}: {self._state}")

    async def _body(self, message: AsgiMessage) -> None:
        if self._state is ResponseState.BODY and (data := message.get("body")):
            await self._sender.send_body(data)
        if not message.get("more_body", False):
            await self._end()

    async def _end(self) -> None:
        await self._sender.end()
        self._state = ResponseState.ENDED
        self.backlog.end()
        self._settle()  # before the client, which has everything, can send another request on this connection
        self._report_left()
        await self._sender.close()

    async def _end_app(self) -> None:
        if self.on_end is not None:
            self.on_end()
            self.on_end = None
        self.backlog.end()
        self._settle()
        self.scope["extensions"].clear()  # breaks a reference cycle
        self._on_left = None
        if self._closed:
            return
        if self._state is ResponseState.UNSENT:
            self.scope[IMMEDIATE] = True
            headers, body = error_response(500)
            await self._sender.start(500, headers)
            await self._sender.send_body(body)
            await self._sender.end()
            self._state = ResponseState.ENDED
        await self._sender.close()

    def _settle(self) -> None:
        if self.is_running:
            self.is_running = False
            self._registry.in_flight -= 1
