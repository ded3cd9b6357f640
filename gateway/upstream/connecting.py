"""New connections to providers: TCP, a tunnel through a proxy, TLS."""

from typing import Final

import trio

from gateway.upstream.errors import failure
from gateway.upstream.http11 import read_head
from gateway.upstream.network import NetworkStream, open_stream
from gateway.upstream.proxies import proxy_headers
from gateway.upstream.roots import TlsRoots
from gateway.upstream.route import UpstreamRoute


async def connect(route: UpstreamRoute, roots: TlsRoots, timeout: float) -> NetworkStream:
    """A new connection along ``route``, on which a request can go out.

    ``timeout`` (seconds) holds for each of its steps: name and TCP connection together, a TLS handshake, the proxy's
    answer. Raises ``UpstreamError``. Cancelled, it has left nothing open."""
    first = route.origin if route.proxy is None else route.proxy.origin
    context = await roots.context() if first.secure or route.origin.secure else None
    stream = await open_stream(first.host, first.port, timeout)
    try:
        if context is not None and first.secure:
            stream = await stream.start_tls(context, first.host, timeout)
        if context is not None and route.tunnelled:
            await _open_tunnel(stream, route, timeout)
            stream = await stream.start_tls(context, route.origin.host, timeout)
    except BaseException:
        await stream.abort()  # noqa: ASYNC102 -- it waits for nothing
        raise
    return stream


_CONNECT: Final = b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n"


async def _open_tunnel(stream: NetworkStream, route: UpstreamRoute, timeout: float) -> None:
    """Have the proxy connect to the provider (RFC 9110, section 9.3.6)."""
    authority = route.origin.authority
    assert route.proxy is not None
    credentials = b"".join(b"%b: %b\r\n" % pair for pair in proxy_headers(route.proxy))
    try:
        with trio.fail_after(timeout):
            await stream.write(_CONNECT % (authority, authority, credentials))
            head = await read_head(stream)
    except trio.TooSlowError as error:
        raise failure("connect_timeout") from error
    if not 200 <= head.status < 300 or head.rest:  # TLS begins with us: there is nothing yet that could follow
        raise failure("proxy") from ConnectionError(f"the proxy answered {head.status}")
