"""The connections to one server: those that wait for their next request, and how new ones are made."""

import contextlib
import ssl
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import attrs
import trio

from loadtest.wire.address import AddressTurns, ServerAddress, looked_up
from loadtest.wire.answers import WireError
from loadtest.wire.connection import TimedConnection
from loadtest.wire.http2 import Http2Stream, SharedConnection
from loadtest.wire.transport import Pace, TimedTransport, connected

STREAMS: Final = 100  # exchanges that share a connection of HTTP/2

Channel: TypeAlias = TimedConnection | Http2Stream
"""What one exchange goes over."""


@attrs.frozen
class ConnectionRules:
    """How connections are had: ``keep`` them for the next request, look the name up anew every ``dns_ttl`` seconds (0:
    never). With ``http`` 2 up to ``streams`` exchanges share one."""

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
        self._idle: list[TimedConnection] = []  # the youngest is taken first
        self._turns = AddressTurns(address.addresses)
        self._looked_up = trio.current_time()

    @property
    def keeps(self) -> bool:
        return self._rules.keep

    def kept(self) -> Channel | None:
        """A connection that is there already, or room on one."""
        while self._idle:
            if (connection := self._idle.pop()).reusable:  # its server has not closed it, as far as we know
                return connection
        self._close_where(lambda shared: shared.useless)
        return next(filter(None, (shared.stream() for shared in self._shared)), None)

    async def new(self, pace: Pace = "as it comes") -> Channel:
        """A new connection, or room on one that was opened while others waited for it. Raises ``WireError``."""
        if self._rules.http == 1:
            return TimedConnection(await self.transport(pace), self.address)
        async with self._opening:
            if (kept := self.kept()) is not None and self._rules.keep:
                return kept
            shared = await SharedConnection.open(await self.transport(), self.address, self._most)
            if (stream := shared.stream()) is None:
                refusal = shared.refusal()
                shared.close()
                raise refusal
            self._shared.append(shared)
        return stream

    @property
    def _most(self) -> int:
        return self._rules.streams if self._rules.keep else 1

    async def transport(self, pace: Pace = "as it comes") -> TimedTransport:
        """A new connection, for whatever is spoken over it. Raises ``WireError``."""
        await self._renew()
        return await connected(self._turns, self.address.host, self._tls, pace)

    def finished(self, connection: Channel) -> None:
        """Keep it for the next, or close it."""
        if isinstance(connection, Http2Stream):
            connection.close()
            if not self._rules.keep:
                self._close_where(lambda shared: shared.idle)
        elif self._rules.keep and not connection.paced and connection.reusable:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        self._close_where(lambda shared: shared.idle)

    def _close_where(self, wanted: Callable[[SharedConnection], bool]) -> None:
        for shared in [shared for shared in self._shared if wanted(shared)]:
            shared.close()
            self._shared.remove(shared)

    async def _renew(self) -> None:
        """Look the name up if it is time: one does, for all; where that fails the old addresses have to do."""
        now = trio.current_time()
        if not self._rules.dns_ttl or now - self._looked_up < self._rules.dns_ttl:
            return
        self._looked_up = now
        with contextlib.suppress(WireError):
            self._turns.renew(await looked_up(self.address.host, self.address.port))


def raise_file_limit() -> None:
    """Let this process have as many connections as the system allows; on Windows there is no such limit."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
