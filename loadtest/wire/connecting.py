"""The addresses of a server, new sockets to it, plain or with TLS, and the faults below the API."""

import errno
import os
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

import attrs
import trio

_FAULTS: Final[dict[int | None, str]] = {
    errno.ECONNREFUSED: "refused",
    errno.EMFILE: "too many files",
    errno.ENFILE: "too many files",
    errno.EADDRNOTAVAIL: "no port",
}
_NO_PORT: Final = "all local ports for this address are in use, or were within the last minute: reuse connections"


class WireError(Exception):
    """A fault below the API that ends the exchange. ``fault`` is its kind, and ``detail`` is for the report.

    ``no port``: all local ports to the server are in use, or were a minute ago.
    """

    def __init__(self, fault: str, detail: str = "") -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.detail = detail


@attrs.frozen
class ServerAddress:
    """The name of a server, and the ``addresses`` that it resolved to, each with its family."""

    host: str
    secure: bool
    addresses: tuple[tuple[int, tuple[object, ...]], ...]

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
        return cls(host, secure, tuple(addresses))


def connect_error(error: OSError) -> WireError:
    """Return the fault of a failed connection attempt."""
    fault = _FAULTS.get(error.errno, "unreachable")
    number = error.errno or 0  # the library puts the address in front of the system's message
    said = os.strerror(number) if number > 0 else error.strerror or str(error)
    return WireError(fault, _NO_PORT if fault == "no port" else said)


async def open_socket(address: ServerAddress, tls: ssl.SSLContext | None) -> socket.socket:
    """Connect to the first address that accepts. Raises ``WireError``."""
    last = OSError("no address")
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
