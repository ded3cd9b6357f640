"""The addresses of a server, and new sockets to it, plain or with TLS."""

import errno
import os
import socket
import ssl
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import attrs
import trio

from loadtest.wire.answers import Fault, WireError

SocketAddress: TypeAlias = tuple[int, tuple[object, ...]]
"""The family of an address, and the address in the form that sockets use."""

_FAULTS: Final[dict[int | None, Fault]] = {
    errno.ECONNREFUSED: "refused",
    errno.EMFILE: "too many files",
    errno.ENFILE: "too many files",
    errno.EADDRNOTAVAIL: "no port",
}
_NO_PORT: Final = "all local ports for this address are in use, or were within the last minute: reuse connections"


@attrs.frozen
class ServerAddress:
    """The name and port of a server, and the ``addresses`` that its name resolved to."""

    host: str
    port: int
    secure: bool
    addresses: tuple[SocketAddress, ...]

    @classmethod
    async def resolve(cls, url: str) -> "ServerAddress":
        """Resolve the server of ``url``. Raises ``WireError``."""
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise WireError("dns", f"{host}: {error.strerror or error}") from error
        except UnicodeError as error:
            raise WireError("dns", f"{host} is not a valid host name: a part of it is empty or too long") from error
        addresses = dict.fromkeys((int(family), address) for family, _, _, _, address in found)
        return cls(host, port, secure, tuple(addresses))

    @property
    def authority(self) -> str:
        """The host and port for the ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def connect_error(error: OSError | None) -> WireError:
    """Return the fault of a failed connection attempt. ``None`` means that there was no address to try."""
    if error is None:
        return WireError("unreachable", "no address")
    fault = _FAULTS.get(error.errno, "unreachable")
    number = error.errno or 0  # the library puts the address in front of the system's message
    said = os.strerror(number) if number > 0 else error.strerror or str(error)
    return WireError(fault, _NO_PORT if fault == "no port" else said)


async def open_socket(address: ServerAddress, tls: ssl.SSLContext | None) -> socket.socket:
    """Connect to the first address that accepts. Raises ``WireError``."""
    last: OSError | None = None
    for family, place in address.addresses:
        try:
            sock = await _connect_to(family, place)
        except OSError as error:
            last = error
        else:
            return sock if tls is None else await _begin_tls(sock, address.host, tls)
    try:
        raise connect_error(last) from last
    finally:
        del last  # its traceback refers to this frame


async def _connect_to(family: int, place: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await trio.socket.from_stdlib_socket(sock).connect(place)
    except BaseException:
        sock.close()
        raise
    return sock


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
