"""The HTTP client towards providers.

A general client would keep cookies (one tenant's ``set-cookie`` goes out with the next tenant's request), follow
redirects, add headers, and cost more per request. HTTP/1.1 only: closing its connection is how a provider learns at
once that nobody listens any more. There are no timeouts on reads and writes here: those are the caller's cancel scopes,
whose deadline can move.
"""

import time
from typing import Final

import trio

from gateway.http.offload import CLIENT
from gateway.upstream.address import parse_address
from gateway.upstream.errors import StaleConnection
from gateway.upstream.framing import MAX_CHUNK
from gateway.upstream.http11 import WireRequest
from gateway.upstream.network import TlsRoots
from gateway.upstream.pool import Pool, PoolStats
from gateway.upstream.proxies import ProxyRules, UpstreamRoute, proxy_headers
from gateway.upstream.request import UpstreamRequest, wire_headers
from gateway.upstream.response import UpstreamResponse
from gateway.upstream.slots import ConcurrencyLimit, ConnectionShare, Slot

AT_ONCE_SECONDS: Final = 1.0
"""Within which a kept connection has broken because it was dead before: later the provider may have done the work, and
bills it twice if it is asked again."""


class Upstream(trio.abc.AsyncResource):
    """All connections to providers of this process.

    ``max_connections`` bounds those in use (0: any number); ``pool_timeout`` (seconds) is how long a request waits for
    one; ``share`` says how many one client may have. ``max_chunk`` (bytes) bounds each chunk of an answer. ``ca_path``
    is a file or directory of certificates in the place of the system's. ``trust_env`` takes ``HTTPS_PROXY``,
    ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY`` (also in lower case), ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` from the
    environment, once.
    """

    def __init__(
        self,
        *,
        max_connections: int = 0,
        max_chunk: int = MAX_CHUNK,
        pool_timeout: float = 5.0,
        share: ConnectionShare | None = None,
        ca_path: str | None = None,
        trust_env: bool = True,
    ) -> None:
        self._slots = ConcurrencyLimit(max_connections, pool_timeout, share)
        self._max_chunk = max_chunk
        self._proxies = ProxyRules.of_environment() if trust_env else ProxyRules({})
        self._pool = Pool(TlsRoots(ca_path, trust_env), self._slots)

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send ``request`` and wait for the head of the answer, whatever its status. Redirects are not followed.

        Raises ``UpstreamError``. Cancelling closes the connection at once, which is how a provider learns to stop.
        A request that met a dead connection from the pool is sent once more, if that broke at once and ``again`` allows
        it.
        """
        slot = await self._slots.take(CLIENT.get())
        try:
            if request.placed is not None:
                request.placed(request, slot.waited)
            return await self._answer(request, slot)
        except BaseException:
            slot.free()
            raise

    async def _answer(self, request: UpstreamRequest, slot: Slot) -> UpstreamResponse:
        route, wire = self._prepared(request)
        began = time.monotonic()
        try:
            answer, attempts = await self._pool.ask(route, wire, request.connect_timeout, request.connected), 1
        except StaleConnection:
            if time.monotonic() - began > AT_ONCE_SECONDS or not (request.again is None or request.again()):
                raise
            # The server closed it as the request went out. Its siblings are as old: without them the next one is fresh.
            await self._pool.close_idle(route)
            answer, attempts = await self._pool.ask(route, wire, request.connect_timeout, request.connected), 2
        return UpstreamResponse(answer, attempts, slot)

    def _prepared(self, request: UpstreamRequest) -> tuple[UpstreamRoute, WireRequest]:
        address = parse_address(request.url)
        route = UpstreamRoute(address.origin, self._proxies.proxy_for(address.origin))
        headers, target = wire_headers(request, address.host_header), address.target
        if route.forwarded and route.proxy is not None:
            headers, target = [*proxy_headers(route.proxy), *headers], address.absolute
        most = self._max_chunk if request.max_chunk is None else request.max_chunk
        method, upgrades = request.method.encode("ascii"), request.upgrade is not None
        before_end = request.before_end
        return route, WireRequest(method, target, headers, request.body, most, upgrades, request.upload, before_end)

    def set_limits(self, max_connections: int, max_chunk: int) -> None:
        """Change the limits. Requests that have begun continue."""
        self._slots.set_limit(max_connections)
        self._max_chunk = max_chunk

    def set_share(self, share: ConnectionShare) -> None:
        """Change the share of each client."""
        self._slots.set_share(share)

    def stats(self) -> PoolStats:
        """The connections and requests of this moment."""
        idle, active = self._pool.idle, self._slots.taken
        return PoolStats(idle + active, idle, active, self._slots.waiting)

    async def aclose(self) -> None:
        """Close every connection; answers that are still being read fail as cut."""
        await self._pool.aclose()
