"""How long a client's connection may be idle, without a task that waits for it: Hypercorn has one for each connection,
a tenth of what it takes in memory, and starts and ends it with every request."""

import math
from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio
from hypercorn.trio.worker_context import EventWrapper, WorkerContext

WRITING = 0.25  # seconds that an idle connection gets to write what it has to, once the server stops


class Stopping(EventWrapper):
    """The server stops. ``told`` are called then, synchronously."""

    def __init__(self) -> None:
        super().__init__()
        self.told: set[Callable[[], object]] = set()

    async def set(self) -> None:
        await super().set()
        for tell in tuple(self.told):
            tell()


class Worker(WorkerContext):
    """What Hypercorn's connections know of their server."""

    def __init__(self, max_requests: int | None) -> None:
        super().__init__(max_requests)
        self.terminated = Stopping()


def _nothing() -> None:
    pass


class Idle:
    """Ends a connection's wait for its client once nothing has been asked for ``seconds``, or the server stops while
    nothing is. ``restart`` and ``stop`` are as Hypercorn calls them; ``close`` must be called in the end.

    A client that takes nothing of what is written to it, such as answers to its pings, is no matter of its idleness:
    TCP_USER_TIMEOUT ends it. Only when the server stops it is cut, with ``cut()``: nobody shall wait for that."""

    def __init__(self, seconds: float, context: WorkerContext, cut: Callable[[], object]) -> None:
        self._seconds = seconds
        self._stopping = cast("Stopping", context.terminated)
        self._cut = cut
        self._deadline = math.inf
        self._wait = trio.CancelScope()
        self._waiting = False
        self._over = False
        self._task_group: Any = None

    async def restart(self, task_group: Any, _: object) -> None:
        """The connection is idle from now on."""
        if self._over:
            return
        self._task_group = task_group
        self._stopping.told.add(self._stop)
        self._until(-math.inf if self._stopping.is_set() else trio.current_time() + self._seconds)

    async def stop(self) -> None:
        """It is busy."""
        self._until(math.inf)

    def close(self) -> None:
        """Nobody waits for the client any more. May be called again, to no effect."""
        self._over = True
        self._stopping.told.discard(self._stop)
        self._cut, self._task_group = _nothing, None  # the connection refers to this: a cycle for the collector

    async def wait(self, receive: Callable[[], Awaitable[bytes]]) -> bytes | None:
        """What ``receive`` returns; ``None`` if the connection is to end before. Cancelled, ``receive`` must have taken
        nothing."""
        while trio.current_time() < self._deadline:  # it may have become busy in the turn in which its time was up
            with trio.CancelScope(deadline=self._deadline) as self._wait:
                self._waiting = True
                try:
                    return await receive()
                finally:
                    self._waiting = False
        return None

    def _stop(self) -> None:
        if self._deadline < math.inf:
            self._until(-math.inf)
            if not self._waiting:
                self._task_group.spawn(self._end_writing)

    async def _end_writing(self) -> None:
        await trio.sleep(WRITING)
        if self._deadline < math.inf and not self._waiting:
            self._cut()

    def _until(self, deadline: float) -> None:
        self._deadline = self._wait.deadline = deadline
