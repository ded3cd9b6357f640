"""The connections to one server: idle ones, and new ones."""

import contextlib
import ssl

from loadtest.wire.connecting import ServerAddress, open_socket
from loadtest.wire.connection import TimedConnection


class Connections:
    """All connections of a load to one server. Idle ones are kept, and the newest is used first."""

    def __init__(self, address: ServerAddress) -> None:
        self._address = address
        self._tls = ssl.create_default_context() if address.secure else None
        self._idle: list[TimedConnection] = []

    def take_idle(self) -> TimedConnection | None:
        """Return an idle connection that the server has not closed, as far as known, or ``None``."""
        while self._idle:
            if (connection := self._idle.pop()).is_reusable:
                return connection
        return None

    async def open(self) -> TimedConnection:
        """Open a connection. Raises ``WireError``."""
        return TimedConnection(await open_socket(self._address, self._tls), self._address.authority)

    def release(self, connection: TimedConnection) -> None:
        """Keep the connection for a later request, or close it."""
        if connection.is_reusable:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


def raise_file_limit() -> None:
    """Raise the limit of open files as far as the system allows. Windows has no such limit."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
