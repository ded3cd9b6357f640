"""The HTTP client for providers.

A general client would keep cookies (one tenant's ``set-cookie`` would reach the next tenant's request), follow
redirects, add headers, and cost more per request. It only speaks HTTP/1.1, because a closed connection stops a provider
immediately. It has no timeouts on reads and writes; callers use cancel scopes, whose deadlines can move."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import trio

from gateway.http.offload import CLIENT
from gateway.upstream.address import Address, parse_address
from gateway.upstream.errors import StaleConnection
from gateway.upstream.framing import MAX_CHUNK
from gateway.upstream.http11 import WireRequest
from gateway.upstream.lookups import NameLookups, foreign_names
from gateway.upstream.network import TlsRoots
from gateway.upstream.pool import Pool, PoolStats
from gateway.upstream.proxies import ProxyRules, UpstreamRoute, proxy_headers
from gateway.upstream.request import UpstreamRequest, wire_headers
from gateway.upstream.response import UpstreamResponse
from gateway.upstream.slots import ConcurrencyLimit, ConnectionShare

_ROUTES: Final = 512  # URLs whose routes are remembered

STALE_SECONDS: Final = 1.0
"""Seconds within which a break of a reused connection means that it was already dead. Later the provider may have
processed the request, and would bill a second one."""


class Upstream(trio.abc.AsyncResource):
    """All connections of this process to providers.

    ``max_connections`` bounds those in use (0: unlimited); ``pool_timeout`` is how many seconds a request waits for
    one; ``share`` is the limit of each client. ``max_chunk`` (bytes) bounds each chunk of a response. ``ca_path`` is
    a file or directory of certificates that replaces the system's. ``trust_env`` reads ``HTTPS_PROXY``,
    ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY`` (also in lower case), ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` from the
    environment, once. ``permits_address`` decides which IP addresses it connects to without a proxy (``None``: all)."""

    def __init__(
        self,
        *,
        max_connections: int = 0,
        max_chunk: int = MAX_CHUNK,
        pool_timeout: float = 5.0,
        share: ConnectionShare | None = None,
        ca_path: str | None = None,
        trust_env: bool = True,
        permits_address: Callable[[str], bool] | None = None,
    ) -> None:
        self._slots = ConcurrencyLimit(max_connections, pool_timeout, share)
        self._max_chunk = max_chunk
        self._ca_path, self._trust_env = ca_path, trust_env
        self._proxies = ProxyRules.of_environment() if trust_env else ProxyRules({})
        self._find_route: Callable[[str], tuple[Address, UpstreamRoute]] = lru_cache(_ROUTES)(self._make_route)
        self._pool = Pool(TlsRoots(ca_path, trust_env), self._slots, permits_address)

    def begin(self) -> None:
        """Look up names in threads of their own from now on, unless this run of trio has another resolver."""
        if (other := trio.socket.set_custom_hostname_resolver(NameLookups())) is not None:
            trio.socket.set_custom_hostname_resolver(other)

    def restricted_client(self, permits_address: Callable[[str], bool]) -> "Upstream":
        """Return a client with the same certificates and proxies for addresses that others choose. Close it."""
        return _RestrictedUpstream(ca_path=self._ca_path, trust_env=self._trust_env, permits_address=permits_address)

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send ``request`` and return the head of the response, whatever its status.

        Does not follow redirects. Raises ``UpstreamError``. Cancellation closes the connection immediately, so the
        provider stops. If a pooled connection was dead and broke immediately, the request is sent once more if
        ``claim_resend`` allows it."""
        slot = await self._slots.take(CLIENT.get())
        try:
            if request.on_send is not None:
                request.on_send(request, slot.waited)
            route, wire = self._route_and_wire(request)
            began = time.monotonic()
            try:
                response, attempts = await self._pool.send(route, wire, request.connect_timeout, request.on_connect), 1
            except StaleConnection:
                if time.monotonic() - began > STALE_SECONDS or not request.claim_resend():
                    raise
                # The server closed it while the request went out. Close the other idle ones of that age, so that the
                # next is new.
                await self._pool.close_idle(route)
                response, attempts = await self._pool.send(route, wire, request.connect_timeout, request.on_connect), 2
            return UpstreamResponse(response, attempts, slot.free, request.identity)
        except BaseException:
            slot.free()
            raise

    def _make_route(self, url: str) -> tuple[Address, UpstreamRoute]:
        address = parse_address(url)
        return address, UpstreamRoute(address.origin, self._proxies.proxy_for(address.origin))

    def _route_and_wire(self, request: UpstreamRequest) -> tuple[UpstreamRoute, WireRequest]:
        address, route = self._find_route(request.url)
        headers, target = wire_headers(request, address.host_header), address.target
        if route.is_forwarding and route.proxy is not None:
            headers, target = [*proxy_headers(route.proxy), *headers], address.absolute
        most = self._max_chunk if request.max_chunk is None else request.max_chunk
        method, upgrades = request.method.encode("ascii"), request.upgrade is not None
        body, upload = request.body, request.upload
        wire = WireRequest(method, target, headers, body, most, upgrades, upload, request.before_end, request.after_end)
        return route, wire

    def set_limits(self, max_connections: int, max_chunk: int) -> None:
        """Change the limits. Running requests continue."""
        self._slots.set_limit(max_connections)
        self._max_chunk = max_chunk

    def set_share(self, share: ConnectionShare) -> None:
        """Change the share of each client."""
        self._slots.set_share(share)

    def stats(self) -> PoolStats:
        """Return the current numbers of connections and requests."""
        idle, active = self._pool.idle, self._slots.taken_slots
        return PoolStats(idle + active, idle, active, self._slots.waiting)

    async def aclose(self) -> None:
        """Close every connection; responses that are still being read fail as cut."""
        await self._pool.aclose()


class _RestrictedUpstream(Upstream):
    """A client for addresses that others choose."""

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        with foreign_names():
            return await super().send(request)
