"""IP addresses of clients, and counts of events by address."""

import ipaddress
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final, TypeAlias

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


ADDRESSES: Final = 4096
"""Addresses with a count of their own; all others share one count."""

_OTHERS: Final = "others"


class AddressCounts:
    """The counts of one kind of event, such as wrong keys. An address may have ``most`` of them in ``seconds``.

    The windows of time are fixed, the same for all addresses."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._began = clock()
        self._counts: dict[str, int] = {}

    def count(self, address: str | None) -> int:
        """Count an event of ``address``. Return the seconds to wait if the address has too many now, otherwise 0."""
        now, name = self._current_window(address)
        self._counts[name] = count = self._counts.get(name, 0) + 1
        return self._wait(now) if count > self._most else 0

    def seconds_to_wait(self, address: str | None) -> int:
        """Return the seconds until ``address`` may cause another event, 0 if it may now. Count nothing."""
        now, name = self._current_window(address)
        return self._wait(now) if self._counts.get(name, 0) >= self._most else 0

    def _current_window(self, address: str | None) -> tuple[float, str]:
        """Begin another window if it is time. Return the time, and the name under which ``address`` counts."""
        now = self._clock()
        if now - self._began >= self._seconds:
            self._began, self._counts = now, {}
        name = counted_name(address or "")
        return now, name if name in self._counts or len(self._counts) < ADDRESSES else _OTHERS

    def _wait(self, now: float) -> int:
        return max(1, int(self._began + self._seconds - now))


@lru_cache(256)
def counted_name(address: str) -> str:
    """Return the name under which events of ``address`` count."""
    parsed = parse_ip(address)
    return address if parsed is None else customer_of(parsed)
