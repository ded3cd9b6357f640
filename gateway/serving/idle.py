"""How long a client's connection may be idle, without a task that waits for it: Hypercorn has one for each connection,
a tenth of what it takes in memory, and starts and ends it with every request."""

import math
from collections.abc import Awaitable, Callable
from typing import cast

import trio
from hypercorn.trio.worker_context import EventWrapper, WorkerContext


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


class Idle:
    """Ends a connection's wait for its client once nothing has been asked for ``seconds``, or the server stops while
    nothing is. ``restart`` and ``stop`` are as Hypercorn calls them."""

    def __init__(self, seconds: float, context: WorkerContext) -> None:
        self._seconds = seconds
        self._stopping = cast("Stopping", context.terminated)
        self._stopping.told.add(self._stop)
        self._deadline = math.inf
        self._wait = trio.CancelScope()

    async def restart(self, *_: object) -> None:
        """The connection is idle from now on."""
        self._until(-math.inf if self._stopping.is_set() else trio.current_time() + self._seconds)

    async def stop(self) -> None:
        """It is busy."""
        self._until(math.inf)

    def close(self) -> None:
        """It has ended."""
        self._stopping.told.discard(self._stop)

    async def wait(self, receive: Callable[[], Awaitable[bytes]]) -> bytes | None:
        """What ``receive`` returns; ``None`` if the connection is to end before. Cancelled, ``receive`` must have taken
        nothing."""
        while trio.current_time() < self._deadline:  # it may have become busy in the turn in which its time was up
            with trio.CancelScope(deadline=self._deadline) as self._wait:
                return await receive()
        return None

    def _stop(self) -> None:
        if self._deadline < math.inf:
            self._until(-math.inf)

    def _until(self, deadline: float) -> None:
        self._deadline = self._wait.deadline = deadline
