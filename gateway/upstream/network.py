"""Sockets towards providers, plain and with TLS, for httpcore2."""

import socket
import ssl
from collections.abc import Iterable

import httpcore2
import trio
from httpcore2._backends.trio import TrioStream

from gateway.http.sockets import receive, send

# A model may think for minutes without a byte. Probes keep the way through NAT open, and find a peer that vanished
# without a word after about a minute. The names of the intervals differ by platform; what is missing is left alone.
_PROBES = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
KEEPALIVE = [(getattr(socket, name), value) for name, value in _PROBES.items() if hasattr(socket, name)]


class _Stream(TrioStream):
    """A connection that closes what it opened, and knows whether it was dead before the request reached it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__(stream)
        self._socket = stream.socket if isinstance(stream, trio.SocketStream) else None  # TLS has its own way

    _answered = False  # a byte came since the last request went out
    _reused = False  # an earlier request was answered on it

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        # No fail_after as in httpcore2, which enters one even without a timeout: 5 µs for each read of a stream.
        try:
            if self._socket is not None:
                data = await receive(self._socket, max_bytes)
            else:
                data = bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, OSError) as error:
            raise (StaleConnection if self._is_stale() else httpcore2.ReadError)(error) from error
        except trio.ClosedResourceError as error:
            raise httpcore2.ReadError(error) from error
        if not data and self._is_stale():
            raise StaleConnection("the pooled connection was closed before the request")
        self._answered = True
        return data

    def _is_stale(self) -> bool:
        # A fresh connection that dies the same way says that the provider is in trouble; and after one byte the
        # provider has begun. Only here both are known: httpcore2's error is the same for all three.
        return self._reused and not self._answered

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._reused, self._answered = self._reused or self._answered, False
        try:
            if rest := buffer if self._socket is None else send(self._socket, buffer):
                await self._stream.send_all(rest)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore2.WriteError(error) from error

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "_Stream":
        secured = trio.SSLStream(self._stream, ssl_context, server_hostname=server_hostname, https_compatible=True)
        try:
            with trio.fail_after(float("inf") if timeout is None else timeout):
                await self._shake_hands(secured)
        except trio.TooSlowError as error:
            raise httpcore2.ConnectTimeout(error) from error
        except trio.BrokenResourceError as error:
            raise TlsFailure(error.__cause__ or error) from error
        return _Stream(secured)

    async def _shake_hands(self, secured: trio.SSLStream[trio.abc.Stream]) -> None:
        try:
            await secured.do_handshake()
        except BaseException:
            # httpcore2 closes on Exception only: a cancelled handshake left its socket open until the cyclic GC ran.
            await trio.aclose_forcefully(self._stream)
            raise


class Backend(httpcore2.TrioBackend):
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> _Stream:
        try:
            with trio.fail_after(float("inf") if timeout is None else timeout):
                stream = await trio.open_tcp_stream(host, port, local_address=local_address)
        except trio.TooSlowError as error:
            raise httpcore2.ConnectTimeout(error) from error
        except (socket.gaierror, UnicodeError) as error:  # UnicodeError: not a name at all, such as one with ".."
            raise UnknownHost(error) from error
        except OSError as error:
            raise (Refusal if _is_refusal(error) else httpcore2.ConnectError)(error) from error
        # Here and not as the pool's socket_options, which it does not hand on to connections through a proxy.
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            stream.setsockopt(socket.IPPROTO_TCP, option, value)
        return _Stream(stream)


def _is_refusal(error: OSError) -> bool:
    attempts = error.__cause__  # trio's group, with one error for each address of the name
    return isinstance(attempts, ExceptionGroup) and attempts.split(ConnectionRefusedError)[1] is None


class Refusal(httpcore2.ConnectError):
    """Every address refused the connection."""


class UnknownHost(httpcore2.ConnectError):
    """The name has no address."""


class TlsFailure(httpcore2.ConnectError):
    """The handshake failed, or the certificate is not trusted."""


class StaleConnection(httpcore2.ReadError):
    """A connection from the pool was dead before one byte of the answer."""
