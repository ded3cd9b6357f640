"""The bytes of a client's connection to and from its socket, plain or with TLS."""

import contextlib
import socket
import ssl
from collections.abc import Sequence
from typing import Final, Protocol

import trio

from gateway.http.certificates import NOBODY, CertificateNames, names_of
from gateway.http.sockets import READ, TLS_RECORD, Data, receive, send

PIECE: Final = 64 * 1024
"""Bytes that are encrypted in one step, so that a large response is not copied as a whole."""
FAREWELL_SECONDS: Final = 1.0
"""Seconds that the last bytes of a connection may wait to be sent."""

BROKEN: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
"""The errors of a connection that has ended on either side. ``ssl.SSLError`` is an ``OSError``."""


class Transport(Protocol):
    """A client's socket, with one reading task and one writing task at a time. Closing the socket wakes both."""

    rest: Sequence[Data]
    """The bytes that wait to be sent, in their final form, in parts."""

    def send_now(self, data: Data, head: bytes) -> bool:
        """Send ``head`` and ``data`` and return true, unless earlier bytes are waiting. What the kernel does not take
        is ``rest``, which the next ``send_all`` sends."""

    async def receive(self) -> bytes:
        """Return the next bytes as soon as there are some, ``b""`` at the end, also of a broken connection.
        Cancellation loses nothing."""

    async def send_all(self, data: Data) -> None:
        """Send ``rest`` and ``data``, and yield to other tasks.

        Raises ``trio.BrokenResourceError`` and ``trio.ClosedResourceError``. After a cancellation the connection is
        unusable."""

    async def send_eof(self) -> None:
        """Announce the end of the sent data."""

    async def aclose(self) -> None:
        """Announce the end if that is possible immediately, and close the socket."""


class PlainTransport:
    """A socket without TLS."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._socket = stream.socket
        self.rest: Sequence[Data] = ()

    async def receive(self) -> bytes:
        try:
            return await receive(self._socket, READ)
        except (OSError, trio.ClosedResourceError):
            return b""

    def send_now(self, data: Data, head: bytes) -> bool:
        if self.rest:
            return False
        self.rest = send(self._socket, data, head)
        return True

    async def send_all(self, data: Data) -> None:
        for part in self._take(data):
            await self._stream.send_all(part)

    def _take(self, data: Data) -> Sequence[Data]:
        """Return everything that is to be sent in parts, at least one."""
        parts, self.rest = (*self.rest, data), ()
        if sum(map(len, parts)) <= PIECE:
            return (b"".join(parts),)
        return [part for part in parts if part]

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        with contextlib.suppress(OSError):  # not `send_eof`: in Python 3.12 and later its error is a reference cycle
            self._stream.socket.shutdown(trio.socket.SHUT_WR)
        await self._stream.aclose()


class UnixTransport(PlainTransport):
    """A Unix socket. It has no TCP_USER_TIMEOUT, so this class limits writes."""

    def __init__(self, stream: trio.SocketStream, write_timeout: float) -> None:
        super().__init__(stream)
        self._write_timeout = write_timeout

    async def send_all(self, data: Data) -> None:
        try:
            for part in self._take(data):
                rest = memoryview(part)
                while rest:
                    with trio.fail_after(self._write_timeout):
                        rest = rest[await self._socket.send(rest) :]
        except (OSError, trio.TooSlowError) as error:
            self._socket.close()
            raise trio.BrokenResourceError from error


def plain_transport(stream: trio.SocketStream, write_timeout: float) -> PlainTransport:
    """Return the transport of a plain socket. ``write_timeout`` is how long a client may take nothing."""
    return UnixTransport(stream, write_timeout) if stream.socket.family == socket.AF_UNIX else PlainTransport(stream)


class TlsTransport:
    """TLS on a socket; ``handshake`` comes first.

    trio's own stream does not send OpenSSL's alerts, so that a rejected client never learns the reason, and breaks if a
    reader is cancelled during a change of keys."""

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        self._socket = stream.socket
        self._received, self._encrypted = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._encrypted, server_side=True)
        self.rest: Sequence[Data] = ()
        self._sending = trio.Lock()

    @property
    def protocol(self) -> str | None:
        """The protocol that the handshake selected (RFC 7301)."""
        return self._tls.selected_alpn_protocol()

    @property
    def client_names(self) -> CertificateNames:
        encoded = self._tls.getpeercert(binary_form=True)
        return NOBODY if encoded is None else names_of(self._tls.getpeercert() or {}, encoded)

    async def handshake(self) -> None:
        """Perform the handshake. Raises ``OSError`` (``ssl.SSLError`` for violations of TLS),
        ``trio.ClosedResourceError``."""
        while self._waits_for_handshake():
            await self._fill()
        await self._drain()

    def _waits_for_handshake(self) -> bool:
        """Continue the handshake as far as possible, and return whether it is incomplete."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return True
        except ssl.SSLError:
            send(self._socket, self._encrypted.read())  # the alert, with the reason
            raise
        return False

    async def receive(self) -> bytes:
        with contextlib.suppress(*BROKEN):
            while True:
                try:
                    return self._tls.read(TLS_RECORD)
                except ssl.SSLWantReadError:
                    await self._fill()
        return b""

    async def _fill(self) -> None:
        """Read, after sending TLS's own messages. Usually the writer sends them; a client that provokes them and takes
        nothing is no longer read."""
        own = self._encrypted.pending
        if own and (own > PIECE or not self._sending.locked()):
            await self._drain()
        if data := await receive(self._socket, READ):
            self._received.write(data)
        else:
            self._received.write_eof()

    def send_now(self, data: Data, head: bytes) -> bool:
        """Send as ``Transport.send_now``, but leave a large piece to ``send_all``."""
        if self.rest or self._sending.locked() or len(head) + len(data) > PIECE:
            return False
        try:
            self._tls.write(b"".join((head, data)) if head else data)
        except ssl.SSLError:  # nothing can be sent any more, as ``send_all`` reports
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
        """Send the encrypted bytes. Cancellation loses nothing."""
        async with self._sending:
            while True:
                rest = memoryview(self.rest[0] if self.rest else self._encrypted.read())
                if not rest:
                    return
                self.rest = (rest,)  # for a cancellation
                rest = rest[await self._socket.send(rest) :]
                self.rest = (rest,) if rest else ()

    async def send_eof(self) -> None:
        with contextlib.suppress(ssl.SSLError):  # the other side has not closed TLS yet, or never will
            self._tls.unwrap()
        await self._drain()

    async def aclose(self) -> None:
        try:
            with trio.move_on_after(FAREWELL_SECONDS), contextlib.suppress(*BROKEN):
                await self.send_eof()
        finally:
            self._socket.close()
