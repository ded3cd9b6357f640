"""A pool of HTTP/1.1 keep-alive connections to providers, each with one request at a time."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

import attrs
import trio

from gateway.upstream.errors import FAILURES, UpstreamError, failure
from gateway.upstream.http11 import Connection, WireRequest, WireResponse, read_head
from gateway.upstream.network import NetworkStream, TlsRoots, open_stream
from gateway.upstream.proxies import UpstreamRoute, proxy_headers
from gateway.upstream.slots import ConcurrencyLimit


async def connect(
    route: UpstreamRoute, roots: TlsRoots, timeout: float, permits_address: Callable[[str], bool] | None = None
) -> NetworkStream:
    """Open a connection along ``route``, ready for a request. ``permits_address`` decides about direct connections.

    ``timeout`` (seconds) applies to each step: name lookup and TCP connection together, each TLS handshake, the proxy's
    response. Raises ``UpstreamError``. Cancellation leaves nothing open."""
    first = route.origin if route.proxy is None else route.proxy.origin
    context = await roots.context() if first.secure or route.origin.secure else None
    stream = await open_stream(first.host, first.port, timeout, None if route.proxy else permits_address)
    try:
        if context is not None and first.secure:
            stream = await stream.start_tls(context, first.host, timeout)
        if context is not None and route.is_tunnel:
            await _open_tunnel(stream, route, timeout)
            stream = await stream.start_tls(context, route.origin.host, timeout)
    except BaseException:
        await stream.abort()  # noqa: ASYNC102 -- it waits for nothing
        raise
    return stream


_CONNECT: Final = b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n"


async def _open_tunnel(stream: NetworkStream, route: UpstreamRoute, timeout: float) -> None:
    """Request the proxy's connection to the provider (RFC 9110, section 9.3.6)."""
    authority = route.origin.authority
    assert route.proxy is not None
    credentials = b"".join(b"%b: %b\r\n" % pair for pair in proxy_headers(route.proxy))
    try:
        with trio.fail_after(timeout):
            await stream.write(_CONNECT % (authority, authority, credentials))
            head = await read_head(stream)
    except trio.TooSlowError as error:
        raise failure("connect_timeout") from error
    except UpstreamError as error:
        raise failure("proxy") from error
    if not 200 <= head.status < 300:
        kind, message = FAILURES["proxy"]
        raise UpstreamError(kind, f"{message} (status {head.status})", cause="proxy")
    if head.rest:  # in TLS the client speaks first, so nothing valid can follow yet
        raise failure("proxy")


# Load balancers in front of providers drop idle connections after a minute or less.
MAX_IDLE: Final = 64
IDLE_SECONDS: Final = 30.0
SWEEP: Final = 5.0
"""Seconds between two searches for dead idle connections."""


@attrs.frozen(repr=False)
class PoolStats:
    """The current numbers of connections and of waiting requests. ``active`` includes connections that are being
    opened."""

    connections: int = 0
    idle: int = 0
    active: int = 0
    queued: int = 0


class Pool:
    """The connections to providers. Each caller of ``send`` has a slot, so there are no more connections than
    ``slots``, including idle ones."""

    def __init__(
        self, roots: TlsRoots, slots: ConcurrencyLimit, permits_address: Callable[[str], bool] | None = None
    ) -> None:
        self._roots = roots
        self._permits_address = permits_address
        self._slots = slots
        self._active: set[Connection] = set()
        self._idle: deque[tuple[Connection, float]] = deque()  # with their expiries; the last was used last
        self._closed = self._is_sweeping = False

    async def send(
        self,
        route: UpstreamRoute,
        request: WireRequest,
        connect_timeout: float,
        on_connect: Callable[[], object] | None = None,
    ) -> WireResponse:
        """Send ``request`` and return its response; closing the body returns the connection.

        ``on_connect()`` is called after a new connection is made for it. Raises ``UpstreamError``. If cancelled, it
        leaves nothing open."""
        kept = await self._take_idle(route) if request.upload is None else None  # an upload cannot be repeated
        connection = kept or await self._connect(route, connect_timeout)
        self._active.add(connection)
        if self._closed:  # meanwhile: the request fails as cut
            await _close(connection)
        if kept is None and on_connect is not None:
            on_connect()
        return await connection.send(request)

    async def _take_idle(self, route: UpstreamRoute) -> Connection | None:
        """Return the usable connection along ``route`` that was used last."""
        for entry in reversed(self._idle):
            if entry[0].route is route or entry[0].route == route:
                break
        else:
            return None
        self._idle.remove(entry)
        connection, expires = entry
        if time.monotonic() < expires and not connection.stream.readable:
            return connection
        await _close(connection)
        return await self._take_idle(route)

    async def _connect(self, route: UpstreamRoute, timeout: float) -> Connection:
        while self._idle and len(self._idle) + self._slots.taken_slots > self._slots.most:
            await _close(self._idle.popleft()[0])
        stream = await connect(route, self._roots, timeout, self._permits_address)
        return Connection(route, stream, self._release)

    async def _release(self, connection: Connection, reusable: bool) -> None:
        self._active.discard(connection)
        if reusable and not self._closed:
            now = time.monotonic()
            self._idle.append((connection, now + IDLE_SECONDS))
            if not self._is_sweeping:
                self._is_sweeping = True
                trio.lowlevel.spawn_system_task(self._sweep)
            while self._idle and (self._idle[0][1] < now or len(self._idle) > MAX_IDLE):  # other tasks may take some
                await _close(self._idle.popleft()[0])
        else:
            await _close(connection)

    async def close_idle(self, route: UpstreamRoute) -> None:
        """Close all idle connections along ``route``."""
        await self._drop([entry for entry in self._idle if entry[0].route == route])

    async def _sweep(self) -> None:
        """Close the idle connections that have expired, or whose other side has closed, until there are none.

        They would stay in CLOSE_WAIT, like leaks. One task does this, so that requests pay nothing."""
        while self._idle:
            await trio.sleep(SWEEP)
            now = time.monotonic()
            await self._drop([entry for entry in self._idle if entry[1] < now or entry[0].stream.readable])
        self._is_sweeping = False

    async def _drop(self, entries: list[tuple[Connection, float]]) -> None:
        for entry in entries:  # before any wait, so that no request takes one
            self._idle.remove(entry)
        for connection, _ in entries:
            await _close(connection)

    async def aclose(self) -> None:
        """Close every connection, and later ones immediately; responses that are still being read fail as cut."""
        self._closed = True
        for connection in (*self._active, *(connection for connection, _ in self._idle)):
            await _close(connection)
        self._idle.clear()

    @property
    def idle(self) -> int:
        """The number of idle connections."""
        return len(self._idle)


async def _close(connection: Connection) -> None:
    with trio.CancelScope(shield=True):
        await connection.stream.aclose()
