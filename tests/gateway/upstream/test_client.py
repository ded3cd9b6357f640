"""The HTTP client towards providers, on real sockets: what it sends, how it fails, and that it leaves nothing open."""

import contextlib
import gzip
import os
import random
import re
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator

import attrs
import pytest
import trio
import trio.testing
from cryptography import x509

from gateway.http.sockets import READ
from gateway.upstream import http11
from gateway.upstream.address import Origin
from gateway.upstream.client import Upstream
from gateway.upstream.errors import StaleConnection, UpstreamError
from gateway.upstream.network import open_stream
from gateway.upstream.pool import PoolStats
from gateway.upstream.proxies import UpstreamRoute
from gateway.upstream.request import UploadedBody, UpstreamRequest
from gateway.upstream.response import DENSE_BYTES
from tests.support.asgi_app import eventually
from tests.support.certificates import LOOPBACK, Authority
from tests.support.each_row import each_row
from tests.support.harness import PATIENCE, refusing_port
from tests.support.processes import no_descriptors_left

MIB = 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b"9\r\ndata: a\n\n\r\n"
REASONS = {
    **dict.fromkeys(("refused", "dns", "tls", "connect", "connect_timeout", "proxy", "cut"), "connection"),
    **dict.fromkeys(("invalid", "encoding"), "bad_answer"),
    **dict.fromkeys(("pool_timeout", "too_large", "config"), None),  # the gateway's: another provider would not help
}
"""The meaning of a failure for routing, by cause (unreachable hosts were exempt: BerriAI/litellm#27362)."""
PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class Peer:
    """The server's side of one connection."""

    def __init__(self, stream: trio.abc.Stream, number: int) -> None:
        self.stream = stream
        self.number = number
        self._buffer = bytearray()

    async def request(self) -> tuple[bytes, bytes]:
        """Head and body of the next request; two empty strings at the end of the connection."""
        while b"\r\n\r\n" not in self._buffer:
            if not (data := await self.stream.receive_some()):
                return b"", b""
            self._buffer += data
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        size = int(length[1]) if length else 0
        while len(self._buffer) < size:
            if not (data := await self.stream.receive_some()):
                return b"", b""
            self._buffer += data
        body, self._buffer = self._buffer[:size], self._buffer[size:]
        return bytes(head), bytes(body)

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def wait_closed(self) -> None:
        """Wait until the client has closed, by FIN or RST."""
        try:
            while await self.stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass

    def reset(self) -> None:
        """Make the next close send a RST."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Server:
    """A server on loopback that talks as ``talk`` does, counting its connections."""

    def __init__(self, talk: Callable[[Peer], Awaitable[None]], port: int) -> None:
        self._talk = talk
        self.port = port
        self.url = f"http://127.0.0.1:{port}/v1/x"
        self.accepted = 0
        self.open = 0

    async def handle(self, stream: trio.abc.Stream) -> None:
        peer = Peer(stream, self.accepted)
        self.accepted += 1
        self.open += 1
        try:
            async with stream:
                await self._talk(peer)
        except trio.BrokenResourceError:
            pass  # the client left, or rejected the certificate
        finally:
            self.open -= 1


@pytest.fixture
async def serve(nursery):
    async def start(talk: Callable[[Peer], Awaitable[None]], tls: ssl.SSLContext | None = None) -> Server:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server = Server(talk, listeners[0].socket.getsockname()[1])
        if tls is not None:
            server.url = f"https://localhost:{server.port}/v1/x"
            listeners = [trio.SSLListener(listener, tls, https_compatible=True) for listener in listeners]
        nursery.start_soon(trio.serve_listeners, server.handle, listeners)
        return server

    return start


@pytest.fixture
async def upstream():
    client = Upstream(trust_env=False)
    yield client
    assert client.stats().active == 0, "a connection was left behind"
    await client.aclose()


@pytest.fixture
def no_proxies(monkeypatch):
    for name in PROXY_NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


@pytest.fixture
def tls(certificate) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context


def post(url: str, **options) -> UpstreamRequest:
    return UpstreamRequest("POST", url, **{"body": b"{}", **options})


def once(answer: bytes) -> Callable[[Peer], Awaitable[None]]:
    """Answer every request of a connection with the same bytes."""

    async def talk(peer: Peer) -> None:
        while (await peer.request())[0]:
            await peer.send(answer)

    return talk


def noting(heads: list[bytes], answer: bytes = OK) -> Callable[[Peer], Awaitable[None]]:
    """Answer like ``once``, and append the head of every request to ``heads``."""

    async def talk(peer: Peer) -> None:
        while head := (await peer.request())[0]:
            heads.append(head)
            await peer.send(answer)

    return talk


async def once_then_dead(peer: Peer) -> None:
    """Answer a connection's first request, and close it upon the second."""
    await peer.request()
    await peer.send(OK)
    await peer.request()


def then_close(answer: bytes, reset: bool = False) -> Callable[[Peer], Awaitable[None]]:
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        if reset:
            await trio.testing.wait_all_tasks_blocked(0.01)  # a RST overtakes what the client has not read yet
            peer.reset()

    return talk


async def fetch(upstream: Upstream, request: UpstreamRequest, limit: int = MIB) -> bytes:
    async with await upstream.send(request) as response:
        return await response.read(limit)


async def failure(upstream: Upstream, request: UpstreamRequest) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await fetch(upstream, request)
    assert caught.value.info.reason == REASONS[caught.value.cause]
    return caught.value


# --- sent requests and received responses ---


async def test_headers_are_sent_and_returned_in_order(serve, upstream):
    seen = []

    async def talk(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.send(b"HTTP/1.1 201 Created\r\nX-B: 1\r\nx-a: \xe9\r\nX-B: 2\r\nContent-Length: 0\r\n\r\n")

    server = await serve(talk)
    headers = (("Z-Last", "1"), ("accept-encoding", "identity"), ("A-First", "2"), ("Z-Last", "3"))
    async with await upstream.send(post(server.url + "?beta=true", headers=headers, body=b'{"a":1}')) as response:
        assert response.status == 201
        assert response.headers == (("x-b", "1"), ("x-a", "é"), ("x-b", "2"), ("content-length", "0"))
        assert response.header("x-b") == "1"
        assert response.header("missing") is None
        assert await response.read(10) == b""
    head, body = seen[0]
    assert head.decode().split("\r\n") == [
        "POST /v1/x?beta=true HTTP/1.1",
        f"host: 127.0.0.1:{server.port}",
        "Z-Last: 1",
        "accept-encoding: identity",
        "A-First: 2",
        "Z-Last: 3",
        "content-length: 7",
    ]
    assert body == b'{"a":1}'


async def test_framing_headers_follow_the_body_and_not_the_request(serve, upstream):
    server = await serve(noting(heads := []))
    headers = (("Content-Length", "999"), ("Transfer-Encoding", "chunked"))
    assert await fetch(upstream, post(server.url, headers=headers, body=b"abc")) == b"ok"
    head = heads[0].lower()
    assert head.count(b"content-length: 3") == 1
    assert b": 999" not in head  # the port of the host may have these digits
    assert b"transfer-encoding" not in head


async def test_no_request_follows_an_upload_of_the_wrong_length(serve, upstream):
    """It would be read as a request of its own."""
    seen: list[bytes] = []

    async def talk(peer: Peer) -> None:
        while data := await peer.stream.receive_some():
            seen.append(data)

    class Pieces:
        def __init__(self, *parts: bytes) -> None:
            self.parts = iter(parts)

        def __aiter__(self) -> "Pieces":
            return self

        async def __anext__(self) -> bytes:
            for part in self.parts:
                return part
            raise StopAsyncIteration

    server = await serve(talk)
    for parts in ((b"abc", b"GET /v1/files HTTP/1.1\r\n\r\n"), (b"abcGET /v1/files HTTP/1.1\r\n\r\n",), (b"ab",)):
        upload = UploadedBody(Pieces(*parts), 3)
        with trio.fail_after(PATIENCE):
            assert (await failure(upstream, post(server.url, body=b"", upload=upload))).cause == "cut"
    assert b"GET" not in b"".join(seen)


class Blocks:
    """A body of 64 MiB in pieces."""

    def __init__(self) -> None:
        self._left = 256

    def __aiter__(self) -> "Blocks":
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        self._left -= 1
        if self._left < 0:
            raise StopAsyncIteration
        return bytes(2**18)


EARLY_BODIES = {
    "sized": (b"content-length: 7\r\n\r\n", b"refused"),
    "chunked": (b"transfer-encoding: chunked\r\n\r\n7\r\n", b"refused\r\n0\r\n\r\n"),
    "until closed": (b"\r\n", b"refused"),
}


@pytest.mark.parametrize("form", EARLY_BODIES)
@pytest.mark.parametrize("way", ["plain", "tls"])
@pytest.mark.parametrize("sent", ["whole", "upload", "chunked upload"])
async def test_an_early_rejection_is_returned_by_a_provider_that_reads_no_more(
    serve, tls, certificate, way, sent, form, monkeypatch
):
    """A large request was written to its end first, until the timeout of ten minutes."""
    head, body = EARLY_BODIES[form]
    if form == "until closed":  # the provider waits for the rest of the request before it closes the connection
        monkeypatch.setattr(http11, "EARLY_SECONDS", 1)

    async def refuse(peer: Peer) -> None:
        stream = peer.stream.transport_stream if way == "tls" else peer.stream
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await peer.stream.receive_some(10)
        await peer.send(b"HTTP/1.1 413 Too Large\r\n" + head)
        await trio.testing.wait_all_tasks_blocked()
        await peer.send(body)
        await trio.sleep_forever()

    server = await serve(refuse, tls if way == "tls" else None)
    async with Upstream(ca_path=str(certificate[0]), trust_env=False) as upstream:
        length = None if sent == "chunked upload" else 2**26
        upload = None if sent == "whole" else UploadedBody(Blocks(), length)
        request = post(server.url, body=bytes(2**26) if upload is None else b"", upload=upload)
        with trio.fail_after(PATIENCE / 3):
            async with await upstream.send(request) as response:
                assert response.status == 413
                assert await response.read(100) == b"refused"
        assert upstream.stats() == PoolStats()  # the connection is closed: the provider waits for the rest


async def test_an_interim_response_amid_a_large_request_makes_its_connection_no_reused_one(serve, upstream):
    """Otherwise it would look like a stale pooled connection, and the request would be sent and billed again."""

    async def interim(peer: Peer) -> None:
        await peer.stream.receive_some(10)
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.head = await peer.request()

    server = await serve(interim)
    assert (await failure(upstream, post(server.url, body=bytes(2**24)))).cause == "cut"
    assert server.accepted == 1


@pytest.mark.parametrize("body", [b"data: a\n\n", b"data", b""])
@pytest.mark.parametrize("least", [1, 4, 8])
async def test_the_first_bytes_of_a_body_can_be_read_twice(serve, upstream, body, least):
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    server = await serve(once(SSE_HEAD + pieces + b"0\r\n\r\n"))
    async with await upstream.send(post(server.url)) as response:
        start = await response.peek(least)
        assert body.startswith(start)
        assert len(start) >= min(least, len(body))
        assert await response.read(10) == body
        assert await response.read(10) == b"", "it stays at its end"
    assert upstream.stats() == PoolStats(connections=1, idle=1)


async def test_a_closed_client_keeps_no_connection(serve, upstream):
    """A task that outlives it may end a request, or begin one."""
    server = await serve(once(OK))
    response = await upstream.send(post(server.url))
    await upstream.aclose()
    await response.aclose()
    assert upstream.stats() == PoolStats()
    assert (await failure(upstream, post(server.url))).cause == "cut"
    assert upstream.stats() == PoolStats()


async def test_keepalive_probes_are_on(serve):
    server = await serve(once(OK))
    stream = await open_stream("127.0.0.1", server.port, PATIENCE)
    assert stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    await stream.aclose()


async def test_a_chunk_with_a_size_above_the_limit_is_refused_before_its_bytes_arrive(serve):
    go_on = trio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(SSE_HEAD + CHUNK)
        await go_on.wait()
        await peer.send(b"100001\r\n")
        await peer.wait_closed()

    server = await serve(talk)
    async with Upstream(max_chunk=MIB, trust_env=False) as upstream:
        with trio.fail_after(PATIENCE):
            async with await upstream.send(post(server.url)) as response:
                assert await anext(response.chunks()) == b"data: a\n\n"
                go_on.set()
                with pytest.raises(UpstreamError, match=r"limits\.answer") as caught:
                    await anext(response.chunks())
            await eventually(lambda: server.open == 0)
        assert (caught.value.cause, caught.value.info.status) == ("too_large", 502)


# --- compression ---

ENCODED = {
    "gzip": gzip.compress(b"hello " * 100),
    "deflate": zlib.compress(b"hello " * 100),
    "DEFLATE": zlib.compress(b"hello " * 100, wbits=-15),  # without its header, as some servers send it
    "identity, GZIP": gzip.compress(b"hello " * 100),
    "deflate, gzip": gzip.compress(zlib.compress(b"hello " * 100)),
}


def encoded_response(coding: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {len(body)}\r\nx-a: 1\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("coding", ENCODED)
async def test_a_body_compressed_unasked_is_decompressed(serve, upstream, coding):
    server = await serve(once(encoded_response(coding, ENCODED[coding])))
    async with await upstream.send(post(server.url)) as response:
        assert response.headers == (("x-a", "1"),)
        assert await response.read(MIB) == b"hello " * 100


async def test_compressed_events_arrive_when_flushed(serve, upstream):
    packer = zlib.compressobj(wbits=31)
    go_on = trio.Event()

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n")
        await peer.send(packer.compress(b"data: a\n\n") + packer.flush(zlib.Z_SYNC_FLUSH))
        await go_on.wait()
        await peer.send(packer.compress(b"data: b\n\n") + packer.flush())

    server = await serve(talk)
    async with await upstream.send(post(server.url)) as response:
        pieces = response.chunks()
        assert await anext(pieces) == b"data: a\n\n"
        go_on.set()
        assert [piece async for piece in pieces] == [b"data: b\n\n"]


async def test_a_bomb_is_decompressed_in_bounded_pieces_up_to_the_limit(serve, upstream):
    server = await serve(once(encoded_response("gzip", gzip.compress(bytes(4 * MIB)))))
    async with await upstream.send(post(server.url)) as response:
        sizes = [len(piece) async for piece in response.chunks()]
    assert sum(sizes) == 4 * MIB
    assert max(sizes) <= MIB
    async with await upstream.send(post(server.url)) as response:
        with pytest.raises(UpstreamError, match="larger than the limit of 1048576 bytes") as caught:
            await response.read(MIB)
    assert (caught.value.cause, caught.value.info.status) == ("too_large", 502)


async def test_a_body_of_many_lines_is_read_in_small_pieces_between_others_turns(serve, upstream):
    """Each line may be an event or the result of a batch, and readers work on a piece in one call (CWE-400)."""
    dense, long = b":\n\n" * 21_000, b"x" * 63_000
    for body, most in ((dense, DENSE_BYTES), (long, READ)):
        server = await serve(once(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)))
        async with await upstream.send(post(server.url)) as response:
            passes = Passes()
            with trio_instrument(passes):
                sizes = [len(piece) async for piece in response.chunks()]
        assert sum(sizes) == len(body)
        assert max(sizes) <= most
        assert passes.count >= len(sizes) - 1  # the first may have come with the head


@pytest.mark.parametrize(("coding", "body"), [("zork", b"zork"), ("gzip", b"no gzip"), (", ".join(["gzip"] * 6), b"")])
async def test_a_body_that_cannot_be_decompressed_is_an_error_and_its_status_is_known(serve, upstream, coding, body):
    server = await serve(once(encoded_response(coding, body)))
    async with await upstream.send(post(server.url)) as response:
        assert response.status == 200
        with pytest.raises(UpstreamError) as caught:
            await response.read(MIB)
    assert (caught.value.cause, caught.value.info.status) == ("encoding", 502)


# --- failures ---


async def test_a_refused_connection(upstream):
    with refusing_port() as port:
        error = await failure(upstream, post(f"http://127.0.0.1:{port}/"))
    assert (error.info.kind, error.info.status, error.cause) == ("upstream", 502, "refused")
    assert error.info.message.startswith("could not connect to the provider")
    assert error.__cause__ is not None


class Addresses(trio.abc.HostnameResolver):
    """A resolver with the same IPv4 addresses for every name."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def getaddrinfo(self, host, port, *_: object, **__: object):
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port)) for address in self._addresses]

    async def getnameinfo(self, *_: object):
        raise NotImplementedError


async def test_a_refusal_is_reported_if_other_addresses_are_unreachable(upstream):
    trio.socket.set_custom_hostname_resolver(Addresses("255.255.255.255", "127.0.0.1"))  # no TCP reaches a broadcast
    with refusing_port() as port:
        error = await failure(upstream, post(f"http://provider.example:{port}/"))
    assert error.cause == "refused"


async def test_a_gateway_without_descriptors_does_not_blame_the_provider(upstream):
    with refusing_port() as port, no_descriptors_left():
        error = await failure(upstream, post(f"http://127.0.0.1:{port}/"))
    assert (error.info.kind, error.info.status) == ("overloaded", 503)
    assert "too many open files" in error.info.message


@pytest.mark.parametrize("host", ["no-such-provider.invalid", "a..b"])
async def test_a_host_without_address(upstream, host):
    error = await failure(upstream, post(f"http://{host}/", connect_timeout=60))  # name servers may take their time
    assert (error.info.kind, error.info.status) == ("upstream", 502)
    assert error.cause == "dns"
    assert host not in error.info.message


async def test_a_connect_timeout(upstream):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)  # never accepts: once the backlog is full, the kernel drops more SYNs
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        error = await failure(upstream, post(f"http://127.0.0.1:{listener.getsockname()[1]}/", connect_timeout=0.1))
        for filler in fillers:
            filler.close()
    assert (error.info.kind, error.info.status, error.cause) == ("timeout", 504, "connect_timeout")


async def test_a_tls_handshake_without_an_answer_is_a_connect_timeout(serve, upstream):
    server = await serve(Peer.wait_closed)
    error = await failure(upstream, post(f"https://127.0.0.1:{server.port}/", connect_timeout=0.1))
    assert (error.info.kind, error.cause) == ("timeout", "connect_timeout")
    await eventually(lambda: server.open == 0)


@pytest.mark.parametrize("through", ["a proxy", "TLS", "the same pool"])
async def test_the_bound_applies_to_all_pools_together(serve, tls, certificate, monkeypatch, no_proxies, through):
    plain = await serve(once(SSE_HEAD + CHUNK))
    other = await serve(once(OK), tls if through == "TLS" else None)
    url = other.url
    if through == "a proxy":
        url = "http://provider.invalid/v1/x"
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{other.port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with Upstream(max_connections=1, pool_timeout=0.05, ca_path=str(certificate[0])) as upstream:
        async with await upstream.send(post(plain.url)):
            assert (await failure(upstream, post(url))).cause == "pool_timeout"
            assert other.accepted == 0
        assert await fetch(upstream, post(url)) == b"ok"


@pytest.mark.parametrize("proxied", [False, True], ids=["straight", "through a proxy"])
async def test_a_higher_limit_admits_waiting_requests_and_ends_none(serve, nursery, monkeypatch, no_proxies, proxied):
    server = await serve(endless)
    if proxied:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.port}")
    async with Upstream(max_connections=1) as upstream:
        held = []

        async def hold() -> None:
            held.append(await upstream.send(post(server.url)))

        for _ in range(3):
            nursery.start_soon(hold)
        await eventually(lambda: len(held) == 1 and upstream.stats().queued == 2)
        upstream.set_limits(2, MIB)
        await eventually(lambda: len(held) == 2)
        assert upstream.stats().queued == 1
        upstream.set_limits(0, MIB)
        await eventually(lambda: len(held) == 3)
        upstream.set_limits(1, MIB)
        for response in held:
            assert await anext(response.chunks()) == b"data: a\n\n"
        nursery.start_soon(hold)
        await eventually(lambda: upstream.stats().queued == 1)
        for response in held[:3]:
            assert len(held) == 3
            await response.aclose()
        await eventually(lambda: len(held) == 4)
        await held[3].aclose()
        assert upstream.stats().active == 0


@pytest.mark.parametrize("size", [10, 3 * MIB], ids=["small", "in pieces"])
async def test_work_after_the_last_bytes_precedes_the_response(serve, upstream, size):
    """The provider responds only after that work, and has the whole request before it."""
    steps: list[str] = []
    is_done = trio.Event()

    async def talk(peer: Peer) -> None:
        _, body = await peer.request()
        await is_done.wait()
        steps.append(f"{len(body)} bytes")
        await peer.send(OK)

    def work() -> None:
        steps.append("after")
        is_done.set()

    server = await serve(talk)
    request = post(server.url, body=b"x" * size, before_end=lambda: steps.append("before"), after_end=work)
    with trio.fail_after(PATIENCE):
        assert await fetch(upstream, request) == b"ok"
    assert steps == ["before", "after", f"{size} bytes"]


async def test_a_placed_request_reports_whether_it_waited(serve, nursery):
    async with Upstream(max_connections=1, trust_env=False) as upstream:
        server = await serve(once(OK))
        told: list[tuple[int, bool]] = []
        scopes = [trio.CancelScope() for _ in range(3)]

        async def ask(number: int) -> None:
            with scopes[number]:
                await fetch(upstream, post(server.url, on_send=lambda _, waited: told.append((number, waited))))

        async with await upstream.send(
            post(server.url, on_send=lambda _, waited: told.append((-1, waited)))
        ) as response:
            for number in range(3):
                nursery.start_soon(ask, number)
                await eventually(lambda number=number: upstream.stats().queued == number + 1)
            scopes[1].cancel()
            await eventually(lambda: upstream.stats().queued == 2)
            assert told == [(-1, False)]
            await response.read(10)
        await eventually(lambda: len(told) == 3 and not upstream.stats().active)
        assert told == [(-1, False), (0, True), (2, True)]


async def test_an_idle_connection_makes_room_for_one_to_another_provider(serve):
    async with Upstream(max_connections=2, trust_env=False) as upstream:
        first, second = await serve(once(OK)), await serve(once(OK))
        held = [await upstream.send(post(first.url)) for _ in range(2)]
        for response in held:
            await response.read(10)
        assert upstream.stats() == PoolStats(connections=2, idle=2)
        async with await upstream.send(post(second.url)):
            assert upstream.stats() == PoolStats(connections=2, idle=1, active=1)


CUTS = {
    "chunked": (SSE_HEAD + CHUNK + b"9\r\ndata", False),
    "chunked between chunks": (SSE_HEAD + CHUNK, False),
    "content-length": (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf", False),
    "reset": (SSE_HEAD + CHUNK, True),
    "in the head": (b"HTTP/1.1 200 OK\r\nconte", False),
    "no answer": (b"", False),
    "no answer, reset": (b"", True),
}


@pytest.mark.parametrize("cut", CUTS)
async def test_a_broken_answer_is_an_upstream_error_and_is_not_tried_again(serve, upstream, cut):
    server = await serve(then_close(*CUTS[cut]))
    error = await failure(upstream, post(server.url))
    assert (error.info.kind, error.info.status, error.cause) == ("upstream", 502, "cut")
    assert "the provider's connection broke" in error.info.message
    assert server.accepted == 1


INVALID = {
    "SSH": (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", "it does not begin with a status line"),
    "an empty line": (b"\r\n" + OK, "it does not begin with a status line"),
    "HTTP/2": (b"HTTP/2 200\r\n\r\n", "it does not begin with a status line"),
    "TLS": (b"\x15\x03\x01\0\x02\x02\x0a", "it is TLS, so base_url must begin with https://"),
    "a status": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "it has the status 101"),
    "a header": (b"HTTP/1.1 200 OK\r\nx y: 1\r\n\r\n", "one of its headers is malformed"),
    "a length": (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "its content-length is not valid"),
    "a chunk": (SSE_HEAD + CHUNK + b"data: b\n\n", "the length of a chunk is not a number"),
}


@pytest.mark.parametrize("form", INVALID)
async def test_a_response_that_is_not_http_is_an_upstream_error_with_its_fault(serve, upstream, form):
    answer, fault = INVALID[form]
    server = await serve(then_close(answer, False))
    error = await failure(upstream, post(server.url))
    assert (error.info.kind, error.info.status, error.cause) == ("upstream", 502, "invalid")
    assert error.info.message == f"the provider's response is not valid HTTP: {fault}"
    assert server.accepted == 1


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ([("x-key", "sk-secret\n")], "x-key"),
        ([("x-key", "sk-secret\u2019")], "x-key"),
        ([("x key", "sk-secret")], "x key"),
        ([("host", "secret"), ("Host", "b")], "two host headers"),
    ],
)
async def test_a_header_that_http_forbids_is_named_without_its_value(serve, upstream, headers, named):
    server = await serve(once(OK))
    error = await failure(upstream, post(server.url, headers=tuple(headers)))
    assert (error.info.kind, error.info.status, error.cause) == ("internal", 500, "config")
    assert named in error.info.message
    assert "secret" not in f"{error}{error.__cause__}{error.__context__}"
    assert server.accepted == 0


@pytest.mark.parametrize(
    "url", ["ftp://host/", "http:///path", "api.openai.com", "http://host:99999/", "http://host:port/"]
)
async def test_an_address_that_is_none_is_an_error_of_the_config(upstream, url):
    error = await failure(upstream, post(url))
    assert (error.info.kind, error.cause) == ("internal", "config")
    assert "base_url" in error.info.message


def test_credentials_are_not_in_the_repr_of_a_request():
    assert "secret" not in repr(post("http://host/", headers=(("authorization", "secret"),), body=b"secret"))


# --- stale connections ---


@pytest.mark.parametrize("reset", [False, True])
async def test_a_dead_pooled_connection_is_tried_once_more_on_a_fresh_one(serve, upstream, reset):
    bodies = []

    async def talk(peer: Peer) -> None:
        bodies.append((await peer.request())[1])
        await peer.send(OK)
        bodies.append((await peer.request())[1])  # idle, then closed just when the next request comes
        if reset:
            peer.reset()

    server = await serve(talk)
    assert await fetch(upstream, post(server.url, body=b"1")) == b"ok"
    async with await upstream.send(post(server.url, body=b"2")) as response:
        assert response.attempts == 2
        assert await response.read(10) == b"ok"
    assert bodies[:3] == [b"1", b"2", b"2"]
    assert server.accepted == 2


async def scripted_pieces(*pieces: bytes) -> AsyncGenerator[bytes, None]:
    for piece in pieces:
        yield piece


@contextlib.asynccontextmanager
async def bare_connection() -> AsyncIterator[tuple[http11.Connection, trio.SocketStream, list[bool]]]:
    """Yield a connection, the provider's side of it, and a list of whether it was reusable after each request."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        stream = await open_stream("127.0.0.1", port, 5)
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**18)  # room for a large response
        peer = await listener.accept()
        released: list[bool] = []

        async def release(connection: http11.Connection, reusable: bool) -> None:
            released.append(reusable)
            if not reusable:
                await connection.stream.aclose()

        async with peer:
            yield http11.Connection(UpstreamRoute(Origin("http", "127.0.0.1", port)), stream, release), peer, released
        await stream.aclose()


@each_row("is_upload", [False, True])
@each_row("reset", [False, True])
async def test_a_large_request_on_a_dead_pooled_connection_is_stale(reset, is_upload):
    """Its response is read while it is sent. Before its head is written, the end would be that of the last response."""
    pieces = contextlib.aclosing(scripted_pieces(b"a", b"bc"))
    async with bare_connection() as (connection, peer, released), pieces as body:
        await peer.send_all(OK)
        response = await connection.send(http11.WireRequest(b"GET", b"/", (), b"", 2**20))
        assert await response.body.read() == b"ok"
        await response.body.aclose()
        if reset:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await peer.aclose()
        upload = UploadedBody(body, 3) if is_upload else None
        large = http11.WireRequest(b"POST", b"/", (), b"" if is_upload else bytes(2**20), 2**20, upload=upload)
        with pytest.raises(StaleConnection):
            await connection.send(large)
        assert released == [True, False]


async def has_arrived(connection: http11.Connection, size: int) -> None:
    """Wait until the kernel has at least ``size`` bytes of the response."""
    with trio.fail_after(PATIENCE):
        while len(await connection.stream.socket.recv(2**20, socket.MSG_PEEK)) < size:  # noqa: ASYNC110
            await trio.lowlevel.checkpoint()


async def read_whole(connection: http11.Connection) -> bytes:
    """Send a request and return the body of its response."""
    response = await connection.send(http11.WireRequest(b"GET", b"/", (), b"", 2**20))
    found = bytearray()
    try:
        while piece := await response.body.read():
            found += piece
    finally:
        await response.body.aclose()
    return bytes(found)


@pytest.mark.parametrize("missing", [0, 1, READ // 4])
async def test_a_large_body_is_complete_with_its_head_if_it_has_arrived(missing):
    """Reading it takes no second turn of the loop."""
    async with bare_connection() as (connection, peer, released):
        body = random.randbytes(READ * 3 // 2)
        arrived = body[: len(body) - missing]
        await peer.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + arrived)
        await has_arrived(connection, len(arrived))
        response = await connection.send(http11.WireRequest(b"GET", b"/", (), b"", 2**20))
        assert response.has_arrived == (not missing)
        found = await response.body.read()
        assert found == arrived
        if missing:
            await peer.send_all(body[len(arrived) :])
        while piece := await response.body.read():
            found += piece
        assert found == body
        await response.body.aclose()
        assert released == [True]
        assert not connection.stream.readable


async def test_bytes_after_a_large_body_end_its_connection():
    """The pool drops an idle connection with bytes that belong to no response."""
    async with bare_connection() as (connection, peer, released):
        body = bytes(READ * 3 // 2)
        answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        await peer.send_all(answer + OK)
        await has_arrived(connection, len(answer + OK))
        assert await read_whole(connection) == body
        assert released == [False] or connection.stream.readable


@each_row("is_read", [False, True])
@each_row("head", ["200 OK\r\ncontent-length: 0", "204 No Content", "304 Not Modified"])
async def test_bytes_after_a_response_without_a_body_end_its_connection(head, is_read):
    """Some servers send a body although the status permits none, and its rest may arrive later."""
    async with bare_connection() as (connection, peer, released):
        await peer.send_all(f"HTTP/1.1 {head}\r\n\r\n".encode() + b'{"id":')
        response = await connection.send(http11.WireRequest(b"GET", b"/", (), b"", 2**20))
        if is_read:
            assert await response.body.read() == b""
        await response.body.aclose()
        assert released == [False]


@pytest.mark.parametrize("reset", [False, True])
async def test_a_large_body_that_has_arrived_in_part_is_cut(reset):
    async with bare_connection() as (connection, peer, released):
        arrived = bytes(READ * 3 // 2)
        await peer.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(arrived) + 1) + arrived)
        await has_arrived(connection, len(arrived))
        if reset:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await peer.aclose()
        with pytest.raises(UpstreamError) as caught:
            await read_whole(connection)
        assert caught.value.cause == "cut"
        assert released == [False]


async def test_a_request_that_the_provider_may_have_processed_is_not_resent(serve, upstream, monkeypatch):
    """It closes a kept connection without a byte, and not immediately: a second request might be billed, too."""
    monkeypatch.setattr("gateway.upstream.client.STALE_SECONDS", 0.0)
    server = await serve(once_then_dead)
    assert await fetch(upstream, post(server.url, body=b"1")) == b"ok"
    with pytest.raises(UpstreamError) as raised:
        await upstream.send(post(server.url, body=b"2"))
    assert (raised.value.cause, raised.value.info.reason) == ("cut", "connection")
    assert server.accepted == 1


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_resend_is_claimed_before_it_is_sent(serve, upstream, allowed):
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        if peer.number > 1:
            await peer.send(OK)

    server = await serve(talk)
    await fetch(upstream, post(server.url))
    asked: list[bool] = []

    def again() -> bool:
        asked.append(allowed)
        return allowed

    request = attrs.evolve(post(server.url), claim_resend=again)
    if allowed:
        async with await upstream.send(request) as response:
            assert response.attempts == 2
    else:
        with pytest.raises(UpstreamError):
            await upstream.send(request)
    assert asked == [allowed]


async def test_the_second_attempt_does_not_meet_another_dead_connection(serve, upstream):
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        if peer.number < 3:
            await peer.stream.receive_some(1)
        else:
            await peer.request()

    server = await serve(talk)
    held = [await upstream.send(post(server.url)) for _ in range(3)]
    for response in held:
        await response.read(10)
    assert upstream.stats() == PoolStats(connections=3, idle=3)
    async with await upstream.send(post(server.url)) as response:
        assert response.attempts == 2
        await response.read(10)
    assert server.accepted == 4


async def test_a_connection_closed_while_idle_is_not_used_at_all(serve, upstream):
    server = await serve(then_close(OK))
    assert await fetch(upstream, post(server.url)) == b"ok"
    await eventually(lambda: server.open == 0)
    async with await upstream.send(post(server.url)) as response:
        assert response.attempts == 1
        await response.read(10)
    assert server.accepted == 2


async def test_idle_connections_that_the_other_side_has_closed_do_not_stay_half_open(serve, upstream):
    """Otherwise they look like leaks: nothing but the next request would close them."""

    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.stream.send_eof()
        await peer.wait_closed()

    closing, lasting = await serve(talk), await serve(once(OK))
    assert await fetch(upstream, post(closing.url)) == await fetch(upstream, post(lasting.url)) == b"ok"
    await eventually(lambda: closing.open == 0)
    assert (upstream.stats().idle, lasting.open) == (1, 1)


async def test_after_one_byte_of_the_answer_there_is_no_second_attempt(serve, upstream):
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.send(b"H")

    server = await serve(talk)
    await fetch(upstream, post(server.url))
    error = await failure(upstream, post(server.url))
    assert error.cause == "cut"
    assert server.accepted == 1


# --- closing and cancelling ---


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.wait_closed()


async def endless(peer: Peer) -> None:
    await peer.request()
    await peer.send(SSE_HEAD + CHUNK)
    await peer.wait_closed()


class Passes(trio.abc.Instrument):
    """The passes of the loop, which runs every ready task in each pass."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


@contextlib.contextmanager
def trio_instrument(instrument: trio.abc.Instrument) -> Iterator[None]:
    trio.lowlevel.add_instrument(instrument)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(instrument)


class CancelAfter(trio.abc.Instrument):
    """Cancels the task that made it after its ``step``-th step from now."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._scope = scope
        self._left = step
        self._task = trio.lowlevel.current_task()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def cancelled_at(step: int, upstream: Upstream, request: UpstreamRequest) -> bool:
    with trio.CancelScope() as scope:
        instrument = CancelAfter(scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await fetch(upstream, request)
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return scope.cancelled_caught


@pytest.mark.parametrize("way", ["plain", "tls", "tunnel"])
async def test_a_cancellation_at_any_step_leaves_nothing(serve, tls, certificate, monkeypatch, no_proxies, way):
    server = await serve(once(SSE_HEAD + CHUNK + b"0\r\n\r\n"), None if way == "plain" else tls)
    if way == "tunnel":
        proxy = await serve(tunnel_to(server.port, []))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    step = 1
    while True:
        upstream = Upstream(ca_path=str(certificate[0]))
        cancelled = await cancelled_at(step, upstream, post(server.url))
        assert upstream.stats().active == 0, f"left by a cancellation at step {step}"
        await upstream.aclose()
        if not cancelled:
            break
        step += 1
    assert step > 3
    await eventually(lambda: server.open == 0)


async def test_a_closed_response_does_not_look_complete(serve, upstream):
    server = await serve(endless)
    response = await upstream.send(post(server.url))
    assert await anext(response.chunks()) == b"data: a\n\n"
    await response.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await anext(response.chunks())


async def test_a_forgotten_response_warns(serve):
    async with Upstream(trust_env=False) as upstream:
        server = await serve(endless)
        response = await upstream.send(post(server.url))
        with pytest.warns(ResourceWarning, match="its slot is lost"):
            del response


# --- TLS ---


async def test_tls_names_the_host_of_the_url_and_the_host_header_is_ours_to_set(serve, tls, certificate):
    names, heads = [], []
    tls.sni_callback = lambda _sock, name, _context: names.append(name)
    server = await serve(noting(heads), tls)
    async with Upstream(ca_path=str(certificate[0]), trust_env=False) as upstream:
        request = post(server.url, headers=(("x-a", "1"), ("Host", "provider.example")))
        assert await fetch(upstream, request) == b"ok"
    assert names == ["localhost"]
    assert b"\r\nHost: provider.example" in heads[0]
    assert heads[0].lower().count(b"\r\nhost:") == 1


async def test_a_certificate_that_is_not_trusted(serve, upstream, tls):
    server = await serve(once(OK), tls)
    error = await failure(upstream, post(server.url))
    assert (error.info.kind, error.info.status, error.cause) == ("upstream", 502, "tls")
    assert "its certificate is not trusted" in error.info.message
    assert "CERTIFICATE_VERIFY_FAILED" in str(error.__cause__)
    await eventually(lambda: server.open == 0)


@pytest.mark.parametrize(
    ("names", "days", "fault"),
    [(LOOPBACK, -1, "has expired"), ((x509.DNSName("other.example"),), 90, "is for another host name")],
    ids=["expired", "another name"],
)
async def test_the_message_states_why_a_certificate_is_not_valid(serve, tmp_path, names, days, fault):
    authority = Authority(tmp_path)
    pair = authority.pair("provider", *names, days=days)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pair.certificate, pair.key)
    server = await serve(once(OK), tls)
    async with Upstream(ca_path=str(authority.root), trust_env=False) as upstream:
        error = await failure(upstream, post(server.url))
    assert error.cause == "tls"
    assert error.info.message.endswith(f"its certificate {fault}")


@pytest.mark.parametrize("ends_tls", [True, False], ids=["with a TLS close", "without"])
async def test_a_body_until_the_end_of_tls_is_cut_without_a_tls_close(serve, tls, certificate, ends_tls):
    async def talk(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        if ends_tls:
            with contextlib.suppress(trio.BrokenResourceError):  # the client sends no TLS close
                await peer.stream.unwrap()

    server = await serve(talk, tls)
    async with Upstream(ca_path=str(certificate[0]), trust_env=False) as upstream:
        if ends_tls:
            assert await fetch(upstream, post(server.url)) == b"half"
        else:
            assert (await failure(upstream, post(server.url))).cause == "cut"


async def test_plain_http_where_tls_was_expected(serve, upstream):
    async def talk(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.wait_closed()

    server = await serve(talk)
    error = await failure(upstream, post(server.url.replace("http:", "https:")))
    assert (error.info.kind, error.cause) == ("upstream", "tls")
    assert "it does not use TLS" in error.info.message


@pytest.mark.parametrize("by_config", [False, True])
async def test_roots_come_from_the_environment_unless_the_config_has_some(
    serve, tls, certificate, monkeypatch, no_proxies, by_config
):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem" if by_config else str(certificate[0]))
    server = await serve(once(OK), tls)
    async with Upstream(ca_path=str(certificate[0]) if by_config else None) as upstream:
        assert await fetch(upstream, post(server.url)) == b"ok"


async def test_roots_are_loaded_only_when_tls_is_spoken(serve, tls):
    async with Upstream(ca_path="/nowhere.pem", trust_env=False) as upstream:
        plain, secure = await serve(once(OK)), await serve(once(OK), tls)
        assert await fetch(upstream, post(plain.url)) == b"ok"
        error = await failure(upstream, post(secure.url))
        assert (error.info.kind, error.cause) == ("internal", "config")
        assert "upstream_tls_ca_path" in error.info.message


async def test_certificates_on_a_silent_file_system_take_one_thread(serve, tls, certificate, tmp_path):
    """Each request kept one of the process's 40 threads, also after its end: pages, reloads and the stop waited."""
    server, path = await serve(once(OK), tls), tmp_path / "ca.pem"
    os.mkfifo(path)  # as a file system that does not respond
    async with Upstream(ca_path=str(path), trust_env=False) as upstream:
        try:
            with trio.move_on_after(0.2) as left:
                async with trio.open_nursery() as nursery:
                    for _ in range(50):
                        nursery.start_soon(fetch, upstream, post(server.url))
            assert left.cancelled_caught
            with trio.fail_after(PATIENCE):
                await trio.to_thread.run_sync(str)
        finally:
            # It waits for the thread that reads.
            roots, own = certificate[0].read_bytes(), trio.CapacityLimiter(1)
            with trio.move_on_after(PATIENCE, shield=True):
                await trio.to_thread.run_sync(path.write_bytes, roots, limiter=own, abandon_on_cancel=True)
        assert await fetch(upstream, post(server.url)) == b"ok"


# --- proxies ---


async def splice(source: trio.abc.Stream, target: trio.abc.Stream) -> None:
    try:
        async for data in source:
            await target.send_all(data)
        await trio.aclose_forcefully(target)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await trio.aclose_forcefully(target)


def tunnel_to(port: int, heads: list[bytes]) -> Callable[[Peer], Awaitable[None]]:
    """Return a CONNECT proxy that connects every client to the server at ``port``."""

    async def talk(peer: Peer) -> None:
        heads.append((await peer.request())[0])
        target = await trio.open_tcp_stream("127.0.0.1", port)
        await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with target, trio.open_nursery() as nursery:
            nursery.start_soon(splice, peer.stream, target)
            nursery.start_soon(splice, target, peer.stream)

    return talk


async def test_http_is_sent_to_the_proxy_in_absolute_form(serve, monkeypatch, no_proxies):
    proxy = await serve(noting(heads := []))
    monkeypatch.setenv("HTTP_PROXY", f"http://user:pa%40ss@127.0.0.1:{proxy.port}")
    async with Upstream() as upstream:
        assert await fetch(upstream, post("http://provider.invalid/v1/x?a=1")) == b"ok"
    assert heads[0].startswith(b"POST http://provider.invalid/v1/x?a=1 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpwYUBzcw==" in heads[0]  # user:pa@ss
    assert b"\r\nhost: provider.invalid" in heads[0]


@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("HTTPS_PROXY", "127.0.0.1"),
        ("https_proxy", "127.0.0.1"),
        ("ALL_PROXY", "127.0.0.1"),
        ("HTTPS_PROXY", "https://localhost"),
    ],
)
async def test_https_uses_a_tunnel(serve, tls, certificate, monkeypatch, no_proxies, variable, address):
    heads = []
    server = await serve(once(OK), tls)
    proxy = await serve(tunnel_to(server.port, heads), tls if address.startswith("https:") else None)
    monkeypatch.setenv(variable, f"{address}:{proxy.port}")
    async with Upstream(ca_path=str(certificate[0])) as upstream:
        for _ in range(2):
            assert await fetch(upstream, post(f"https://localhost:{server.port}/")) == b"ok"
        assert upstream.stats() == PoolStats(connections=1, idle=1)
    assert [head.split(b"\r\n")[0] for head in heads] == [f"CONNECT localhost:{server.port} HTTP/1.1".encode()]
    await eventually(lambda: proxy.open == server.open == 0)


async def test_a_dead_tunnel_is_made_anew(serve, tls, certificate, monkeypatch, no_proxies):
    server = await serve(once_then_dead, tls)
    proxy = await serve(tunnel_to(server.port, heads := []))
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    async with Upstream(ca_path=str(certificate[0])) as upstream:
        url = f"https://localhost:{server.port}/"
        assert await fetch(upstream, post(url)) == b"ok"
        async with await upstream.send(post(url)) as response:
            assert (await response.read(MIB), response.attempts) == (b"ok", 2)
        assert len(heads) == 2


async def test_a_proxy_without_an_answer_is_a_connect_timeout(serve, monkeypatch, no_proxies):
    proxy = await serve(silent)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    upstream = Upstream(ca_path=None)
    error = await failure(upstream, post("https://provider.invalid/", connect_timeout=0.05))
    assert (error.cause, error.info.kind) == ("connect_timeout", "timeout")
    await eventually(lambda: proxy.open == 0)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n", " (status 407)"),
        (b"\x05\xff\r\n\r\n", ""),
    ],
)
async def test_a_proxy_that_refuses(serve, monkeypatch, no_proxies, answer, why):
    proxy = await serve(once(answer))
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{proxy.port}")
    upstream = Upstream()
    error = await failure(upstream, post("https://provider.invalid/"))
    assert (error.info.kind, error.info.status, error.cause) == ("upstream", 502, "proxy")
    assert error.info.message.endswith(f"the proxy rejected the connection{why}")
    assert "secret" not in f"{error}{error.__cause__}"
    assert upstream.stats() == PoolStats()


@pytest.mark.parametrize("bypass", ["127.0.0.1", "127.0.0.0/8", "other.example, 127.0.0.1", "*"])
async def test_hosts_in_no_proxy_are_reached_directly(serve, monkeypatch, no_proxies, bypass):
    server = await serve(once(OK))
    monkeypatch.setenv("NO_PROXY", bypass)
    with refusing_port() as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        upstream = Upstream()
        assert await fetch(upstream, post(server.url)) == b"ok"
        await upstream.aclose()


@pytest.mark.parametrize("url", ["socks5://user:secret@127.0.0.1:1080", "nonsense://secret"])
async def test_an_unusable_proxy_fails_only_the_requests_that_need_it(serve, monkeypatch, no_proxies, url):
    server = await serve(once(OK))
    monkeypatch.setenv("ALL_PROXY", url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with Upstream() as upstream:
        assert await fetch(upstream, post(server.url)) == b"ok"
        error = await failure(upstream, post("https://provider.invalid/"))
        assert (error.info.kind, error.cause) == ("internal", "config")
        assert "secret" not in f"{error}{error.__cause__}"
