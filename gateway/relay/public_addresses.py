"""The rule for public addresses: others may be of servers inside the network."""

import ipaddress
import socket
from typing import Final

import trio

from gateway.http.addresses import parse_ip
from gateway.upstream.lookups import foreign_names

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # the addresses end with those of IPv4 (RFC 6052)
_INTERNAL: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "192.0.0.0/24",  # for protocols, and for the metadata of a cloud: earlier versions of Python differ
            "168.63.129.16/32",  # Azure's platform, which answers each of its machines
            "64:ff9b:1::/48",  # NAT64 in a network (RFC 8215)
            "::/96",  # and the next one: other forms of IPv4 addresses (RFC 4291, section 2.5.5, and RFC 6052)
            "::ffff:0:0:0/96",
            "fec0::/10",  # the older addresses of a site (RFC 3879)
        ),
    )
)
"""Networks that Python counts as global."""


def is_public(address: str) -> bool:
    """Return whether an IP address is public: otherwise a server inside the network might answer."""
    if (parsed := parse_ip(address)) is None:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):  # a gateway in the network may translate it to the IPv4 address in it
        inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF) if parsed in _NAT64 else parsed.sixtofour
        if inner is not None and not is_public(str(inner)):
            return False
    return parsed.is_global and not parsed.is_multicast and not any(parsed in network for network in _INTERNAL)


async def has_public_addresses(host: str, port: int) -> bool:
    """Return whether ``host`` has only public addresses. Raises ``OSError``, or ``UnicodeError`` for no valid name."""
    with foreign_names():
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return all(is_public(str(one[4][0])) for one in found)
