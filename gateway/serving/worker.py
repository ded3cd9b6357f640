"""The accept loop of a process: the app's lifespan, the listeners, and our protocols on every connection."""

from collections.abc import Sequence
from functools import partial
from socket import socket

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.trio.lifespan import Lifespan
from hypercorn.typing import ASGIFramework

from gateway.serving.connections import ClientConnection, ServerContext
from gateway.serving.http1 import Http1
from gateway.serving.registry import ConnectionRegistry
from gateway.serving.server_config import ServerConfig


async def accept_until(
    close: trio.Event,
    app: ASGIFramework,
    sockets: Sequence[socket],
    config: ServerConfig,
    registry: ConnectionRegistry,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """Start the app, serve it on ``sockets``, which it closes, until ``close`` is set, and return when the connections
    have ended and the app has, too. Both have as long as ``config`` says. The app's failure to start is raised."""
    server = ServerContext(ASGIWrapper(app), config, registry)
    lifespan = Lifespan(server.app, config, {})
    async with trio.open_nursery() as outer:
        await outer.start(lifespan.handle_lifespan)
        await lifespan.wait_for_startup()
        async with trio.open_nursery() as connections:
            listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in sockets]
            task_status.started()
            async with trio.open_nursery() as accepting:
                accept = partial(trio.serve_listeners, handler_nursery=connections)
                accepting.start_soon(accept, partial(_serve_client, server), listeners)
                await close.wait()
                accepting.cancel_scope.cancel()
            await server.worker.terminated.set()
            registry.end_idle_connections()
            connections.cancel_scope.deadline = trio.current_time() + config.graceful_timeout
        await lifespan.wait_for_shutdown()
        outer.cancel_scope.cancel()


async def _serve_client(server: ServerContext, stream: trio.SocketStream) -> None:
    await ClientConnection(server, stream, Http1).run()
