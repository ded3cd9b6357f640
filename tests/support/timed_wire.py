"""The client's end of a connection for the load tester, and a receiver of its answers."""

import socket

import attrs
import trio

from loadtest.wire.answers import ResponseHead, WireError
from loadtest.wire.connection import TimedConnection


@attrs.define(eq=False)
class TakenAnswer:
    """A received answer, with the time of each piece of content."""

    head: ResponseHead | None = None
    first: float = 0.0
    pieces: list[tuple[bytes, float]] = attrs.field(factory=list)
    fault: WireError | None = None
    ended: float | None = None
    over: trio.Event = attrs.field(factory=trio.Event)

    @property
    def content(self) -> bytes:
        return b"".join(piece for piece, _ in self.pieces)

    def take_head(self, head: ResponseHead, first: float) -> None:
        self.head, self.first = head, first

    def take_content(self, data: bytes, at: float) -> None:
        self.pieces.append((data, at))

    def take_end(self, at: float) -> None:
        self.ended = at
        self.over.set()

    def take_fault(self, error: WireError, at: float) -> None:
        self.fault, self.ended = error, at
        self.over.set()


def connection_and_peer() -> tuple[TimedConnection, trio.SocketStream]:
    """Return both ends of a connection."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    return TimedConnection(near, "server"), trio.SocketStream(trio.socket.from_stdlib_socket(far))
