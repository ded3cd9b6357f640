"""The tasks of a connection, and the queue of messages from a request to the app."""

import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from types import TracebackType
from typing import Any, Final, TypeAlias

import trio

from gateway.http.pieces import SMALL_PIECE
from gateway.serving.asgi_extensions import NURSERY, TAKE_NOW, AsgiApp, AsgiMessage, AsgiReceive, AsgiScope

log = logging.getLogger("trigate.hypercorn")

SendToClient: TypeAlias = Callable[[AsgiMessage | None], Awaitable[None]]

_FAILED: Final = "Error in ASGI Framework"


class AppInbox:
    """The messages of one request that its app has not received yet. ``HttpStream`` bounds them. A memory channel would
    add one percent to the cost of a small request."""

    __slots__ = ("_messages", "_put", "_small")

    def __init__(self) -> None:
        self._messages: deque[AsgiMessage] = deque()
        self._small: bytearray | None = None  # small pieces after the last message
        self._put: trio.Event | None = None

    def put(self, message: AsgiMessage) -> None:
        """Add a message without yielding to other tasks."""
        if self._small is not None:
            self._end_small()
        self._messages.append(message)
        if self._put is not None:
            self._put.set()

    def put_body(self, data: bytes, size: int) -> None:
        """Add ``data``, a piece of the body with ``size`` bytes. Small pieces that wait become one message."""
        if self._small is not None:
            self._small += data
            if len(self._small) >= SMALL_PIECE:
                self._end_small()
        elif size < SMALL_PIECE and self._messages:
            self._small = bytearray(data)
        else:
            self.put({"type": "http.request", "body": bytes(data), "more_body": True})

    def _end_small(self) -> None:
        body, self._small = bytes(self._small or b""), None
        self._messages.append({"type": "http.request", "body": body, "more_body": True})

    def take_now(self) -> AsgiMessage | None:
        """Return the next message (``TakeNow``), or ``None``."""
        if not self._messages and self._small is not None:
            self._end_small()
        return self._messages.popleft() if self._messages else None

    async def receive(self) -> AsgiMessage:
        """Wait for the next message and return it. Always a checkpoint. Only one task may receive at a time."""
        await trio.lowlevel.checkpoint()
        if not self._messages and self._small is not None:
            self._end_small()
        while not self._messages:
            self._put = trio.Event()
            await self._put.wait()
        return self._messages.popleft()


AppCall: TypeAlias = tuple[AsgiApp, AsgiScope, AsgiReceive, SendToClient]


class RequestNursery:
    """The nursery of each request of one task. ``async with`` opens it, or takes that of the request before, which left
    no tasks in it. ``stack`` closes it at the end of the task."""

    def __init__(self, stack: contextlib.AsyncExitStack) -> None:
        self._stack = stack
        self._nursery: trio.Nursery | None = None

    async def __aenter__(self) -> trio.Nursery:
        if self._nursery is None:
            self._nursery = await self._stack.enter_async_context(trio.open_nursery())
        return self._nursery

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        nursery = self._nursery
        if nursery is not None and kind is None and not nursery.child_tasks and not nursery.cancel_scope.cancel_called:
            return None
        self._nursery = None
        return await self._stack.pop_all().__aexit__(kind, error, trace)  # noqa: ASYNC102 -- closes the nursery


class AppTasks:
    """The tasks of a connection.

    A task runs one request after another, because a task and a nursery for each would be a tenth of the cost of a small
    request. Each request has a context of its own: it may come from another client of the same proxy."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._context = copy_context()
        self._idle: tuple[trio.lowlevel.Task, list[AppCall]] | None = None  # that waits for a request, and its place
        self._is_closed = False

    def spawn(self, task: Callable[..., Awaitable[object]], *arguments: Any) -> None:
        """Start a task. Hypercorn's HTTP/2 also calls this."""
        self._nursery.start_soon(task, *arguments)

    def start_app(self, app: AsgiApp, scope: AsgiScope, send: SendToClient) -> AppInbox:
        """Start ``app`` for the request or websocket of an ASGI ``scope``, and return its inbox. ``send`` gets ``None``
        after the app has ended."""
        inbox = AppInbox()
        scope["extensions"][TAKE_NOW] = inbox.take_now
        call = app, scope, inbox.receive, send
        if self._idle is None:
            self._context.run(self._nursery.start_soon, self._run_apps, call)
        else:
            (task, calls), self._idle = self._idle, None
            task.context = self._context.copy()
            calls.append(call)
            trio.lowlevel.reschedule(task)
        return inbox

    def close(self) -> None:
        """End the idle task. No request follows."""
        self._is_closed = True
        if self._idle is not None:
            (task, _), self._idle = self._idle, None
            trio.lowlevel.reschedule(task)

    async def _run_apps(self, call: AppCall) -> None:
        calls = [call]
        del call  # an idle connection keeps nothing of its last request
        async with contextlib.AsyncExitStack() as stack:
            nursery = RequestNursery(stack)
            while calls:
                calls[0][1]["extensions"][NURSERY] = nursery
                await _run_app(*calls.pop())
                if self._idle is None and not self._is_closed:
                    self._idle = trio.lowlevel.current_task(), calls
                    await trio.lowlevel.wait_task_rescheduled(self._abort_idle)

    def _abort_idle(self, raise_cancel: object) -> trio.lowlevel.Abort:
        self._idle = None
        return trio.lowlevel.Abort.SUCCEEDED


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
