"""The rule for public addresses: others may be of servers inside the network."""

import ipaddress
import socket
from typing import Final

import trio

from gateway.http.addresses import parse_ip

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # the addresses end with those of IPv4 (RFC 6052)
_LOCAL_NAT64: Final = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215


def is_public(address: str) -> bool:
    """Return whether an IP address is public: otherwise a server inside the network might answer."""
    if (parsed := parse_ip(address)) is None:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):  # a gateway in the network may translate it to the IPv4 address in it
        inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF) if parsed in _NAT64 else parsed.sixtofour
        if parsed in _LOCAL_NAT64 or not (inner is None or inner.is_global):
            return False
    return parsed.is_global


async def has_public_addresses(host: str, port: int) -> bool:
    """Return whether ``host`` has only public addresses. Raises ``OSError``, or ``UnicodeError`` for no valid name."""
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return all(is_public(str(one[4][0])) for one in found)
