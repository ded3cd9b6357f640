"""How long a client's connection may be idle."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

import trio


class IdleTimer:
    """Ends a connection that has been idle for ``seconds``, and one that is idle when the server stops.

    Hypercorn's starts a task whenever a connection becomes idle and cancels it when a request comes: a tenth of what a
    small request costs. This is one task with a deadline that moves."""

    def __init__(self, seconds: float, terminated: Any) -> None:
        self._seconds = seconds
        self._terminated = terminated
        self._scope: trio.CancelScope | None = None
        self._idle = trio.Event()
        self._over = False

    async def restart(self, task_group: Any, action: Callable[[], Awaitable[None]]) -> None:
        """The connection is idle from now on."""
        self._idle.set()
        deadline = trio.current_time() + self._seconds
        if self._scope is None:
            self._scope = trio.CancelScope(deadline=deadline)
            task_group.spawn(self._run, self._scope, action)
        elif not self._scope.cancel_called:
            self._scope.deadline = deadline

    async def stop(self) -> None:
        """It is busy."""
        self._idle = trio.Event()
        if self._scope is not None and not self._scope.cancel_called:
            self._scope.deadline = math.inf

    def end(self) -> None:
        """It has ended by itself."""
        self._over = True
        if self._scope is not None:
            self._scope.cancel()

    async def _run(self, scope: trio.CancelScope, action: Callable[[], Awaitable[None]]) -> None:
        with scope:
            await self._terminated.wait()
            while not self._idle.is_set():
                await self._idle.wait()
        if not self._over:
            await action()
