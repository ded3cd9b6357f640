"""The URLs that the gateway requests on behalf of an issuer: `trigate check` and each request apply the same rules.

They must not lead to the services of other machines of the network, or to the metadata services of clouds, which hand
out credentials to any process."""

import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

from gateway.http.addresses import parse_ip
from gateway.http.urls import is_loopback

_METADATA: Final = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200")))
"""Metadata services at addresses that are not link-local: AWS's over IPv6, and Alibaba's."""


def is_permitted_address(address: str) -> bool:
    """Return whether the gateway may connect to an IP address on behalf of an issuer."""
    parsed = parse_ip(address)
    return parsed is None or not (parsed.is_link_local or parsed.is_unspecified or parsed in _METADATA)


def url_problem(url: str, *, may_be_local: bool) -> str | None:
    """Return the reason why the gateway does not request ``url``, for the end of a sentence; ``None`` if it does.

    It requests HTTPS, and HTTP on this machine. With ``may_be_local`` the URL may lead to this machine."""
    try:
        parts = urlsplit(url)
        host, _ = _usual_spelling(parts.hostname or ""), parts.port
    except ValueError:
        return "it has an invalid URL"
    if not host or parts.username is not None or parts.fragment or not url.isascii() or not url.isprintable():
        return "it has an invalid URL"
    local = is_this_machine(host)
    if local and not may_be_local:
        return "it leads to this machine, and the issuer runs elsewhere"
    if not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        return "it has a URL without HTTPS"
    if not is_permitted_address(host):
        return "it leads to a link-local or unspecified address, or to the metadata service of a cloud"
    return None


def is_this_machine(host: str) -> bool:
    """Return whether ``host`` is a loopback address, also an IPv4 one in the form of IPv6, or ``localhost``."""
    parsed = parse_ip(host)
    return is_loopback(host if parsed is None else str(parsed))


def _usual_spelling(host: str) -> str:
    """Return an IPv4 address with four numbers, which resolvers also read as ``0xa9fea9fe`` or ``127.1``."""
    try:
        return socket.inet_ntoa(socket.inet_aton(host)) if host[:1].isdigit() else host
    except OSError:
        return host
