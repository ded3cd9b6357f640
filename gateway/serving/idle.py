"""The idle timeout of a client's connection, without its own task or scope. Hypercorn's task per connection takes a
tenth of a connection's memory, and starts and ends with every request; a deadline of trio would cost each request six
percent more."""

import math
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import trio

T = TypeVar("T")

WRITING = 0.25  # seconds for an idle connection to finish writing when the server stops


Spawn: TypeAlias = Callable[[Callable[[], Awaitable[None]]], None]
"""Starts a task of the connection."""


def _do_nothing(*_: object) -> None:
    pass


class IdleTimer:
    """The timer of a connection.

    It ends the wait for a client that sends no request for ``seconds``, that takes longer than ``head_seconds`` for a
    head, or that is idle when the server stops. Call ``close`` at the end. A client that does not take written bytes,
    such as answers to its pings, is not idle: TCP_USER_TIMEOUT ends it. It is cut with ``cut()`` when the server stops,
    so that the shutdown does not wait for it."""

    def __init__(
        self,
        seconds: float,
        head_seconds: float,
        is_stopping: Callable[[], bool],
        expect_end: Callable[[float], object],
        spawn: Spawn,
        interrupt: Callable[[], object],
        cut: Callable[[], object],
    ) -> None:
        """Prepare the timer. ``expect_end(deadline)`` arranges a call of ``end_if_due`` then. ``interrupt()`` lets
        the read that waits return nothing."""
        self._seconds = seconds
        self._head_seconds = min(seconds, head_seconds)
        self.since = math.inf
        """When the connection became idle; infinite while it is busy."""
        self._is_stopping = is_stopping
        self._expect_end = expect_end
        self._spawn = spawn
        self._interrupt = interrupt
        self._cut = cut
        self._clock = trio.lowlevel.current_clock().current_time  # faster than trio.current_time
        self._deadline = math.inf
        self._waiting = False
        self._interrupted = False

    def start(self) -> None:
        """Start to count, because the connection is idle."""
        self.since = self._clock()
        self._set_deadline(-math.inf if self._is_stopping() else self.since + self._seconds)

    def await_head(self) -> None:
        """Shorten the remaining time to the limit for a head, because the connection is new or a head has started.
        Idempotent."""
        if self._deadline < math.inf:
            self._set_deadline(min(self._deadline, self._clock() + self._head_seconds))

    def stop(self) -> None:
        """Stop counting, because the connection is busy."""
        self.since = self._deadline = math.inf

    def end(self) -> None:
        """End the wait of an idle connection, because the server stops."""
        if self._deadline < math.inf:
            self._set_deadline(-math.inf)
            if not self._waiting:
                self._spawn(self._end_writing)

    def end_soon(self) -> None:
        """End the connection as soon as it is idle, whether the server stops or not."""
        self._is_stopping = lambda: True
        self.end()

    def end_if_due(self, now: float) -> float:
        """End the wait if its deadline has passed at ``now``. Return when to call this again."""
        if now < self._deadline:
            return self._deadline
        if not self._waiting:  # the next wait does not begin
            return math.inf
        self._interrupted = True
        self._interrupt()
        return now  # a read that has just received something waits for more of it

    def close(self) -> None:
        """Release the references to the connection, after its last wait. Idempotent."""
        self._cut = self._spawn = self._interrupt = _do_nothing  # breaks a reference cycle

    async def wait(self, receive: Callable[[], Awaitable[T]]) -> T | None:
        """Return the result of ``receive``, or ``None`` if the connection ends first."""
        if self._deadline < math.inf and self._clock() >= self._deadline:
            return None
        self._waiting, self._interrupted = True, False
        try:
            received = await receive()
        finally:
            self._waiting = False
        return None if self._interrupted and not received else received

    async def _end_writing(self) -> None:
        await trio.sleep(WRITING)
        if self._deadline < math.inf and not self._waiting:
            self._cut()

    def _set_deadline(self, deadline: float) -> None:
        self._deadline = deadline
        if deadline == -math.inf:
            deadline = self.end_if_due(self._clock())
        self._expect_end(deadline)
