"""Addresses of clients: the peer's, or behind trusted proxies the one in ``X-Forwarded-For``.

Clients can send any value in that header, so only addresses that trusted proxies appended count
(https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/X-Forwarded-For, "Selecting an IP address")."""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from gateway.config.kinds import UNIX
from gateway.http.addresses import parse_ip

_HOPS: Final = 32  # addresses that are read
_KNOWN: Final = 1024  # peers whose trust is remembered


class Peers:
    """The clients at the other end of connections; ``trusted`` has the networks of proxies, and ``unix``."""

    def __init__(self, trusted: Iterable[str]) -> None:
        words = frozenset(trusted)
        self._unix = UNIX in words
        self._networks = tuple(ipaddress.ip_network(word) for word in words if word != UNIX)
        self._has_proxies = bool(words)
        self._trusts: Callable[[str], bool] = lru_cache(_KNOWN)(self._is_trusted)

    def address_of(self, asgi: Mapping[str, Any]) -> str:
        """Return the client's address for the request or handshake of an ASGI scope; ``unix`` on a Unix socket."""
        client = asgi.get("client")
        peer = client[0] if client and client[0] else UNIX
        if not self._has_proxies or not self._trusts(peer):
            return str(peer)
        return self._forwarded_address(
            peer, b",".join(value for name, value in asgi["headers"] if name == b"x-forwarded-for")
        )

    def _forwarded_address(self, peer: str, value: bytes) -> str:
        """Return the last untrusted address in ``value``, or the first address if all are trusted.

        At a word that is no address, return the address after it."""
        for word in reversed(value.decode("latin-1").rsplit(",", _HOPS)[-_HOPS:]):
            found = _address(word.strip())
            if found is None:
                break
            peer = found
            if not self._trusts(peer):
                break
        return peer

    def _is_trusted(self, peer: str) -> bool:
        if peer == UNIX:
            return self._unix
        address: Any = parse_ip(peer)
        return address is not None and any(address in network for network in self._networks)


def _address(word: str) -> str | None:
    """Return the address in a member of ``X-Forwarded-For``, which some proxies write with a port."""
    if word.startswith("["):
        word = word[1:].partition("]")[0]
    elif word.count(":") == 1:
        word = word.partition(":")[0]
    address = parse_ip(word)
    return None if address is None else str(address)
