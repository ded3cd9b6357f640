"""A process's open client connections, its requests under way, and the limits on both."""

from typing import Final, Protocol

LARGEST_MESSAGE: Final = 16 * 2**20


class OpenConnection(Protocol):
    """A connection as the registry sees it."""

    client: tuple[str, int] | None
    """The address of the client, where it has one."""

    def end_idle(self) -> None:
        """End the connection if it is idle, or as soon as it becomes idle."""

    def cut(self) -> None:
        """Close the socket synchronously, whatever is going on."""

    def reset(self) -> None:
        """Cut the connection with an RST."""


class ConnectionRegistry:
    """The client connections that a process has open."""

    def __init__(self) -> None:
        self.connections: set[OpenConnection] = set()
        self.in_flight = 0
        """Requests whose answers have not ended."""
        self.most_connections = 0
        """The limit on connections: one more is answered 503 and closed. 0 is no limit."""
        self.largest_message = LARGEST_MESSAGE
        """The limit on a websocket message in bytes: a larger one closes the websocket (1009)."""

    @property
    def is_full(self) -> bool:
        return 0 < self.most_connections <= len(self.connections)

    def end_idle_connections(self) -> None:
        """End each connection once it is idle, which most are already."""
        for connection in tuple(self.connections):
            connection.end_idle()

    def cut_connections(self) -> None:
        """Close every connection's socket: this also ends a write that is blocked and shielded."""
        for connection in tuple(self.connections):
            connection.cut()
