"""The idle timeout of a client's connection, without a task of its own.

Hypercorn runs one task per connection for this, a tenth of what a connection takes in memory, and starts and ends it
with every request.
"""

import math
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import trio

T = TypeVar("T")

WRITING = 0.25  # seconds that an idle connection gets to write what it has to, once the server stops


Spawn: TypeAlias = Callable[[Callable[[], Awaitable[None]]], None]
"""Starts a task of the connection."""


def _nothing(*_: object) -> None:
    pass


def _always() -> bool:
    return True


class IdleTimer:
    """The timer of a connection. It ends the wait for a client that has sent no request for ``seconds``, that takes
    longer than ``head_seconds`` for the head of one, or that is idle when the server stops.

    ``close`` must be called in the end. A client that takes nothing of what is written to it, such as answers to its
    pings, does not count as idle: TCP_USER_TIMEOUT ends it. Only when the server stops it is cut, with ``cut()``, so
    that the shutdown does not wait for it."""

    def __init__(
        self,
        seconds: float,
        head_seconds: float,
        is_stopping: Callable[[], bool],
        spawn: Spawn,
        cut: Callable[[], object],
    ) -> None:
        self._seconds = seconds
        self._head_seconds = min(seconds, head_seconds)
        self.since = math.inf
        """When the connection became idle; infinite while it is busy."""
        self._is_stopping = is_stopping
        self._spawn = spawn
        self._cut = cut
        self._deadline = math.inf
        self._wait = trio.CancelScope()
        self._waiting = False

    def start(self) -> None:
        """Begin to count: the connection is idle from now on."""
        self.since = trio.current_time()
        self._until(-math.inf if self._is_stopping() else self.since + self._seconds)

    def await_head(self) -> None:
        """Shorten the remaining time to that for the head of a request: the connection is new, or its client has begun
        one. May be called again, to no effect."""
        if self._deadline < math.inf:
            self._until(min(self._deadline, trio.current_time() + self._head_seconds))

    def stop(self) -> None:
        """Stop counting: the connection is busy."""
        self.since = math.inf
        self._until(math.inf)

    def end(self) -> None:
        """End the wait of an idle connection: the server stops."""
        if self._deadline < math.inf:
            self._until(-math.inf)
            if not self._waiting:
                self._spawn(self._end_writing)

    def end_soon(self) -> None:
        """End the connection as soon as it is idle, whether the server stops or not."""
        self._is_stopping = _always
        self.end()

    def close(self) -> None:
        """Release the connection once nothing waits for its client. May be called again, to no effect."""
        self._cut = self._spawn = _nothing  # the connection refers to this: a cycle for the collector

    async def wait(self, receive: Callable[[], Awaitable[T]]) -> T | None:
        """Return what ``receive`` returns; ``None`` if the connection is to end before. Cancelled, ``receive`` must
        have taken nothing."""
        while trio.current_time() < self._deadline:  # it may have become busy in the turn in which its time was up
            with trio.CancelScope(deadline=self._deadline) as self._wait:
                self._waiting = True
                try:
                    return await receive()
                finally:
                    self._waiting = False
        return None

    async def _end_writing(self) -> None:
        await trio.sleep(WRITING)
        if self._deadline < math.inf and not self._waiting:
            self._cut()

    def _until(self, deadline: float) -> None:
        self._deadline = deadline
        if self._waiting:  # else ``wait`` begins with it
            self._wait.deadline = deadline
