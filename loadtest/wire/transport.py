"""A connection to a server, plain or with TLS, that times its reads and writes in pieces.

Large requests are written 64 KiB at a time, and other tasks run in between. Otherwise their reads would be timed late.
"""

import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import trio

from loadtest.wire.address import AddressRotation
from loadtest.wire.answers import WireError, connect_error
from loadtest.wire.read_loop import DataCallback, ErrorCallback, WatchedSocket, read_loop

PIECE: Final = 64 * 1024

Data: TypeAlias = bytes | memoryview


class TimedTransport:
    """One connection. It reads nothing before ``listen``. The owner must call ``close``."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._watched: WatchedSocket | None = None
        self._writing = trio.Lock()
        self.begun = 0.0  # begin of the last send, on trio's clock
        self._written = 0  # bytes of the last send

    def listen(self, take: DataCallback, broke: ErrorCallback) -> None:
        """Start to read. ``take`` receives the data, and ``broke`` the error of a broken connection."""
        self._watched = WatchedSocket(self._socket, take, broke)
        read_loop().add(self._watched)

    async def send(self, data: Sequence[Data]) -> None:
        """Pass all data to the kernel.

        Raises nothing: if the connection is broken, its reader learns it after the remaining data.
        """
        try:
            self._writing.acquire_nowait()  # waiting would let other tasks run first
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
        for piece in _split_pieces(data):
            if self._written:
                await trio.lowlevel.checkpoint()
            rest = memoryview(piece)
            while rest:
                taken = await _send_some(self._socket, rest)
                self._written += taken
                rest = rest[taken:]

    @property
    def is_undelivered(self) -> bool:
        """True if surely no byte of the last send reached the server's system."""
        if sys.platform != "linux":
            return False
        import fcntl
        import termios

        try:
            waiting = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):
            return False
        return int.from_bytes(waiting, sys.byteorder) >= self._written

    def close(self) -> None:
        """Close immediately."""
        if self._socket.fileno() >= 0:
            if self._watched is not None:
                read_loop().remove(self._watched)
                self._watched = None  # breaks a reference cycle, so that no garbage collection is needed
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


async def _send_some(sock: socket.socket, data: Data) -> int:
    """Send a part of ``data`` as soon as the kernel accepts any. Return the number of bytes."""
    while True:
        try:
            return sock.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            await trio.lowlevel.wait_writable(sock)


def _split_pieces(data: Sequence[Data]) -> Iterator[Data]:
    """Yield ``data`` in pieces: small items joined, large ones split without a copy."""
    if sum(map(len, data)) <= PIECE:
        yield b"".join(data)
        return
    for one in data:
        view = memoryview(one)
        yield from (view[start : start + PIECE] for start in range(0, len(view), PIECE))


async def open_transport(turns: AddressRotation, host: str, tls: ssl.SSLContext | None) -> TimedTransport:
    """Connect to the next address in turn, or to the first after it that accepts. Raises ``WireError``."""
    sock = await _connect_any(turns)
    return TimedTransport(sock if tls is None else await _begin_tls(sock, host, tls))


async def _begin_tls(sock: socket.socket, host: str, context: ssl.SSLContext) -> socket.socket:
    """Return the connection with TLS. Raises ``WireError``."""
    secure = context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    try:
        while True:
            try:
                secure.do_handshake()
                return secure
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(secure)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(secure)
    except OSError as error:  # includes ssl.SSLError
        secure.close()
        raise WireError("tls", str(error) or "the server closed the connection") from error
    except BaseException:
        secure.close()
        raise


async def _connect_any(turns: AddressRotation) -> socket.socket:
    last: OSError | None = None
    for family, address in turns:
        try:
            return await _connect_to(family, address)
        except OSError as error:
            last = error
    try:
        raise connect_error(last) from last
    finally:
        del last  # its traceback refers to this frame


async def _connect_to(family: int, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await trio.socket.from_stdlib_socket(sock).connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
