"""A process's open client connections, its running requests, and the limits of both."""

import contextlib
import math
from collections import Counter
from collections.abc import Collection, Iterator
from heapq import nsmallest
from typing import Final, NoReturn, Protocol

import trio

from gateway.http.addresses import IpNetwork, customer_of, parse_ip

LARGEST_MESSAGE: Final = 16 * 2**20
"""The default limit on a websocket message in bytes."""

SPARE_CONNECTIONS: Final = 64
"""Connections for health checks alone, in addition to those that are counted."""
EVICTED_AT_ONCE: Final = 64
STEADY: Final = 0.25
"""Seconds for which a connection must be idle before it is ended for another: a new one is about to send a request."""
SCAN_SECONDS: Final = 0.1
"""Seconds between two scans of all connections, which are too expensive to do for each new connection."""
SWEEP_SECONDS: Final = 0.05
"""The least seconds between two sweeps: by so much an idle connection may outlive its deadline."""


class OpenConnection(Protocol):
    """A client's open connection: its address, its idle time, and the ways to end it."""

    client: tuple[str, int] | None
    """The address of the client, if it has one."""

    @property
    def idle_since(self) -> float:
        """When it became idle, on trio's clock; infinite while it is busy."""

    def end_idle(self) -> None:
        """End the connection if it is idle, or as soon as it becomes idle."""

    def end_if_due(self, now: float) -> float:
        """End the connection if it has been idle for too long at ``now``. Return when to call this again."""

    def cut(self) -> None:
        """Close the socket synchronously, also during reads and writes."""

    def reset(self) -> None:
        """Cut the connection with an RST."""


class ConnectionRegistry:
    """The client connections that a process has open."""

    def __init__(self) -> None:
        self.connections: set[OpenConnection] = set()
        self.draining = False
        """The process stops: readiness returns 503, and each response asks its client to connect elsewhere."""
        self.in_flight = 0
        """Requests whose responses have not ended."""
        self.max_connections = 0
        """The limit on connections: one more is for health checks alone. 0 is no limit."""
        self.max_per_address = 0
        """The limit on connections from one address that is not this machine's. 0 is no limit."""
        self.unlimited: Collection[IpNetwork] = ()
        """Networks without that limit: a proxy has the connections of many."""
        self.health_paths: Collection[str] = ()
        """The paths of health checks, which are answered beyond the limits."""
        self._counted = 0  # places of counted connections
        self._spare_counts: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()
        self._next_scan = 0.0
        self._next_sweep = math.inf
        self._sweep_wait = trio.CancelScope()
        self.largest_message = LARGEST_MESSAGE
        """The limit on a websocket message in bytes: a larger one closes the websocket (1009)."""

    def has_room(self) -> bool:
        """Return whether one more connection is accepted. If there are too many, those that have been idle for longest
        are ended for it: otherwise a client that opens connections without requests would lock out all others."""
        return not 0 < self.max_connections <= self._counted or self._end_longest_idle(trio.current_time())

    def _end_longest_idle(self, now: float) -> bool:
        if now < self._next_scan:
            return False
        self._next_scan = now + SCAN_SECONDS
        idle = [connection for connection in self.connections if connection.idle_since <= now - STEADY]
        for connection in nsmallest(EVICTED_AT_ONCE, idle, key=lambda connection: connection.idle_since):
            connection.end_idle()
        return bool(idle)

    def expect_end(self, deadline: float) -> None:
        """Let ``end_idle_in_time`` check the connections at ``deadline``."""
        if deadline < self._next_sweep:
            self._next_sweep = self._sweep_wait.deadline = deadline

    async def end_idle_in_time(self) -> NoReturn:
        """End the connections that have been idle for too long, until cancelled.

        One task does this for all, because a deadline costs more to set than to check. Most are never reached."""
        while True:
            with trio.CancelScope(deadline=self._next_sweep) as self._sweep_wait:
                await trio.sleep_forever()
            now = trio.current_time()
            deadlines = [connection.end_if_due(now) for connection in tuple(self.connections)]
            self._next_sweep = max(now + SWEEP_SECONDS, min(deadlines, default=math.inf))

    @contextlib.contextmanager
    def reserve(self) -> Iterator[bool]:
        """Count a connection; false if the limit on connections is reached."""
        if not self.has_room():
            yield False
            return
        self._counted += 1
        try:
            yield True
        finally:
            self._counted -= 1

    @contextlib.contextmanager
    def reserve_spare(self, purpose: str) -> Iterator[bool]:
        """Reserve one of the few connections beyond the limit for ``purpose``; false if none is free."""
        if self._spare_counts[purpose] >= SPARE_CONNECTIONS:
            yield False
            return
        self._spare_counts[purpose] += 1
        try:
            yield True
        finally:
            self._spare_counts[purpose] -= 1

    @contextlib.contextmanager
    def count_address(self, address: str | None) -> Iterator[bool]:
        """Count a connection from ``address``; false if that address has too many."""
        key = self._counting_key(address)
        if key is None:
            yield True
            return
        self._addresses[key] += 1
        try:
            yield not 0 < self.max_per_address < self._addresses[key]
        finally:
            self._addresses[key] -= 1
            if not self._addresses[key]:
                del self._addresses[key]

    def _counting_key(self, address: str | None) -> str | None:
        """Return the key under which connections from ``address`` are counted.

        Return ``None`` for an address without a limit, or for no address (a Unix socket)."""
        found = parse_ip(address or "")
        if found is None or found.is_loopback or any(found in network for network in self.unlimited):
            return None
        return customer_of(found)

    def end_idle_connections(self) -> None:
        """End each connection once it is idle, which most are already."""
        for connection in tuple(self.connections):
            connection.end_idle()

    def cut_connections(self) -> None:
        """Close every connection's socket: this also ends a write that is blocked and shielded."""
        for connection in tuple(self.connections):
            connection.cut()
