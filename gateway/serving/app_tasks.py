"""The tasks of a connection, and the queue of messages from a request to the app."""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio.task_group import TaskGroup, _handle
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent

from gateway.http.pieces import SMALL_PIECE
from gateway.serving.asgi_extensions import TAKE_NOW


class AppInbox:
    """The messages of one request that its app has not received yet. ``HttpStream`` bounds them. A memory channel would
    add one percent to the cost of a small request."""

    __slots__ = ("_joined", "_messages", "_put")

    def __init__(self) -> None:
        self._messages: deque[ASGIReceiveEvent] = deque()
        self._joined: bytearray | None = None  # small pieces after the last message
        self._put: trio.Event | None = None

    def put(self, message: ASGIReceiveEvent) -> None:
        """Add a message without yielding to other tasks."""
        if self._joined is not None:
            self._end_joined()
        self._messages.append(message)
        if self._put is not None:
            self._put.set()

    def put_body(self, data: bytes, size: int) -> None:
        """Add ``data``, a piece of the body with ``size`` bytes. Small pieces that wait become one message."""
        if self._joined is not None:
            self._joined += data
            if len(self._joined) >= SMALL_PIECE:
                self._end_joined()
        elif size < SMALL_PIECE and self._messages:
            self._joined = bytearray(data)
        else:
            self.put({"type": "http.request", "body": bytes(data), "more_body": True})

    def _end_joined(self) -> None:
        joined, self._joined = bytes(self._joined or b""), None
        self._messages.append({"type": "http.request", "body": joined, "more_body": True})

    def take_now(self) -> ASGIReceiveEvent | None:
        """Return the next message (``TakeNow``), or ``None``."""
        if not self._messages and self._joined is not None:
            self._end_joined()
        return self._messages.popleft() if self._messages else None

    async def receive(self) -> ASGIReceiveEvent:
        """Wait for the next message and return it. Always a checkpoint. Only one task may receive at a time."""
        await trio.lowlevel.checkpoint()
        if not self._messages and self._joined is not None:
            self._end_joined()
        while not self._messages:
            self._put = trio.Event()
            await self._put.wait()
        return self._messages.popleft()


class AppTasks(TaskGroup):
    """Hypercorn's task group, which can also start apps with an ``AppInbox``."""

    def start_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Any,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> AppInbox:
        """Start ``app`` for the request or websocket of an ASGI ``scope``, and return its inbox."""
        inbox = AppInbox()
        scope["extensions"][TAKE_NOW] = inbox.take_now
        threads = trio.to_thread.run_sync, trio.from_thread.run
        assert self._nursery is not None, "it is open"
        self._nursery.start_soon(_handle, app, config, scope, inbox.receive, send, *threads)
        return inbox
