"""A connection to a server, plain or with TLS: what it brings is told with the time, what is sent goes in pieces.

A request of a megabyte is written 64 KiB at a time, and other tasks have their turn in between: the streams that are
read beside it would else be measured late.
"""

import contextlib
import socket
import ssl
import struct
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias

import trio

from loadtest.wire.address import AddressTurns
from loadtest.wire.answers import WireError, connect_error
from loadtest.wire.read_loop import READ, Broken, Taken, WatchedSocket, read_loop

PIECE: Final = 64 * 1024
SMALL: Final = 4096  # receive buffer of a client that reads slowly: else the kernel would read ahead for it

Data: TypeAlias = bytes | memoryview
Pace: TypeAlias = Literal["as it comes", "slowly"]
"""How a connection is read. ``slowly``: after each read it waits until it is told to go on."""


class TimedTransport:
    """One connection. Until ``listen`` nothing is read from it; ``close`` is for its owner, whatever happened."""

    def __init__(self, sock: socket.socket, pace: Pace, tls: "TlsLayer | None") -> None:
        self._socket = sock
        self.paced = pace == "slowly"
        self._tls = tls
        self._watched: WatchedSocket | None = None
        self._writing = trio.Lock()
        self.begun = 0.0  # when what was sent last began to be, on trio's clock
        self._written = 0  # bytes of it

    @property
    def protocol(self) -> str:
        """The protocol that was agreed on with TLS, "" if none was."""
        return self._tls.protocol if self._tls else ""

    @property
    def peer(self) -> Any:
        """The address on the other side."""
        return self._socket.getpeername()

    def listen(self, take: Taken, broke: Broken) -> None:
        """Tell ``take`` of every read, and ``broke`` if the connection breaks."""
        if self._tls is not None:
            take = self._tls.reading(take)
        self._watched = WatchedSocket(self._socket, take, broke, paced=self.paced)
        read_loop().add(self._watched)

    def resume(self) -> None:
        """Go on after a read where it is read slowly."""
        if self._watched is not None:
            read_loop().resume(self._watched)

    async def send(self, data: Sequence[Data]) -> None:
        """Give it all to the kernel. Raises nothing: where the connection is broken its reader is told, behind what
        the peer may have said before it closed."""
        try:
            self._writing.acquire_nowait()  # else others had a turn before the request goes out
        except trio.WouldBlock:
            await self._writing.acquire()
        try:
            await self._send(data)
        except (OSError, trio.ClosedResourceError):
            return
        finally:
            self._writing.release()

    async def _send(self, data: Sequence[Data]) -> None:
        self.begun, self._written = trio.current_time(), 0
        for piece in _pieces(data):
            if self._written:
                await trio.lowlevel.checkpoint()
            rest = memoryview(self._tls.sealed(piece) if self._tls else piece)
            while rest:
                taken = await _written(self._socket, rest)
                self._written += taken
                rest = rest[taken:]

    @property
    def undelivered(self) -> bool:
        """Not a byte of what was sent last has reached the peer's system. False where ours does not know."""
        waiting = self._waiting()
        return waiting is not None and waiting >= self._written

    def _waiting(self) -> int | None:
        """Bytes that the peer's system has not acknowledged."""
        if sys.platform != "linux":
            return None
        import fcntl
        import termios

        try:
            return int(struct.unpack("i", fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """Close at once, without a farewell."""
        if self._socket.fileno() >= 0:
            if self._watched is not None:
                read_loop().remove(self._watched)
                self._watched = None  # which refers to those that refer to this: they go at once, uncollected
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class TlsLayer:
    """TLS between the socket and what is said over it."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    @property
    def protocol(self) -> str:
        return self._tls.selected_alpn_protocol() or ""

    async def shake_hands(self, sock: socket.socket) -> None:
        """Raises ``WireError``."""
        try:
            while not self._is_shaken():
                await _written(sock, self._outgoing.read())  # some kilobytes, which a new connection takes at once
                await trio.lowlevel.wait_readable(sock)
                with contextlib.suppress(BlockingIOError):
                    self._feed(sock.recv(READ))
            await _written(sock, self._outgoing.read())
        except OSError as error:  # ssl.SSLError is one
            with contextlib.suppress(OSError):
                sock.send(self._outgoing.read())  # the alert, which tells the server why
            raise WireError("tls", str(error) or "the server closed the connection") from error

    def _is_shaken(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def sealed(self, data: Data) -> bytes:
        self._tls.write(data)
        return self._outgoing.read()

    def reading(self, take: Taken) -> Taken:
        """``take`` for what comes encrypted. A connection that ends without TLS' own farewell ends all the same:
        whether the answer is whole is for HTTP to say."""

        def feed(data: bytes, at: float) -> None:
            self._feed(data)
            content, over = self._opened()
            if content:
                take(content, at)
            if over:
                take(b"", at)

        return feed

    def _feed(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _opened(self) -> tuple[bytes, bool]:
        """What can be read, and whether that is all that there will be."""
        found: list[bytes] = []
        try:
            while data := self._tls.read(READ):
                found.append(data)
        except ssl.SSLWantReadError:
            return b"".join(found), False
        except ssl.SSLError:
            pass
        return b"".join(found), True


async def _written(sock: socket.socket, data: Data) -> int:
    """How many bytes of ``data`` the kernel has taken, as soon as it takes any."""
    while True:
        try:
            return sock.send(data)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)


def _pieces(data: Sequence[Data]) -> Iterator[Data]:
    """``data`` with what is small put together, and what is large in pieces that are not copied."""
    if sum(map(len, data)) <= PIECE:
        yield b"".join(data)
        return
    for one in data:
        view = memoryview(one)
        yield from (view[start : start + PIECE] for start in range(0, len(view), PIECE))


async def connected(
    turns: AddressTurns, host: str, tls: ssl.SSLContext | None, pace: Pace = "as it comes"
) -> TimedTransport:
    """A connection to the address whose turn it is, or to the next that accepts one. Raises ``WireError``."""
    sock = await _connected(turns, pace)
    if tls is None:
        return TimedTransport(sock, pace, None)
    layer = TlsLayer(tls, host)
    try:
        await layer.shake_hands(sock)
    except BaseException:
        sock.close()
        raise
    return TimedTransport(sock, pace, layer)


async def _connected(turns: AddressTurns, pace: Pace) -> socket.socket:
    last: OSError | None = None
    for family, address in turns:
        try:
            return await _connected_to(family, address, pace)
        except OSError as error:
            last = error
    try:
        raise connect_error(last) from last
    finally:
        del last  # whose traceback refers to this frame


async def _connected_to(family: int, address: tuple[object, ...], pace: Pace) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if pace == "slowly":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        await trio.socket.from_stdlib_socket(sock).connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
