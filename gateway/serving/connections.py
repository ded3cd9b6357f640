"""A client's connection, independent of its protocol: opening, reading, writing and closing."""

import contextlib
import logging
import math
import select
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Final, Protocol
from urllib.parse import unquote

import attrs
import trio

from gateway.http.certificates import CLIENT_CERTIFICATE, NOBODY, CertificateNames
from gateway.http.listener_rules import LISTENER
from gateway.http.request_scope import CONNECTION, ConnectionPlace
from gateway.http.sockets import Data
from gateway.serving.app_tasks import AppTasks
from gateway.serving.asgi_extensions import AsgiApp
from gateway.serving.idle import IdleTimer
from gateway.serving.listeners import ListenerOptions, ServerConfig
from gateway.serving.proxy_header import ProxyHeaderFailed, read_proxy_header
from gateway.serving.refusals import NOT_TLS, TOO_MANY_OF_ONE, answer_health_checks
from gateway.serving.registry import ConnectionRegistry
from gateway.serving.transports import BROKEN, PIECE, TlsTransport, Transport, plain_transport

log = logging.getLogger("trigate.connections")

TURN_AWAY_SECONDS: Final = 1.0
RESERVE_SECONDS: Final = 2.0
"""Seconds for a connection beyond the limit, which may still request health checks."""
OPENING_SECONDS: Final = 10.0
"""Seconds for everything before HTTP."""
PLAIN: Final = ListenerOptions()
HUNG_UP: Final[int] = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
"""The poll events of a disconnect. Only Linux has the first; elsewhere a disconnect is seen after everything is
read."""


@attrs.frozen(eq=False, repr=False)
class ServerContext:
    """The parts of a server that its connections share."""

    app: AsgiApp
    config: ServerConfig
    registry: ConnectionRegistry
    terminated: trio.Event = attrs.field(factory=trio.Event)
    """Set when no more connections are accepted."""


@attrs.frozen(eq=False, repr=False)
class ConnectionContext:
    """The parts of a connection that its requests share."""

    server: ServerContext
    tasks: AppTasks
    client: tuple[str, int] | None
    local: tuple[str, int] | None
    listener: ListenerOptions = PLAIN
    certificate: CertificateNames = NOBODY
    place: ConnectionPlace | None = None
    is_secure: bool = attrs.field(
        init=False, default=attrs.Factory(lambda self: self.listener.tls is not None, takes_self=True)
    )

    def scope(self, version: str, target: bytes, headers: Iterable[tuple[bytes, bytes]], **own: Any) -> Any:
        """Return the ASGI scope of a request or a websocket, with its ``own`` members."""
        path, _, query = target.partition(b"?")
        text = path.decode("ascii")
        extensions: dict[str, Any] = {CONNECTION: self.place}
        if self.certificate:
            extensions[CLIENT_CERTIFICATE] = self.certificate
        if self.listener.rules is not None:
            extensions[LISTENER] = self.listener.rules
        return {
            "http_version": version,
            "path": unquote(text) if "%" in text else text,
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": self.client,
            "server": self.local,
            "state": {},
            "extensions": extensions,
            **own,
        }


def _host_and_port(address: Any) -> tuple[str, int] | None:
    """Return the host and the port of a socket's address, ``None`` for a Unix socket's."""
    return address[:2] if isinstance(address, tuple) else None


class WireProtocol(Protocol):
    """A protocol on a connection."""

    def receive(self, data: bytes) -> Awaitable[None]:
        """Handle bytes of the client."""

    def leave(self) -> Awaitable[None]:
        """Handle the end of the connection."""

    def farewell(self) -> bytes:
        """Return the last bytes to send on an idle connection that the server closes."""


OpenProtocol = Callable[[ConnectionContext, "ClientConnection"], Awaitable[None]]
"""Sets the first protocol of a new connection."""


class ClientConnection:
    """One connection of a client. Others can cut it; its failure affects no other connection."""

    protocol: WireProtocol
    _idle: IdleTimer
    _tasks: AppTasks

    def __init__(
        self,
        server: ServerContext,
        stream: trio.SocketStream,
        open_protocol: OpenProtocol,
        listener: ListenerOptions = PLAIN,
    ) -> None:
        self._server = server
        self._stream = stream
        self._socket = stream.socket
        self._listener = listener
        self._transport: Transport = plain_transport(stream, server.config.write_timeout)
        self._open_protocol = open_protocol
        self._sending = trio.Lock()
        self.client: tuple[str, int] | None = None
        self.agreed: str | None = None
        """The protocol that the TLS handshake selected, if any."""
        self._certificate = NOBODY

    async def run(self) -> None:
        """Serve the connection to its end. Raises only ``Cancelled``."""
        try:
            if self._listener.is_for_probes:
                await self._serve_health_checks("listener", 404, math.inf)
                return
            with self._server.registry.reserve() as has_place:
                if has_place:
                    await self._serve(self._server)
                    return
            await self._serve_health_checks("reserve", 503, RESERVE_SECONDS)
        except* Exception:
            # An exception here would end the whole server with all streams, as malformed bytes have ended other
            # servers: https://github.com/pgjones/hypercorn/issues/225.
            log.exception("a connection failed and was closed")

    async def _serve_health_checks(self, purpose: str, status: int, seconds: float) -> None:
        """Answer health checks for at most ``seconds``, and everything else with ``status``.

        Beyond the limit of such connections, cut the connection."""
        registry = self._server.registry
        with registry.reserve_spare(purpose) as has_place:
            if has_place:
                checks = partial(answer_health_checks, self._server.app, registry.health_paths, status)
                with trio.move_on_after(seconds):
                    await self._serve(attrs.evolve(self._server, app=checks))
        self.cut()

    async def _turn_away(self) -> None:
        """Reject one connection too many from an address.

        Waits a moment for the client's close, because closing with unread bytes is a reset, which loses the
        response."""
        with (
            self._server.registry.reserve_spare("turned away") as has_place,
            trio.move_on_after(TURN_AWAY_SECONDS),
            contextlib.suppress(*BROKEN),
        ):
            if has_place and await self._secure() and await self._transport.receive():
                await self._transport.send_all(TOO_MANY_OF_ONE)
                await self._transport.send_eof()
                while await self._transport.receive():
                    pass
        self.cut()

    async def _serve(self, server: ServerContext) -> None:
        sock = self._socket
        try:
            self.client = _host_and_port(sock.getpeername())
        except OSError:  # it has already disconnected
            return
        local = _host_and_port(sock.getsockname())
        place = ConnectionPlace(self.end_soon)
        try:
            async with trio.open_nursery() as nursery:
                self._tasks = tasks = AppTasks(nursery)
                is_stopping = server.terminated.is_set
                config = server.config
                self._idle = IdleTimer(
                    config.keep_alive_timeout, config.head_timeout, is_stopping, server.registry.expect_end,
                    tasks.spawn, partial(trio.lowlevel.notify_closing, sock), self.cut,
                )  # fmt: skip
                server.registry.connections.add(self)
                self._idle.start()
                self._idle.await_head()
                if await self._idle.wait(self._read_proxy_address):
                    await self._admit(server, tasks, local, place)
                tasks.close()
        finally:
            server.registry.connections.discard(self)
            place.close()
            self._idle.close()
            self.__dict__.pop("protocol", None)  # breaks a reference cycle
        await self._transport.aclose()

    # Opening

    async def _read_proxy_address(self) -> bool:
        """Read the client's address from a required PROXY header, and return whether there is one."""
        if not self._listener.proxy_protocol:
            return True
        try:
            with trio.fail_after(OPENING_SECONDS):
                self.client = await read_proxy_header(self._socket) or self.client
        except (ProxyHeaderFailed, trio.TooSlowError, *BROKEN) as error:
            log.debug("closed a connection of %s: %s", self.client, error)
            self.cut()
            return False
        return True

    async def _admit(
        self, server: ServerContext, tasks: AppTasks, local: tuple[str, int] | None, place: ConnectionPlace
    ) -> None:
        """Serve the client if it may have another connection.

        This comes before the TLS handshake, which would otherwise hold any number of connections open."""
        address = self.client[0] if self.client is not None and not self._listener.is_for_probes else None
        with server.registry.count_address(address) as has_room:
            if not has_room:
                await self._turn_away()
            elif await self._idle.wait(self._secure):
                context = ConnectionContext(server, tasks, self.client, local, self._listener, self._certificate, place)
                await self._open_protocol(context, self)
                await self._read()
                place.close()  # its requests may continue

    async def _secure(self) -> bool:
        """Start TLS if the listener uses it, and return whether the handshake succeeded."""
        if self._listener.tls is None:
            return True
        secured = TlsTransport(self._stream, self._listener.tls.context)
        try:
            with trio.fail_after(OPENING_SECONDS):
                await secured.handshake()
        except (trio.TooSlowError, *BROKEN) as error:
            log.debug("the TLS handshake with %s failed: %s", self.client, error or "timeout")
            if isinstance(error, ssl.SSLError) and error.reason == "HTTP_REQUEST":
                self._transport.send_now(NOT_TLS, b"")
            self.cut()
            return False
        self._transport, self.agreed, self._certificate = secured, secured.protocol, secured.client_names
        return True

    # Reading

    async def _read(self) -> None:
        try:
            while data := await self._idle.wait(self._transport.receive):
                await self.protocol.receive(data)
                del data  # it would be kept until the next read, usually for a whole request
        finally:
            self._idle.close()
        if data is None and (last := self.protocol.farewell()):
            self._transport.send_now(last, b"")
        with trio.CancelScope(shield=data is None):
            await self.protocol.leave()
            if data is None:
                await self._transport.aclose()

    # Writing

    async def write(self, data: Data, head: bytes = b"") -> None:
        """Write ``head`` and ``data`` without concatenating them. Yields to other tasks only if it has to wait."""
        if self._sending.locked() or not self._transport.send_now(data, head):
            if len(data) > PIECE:  # a copy would be large
                await self._send_all(head, data)
            else:
                await self._send_all(b"".join((head, data)) if head else data)
        elif self._transport.rest:
            await self._send_all(b"")

    def write_now(self, data: Data) -> bool:
        """Write ``data`` and return true, unless another write is waiting. What the kernel does not take is sent
        later."""
        if self._sending.locked() or not self._transport.send_now(data, b""):
            return False
        if self._transport.rest:
            self._tasks.spawn(self._write_rest)
        return True

    async def _write_rest(self) -> None:
        if self._transport.rest:
            await self._send_all(b"")

    async def send(self, data: Data) -> None:
        """Write ``data``. Always yields to other tasks: Hypercorn's HTTP/2 relies on it to end a stream before its
        client has the response."""
        await self._send_all(data)

    async def _send_all(self, *parts: Data) -> None:
        async with self._sending:
            try:
                with trio.CancelScope(shield=True):
                    for part in parts:
                        await self._transport.send_all(part)
            except (trio.BrokenResourceError, trio.BusyResourceError, trio.ClosedResourceError):  # being closed
                await self.protocol.leave()

    # The connection's state

    async def close(self) -> None:
        """Close the connection, and notify its protocol."""
        await self._transport.aclose()
        await self.protocol.leave()

    def set_idle(self, idle: bool) -> None:
        if idle:
            self._idle.start()
        else:
            self._idle.stop()

    @property
    def idle_since(self) -> float:
        return self._idle.since

    def await_head(self) -> None:
        """Limit the wait for the rest of a head, if the connection is idle."""
        self._idle.await_head()

    def end_idle(self) -> None:
        """End the connection if it is idle, because the server stops or needs the room."""
        self._idle.end()

    def end_if_due(self, now: float) -> float:
        return self._idle.end_if_due(now)

    def end_soon(self) -> None:
        """End the connection when no request is running on it."""
        self._idle.end_soon()

    def has_hung_up(self) -> bool:
        """Return whether the client has closed its side, even if bytes are unread."""
        poll = select.poll()
        try:
            poll.register(self._socket.fileno(), HUNG_UP)
        except (OSError, ValueError):  # closed
            return True
        return bool(poll.poll(0))

    def cut(self) -> None:
        """Close the socket synchronously, whatever is running."""
        self._socket.close()

    def reset(self) -> None:
        """Cut the connection with an RST."""
        with contextlib.suppress(OSError):  # already closed
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.cut()
