"""A connection to a server, plain or with TLS, that times its reads and writes in pieces.

Large requests are written 64 KiB at a time, and other tasks run in between. Otherwise their reads would be timed late.
"""

import contextlib
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import trio

from loadtest.wire.address import AddressRotation
from loadtest.wire.answers import WireError, connect_error
from loadtest.wire.read_loop import READ, DataCallback, ErrorCallback, WatchedSocket, read_loop

PIECE: Final = 64 * 1024

Data: TypeAlias = bytes | memoryview


class TimedTransport:
    """One connection. It reads nothing before ``listen``. The owner must call ``close``."""

    def __init__(self, sock: socket.socket, tls: "TlsLayer | None") -> None:
        self._socket = sock
        self._tls = tls
        self._watched: WatchedSocket | None = None
        self._writing = trio.Lock()
        self.begun = 0.0  # begin of the last send, on trio's clock
        self._written = 0  # bytes of the last send

    def listen(self, take: DataCallback, broke: ErrorCallback) -> None:
        """Start to read. ``take`` receives the data, and ``broke`` the error of a broken connection."""
        if self._tls is not None:
            take = self._tls.decrypting(take)
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
            rest = memoryview(self._tls.encrypt(piece) if self._tls else piece)
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


class TlsLayer:
    """TLS between the socket and the protocol."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    async def shake_hands(self, sock: socket.socket) -> None:
        """Do the handshake. Raises ``WireError``."""
        try:
            while not self._try_handshake():
                await _send_some(sock, self._outgoing.read())  # a few kilobytes, which always fit into a new connection
                await trio.lowlevel.wait_readable(sock)
                with contextlib.suppress(BlockingIOError):
                    self._feed(sock.recv(READ))
            await _send_some(sock, self._outgoing.read())
        except OSError as error:  # includes ssl.SSLError
            with contextlib.suppress(OSError):
                sock.send(self._outgoing.read())  # the alert, which informs the server
            raise WireError("tls", str(error) or "the server closed the connection") from error

    def _try_handshake(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def encrypt(self, data: Data) -> bytes:
        self._tls.write(data)
        return self._outgoing.read()

    def decrypting(self, take: DataCallback) -> DataCallback:
        """Return a callback that decrypts data for ``take``.

        The end of the connection counts as the end of TLS, because HTTP knows whether the answer is complete.
        """

        def feed(data: bytes, at: float) -> None:
            self._feed(data)
            content, over = self._decrypt()
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

    def _decrypt(self) -> tuple[bytes, bool]:
        """Return the decrypted data, and whether the stream has ended."""
        found: list[bytes] = []
        try:
            while data := self._tls.read(READ):
                found.append(data)
        except ssl.SSLWantReadError:
            return b"".join(found), False
        except ssl.SSLError:
            pass
        return b"".join(found), True


async def _send_some(sock: socket.socket, data: Data) -> int:
    """Send a part of ``data`` as soon as the kernel accepts any. Return the number of bytes."""
    while True:
        try:
            return sock.send(data)
        except BlockingIOError:
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
    if tls is None:
        return TimedTransport(sock, None)
    layer = TlsLayer(tls, host)
    try:
        await layer.shake_hands(sock)
    except BaseException:
        sock.close()
        raise
    return TimedTransport(sock, layer)


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
