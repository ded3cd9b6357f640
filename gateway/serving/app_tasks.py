"""The tasks of a connection, and the queue of messages from a request to the app."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import attrs
import trio

from gateway.http.pieces import SMALL_PIECE
from gateway.serving.asgi_extensions import TAKE_NOW, AsgiApp, AsgiMessage, AsgiReceive, AsgiScope

log = logging.getLogger("trigate.hypercorn")

SendToClient: TypeAlias = Callable[[AsgiMessage | None], Awaitable[None]]

_FAILED: Final = "Error in ASGI Framework"


class AppInbox:
    """The messages of one request that its app has not received yet. ``HttpStream`` bounds them. A memory channel would
    add one percent to the cost of a small request."""

    __slots__ = ("_joined", "_messages", "_put")

    def __init__(self) -> None:
        self._messages: deque[AsgiMessage] = deque()
        self._joined: bytearray | None = None  # small pieces after the last message
        self._put: trio.Event | None = None

    def put(self, message: AsgiMessage) -> None:
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

    def take_now(self) -> AsgiMessage | None:
        """Return the next message (``TakeNow``), or ``None``."""
        if not self._messages and self._joined is not None:
            self._end_joined()
        return self._messages.popleft() if self._messages else None

    async def receive(self) -> AsgiMessage:
        """Wait for the next message and return it. Always a checkpoint. Only one task may receive at a time."""
        await trio.lowlevel.checkpoint()
        if not self._messages and self._joined is not None:
            self._end_joined()
        while not self._messages:
            self._put = trio.Event()
            await self._put.wait()
        return self._messages.popleft()


@attrs.frozen(eq=False, repr=False)
class AppTasks:
    """The tasks of a connection."""

    _nursery: trio.Nursery

    def spawn(self, task: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        """Start a task. Hypercorn's HTTP/2 also calls this."""
        self._nursery.start_soon(task, *arguments)

    def start_app(self, app: AsgiApp, scope: AsgiScope, send: SendToClient) -> AppInbox:
        """Start ``app`` for the request or websocket of an ASGI ``scope``, and return its inbox. ``send`` gets ``None``
        after the app has ended."""
        inbox = AppInbox()
        scope["extensions"][TAKE_NOW] = inbox.take_now
        self._nursery.start_soon(_run_app, app, scope, inbox.receive, send)
        return inbox


async def _run_app(app: AsgiApp, scope: AsgiScope, receive: AsgiReceive, send: SendToClient) -> None:
    """Run ``app``. Its errors are logged, because they would end the connection with all its requests."""
    try:
        await app(scope, receive, send)
    except Exception:
        log.exception(_FAILED)
    except BaseExceptionGroup as error:
        if error.split(trio.Cancelled)[1] is None:
            raise
        log.exception(_FAILED)
    finally:
        await send(None)  # noqa: ASYNC102 -- writes shield themselves
