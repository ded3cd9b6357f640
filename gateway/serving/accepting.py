"""Accepting connections, also where the process has no descriptor left for one."""

import errno
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import trio

log = logging.getLogger("trigate.connections")

PAUSE: Final = 0.1  # seconds before the next try, once there is nothing to take a connection with
SAY_EVERY: Final = 10.0

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""Errors of accept(2) that pass by themselves, as connections end."""
_OURS: Final = (errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP)
"""Errors that say that this is no listening socket."""


class AcceptLoop:
    """Takes the connections of one listening socket.

    Where the system has no room for one more the kernel's queue keeps them until there is: the log says so now and
    then. trio's own loop writes a traceback for every try."""

    def __init__(self, sock: trio.socket.SocketType, serve: Callable[[trio.SocketStream], Awaitable[object]]) -> None:
        self._socket = sock
        self._serve = serve
        self._silent_until = 0.0

    async def run(self, connections: trio.Nursery) -> NoReturn:
        """Serve each connection in ``connections``, until cancelled. Closes the socket."""
        with self._socket:
            while True:
                try:
                    sock, _ = await self._socket.accept()
                except OSError as error:
                    await self._wait(error)
                else:
                    connections.start_soon(self._serve_one, trio.SocketStream(sock))

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        try:
            await self._serve(stream)
        finally:
            stream.socket.close()

    async def _wait(self, error: OSError) -> None:
        """Wait until a connection may be taken again. Raises ``error`` if that will never be."""
        if error.errno in _OURS:
            raise error
        if error.errno in _EXHAUSTED:
            self._say(error)
            await trio.sleep(PAUSE)
        await trio.lowlevel.checkpoint()  # else the network's, of a connection that has ended in the queue: accept(2)

    def _say(self, error: OSError) -> None:
        if trio.current_time() >= self._silent_until:
            self._silent_until = trio.current_time() + SAY_EVERY
            log.error(
                "no connection can be accepted: %s: those that wait come in as others end; raise the limit on open "
                "files (LimitNOFILE, ulimit -n), or lower limits.connections",
                os.strerror(error.errno or 0).lower(),
            )
