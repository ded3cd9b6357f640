"""A server process: the app's lifespan, the accept loop, the protocols of its connections, and the drain."""

import errno
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from socket import socket
from typing import Final, NoReturn

import trio

from gateway.serving.app_lifespan import Lifespan
from gateway.serving.asgi_extensions import AsgiApp
from gateway.serving.connections import PLAIN, ClientConnection, ConnectionContext, ServerContext
from gateway.serving.http1 import Http1, open_http2
from gateway.serving.lifecycle import CUT_AFTER, DRAIN, KILL_AFTER, Lifecycle, watch_signals
from gateway.serving.listeners import HEAD_TIMEOUT, KEEP_ALIVE, WRITE_TIMEOUT, ListenerOptions, ServerConfig
from streams.garbage import collect_when_idle

log = logging.getLogger("trigate.connections")

PAUSE: Final = 0.1  # seconds before the next try after resources were exhausted
LOG_INTERVAL: Final = 10.0

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
"""Errors of accept(2) that stop when connections end."""
_NOT_LISTENING: Final = (errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP)
"""Errors of a socket that is not listening."""


class AcceptLoop:
    """Accepts the connections of one listening socket.

    If the system has no room, connections stay in the kernel's queue, and log lines report it at intervals. trio's own
    loop logs a traceback for every try."""

    def __init__(self, sock: trio.socket.SocketType, serve: Callable[[trio.SocketStream], Awaitable[object]]) -> None:
        self._socket = sock
        self._serve = serve
        self._silent_until = 0.0

    async def run(self, connections: trio.Nursery) -> NoReturn:
        """Serve each connection in ``connections`` until cancelled. Closes the socket."""
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
        """Wait until connections can be accepted again. Raises ``error`` if that will never be."""
        if error.errno in _NOT_LISTENING:
            raise error
        if error.errno in _EXHAUSTED:
            self._log_rarely(error)
            await trio.sleep(PAUSE)
        await trio.lowlevel.checkpoint()  # a network error of a connection that ended in the queue: accept(2)

    def _log_rarely(self, error: OSError) -> None:
        if trio.current_time() >= self._silent_until:
            self._silent_until = trio.current_time() + LOG_INTERVAL
            log.error(
                "cannot accept connections: %s; waiting connections are accepted as others end. Raise the limit "
                "of open files (LimitNOFILE, ulimit -n), or lower limits.connections",
                os.strerror(error.errno or 0).lower(),
            )


async def serve(
    app: AsgiApp,
    sockets: Sequence[socket],
    *,
    state: Lifecycle,
    options: Sequence[ListenerOptions] | None = None,
    drain: float = DRAIN,
    drain_delay: float = 0,
    keep_alive: float = KEEP_ALIVE,
    head_timeout: float = HEAD_TIMEOUT,
    write_timeout: float = WRITE_TIMEOUT,
    ready: Callable[[], object] | None = None,
    reload: Callable[[], object] | None = None,
    signals: bool = True,
) -> None:
    """Serve ``app`` on listening ``sockets``, which it closes, until ``state.stop()`` or a signal; return when drained.

    ``options`` has one item for each socket; by default all are plain. Times are in seconds. ``keep_alive`` limits idle
    connections and the arrival of a request's head. ``ready()`` is called once connections are accepted, ``reload()``
    on SIGHUP. ``signals`` handles SIGTERM, SIGINT and, with ``reload``, SIGHUP (main thread only). The app's failure to
    start is raised in an exception group. Cancellation cuts every connection."""
    config = ServerConfig()
    config.write_timeout = write_timeout
    config.keep_alive_timeout = keep_alive
    config.head_timeout = head_timeout
    # After ``stop_in_order``, because a blocked write outlives the accept loop.
    config.graceful_timeout = drain + CUT_AFTER + 1
    config.shutdown_timeout = drain + CUT_AFTER + KILL_AFTER  # background turns end with the drain, too
    async with trio.open_nursery() as nursery:
        if signals:
            await nursery.start(watch_signals, state, reload)
        nursery.start_soon(state.stop_in_order, drain_delay, drain)
        nursery.start_soon(collect_when_idle, state)
        nursery.start_soon(state.end_idle_in_time)
        async with trio.open_nursery() as serving:
            listening = tuple(zip(sockets, options or [PLAIN] * len(sockets), strict=True))
            await serving.start(_accept_until_closing, app, listening, config, state)
            if ready is not None:
                ready()
        nursery.cancel_scope.cancel()


async def _accept_until_closing(
    app: AsgiApp,
    listening: Sequence[tuple[socket, ListenerOptions]],
    config: ServerConfig,
    state: Lifecycle,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """Start the app, accept connections until ``state.closing``, and return when they and the app have ended.
    ``config`` limits both."""
    server = ServerContext(app, config, state)
    lifespan = Lifespan(app)
    async with trio.open_nursery() as outer:
        outer.start_soon(lifespan.run)
        await lifespan.start(config.startup_timeout)
        await trio.lowlevel.checkpoint()  # an app that failed cancels this task before it is ready
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as accepting:
                for sock, options in listening:
                    loop = AcceptLoop(trio.socket.from_stdlib_socket(sock), partial(_serve_client, server, options))
                    accepting.start_soon(loop.run, connections)
                task_status.started()
                await state.closing.wait()
                accepting.cancel_scope.cancel()
            server.terminated.set()
            state.end_idle_connections()
            connections.cancel_scope.deadline = trio.current_time() + config.graceful_timeout
        await lifespan.end(config.shutdown_timeout)
        outer.cancel_scope.cancel()


async def _serve_client(server: ServerContext, options: ListenerOptions, stream: trio.SocketStream) -> None:
    await ClientConnection(server, stream, _open_protocol, options).run()


async def _open_protocol(context: ConnectionContext, connection: ClientConnection) -> None:
    if connection.agreed == "h2":
        await open_http2(context, connection)
    else:
        connection.protocol = Http1(context, connection)
