"""The connections to one server: idle ones, and new ones."""

import contextlib
import ssl
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import attrs
import trio

from loadtest.wire.address import AddressRotation, ServerAddress, look_up
from loadtest.wire.answers import WireError
from loadtest.wire.connection import TimedConnection
from loadtest.wire.http2 import Http2Stream, SharedConnection
from loadtest.wire.transport import Pace, TimedTransport, open_transport

STREAMS: Final = 100  # exchanges that share an HTTP/2 connection

Channel: TypeAlias = TimedConnection | Http2Stream
"""The connection or stream of one exchange."""


@attrs.frozen
class ConnectionRules:
    """The use of connections: ``keep`` them for later requests, resolve the name every ``dns_ttl`` seconds (0: never),
    and share an HTTP/2 connection (``http`` 2) between up to ``streams`` exchanges."""

    keep: bool = True
    dns_ttl: float = 0.0
    http: Literal[1, 2] = 1
    streams: int = STREAMS


class Connections:
    """All connections of a load to one server."""

    def __init__(self, address: ServerAddress, tls: ssl.SSLContext | None, rules: ConnectionRules) -> None:
        self.address = address
        self._tls = tls
        self._rules = rules
        self._shared: list[SharedConnection] = []
        self._opening = trio.Lock()
        if tls is not None and rules.http == 2:
            tls.set_alpn_protocols(["h2"])
        self._idle: list[TimedConnection] = []  # the newest is used first
        self._turns = AddressRotation(address.addresses)
        self._looked_up = trio.current_time()

    @property
    def keeps(self) -> bool:
        return self._rules.keep

    def idle_channel(self) -> Channel | None:
        """Return an idle connection, or a stream on an open one, or ``None``."""
        while self._idle:
            if (connection := self._idle.pop()).is_reusable:  # the server has not closed it, as far as known
                return connection
        self._close_where(lambda shared: shared.is_useless)
        return next(filter(None, (shared.stream() for shared in self._shared)), None)

    async def open_channel(self, pace: Pace = "as it comes") -> Channel:
        """Open a connection, or use one that was opened meanwhile. Raises ``WireError``."""
        if self._rules.http == 1:
            return TimedConnection(await self.new_transport(pace), self.address)
        async with self._opening:
            if (kept := self.idle_channel()) is not None and self._rules.keep:
                return kept
            shared = await SharedConnection.open(await self.new_transport(), self.address, self._max_streams)
            if (stream := shared.stream()) is None:
                refusal = shared.refusal()
                shared.close()
                raise refusal
            self._shared.append(shared)
        return stream

    @property
    def _max_streams(self) -> int:
        return self._rules.streams if self._rules.keep else 1

    async def new_transport(self, pace: Pace = "as it comes") -> TimedTransport:
        """Open a transport for any protocol. Raises ``WireError``."""
        await self._resolve_again()
        return await open_transport(self._turns, self.address.host, self._tls, pace)

    def release(self, connection: Channel) -> None:
        """Keep the connection for a later request, or close it."""
        if isinstance(connection, Http2Stream):
            connection.close()
            if not self._rules.keep:
                self._close_where(lambda shared: shared.is_idle)
        elif self._rules.keep and not connection.is_paced and connection.is_reusable:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        self._close_where(lambda shared: shared.is_idle)

    def _close_where(self, wanted: Callable[[SharedConnection], bool]) -> None:
        for shared in [shared for shared in self._shared if wanted(shared)]:
            shared.close()
            self._shared.remove(shared)

    async def _resolve_again(self) -> None:
        """Resolve the name again if it is time. If that fails, the old addresses remain."""
        now = trio.current_time()
        if not self._rules.dns_ttl or now - self._looked_up < self._rules.dns_ttl:
            return
        self._looked_up = now
        with contextlib.suppress(WireError):
            self._turns.renew(await look_up(self.address.host, self.address.port))


def raise_file_limit() -> None:
    """Raise the limit of open files as far as the system allows. Windows has no such limit."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
