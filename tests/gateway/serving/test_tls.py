"""TLS on a client's connection, over real sockets."""

import contextlib
import logging
import ssl
from collections.abc import AsyncIterator

import pytest
import trio

from gateway.serving.listeners import ListenerOptions
from gateway.serving.tls import ListenerTls, TlsFiles
from tests.support.asgi_app import Server, eventually, serving
from tests.support.certificates import LOOPBACK, Authority, Pair
from tests.support.harness import PATIENCE


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority) -> Pair:
    return authority.pair("localhost", *LOOPBACK)


@contextlib.asynccontextmanager
async def secure(pair: Pair, **options: object) -> AsyncIterator[Server]:
    tls = ListenerTls(TlsFiles(pair.certificate, pair.key))
    async with serving(options=[ListenerOptions(tls=tls)], **options) as server:
        yield server


class TlsClient:
    """A client with TLS that is nothing but a stream."""

    def __init__(self, stream: trio.SSLStream) -> None:
        self.stream = stream
        self.seen = b""

    async def get(self, path: str, more: str = "") -> None:
        await self.stream.send_all(f"GET {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n".encode())

    async def until(self, mark: bytes) -> bytes:
        with trio.fail_after(PATIENCE):
            while mark not in self.seen:
                data = await self.stream.receive_some()
                assert data, f"the connection ended before {mark!r}: {self.seen!r}"
                self.seen += data
        found, _, self.seen = self.seen.partition(mark)
        return found + mark

    async def rest(self) -> bytes:
        """All up to the other side's close_notify: a plain end of the connection is an error."""
        with trio.fail_after(PATIENCE):
            async for data in self.stream:
                self.seen += data
        return self.seen


@contextlib.asynccontextmanager
async def connected(server: Server, context: ssl.SSLContext) -> AsyncIterator[TlsClient]:
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    secured = trio.SSLStream(stream, context, server_hostname="localhost")
    try:
        with trio.fail_after(PATIENCE):
            await secured.do_handshake()
        yield TlsClient(secured)
    finally:
        await trio.aclose_forcefully(secured)


async def test_an_answer_ends_with_a_close_notify(authority, pair):
    async with secure(pair) as server, connected(server, authority.client()) as client:
        await client.get("/whole", "connection: close\r\n")
        assert (await client.rest()).endswith(b"whole")
        await eventually(lambda: not server.lifecycle.connections)


async def test_a_connection_is_kept_for_more(authority, pair):
    async with secure(pair) as server, connected(server, authority.client()) as client:
        for _ in range(3):
            await client.get("/whole")
            await client.until(b"whole")
        assert client.stream.selected_alpn_protocol() is None


async def test_a_stream_comes_as_it_is_made_and_ends_when_the_client_leaves(authority, pair):
    async with secure(pair) as server:
        async with connected(server, authority.client()) as client:
            await client.get("/stream")
            await client.until(b"first;")
            await server.witness.feed.send(b"second;")
            await client.until(b"second;")
        await eventually(lambda: server.witness.closed == [True])


async def test_a_client_that_takes_nothing_is_seen_to_leave(authority, pair):
    """While the writer waits for room, the reader must not wait for the writer."""
    async with secure(pair) as server:
        async with connected(server, authority.client()) as client:
            await client.get("/flood")
            await server.witness.begun.wait()
            await trio.testing.wait_all_tasks_blocked(0.05)
        await eventually(lambda: server.witness.closed == [True])
        await eventually(lambda: not server.lifecycle.connections)


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
async def test_a_handshake_that_stalls_is_cut(pair, sent, autojump_clock, caplog):
    caplog.set_level(logging.DEBUG, "trigate")
    async with secure(pair) as server, server.connect() as client:
        await client.send(sent)
        await eventually(lambda: len(server.lifecycle.connections) == 1)
        assert await client.rest() == b""
        await eventually(lambda: not server.lifecycle.connections)
    assert "Traceback" not in caplog.text
