"""One task that reads every socket as soon as there is something to read, and notes the time.

A task for each connection costs two system calls and a turn of the scheduler for each event of each stream, which
together are more than all else that is done with it: two thousand streams would keep a core busy before anything was
measured. Here all that is ready is read first, and each read gets its time, before any of it is looked at; so what one
stream makes us do is not added to the times of the others.
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
BATCH: Final = 64  # reads until other tasks have their turn
TURN: Final = 0.02  # seconds for which what was read is looked at until then: a hostile server makes a read cost more

Taken = Callable[[bytes, float], None]
"""Takes the bytes of one read, ``b""`` at the end of the connection, and when that was, on trio's clock. Must not
raise, nor take long."""
Broken = Callable[[OSError, float], None]


@attrs.frozen(eq=False)
class WatchedSocket:
    """A socket with those who are told of what it brings. ``paced``: after each read it is left alone until
    ``ReadLoop.resume``."""

    socket: socket.socket
    take: Taken
    broke: Broken
    paced: bool = False

    def read(self) -> bytes | OSError | None:
        """The next bytes, what is wrong with it, or ``None`` if there is nothing after all."""
        try:
            return self.socket.recv(READ)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            return error

    def tell(self, found: bytes | OSError, at: float, loop: "ReadLoop") -> None:
        """Tell of one read; ``loop`` reads no more behind the end."""
        if isinstance(found, OSError):
            loop.remove(self)
            self.broke(found, at)
            return
        if not found:
            loop.remove(self)
        self.take(found, at)


class ReadLoop(Protocol):
    """Reads what was added to its end, or until it is removed, which its socket has to be before it is closed."""

    def add(self, watched: WatchedSocket) -> None: ...

    def resume(self, watched: WatchedSocket) -> None: ...

    def remove(self, watched: WatchedSocket) -> None: ...


if sys.platform == "linux":
    _Read: TypeAlias = tuple[int, WatchedSocket, bytes | OSError | None, float]

    class _PollingLoop:
        """All sockets in one ``epoll``, which is waited for as if it were a socket."""

        def __init__(self) -> None:
            self._poll = select.epoll()
            self._watched: dict[int, WatchedSocket] = {}
            self._now = trio.lowlevel.current_clock().current_time  # trio's own look for it takes longer than a read

        def add(self, watched: WatchedSocket) -> None:
            fd = watched.socket.fileno()
            self._watched[fd] = watched
            self._poll.register(fd, _interest(watched))

        def resume(self, watched: WatchedSocket) -> None:
            if self._watched.get(fd := watched.socket.fileno()) is watched:
                self._poll.modify(fd, _interest(watched))

        def remove(self, watched: WatchedSocket) -> None:
            fd = watched.socket.fileno()
            if self._watched.get(fd) is watched:
                del self._watched[fd]
                self._poll.unregister(fd)

        async def run(self) -> None:
            try:
                while True:
                    await trio.lowlevel.wait_readable(self._poll.fileno())
                    read = self._read()
                    while self._tell(read):  # noqa: ASYNC110  # nobody has to wait: there is more to look at
                        await trio.lowlevel.checkpoint()
            finally:
                self._poll.close()

        def _read(self) -> deque[_Read]:
            known, now = self._watched, self._now
            ready = [(fd, known[fd]) for fd, _ in self._poll.poll(0, BATCH)]
            return deque((fd, watched, watched.read(), now()) for fd, watched in ready)

        def _tell(self, read: deque[_Read]) -> bool:
            """Tell of what was read; false if that was all, and not only all for which there was time."""
            known, now = self._watched, self._now
            until = now() + TURN
            while read:
                fd, watched, found, at = read.popleft()
                if found is None or known.get(fd) is not watched:  # it was closed on what another one brought
                    continue
                watched.tell(found, at, self)
                if now() > until:
                    break
            return bool(read)

    def _interest(watched: WatchedSocket) -> int:
        return select.EPOLLIN | (select.EPOLLONESHOT if watched.paced else 0)


class _TaskLoop:
    """A task for each socket, where there is no ``epoll``: the same at more than twice the cost."""

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
                if watched.paced:
                    paused = self._paused[watched] = trio.Event()
                watched.tell(found, at, self)
                if watched not in self._scopes:
                    return
                if watched.paced:
                    await paused.wait()


_current: "trio.lowlevel.RunVar[Any]" = trio.lowlevel.RunVar("the loop that reads")


def read_loop() -> ReadLoop:
    """The loop of this trio run, which begins with the first call and ends with the run."""
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
