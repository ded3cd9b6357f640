"""IP addresses of clients."""

import ipaddress
from typing import TypeAlias

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_ip(text: str) -> IpAddress | None:
    """Return the address in ``text`` without its zone, or ``None`` if it is not an address.

    An IPv4 address in the IPv6 form of a dual-stack socket is returned as IPv4."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def customer_of(address: IpAddress) -> str:
    """Return the part of ``address`` that identifies a customer: for IPv6 its network of 64 bits (RFC 6177)."""
    return str(address if address.version == 4 else ipaddress.ip_network((address, 64), strict=False))
