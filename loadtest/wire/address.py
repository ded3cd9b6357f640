"""The addresses of a server, and their rotation over connections."""

import socket
from collections.abc import Iterator
from typing import TypeAlias
from urllib.parse import urlsplit

import attrs
import trio

from loadtest.wire.answers import WireError

SocketAddress: TypeAlias = tuple[int, tuple[object, ...]]
"""The family of an address, and the address in the form that sockets use."""


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


class AddressRotation:
    """Rotates over the addresses of a name.

    All addresses of the preferred family take turns, so that each server of a name gets its part of the load. The
    others are a fallback if none of these accepts.
    """

    def __init__(self, addresses: tuple[SocketAddress, ...]) -> None:
        preferred = addresses[0][0] if addresses else 0
        self._turns = [address for address in addresses if address[0] == preferred]
        self._others = [address for address in addresses if address[0] != preferred]
        self._next = 0

    def __iter__(self) -> Iterator[SocketAddress]:
        """Yield the addresses to try for one connection, in order."""
        start = self._next
        self._next = (start + 1) % max(1, len(self._turns))
        return iter([*self._turns[start:], *self._turns[:start], *self._others])
