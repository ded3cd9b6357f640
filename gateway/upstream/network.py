"""Sockets towards providers, plain and with TLS."""

import socket
import ssl

import trio

from gateway.http.sockets import receive, send
from gateway.upstream.errors import StaleConnection, failure

# A model may think for minutes without a byte. Probes keep the way through NAT open, and find a peer that vanished
# without a word after about a minute. The names of the intervals differ by platform; what is missing is left alone.
_PROBES = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
KEEPALIVE = [(getattr(socket, name), value) for name, value in _PROBES.items() if hasattr(socket, name)]


async def open_stream(host: str, port: int, timeout: float) -> "NetworkStream":
    """A TCP connection, with the probes on. ``timeout`` (seconds) holds for the name, too. Raises ``UpstreamError``."""
    try:
        with trio.fail_after(timeout):
            stream = await trio.open_tcp_stream(host, port)
    except trio.TooSlowError as error:
        raise failure("connect_timeout") from error
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: not a name at all, such as one with ".."
        raise failure("dns") from error
    except OSError as error:
        raise failure("refused" if _is_refusal(error) else "connect") from error
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        stream.setsockopt(socket.IPPROTO_TCP, option, value)
    return NetworkStream(stream, stream.socket)


def _is_refusal(error: OSError) -> bool:
    attempts = error.__cause__  # trio's group, with one error for each address of the name
    return isinstance(attempts, ExceptionGroup) and attempts.split(ConnectionRefusedError)[1] is None


class NetworkStream:
    """A connection that knows whether it was dead before the request reached it."""

    def __init__(self, stream: trio.abc.Stream, socket: trio.socket.SocketType) -> None:
        self._stream = stream
        self.socket = socket
        self._plain = isinstance(stream, trio.SocketStream)  # TLS has its own way
        self._answered = False  # a byte came since the last request went out
        self._reused = False  # an earlier request was answered on it

    async def read(self, max_bytes: int) -> bytes:
        """The next bytes, ``b""`` at the end. Raises ``UpstreamError``."""
        try:
            if self._plain:
                data = await receive(self.socket, max_bytes)
            else:
                data = bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, OSError) as error:
            raise (StaleConnection() if self._is_stale() else failure("cut")) from error
        except trio.ClosedResourceError as error:
            raise failure("cut") from error
        if not data and self._is_stale():
            raise StaleConnection
        self._answered = True
        return data

    def _is_stale(self) -> bool:
        # A fresh connection that dies the same way says that the provider is in trouble; and after one byte the
        # provider has begun. Only here both are known.
        return self._reused and not self._answered

    async def write(self, data: bytes | memoryview) -> None:
        """Send a request. Where the connection is broken the next ``read`` says so: the provider may have said why
        before it closed."""
        self._reused, self._answered = self._reused or self._answered, False
        try:
            if rest := send(self.socket, data) if self._plain else data:
                await self._stream.send_all(rest)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def start_tls(self, roots: ssl.SSLContext, host: str, timeout: float) -> "NetworkStream":
        """Secure the connection with TLS; ``host`` is on its other side. Raises ``UpstreamError``."""
        secured = trio.SSLStream(self._stream, roots, server_hostname=host, https_compatible=True)
        try:
            with trio.fail_after(timeout):
                await secured.do_handshake()
        except trio.TooSlowError as error:
            raise failure("connect_timeout") from error
        except trio.BrokenResourceError as error:
            raise failure("tls") from error.__cause__ or error
        return NetworkStream(secured, self.socket)

    @property
    def readable(self) -> bool:
        """There is something to read. An idle connection of which that is true has been closed."""
        return self.socket.fileno() < 0 or self.socket.is_readable()

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def abort(self) -> None:
        """Close without a farewell, which waits for nothing. Cannot be cancelled."""
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)
