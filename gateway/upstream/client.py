"""The HTTP client towards providers. With ``pool.py``, ``http11.py`` and ``network.py`` it alone knows httpx2 and
httpcore2.

The pool and its connections are ours; httpcore2's are used where a proxy is between, and its names for what goes wrong
everywhere. httpx2's client would keep cookies (one tenant's ``set-cookie`` goes out with the next tenant's request),
follow redirects, add headers, and costs more per request. From httpx2 come only the parsing of URLs and of proxy
variables, and the decompression.

HTTP/1.1 only: httpcore2 does not reset an HTTP/2 stream that is dropped, so the provider would go on generating.
There are no timeouts on reads and writes here: those are the caller's cancel scopes, whose deadline can move.
"""

import re
import ssl
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from functools import lru_cache, partial
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, cast

import attrs
import httpcore2
import httpx2
import trio
from httpx2._decoders import SUPPORTED_DECODERS, MultiDecoder
from httpx2._utils import URLPattern, get_environment_proxies

from gateway.http.headers import as_text
from gateway.upstream.http11 import Answer, Readable, Request
from gateway.upstream.network import Backend, Refusal, StaleConnection, TlsFailure, UnknownHost
from gateway.upstream.pool import IDLE_SECONDS, MAX_IDLE, Pool, PoolStats
from gateway.upstream.slots import ConcurrencyLimit, Slot
from streams.errors import GatewayError
from streams.events import ErrorKind

Cause: TypeAlias = Literal[
    "refused", "dns", "tls", "connect", "connect_timeout", "pool_timeout", "proxy", "cut", "encoding", "too_large",
    "config",
]  # fmt: skip

# RFC 9110 sections 5.1 and 5.5. The check stands before h11's own, whose message quotes the value: maybe a credential.
_FIELD_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(r"(?:[!-~\x80-\xff]+(?:[ \t]+[!-~\x80-\xff]+)*)?")


class UpstreamError(GatewayError):
    """A provider could not be reached or did not answer whole. ``cause`` is one word for the log and for metrics.

    ``__cause__`` is the client library's exception. It may name addresses, so it belongs in the log only.
    """

    def __init__(self, kind: ErrorKind, message: str, *, cause: Cause = "cut", **fields: Any) -> None:
        super().__init__(kind, message, **fields)
        self.cause: Cause = cause


@attrs.frozen
class UpstreamRequest:
    """One request to a provider.

    ``headers`` are sent in this order as they are, less the framing ones, which follow from ``body``. A ``host`` among
    them wins over the host of ``url``; the TLS server name is always that of ``url``. ``connect_timeout`` (seconds)
    holds for the name and the TCP connection together, and again for the TLS handshake. ``placed(waited)`` is called
    once it has its place among those under way, with whether it had to wait for it; ``connected()`` once there is a
    connection, if one is made for it and no proxy makes it.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)  # credentials
    body: bytes = attrs.field(default=b"", repr=False)
    connect_timeout: float = 5.0
    placed: Callable[[bool], object] | None = attrs.field(default=None, repr=False, eq=False)
    connected: Callable[[], object] | None = attrs.field(default=None, repr=False, eq=False)


class UpstreamResponse(trio.abc.AsyncResource):
    """The head of a provider's answer, and its body as it comes. One task at a time may use it.

    Whoever holds one closes it (``async with response``, or ``aclose()`` in a ``finally``): until then it holds its
    place among those under way. The end of the body, a failure and a cancellation while reading close it too.
    """

    def __init__(self, answer: Answer, attempts: int, place: Slot) -> None:
        self._closed = self._whole = False
        self._place = place
        self._body = answer.body
        self._read = answer.body.read
        self._decoding: AsyncGenerator[bytes, None] | None = None
        self.status = answer.status
        self.attempts = attempts  # 2 if the first went to a pooled connection that was dead
        headers = as_text(answer.headers)
        if codings := _codings(headers):
            self._decoding = _decoded(answer.body, codings)
            self._read = partial(anext, self._decoding, b"")
            headers = tuple(pair for pair in headers if pair[0] not in ("content-encoding", "content-length"))
        self.headers: tuple[tuple[str, str], ...] = headers

    def header(self, name: str) -> str | None:
        """The first value of the header ``name`` (lower case)."""
        return next((value for key, value in self.headers if key == name), None)

    def chunks(self) -> AsyncIterator[bytes]:
        """The body in the pieces in which it comes, decompressed, each of 1 MiB at most and none empty.

        Raises ``UpstreamError`` when it breaks off. That it ends well does not say that the answer is whole: one
        delimited by the connection's end cannot tell. After ``aclose`` it raises ``trio.ClosedResourceError``.
        """
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._closed and not self._whole:
            raise trio.ClosedResourceError("the response was closed before its end")
        try:  # the end, a failure, a cancellation: all of them give the place back
            if piece := await self._read():
                return piece
        except TRANSPORT_ERRORS as error:
            await self.aclose()
            raise _failure(error) from error
        except BaseException:
            await self.aclose()
            raise
        self._whole = True
        await self.aclose()
        raise StopAsyncIteration

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises ``UpstreamError`` when it breaks off, or is longer than ``limit`` bytes."""
        parts, size = [], 0
        async for piece in self.chunks():
            size += len(piece)
            if size > limit:
                await self.aclose()
                raise UpstreamError("upstream", TOO_LARGE.format(limit), cause="too_large")
            parts.append(piece)
        return b"".join(parts)

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end, else close it at once. Cannot be cancelled."""
        if self._closed:
            return
        self._closed = True
        # A response that is not closed holds its connection and its place for ever: they are referred to, so no garbage
        # collection frees them.
        try:
            if self._decoding is not None:
                with trio.CancelScope(shield=True):
                    await self._decoding.aclose()
            await self._body.aclose()
        finally:
            self._place.free()

    def __del__(self) -> None:
        if not self._closed:
            warnings.warn(f"unclosed {self!r}: its place in the pool is lost", ResourceWarning, stacklevel=2)


class Upstream(trio.abc.AsyncResource):
    """All connections to providers of this process: one pool for each scheme and proxy.

    ``max_connections`` bounds those in use, of all pools together (0: any number); ``pool_timeout`` (seconds) is how
    long a request waits for one. ``ca_path`` is a file or directory of certificates in the place of the system's.
    ``trust_env`` takes ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY`` (also in lower case),
    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` from the environment, once.
    """

    def __init__(
        self,
        *,
        max_connections: int = 0,
        pool_timeout: float = 5.0,
        ca_path: str | None = None,
        trust_env: bool = True,
    ) -> None:
        self._places = ConcurrencyLimit(max_connections, pool_timeout)
        self._ca_path = ca_path
        self._trust_env = trust_env
        proxies = get_environment_proxies() if trust_env else {}
        # The most specific pattern first; None is an entry of NO_PROXY.
        self._proxies = sorted(((URLPattern(key), url) for key, url in proxies.items()), key=itemgetter(0))
        self._pools: dict[tuple[str, str | None], _AnyPool] = {}
        self._roots: ssl.SSLContext | None = None

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Send ``request`` and wait for the head of the answer, whatever its status. Redirects are not followed.

        Raises ``UpstreamError``. Cancelling closes the connection at once, which is how a provider learns to stop.
        A request that met a dead connection from the pool is sent once more.
        """
        try:
            place = await self._places.take()
            try:
                if request.placed is not None:
                    request.placed(place.waited)
                return await self._answer(request, place)
            except BaseException:
                place.free()
                raise
        except TRANSPORT_ERRORS as error:
            raise _failure(error) from error

    async def _answer(self, request: UpstreamRequest, place: Slot) -> UpstreamResponse:
        address = _address(request.url)
        headers = _wire_headers(request, address.host)
        wire = Request(address.origin, request.method.encode("ascii"), address.url, headers, request.body)
        pool = await self._pool_for(address.parsed)
        try:
            answer, attempts = await pool.ask(wire, request.connect_timeout, request.connected), 1
        except StaleConnection:
            # The server closed it as the request went out. Its siblings are as old: without them the next one is fresh.
            await pool.close_idle(wire.origin)
            answer, attempts = await pool.ask(wire, request.connect_timeout, request.connected), 2
        return UpstreamResponse(answer, attempts, place)

    def bound(self, max_connections: int) -> None:
        """Another bound from now on. Answers that are being read are read to their ends."""
        self._places.bound(max_connections)

    def stats(self) -> PoolStats:
        """What all pools hold now."""
        idle, active = sum(pool.idle for pool in self._pools.values()), self._places.taken
        return PoolStats(idle + active, idle, active, self._places.waiting)

    async def aclose(self) -> None:
        """Close every connection; answers that are still being read fail as cut."""
        for pool in self._pools.values():
            await pool.aclose()

    async def _pool_for(self, url: httpx2.URL) -> "_AnyPool":
        proxy_url = next((proxy for pattern, proxy in self._proxies if pattern.matches(url)), None)
        key = (url.scheme, proxy_url)
        if key not in self._pools:
            proxy = _parsed_proxy(proxy_url) if proxy_url else None
            # Loading the roots takes about 20 ms; plain HTTP never needs them.
            roots = await self._tls_roots() if "https" in (url.scheme, proxy and proxy.url.scheme) else None
            pool = _ProxyPool(proxy, roots) if proxy else Pool(Backend(), roots, self._places)
            self._pools.setdefault(key, pool)  # another request may have made it in the meantime
        return self._pools[key]

    async def _tls_roots(self) -> ssl.SSLContext:
        if self._roots is None:
            try:
                self._roots = await trio.to_thread.run_sync(_load_roots, self._ca_path, self._trust_env)
            except OSError as error:  # ssl.SSLError is one
                raise _misconfigured(NO_ROOTS) from error
        return self._roots


@attrs.frozen
class _Address:
    """A URL taken apart: for the proxy table, for the pool, and as the value of ``host``."""

    parsed: httpx2.URL
    url: httpcore2.URL
    origin: httpcore2.Origin
    host: bytes


@lru_cache(maxsize=256)
def _address(text: str) -> _Address:
    try:
        parsed = httpx2.URL(text)
    except httpx2.InvalidURL:
        raise _misconfigured(NO_ADDRESS) from None  # the error may quote a password in it
    if parsed.scheme not in ("http", "https") or not parsed.raw_host or (parsed.port or 0) > 65535:
        raise _misconfigured(NO_ADDRESS)
    url = httpcore2.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)
    return _Address(parsed, url, url.origin, parsed.netloc)


def _wire_headers(request: UpstreamRequest, host: bytes) -> list[tuple[bytes, bytes]]:
    names = {name.lower() for name, _ in request.headers}
    if sum(name.lower() == "host" for name, _ in request.headers) > 1:
        raise _misconfigured(TWO_HOSTS)
    headers = [] if "host" in names else [(b"host", host)]
    for name, value in request.headers:
        if not (_FIELD_NAME.fullmatch(name) and _is_value(value)):
            raise _misconfigured(BAD_HEADER.format(name))
        if name.lower() not in ("content-length", "transfer-encoding"):
            headers.append((name.encode("ascii"), value.encode("latin-1")))
    if request.body or request.method == "POST":
        headers.append((b"content-length", b"%d" % len(request.body)))
    return headers


def _is_value(text: str) -> bool:
    if text.isascii() and text.isprintable() and text[:1] != " " != text[-1:]:  # as nearly all are
        return True
    return _FIELD_VALUE.fullmatch(text) is not None


def _codings(headers: Iterable[tuple[str, str]]) -> list[str]:
    """The content codings in the order in which they were applied; without any, nothing needs decoding."""
    words = ",".join(value for name, value in headers if name == "content-encoding").lower().split(",")
    return [word for word in map(str.strip, words) if word not in ("", "identity")]


async def _decoded(raw: Readable, codings: Sequence[str]) -> AsyncGenerator[bytes, None]:
    """``raw`` decompressed in pieces of 1 MiB at most, so that a bomb meets the reader's limit and not our memory.

    ``identity`` is asked for, but some proxies and providers compress all the same.
    """
    for coding in codings:
        if coding not in SUPPORTED_DECODERS:  # MultiDecoder would pass the compressed bytes on in silence
            raise UpstreamError("upstream", UNREADABLE_CODING.format(coding[:20]), cause="encoding")
    decoder = MultiDecoder(codings)
    while data := await raw.read():
        for piece in decoder.decode(data):
            if piece:
                yield piece
    for piece in decoder.flush():
        if piece:
            yield piece


class _ProxyPool(httpcore2.AsyncConnectionPool):
    """httpcore2's pool for what goes through a proxy, which also gives up the connections that a failed request left
    half made. It has no bound of its own: who asks has a place."""

    def __init__(self, proxy: httpx2.Proxy, roots: ssl.SSLContext | None) -> None:
        super().__init__(
            ssl_context=roots,
            proxy=_pool_proxy(proxy, roots),
            max_connections=None,
            max_keepalive_connections=MAX_IDLE,
            keepalive_expiry=IDLE_SECONDS,
            network_backend=Backend(),
        )

    async def ask(
        self, request: Request, connect_timeout: float, connected: Callable[[], object] | None = None
    ) -> Answer:
        """As ``Pool.ask`` does, but that it is the proxy which knows when there is a connection."""
        timeouts = {"timeout": {"connect": connect_timeout}}
        wire = httpcore2.Request(
            request.method, request.url, headers=list(request.headers), content=request.body, extensions=timeouts
        )
        response = await self.handle_async_request(wire)
        return Answer(response.status, tuple(response.headers), _ProxyBody(response))

    async def handle_async_request(self, request: httpcore2.Request) -> httpcore2.Response:
        try:
            return await super().handle_async_request(request)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._close_orphans()
            raise

    async def _close_orphans(self) -> None:
        # A request that is cancelled between connecting and sending, and a tunnel whose TLS handshake fails, leave a
        # connection that belongs to no request and is not idle. httpcore2 would count it as busy for ever.
        owned = {request.connection for request in self._requests}
        orphans = [one for one in self._connections if one not in owned and not one.is_idle() and not one.is_closed()]
        if orphans:
            await self._close_connections(orphans)
            await self._close_connections(self._assign_requests_to_connections())  # their places are free now

    async def close_idle(self, origin: httpcore2.Origin) -> None:
        await self._close_connections(
            [one for one in self._connections if one.can_handle_request(origin) and one.is_idle()]
        )

    @property
    def idle(self) -> int:
        """Connections that nobody uses."""
        return sum(connection.is_idle() for connection in self._connections)


class _ProxyBody:
    """A body of httpcore2's, as a ``Readable``."""

    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response
        self._pieces = cast("AsyncGenerator[bytes, None]", aiter(cast("AsyncIterator[bytes]", response.stream)))

    async def read(self) -> bytes:
        return await anext(self._pieces, b"")

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            await self._pieces.aclose()
            await self._response.aclose()


_AnyPool: TypeAlias = Pool | _ProxyPool


def _parsed_proxy(url: str) -> httpx2.Proxy:
    try:
        proxy = httpx2.Proxy(url)
    except (ValueError, httpx2.InvalidURL):
        raise _misconfigured(BAD_PROXY) from None  # the error may quote its password
    if proxy.url.scheme not in ("http", "https"):
        raise _misconfigured(BAD_PROXY)
    return proxy


def _pool_proxy(proxy: httpx2.Proxy, roots: ssl.SSLContext | None) -> httpcore2.Proxy:
    parts = proxy.url
    url = httpcore2.URL(scheme=parts.raw_scheme, host=parts.raw_host, port=parts.port, target=parts.raw_path)
    return httpcore2.Proxy(url, auth=proxy.raw_auth, ssl_context=roots if parts.scheme == "https" else None)


def _load_roots(ca_path: str | None, trust_env: bool) -> ssl.SSLContext:
    """The certificates that providers are checked against: ``ca_path``, else ``SSL_CERT_*``, else the system's."""
    if ca_path is None:
        return httpx2.create_ssl_context(trust_env=trust_env)
    if Path(ca_path).is_dir():
        return ssl.create_default_context(capath=ca_path)
    return ssl.create_default_context(cafile=ca_path)


NO_CONNECTION = "could not connect to the provider: "
NO_ADDRESS = "the provider's address is not an http or https URL with a host; correct its base_url in the config"
NO_ROOTS = "the certificates to check providers with cannot be loaded; check upstream_tls_ca_path and SSL_CERT_FILE"
BAD_PROXY = "the proxy in the gateway's environment is not an http or https URL; correct HTTPS_PROXY or ALL_PROXY"
BAD_HEADER = "the header {!r} holds characters that HTTP forbids, often a line break after a key; correct the config"
TWO_HOSTS = "the request to the provider would have two host headers; correct the headers in the config"
TOO_LARGE = "the provider's answer is larger than the limit of {} bytes"
ALL_IN_USE = "as many connections to providers are in use as the gateway's limits.upstream_connections allows"
UNREADABLE_CODING = "the provider's answer is compressed with {!r}, which was not asked for and cannot be read"

# The first row that fits; the messages are for the client, so they name no address.
_FAILURES: tuple[tuple[type[Exception], ErrorKind, Cause, str], ...] = (
    (Refusal, "upstream", "refused", NO_CONNECTION + "it refused the connection"),
    (UnknownHost, "upstream", "dns", NO_CONNECTION + "its host name could not be resolved"),
    (TlsFailure, "upstream", "tls", NO_CONNECTION + "the TLS handshake failed or its certificate is not trusted"),
    (httpcore2.ConnectError, "upstream", "connect", NO_CONNECTION + "it is not reachable from the gateway"),
    (httpcore2.ConnectTimeout, "timeout", "connect_timeout", NO_CONNECTION + "no answer within the connect timeout"),
    (httpcore2.PoolTimeout, "overloaded", "pool_timeout", ALL_IN_USE),
    (httpcore2.ProxyError, "upstream", "proxy", NO_CONNECTION + "the proxy before it refused"),
    (httpcore2.LocalProtocolError, "internal", "config", "the gateway could not write a valid request; see its log"),
    (httpcore2.NetworkError, "upstream", "cut", "the provider's connection broke before its answer was whole"),
    (httpcore2.RemoteProtocolError, "upstream", "cut", "the provider's connection broke before its answer was whole"),
    (httpx2.DecodingError, "upstream", "encoding", "the provider's answer could not be decompressed"),
)
_WAIT = (("retry-after", "1"),)
TRANSPORT_ERRORS = tuple(row[0] for row in _FAILURES)


def _failure(error: Exception) -> UpstreamError:
    kind, cause, message = next(row[1:] for row in _FAILURES if isinstance(error, row[0]))
    return UpstreamError(kind, message, cause=cause, headers=_WAIT if kind == "overloaded" else ())


def _misconfigured(message: str) -> UpstreamError:
    return UpstreamError("internal", message, cause="config")
