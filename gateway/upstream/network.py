"""Sockets to providers: TCP, TLS, and the certificates that verify providers."""

import errno
import os
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from gateway.http.sockets import READ, TLS_RECORD, receive, receive_now, send
from gateway.http.threads import call_in_thread
from gateway.upstream.errors import (
    StaleConnection,
    UpstreamError,
    failure,
    misconfigured,
    tls_failure,
    too_many_files,
)

# A model may be silent for minutes. Keep-alive probes keep NAT entries alive, and detect a vanished peer after about a
# minute. The names of the intervals differ by platform; missing ones are skipped.
_PROBES = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
KEEPALIVE = [(getattr(socket, name), value) for name, value in _PROBES.items() if hasattr(socket, name)]


async def open_stream(
    host: str, port: int, timeout: float, permits_address: Callable[[str], bool] | None = None
) -> "NetworkStream":
    """Open a TCP connection with keep-alive probes. ``timeout`` (seconds) includes the name lookup.

    Nothing is sent to an address that ``permits_address`` rejects, whatever the name resolved to before. Raises
    ``UpstreamError``."""
    try:
        with trio.fail_after(timeout):
            stream = await trio.open_tcp_stream(host, port)
    except trio.TooSlowError as error:
        raise failure("connect_timeout") from error
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: not a valid name, such as one with ".."
        raise failure("dns") from error
    except OSError as error:
        raise _connect_failure(error) from error
    if permits_address is not None and not _permits_peer(stream, permits_address):
        await trio.aclose_forcefully(stream)
        raise misconfigured(FORBIDDEN_ADDRESS)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        stream.setsockopt(socket.IPPROTO_TCP, option, value)
    return NetworkStream(stream, stream.socket)


FORBIDDEN_ADDRESS: Final = "the host name of the provider resolves to an address that is not permitted"


def _permits_peer(stream: trio.SocketStream, permits_address: Callable[[str], bool]) -> bool:
    try:
        return permits_address(stream.socket.getpeername()[0])
    except OSError:  # the connection broke meanwhile: the next read reports it
        return True


def _connect_failure(error: OSError) -> UpstreamError:
    attempts = error.__cause__  # trio's group, with one error for each address of the name
    errors = attempts.exceptions if isinstance(attempts, ExceptionGroup) else (error,)
    if any(isinstance(one, OSError) and one.errno in (errno.EMFILE, errno.ENFILE) for one in errors):
        return too_many_files()
    return failure("refused" if any(isinstance(one, ConnectionRefusedError) for one in errors) else "connect")


class _BelowTls(trio.abc.Stream):
    """A TCP connection for TLS that reads as plain HTTP does: it waits first, and copies what arrived."""

    def __init__(self, stream: trio.abc.Stream, socket: trio.socket.SocketType) -> None:
        self._stream = stream
        self._socket = socket

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        try:
            data = await receive(self._socket, max_bytes or READ)
        except OSError as error:
            raise trio.BrokenResourceError from error
        if not data:  # before a TLS close: a body that ends here is incomplete (RFC 9112, section 9.8)
            raise trio.BrokenResourceError
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


class NetworkStream:
    """A connection that knows whether it was dead before the request reached it."""

    def __init__(self, stream: trio.abc.Stream, socket: trio.socket.SocketType) -> None:
        self._stream = stream
        self.socket = socket
        self._plain = isinstance(stream, trio.SocketStream)  # TLS does its own reads and writes
        self._answered = False  # a byte arrived since the last request
        self._reused = False  # an earlier request was answered on it

    async def read(self, max_bytes: int) -> bytes:
        """Return the next bytes, ``b""`` at the end. Raises ``UpstreamError``."""
        try:
            if self._plain:
                data = await receive(self.socket, max_bytes)
            else:
                data = bytes(await self._stream.receive_some(min(max_bytes, TLS_RECORD)))
        except (trio.BrokenResourceError, OSError) as error:
            raise (StaleConnection() if self._is_stale() else failure("cut")) from error
        except trio.ClosedResourceError as error:
            raise failure("cut") from error
        if not data and self._is_stale():
            raise StaleConnection
        self._answered = True
        return data

    def read_now(self, max_bytes: int) -> bytes:
        """Return bytes that have already arrived, if that is cheap. The next ``read`` reports the end and errors."""
        return receive_now(self.socket, max_bytes) if self._plain else b""

    def _is_stale(self) -> bool:
        # A new connection that breaks this way means that the provider has a problem, and after one byte the provider
        # has started. Only this class knows both.
        return self._reused and not self._answered

    async def write(self, data: bytes | memoryview, *, continues: bool = False) -> None:
        """Send a request, or more of it if it ``continues``. The next ``read`` reports a broken connection, because the
        provider may have sent the reason first."""
        if not continues:
            self._reused, self._answered = self._reused or self._answered, False
        try:
            for rest in send(self.socket, data) if self._plain else (data,):
                await self._stream.send_all(rest)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    async def start_tls(self, roots: ssl.SSLContext, host: str, timeout: float) -> "NetworkStream":
        """Start TLS with ``host`` on the other side and return the new stream. Raises ``UpstreamError``."""
        below = _BelowTls(self._stream, self.socket) if self._plain else self._stream
        secured = trio.SSLStream(below, roots, server_hostname=host, https_compatible=True)
        try:
            with trio.fail_after(timeout):
                await secured.do_handshake()
        except trio.TooSlowError as error:
            raise failure("connect_timeout") from error
        except trio.BrokenResourceError as error:
            cause = error.__cause__ or error
            raise tls_failure(cause) from cause
        return NetworkStream(secured, self.socket)

    @property
    def readable(self) -> bool:
        """Return whether there is something to read. An idle connection with something to read has been closed."""
        return self.socket.fileno() < 0 or self.socket.is_readable()

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def abort(self) -> None:
        """Close immediately without a TLS close. Cannot be cancelled."""
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)


NO_ROOTS = "cannot load the CA certificates for providers; check upstream_tls_ca_path and SSL_CERT_FILE"

# The distributions' paths; a Python that was built elsewhere searches others.
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class TlsRoots:
    """The trusted certificates: ``ca_path``, a file or directory; otherwise ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` if
    the environment is trusted; otherwise the system's."""

    def __init__(self, ca_path: str | None, trust_env: bool) -> None:
        self._ca_path = ca_path
        self._trust_env = trust_env
        self._context: ssl.SSLContext | None = None
        self._thread = trio.CapacityLimiter(1)  # of its own, for as long as the file system does not respond

    async def context(self) -> ssl.SSLContext:
        """Return the TLS context.

        The first call makes it, in about 20 ms, which plain HTTP never needs. Raises ``UpstreamError``."""
        if self._context is None:
            try:
                self._context = await call_in_thread(self._load_once, limiter=self._thread, abandon_on_cancel=True)
            except OSError as error:  # also ssl.SSLError
                raise misconfigured(NO_ROOTS) from error
        return self._context

    def _load_once(self) -> ssl.SSLContext:
        self._context = self._context or self._load()
        return self._context

    def _load(self) -> ssl.SSLContext:
        path = Path(self._ca_path) if self._ca_path is not None else self._path_in_environment()
        if path is None:
            context = _system_context()
        elif path.is_dir():
            context = ssl.create_default_context(capath=path)
        else:
            context = ssl.create_default_context(cafile=path)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _path_in_environment(self) -> Path | None:
        if not self._trust_env:
            return None
        value = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
        return Path(value) if value else None


def _system_context() -> ssl.SSLContext:
    if sys.platform in ("darwin", "win32"):
        import truststore  # the platform's store is not a file

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # OpenSSL's built-in paths; ssl.create_default_context would also read SSL_CERT_FILE.
    built_in = ssl.get_default_verify_paths()
    file = next(filter(os.path.isfile, (built_in.openssl_cafile, *_BUNDLES)), None)
    folder = built_in.openssl_capath if os.path.isdir(built_in.openssl_capath) else None
    if file or folder:
        context.load_verify_locations(file, folder)
    return context
