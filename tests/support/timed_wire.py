"""The client's end of a connection for the load tester, and a receiver of its answers."""

import socket
from collections.abc import Mapping

import attrs
import trio

from loadtest.wire.connecting import WireError
from loadtest.wire.connection import TimedConnection


@attrs.define(eq=False)
class TakenAnswer:
    """A received answer, with the time of each piece of content."""

    status: int | None = None
    first: float = 0.0
    pieces: list[tuple[bytes, float]] = attrs.field(factory=list)
    fault: WireError | None = None
    ended: float | None = None
    over: trio.Event = attrs.field(factory=trio.Event)

    @property
    def content(self) -> bytes:
        return b"".join(piece for piece, _ in self.pieces)

    def take_head(self, status: int, headers: Mapping[str, str], first: float) -> None:
        self.status, self.first = status, first

    def take_content(self, data: bytes, at: float) -> None:
        self.pieces.append((data, at))

    def take_end(self, at: float, fault: WireError | None = None) -> None:
        self.fault, self.ended = fault, at
        self.over.set()


def connection_and_peer() -> tuple[TimedConnection, trio.SocketStream]:
    """Return both ends of a connection."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    return TimedConnection(near), trio.SocketStream(trio.socket.from_stdlib_socket(far))
