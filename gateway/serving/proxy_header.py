"""The PROXY protocol, versions 1 and 2: a proxy's information about the client before the first byte
(https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt)."""

import socket
import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

import trio

from gateway.http.sockets import receive

Address: TypeAlias = tuple[str, int]

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
LONGEST_LINE: Final = 107
"""Bytes of version 1 (section 2.1)."""
LONGEST_REST: Final = 4096
"""Bytes after the first 16 of version 2: addresses, and more fields, which are skipped."""

_LOCAL: Final = 0x20  # the proxy's own connection, for a health check
_PROXY: Final = 0x21
_FAMILIES: Final[Mapping[int, tuple[type[IPv4Address | IPv6Address], int]]] = {
    0x11: (IPv4Address, 4),
    0x21: (IPv6Address, 16),
}
_LINES: Final = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}


class ProxyHeaderFailed(ValueError):
    """A connection does not start with the required header."""


async def read_proxy_header(sock: trio.socket.SocketType) -> Address | None:
    """Read only the header and return the client's address, ``None`` if the connection is the proxy's own or its client
    unknown.

    Raises ``ProxyHeaderFailed``, ``OSError``, ``trio.ClosedResourceError``."""
    start = await _read_exactly(sock, len(SIGNATURE))
    if start == SIGNATURE:
        command, family, length = struct.unpack("!BBH", await _read_exactly(sock, 4))
        if command not in (_LOCAL, _PROXY) or length > LONGEST_REST:
            raise ProxyHeaderFailed(f"unreadable PROXY header of version 2: {command:#x}, {length} bytes")
        block = await _read_exactly(sock, length)
        return _address_in_block(family, block) if command == _PROXY else None
    if start.startswith(b"PROXY "):
        return _address_in_line(start + await _read_line(sock, LONGEST_LINE - len(start)))
    raise ProxyHeaderFailed("missing PROXY header")


async def _read_exactly(sock: trio.socket.SocketType, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await receive(sock, size - len(data))
        if not more:
            raise ProxyHeaderFailed("the connection ended within its PROXY header")
        data += more
    return data


async def _read_line(sock: trio.socket.SocketType, max_bytes: int) -> bytes:
    """Return the bytes up to the end of the line, and read nothing after it. Raises ``ProxyHeaderFailed``."""
    line = b""
    while not line.endswith(b"\n"):
        if len(line) == max_bytes:
            raise ProxyHeaderFailed("PROXY header without an end")
        there = await sock.recv(max_bytes - len(line), socket.MSG_PEEK)
        line += await _read_exactly(sock, there.find(b"\n") + 1 or len(there) or 1)
    return line


def _address_in_block(family: int, block: bytes) -> Address | None:
    if family not in _FAMILIES:  # a Unix socket, or an unknown family
        return None
    kind, size = _FAMILIES[family]
    if len(block) < 2 * size + 4:
        raise ProxyHeaderFailed(f"PROXY header of {len(block)} bytes, too short for two addresses")
    (port,) = struct.unpack_from("!H", block, 2 * size)
    return str(kind(block[:size])), port


def _address_in_line(line: bytes) -> Address | None:
    words = line.removesuffix(b"\r\n").split(b" ")
    if not line.endswith(b"\r\n"):
        raise ProxyHeaderFailed("PROXY header without a line end")
    if words[1] == b"UNKNOWN":
        return None
    try:
        _, family, client, _, port, _ = words
        if not (port.isdigit() and int(port) < 2**16):
            raise ValueError
        return str(_LINES[family](client.decode("ascii"))), int(port)
    except (ValueError, KeyError) as error:
        raise ProxyHeaderFailed("unreadable PROXY header") from error
