"""The bytes of a client's connection on their way to and from its socket: as they are, or in TLS."""

import contextlib
import socket
import ssl
from typing import Final, Protocol

import trio

from gateway.http.certificates import NOBODY, CertificateNames, names_of
from gateway.http.sockets import Data, receive, send

MAX_RECV: Final = 64 * 1024
PIECE: Final = 64 * 1024
"""Bytes that are encrypted at once: a large answer is not there a second time."""
FAREWELL_SECONDS: Final = 1.0
"""How long the last bytes of a connection may wait to be taken."""

BROKEN: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
"""What a connection raises that has ended, on either side. ``ssl.SSLError`` is an ``OSError``."""


class Transport(Protocol):
    """A client's socket, as one task reads it and one at a time writes it. Closing the socket wakes both."""

    rest: Data
    """What was taken to be sent and waits, as it will go out."""

    def send_now(self, data: Data, head: bytes) -> bool:
        """Take ``head`` and ``data`` to be sent and return true, unless something waits for that. What the kernel does
        not take of it at once is ``rest``, which goes with the next ``send_all``."""

    async def receive(self) -> bytes:
        """What has come, as soon as there is some, ``b""`` at the end, also where the connection broke. Cancelled, it
        has taken nothing."""

    async def send_all(self, data: Data) -> None:
        """Send ``rest`` and ``data``, and give other tasks a turn. Raises ``trio.BrokenResourceError`` and
        ``trio.ClosedResourceError``. Cancelled, it leaves the connection of no use."""

    async def send_eof(self) -> None:
        """Say that nothing more is sent."""

    async def aclose(self) -> None:
        """Say so where it can be said at once, and close the socket."""


class PlainTransport:
    """A socket as it is."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._socket = stream.socket
        self.rest: Data = b""

    async def receive(self) -> bytes:
        try:
            return await receive(self._socket, MAX_RECV)
        except (OSError, trio.ClosedResourceError):
            return b""

    def send_now(self, data: Data, head: bytes) -> bool:
        if self.rest:
            return False
        self.rest = send(self._socket, data, head)
        return True

    async def send_all(self, data: Data) -> None:
        await self._stream.send_all(self._take(data))

    def _take(self, data: Data) -> Data:
        rest, self.rest = self.rest, b""
        return b"".join((rest, data)) if rest and data else rest or data

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        # A plain OSError, too: what a route that is lost leaves behind (https://github.com/pgjones/hypercorn/issues/361).
        with contextlib.suppress(trio.BusyResourceError, *BROKEN):
            await self._stream.send_eof()
        await self._stream.aclose()


class UnixTransport(PlainTransport):
    """A Unix socket. The kernel gives up on no client here (TCP_USER_TIMEOUT), so this does."""

    def __init__(self, stream: trio.SocketStream, write_timeout: float) -> None:
        super().__init__(stream)
        self._write_timeout = write_timeout

    async def send_all(self, data: Data) -> None:
        rest = memoryview(self._take(data))
        try:
            while rest:
                with trio.fail_after(self._write_timeout):
                    rest = rest[await self._socket.send(rest) :]
        except (OSError, trio.TooSlowError) as error:
            self._socket.close()
            raise trio.BrokenResourceError from error


def plain_transport(stream: trio.SocketStream, write_timeout: float) -> PlainTransport:
    """The socket as it is. ``write_timeout`` is how long a client may take nothing."""
    return UnixTransport(stream, write_timeout) if stream.socket.family == socket.AF_UNIX else PlainTransport(stream)


class TlsTransport:
    """TLS on a socket. ``handshake`` comes before all else.

    trio's own stream keeps OpenSSL's alerts to itself, so that a client never hears why it is refused, and is broken
    where a reader is cancelled while it answers a change of keys."""

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        self._socket = stream.socket
        self._received, self._encrypted = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._encrypted, server_side=True)
        self.rest: Data = b""
        self._sending = trio.Lock()

    @property
    def protocol(self) -> str | None:
        """The protocol that both sides want behind the handshake (RFC 7301)."""
        return self._tls.selected_alpn_protocol()

    @property
    def client_names(self) -> CertificateNames:
        """The names in the client's certificate."""
        encoded = self._tls.getpeercert(binary_form=True)
        return NOBODY if encoded is None else names_of(self._tls.getpeercert() or {}, encoded)

    async def handshake(self) -> None:
        """Raises ``OSError`` (``ssl.SSLError`` for what TLS does not allow), ``trio.ClosedResourceError``."""
        while self._waits_for_handshake():
            await self._fill()
        await self._drain()

    def _waits_for_handshake(self) -> bool:
        """Go on with the handshake as far as it goes."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return True
        except ssl.SSLError:
            send(self._socket, self._encrypted.read())  # the alert, which says why
            raise
        return False

    async def receive(self) -> bytes:
        with contextlib.suppress(*BROKEN):
            while True:
                try:
                    return self._tls.read(MAX_RECV)
                except ssl.SSLWantReadError:
                    await self._fill()
        return b""

    async def _fill(self) -> None:
        """Read, and send before that what TLS itself has to say. Mostly whoever is writing does; a client that provokes
        it and takes nothing is not read from any more."""
        own = self._encrypted.pending
        if own and (own > PIECE or not self._sending.locked()):
            await self._drain()
        if data := await receive(self._socket, MAX_RECV):
            self._received.write(data)
        else:
            self._received.write_eof()

    def send_now(self, data: Data, head: bytes) -> bool:
        """The same; a large piece is left to ``send_all``."""
        if self.rest or self._sending.locked() or len(head) + len(data) > PIECE:
            return False
        try:
            self._tls.write(b"".join((head, data)) if head else data)
        except ssl.SSLError:  # nothing goes out any more, which ``send_all`` tells
            return False
        self.rest = send(self._socket, self._encrypted.read())
        return True

    async def send_all(self, data: Data) -> None:
        try:
            for start in range(0, len(data), PIECE):
                self._tls.write(memoryview(data)[start : start + PIECE])
                await self._drain()
            await self._drain()
        except OSError as error:
            raise trio.BrokenResourceError from error

    async def _drain(self) -> None:
        """Send what is encrypted. Cancelled, it has lost nothing of that."""
        async with self._sending:
            while True:
                rest = memoryview(self.rest or self._encrypted.read())
                if not rest:
                    return
                self.rest = rest  # so that whoever is cancelled here has lost nothing
                self.rest = rest[await self._socket.send(rest) :]

    async def send_eof(self) -> None:
        with contextlib.suppress(ssl.SSLError):  # the other side has not said so yet, or never will
            self._tls.unwrap()
        await self._drain()

    async def aclose(self) -> None:
        try:
            with trio.move_on_after(FAREWELL_SECONDS), contextlib.suppress(*BROKEN):
                await self.send_eof()
        finally:
            self._socket.close()
