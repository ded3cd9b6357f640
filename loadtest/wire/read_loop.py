"""A task that reads every socket as soon as it has data, and notes the time.

A task for each connection would cost two system calls and a scheduler turn for each event: two thousand streams would
fill a core. Here all ready sockets are read first, each with its time, before any data is processed. The work for one
stream therefore does not delay the times of others.
"""

import select
import socket
import sys
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

import attrs
import trio

READ: Final = 64 * 1024  # bytes of one read
BATCH: Final = 64  # reads before other tasks run
TURN: Final = 0.02  # seconds of processing before other tasks run; a hostile server can make a read expensive

DataCallback = Callable[[bytes, float], None]
"""Receives the bytes of one read (``b""`` at the end of the connection) and its time on trio's clock.

It must be fast and must not raise.
"""
ErrorCallback = Callable[[OSError, float], None]


@attrs.frozen(eq=False)
class WatchedSocket:
    """A socket and the callbacks for its data. A paced socket is not read again until ``ReadLoop.resume``."""

    socket: socket.socket
    on_data: DataCallback
    on_error: ErrorCallback
    is_paced: bool = False

    def read(self) -> bytes | OSError | None:
        """Return the next bytes, an error, or ``None`` if there is no data."""
        try:
            return self.socket.recv(READ)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            return error

    def deliver(self, found: bytes | OSError, at: float, loop: "ReadLoop") -> None:
        """Pass one read to the callback. At the end or after an error, the socket leaves ``loop``."""
        if isinstance(found, OSError):
            loop.remove(self)
            self.on_error(found, at)
            return
        if not found:
            loop.remove(self)
        self.on_data(found, at)


class ReadLoop(Protocol):
    """A loop that reads sockets to their end. Remove a socket before you close it."""

    def add(self, watched: WatchedSocket) -> None: ...

    def resume(self, watched: WatchedSocket) -> None: ...

    def remove(self, watched: WatchedSocket) -> None: ...


if sys.platform == "linux":
    _Read: TypeAlias = tuple[int, WatchedSocket, bytes | OSError | None, float]

    class _PollingLoop:
        """A loop that waits for all sockets with one ``epoll``."""

        def __init__(self) -> None:
            self._poll = select.epoll()
            self._watched: dict[int, WatchedSocket] = {}
            self._now = trio.lowlevel.current_clock().current_time  # faster than ``trio.current_time``

        def add(self, watched: WatchedSocket) -> None:
            fd = watched.socket.fileno()
            self._watched[fd] = watched
            self._poll.register(fd, _epoll_events(watched))

        def resume(self, watched: WatchedSocket) -> None:
            if self._watched.get(fd := watched.socket.fileno()) is watched:
                self._poll.modify(fd, _epoll_events(watched))

        def remove(self, watched: WatchedSocket) -> None:
            fd = watched.socket.fileno()
            if self._watched.get(fd) is watched:
                del self._watched[fd]
                self._poll.unregister(fd)

        async def run(self) -> None:
            try:
                while True:
                    await trio.lowlevel.wait_readable(self._poll.fileno())
                    read = self._read_sockets()
                    while self._deliver_reads(read):  # noqa: ASYNC110  # more data is ready
                        await trio.lowlevel.checkpoint()
            finally:
                self._poll.close()

        def _read_sockets(self) -> deque[_Read]:
            known, now = self._watched, self._now
            ready = [(fd, known[fd]) for fd, _ in self._poll.poll(0, BATCH)]
            return deque((fd, watched, watched.read(), now()) for fd, watched in ready)

        def _deliver_reads(self, read: deque[_Read]) -> bool:
            """Deliver the reads until ``TURN`` is over. Return whether some are left."""
            known, now = self._watched, self._now
            until = now() + TURN
            while read:
                fd, watched, found, at = read.popleft()
                if found is None or known.get(fd) is not watched:  # an earlier callback closed it
                    continue
                watched.deliver(found, at, self)
                if now() > until:
                    break
            return bool(read)

    def _epoll_events(watched: WatchedSocket) -> int:
        return select.EPOLLIN | (select.EPOLLONESHOT if watched.is_paced else 0)


class _TaskLoop:
    """A loop with a task for each socket, for systems without ``epoll``. It needs more than twice the CPU time."""

    def __init__(self) -> None:
        self._scopes: dict[WatchedSocket, trio.CancelScope] = {}
        self._paused: dict[WatchedSocket, trio.Event] = {}

    def add(self, watched: WatchedSocket) -> None:
        self._scopes[watched] = scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._read, watched, scope)

    def resume(self, watched: WatchedSocket) -> None:
        if (paused := self._paused.pop(watched, None)) is not None:
            paused.set()

    def remove(self, watched: WatchedSocket) -> None:
        self._paused.pop(watched, None)
        if (scope := self._scopes.pop(watched, None)) is not None:
            scope.cancel()

    async def _read(self, watched: WatchedSocket, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                await trio.lowlevel.wait_readable(watched.socket)
                if (found := watched.read()) is None:
                    continue
                at = trio.current_time()
                if watched.is_paced:
                    paused = self._paused[watched] = trio.Event()
                watched.deliver(found, at, self)
                if watched not in self._scopes:
                    return
                if watched.is_paced:
                    await paused.wait()


_current: "trio.lowlevel.RunVar[Any]" = trio.lowlevel.RunVar("the loop that reads")


def read_loop() -> ReadLoop:
    """Return the loop of this trio run. The first call starts it, and it ends with the run."""
    try:
        found: ReadLoop = _current.get()
    except LookupError:
        if sys.platform == "linux":
            found = polling = _PollingLoop()
            trio.lowlevel.spawn_system_task(polling.run)
        else:
            found = _TaskLoop()
        _current.set(found)
    return found
