"""A client's TCP connection: reading, writing and closing. The protocol on it is passed in."""

import contextlib
import logging
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import attrs
import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper
from hypercorn.utils import parse_socket_addr

from gateway.http.sockets import Data, receive, send
from gateway.serving.idle import IdleTimer
from gateway.serving.refusals import full
from gateway.serving.registry import ConnectionRegistry
from gateway.serving.server_config import ServerConfig

log = logging.getLogger("trigate.connections")

TURN_AWAY_SECONDS: Final = 1.0
MAX_RECV: Final = 64 * 1024


@attrs.frozen
class ServerContext:
    """The parts of a server that its connections share."""

    app: AppWrapper
    config: ServerConfig
    registry: ConnectionRegistry
    worker: WorkerContext = attrs.field(factory=lambda: WorkerContext(None))


@attrs.frozen
class ConnectionContext:
    """The parts of a connection that its requests share: the server, the tasks, and the addresses of both ends."""

    server: ServerContext
    tasks: TaskGroup
    client: tuple[str, int] | None
    local: tuple[str, int] | None


class WireProtocol(Protocol):
    """A protocol on a connection: it is given what comes from the client, and the end (``RawData``, ``Closed``)."""

    def handle(self, event: Event) -> Awaitable[None]: ...


OpenProtocol = Callable[[ConnectionContext, "ClientConnection"], WireProtocol]
"""Makes the protocol that a new connection begins with."""


class ClientConnection:
    """One TCP connection of a client. Others can cut it; if it fails, no other connection does."""

    protocol: WireProtocol
    _idle: IdleTimer
    _tasks: TaskGroup

    def __init__(self, server: ServerContext, stream: trio.SocketStream, open_protocol: OpenProtocol) -> None:
        self._server = server
        self._stream = stream
        self._open_protocol = open_protocol
        self._sending = trio.Lock()
        self._rest: Data = b""  # of what was taken to be written
        self.client: tuple[str, int] | None = None

    async def run(self) -> None:
        """Serve the connection to its end. Raises nothing but ``Cancelled``."""
        try:
            if self._server.registry.is_full:
                await self._turn_away()
            else:
                await self._serve()
        except* Exception:
            # An exception here would end the whole server, with every stream in it, as a client's odd bytes have ended
            # others': https://github.com/pgjones/hypercorn/issues/225.
            log.exception("a connection failed and was closed")

    async def _turn_away(self) -> None:
        """Answer one connection too many with a 503. The close waits a moment for the client's own: one with bytes
        unread would be a reset, and the answer lost."""
        with trio.move_on_after(TURN_AWAY_SECONDS), contextlib.suppress(trio.BrokenResourceError):
            await self._stream.receive_some()
            await self._stream.send_all(full())
            await self._stream.send_eof()
            while await self._stream.receive_some():
                pass
        await trio.aclose_forcefully(self._stream)

    async def _serve(self) -> None:
        server, sock = self._server, self._stream.socket
        try:
            self.client = parse_socket_addr(sock.family, sock.getpeername())
        except OSError:  # it has left already
            return
        local = parse_socket_addr(sock.family, sock.getsockname())
        try:
            async with TaskGroup() as tasks:
                self._tasks = tasks
                is_stopping = server.worker.terminated.is_set
                self._idle = IdleTimer(server.config.keep_alive_timeout, is_stopping, tasks.spawn, self.cut)
                self.protocol = self._open_protocol(ConnectionContext(server, tasks, self.client, local), self)
                server.registry.connections.add(self)
                self._idle.start()
                await self._read()
        finally:
            server.registry.connections.discard(self)
            self._idle.close()
            self.__dict__.pop("protocol", None)  # which refers to this: a cycle for the collector otherwise
        await self._close()

    # Reading

    async def _read(self) -> None:
        try:
            while data := await self._idle.wait(self._receive):
                await self.protocol.handle(RawData(data=data))
                del data  # which would stay until the next, mostly for as long as a request takes
        finally:
            self._idle.close()
        with trio.CancelScope(shield=data is None):
            await self.protocol.handle(Closed())
            if data is None:
                await self._stream.aclose()

    async def _receive(self) -> bytes:
        try:
            return await receive(self._stream.socket, MAX_RECV)
        except (OSError, trio.ClosedResourceError):
            return b""

    # Writing

    async def write(self, data: Data, head: bytes = b"") -> None:
        """Write ``head`` and ``data``, which is not copied behind it. Gives other tasks a turn only where something
        waits to be written already, or the kernel does not take all."""
        waiting: Data = b""
        if not self._write(data, head):
            waiting = b"".join((self._rest, head, data))
            self._rest = b""
        elif self._rest:
            waiting, self._rest = self._rest, b""
        if waiting:
            await self._send_all(waiting)

    def write_now(self, data: Data, head: bytes = b"") -> bool:
        """Take ``head`` and ``data`` to be written and return true, unless something else waits for that. What the
        kernel does not take of it waits from now on."""
        taken = self._write(data, head)
        if taken and self._rest:
            self._tasks.spawn(self._write_rest)
        return taken

    def _write(self, data: Data, head: bytes) -> bool:
        """Do the same, but leave it to the caller to see to the rest."""
        if self._rest or self._sending.locked():
            return False
        self._rest = send(self._stream.socket, data, head)
        return True

    async def _write_rest(self) -> None:
        rest, self._rest = self._rest, b""
        if rest:
            await self._send_all(rest)

    async def _send_all(self, data: Data) -> None:
        async with self._sending:
            try:
                with trio.CancelScope(shield=True):
                    await self._stream.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await self.protocol.handle(Closed())

    # The connection's state

    async def send(self, event: Event) -> None:
        """Do what an event of Hypercorn's says. ``RawData`` gives other tasks a turn, always: Hypercorn's HTTP/2 relies
        on it to wind a stream up before its client has the answer."""
        if isinstance(event, RawData):
            await self._send_all(event.data)
        elif isinstance(event, Closed):
            await self.close()
        elif isinstance(event, Updated):
            self.set_idle(event.idle)

    async def close(self) -> None:
        """Close the connection, and tell its protocol."""
        await self._close()
        await self.protocol.handle(Closed())

    def set_idle(self, idle: bool) -> None:
        """Start the idle timer, or stop it."""
        if idle:
            self._idle.start()
        else:
            self._idle.stop()

    def end_idle(self) -> None:
        """End the connection if it is idle: the server stops."""
        self._idle.end()

    def cut(self) -> None:
        """Close the socket, synchronously, whatever is going on."""
        self._stream.socket.close()

    def reset(self) -> None:
        """Cut the connection with an RST."""
        with contextlib.suppress(OSError):  # it is closed already
            self._stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.cut()

    async def _close(self) -> None:
        # A plain OSError, too: what a route that is lost leaves behind (https://github.com/pgjones/hypercorn/issues/361).
        with contextlib.suppress(OSError, trio.BrokenResourceError, trio.BusyResourceError, trio.ClosedResourceError):
            await self._stream.send_eof()
        await self._stream.aclose()
