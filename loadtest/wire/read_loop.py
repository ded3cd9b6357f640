"""A task that reads every socket as soon as it has data, and notes the time.

A task for each connection would cost two system calls and a scheduler turn for each event: two thousand streams would
fill a core. Here ready sockets are read first, each with its time, before any data is processed. The work for one
stream therefore does not delay the times of others.
"""

import contextlib
import selectors
import socket
import ssl
from typing import Final

import trio

READ: Final = 64 * 1024  # bytes of one read, more than one record of TLS: nothing stays in its buffer
BATCH: Final = 64  # reads before other tasks run
TURN: Final = 0.02  # seconds of processing before other tasks run; a hostile server can make a read expensive


class ReadSocket:
    """A socket that the loop reads. ``is_read`` is False after its end."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.is_read = True

    def take_read(self, found: bytes | OSError, at: float) -> None:
        """Receive the bytes of one read (``b""`` at the end of the connection) or its error, and the time on trio's
        clock.

        Must be fast and must not raise.
        """
        raise NotImplementedError

    def read(self) -> bytes | OSError | None:
        """Return the next bytes, an error, or ``None`` if there is no data."""
        try:
            return self.socket.recv(READ)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError):
            return None
        except OSError as error:
            return error


class ReadLoop:
    """A loop that reads sockets to their end. Remove a socket before you close it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._now = trio.lowlevel.current_clock().current_time  # faster than ``trio.current_time``

    def add(self, watched: ReadSocket) -> None:
        self._selector.register(watched.socket, selectors.EVENT_READ, watched)

    def remove(self, watched: ReadSocket) -> None:
        if watched.is_read:
            watched.is_read = False
            with contextlib.suppress(KeyError):  # the selector is closed
                self._selector.unregister(watched.socket)

    async def run(self) -> None:
        try:
            while True:
                await trio.lowlevel.wait_readable(self._selector.fileno())
                ready: list[ReadSocket] = [key.data for key, _ in self._selector.select(0)]
                for start in range(0, len(ready), BATCH):
                    await self._read_sockets(ready[start : start + BATCH])
        finally:
            self._selector.close()

    async def _read_sockets(self, ready: list[ReadSocket]) -> None:
        now = self._now
        reads = [(watched, watched.read(), now()) for watched in ready if watched.is_read]
        until = now() + TURN
        for watched, found, at in reads:
            if found is not None and watched.is_read:  # no earlier one closed it
                if not found or isinstance(found, OSError):
                    self.remove(watched)
                watched.take_read(found, at)
            if now() > until:
                await trio.lowlevel.checkpoint()
                until = now() + TURN
        await trio.lowlevel.checkpoint()


_current: "trio.lowlevel.RunVar[ReadLoop]" = trio.lowlevel.RunVar("the loop that reads")


def read_loop() -> ReadLoop:
    """Return the loop of this trio run. The first call starts it, and it ends with the run."""
    try:
        return _current.get()
    except LookupError:
        found = ReadLoop()
        trio.lowlevel.spawn_system_task(found.run)
        _current.set(found)
        return found
