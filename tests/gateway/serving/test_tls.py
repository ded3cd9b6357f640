"""TLS on a client's connection, over real sockets."""

import contextlib
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import h2.config
import h2.connection
import pytest
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat

from gateway.commands.certificate_warnings import expiry_warning, key_mode_warning
from gateway.processes.tls import CertificateFailed, ListenerTls, TlsFiles
from gateway.serving.listeners import ListenerOptions
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
    """A client that only reads and writes bytes over TLS."""

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

    async def read_rest(self) -> bytes:
        """Read up to the other side's close_notify; a plain end of the connection is an error."""
        with trio.fail_after(PATIENCE):
            async for data in self.stream:
                self.seen += data
        return self.seen


@contextlib.asynccontextmanager
async def connect(server: Server, context: ssl.SSLContext) -> AsyncIterator[TlsClient]:
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    secured = trio.SSLStream(stream, context, server_hostname="localhost")
    try:
        with trio.fail_after(PATIENCE):
            await secured.do_handshake()
        yield TlsClient(secured)
    finally:
        await trio.aclose_forcefully(secured)


async def test_an_answer_ends_with_a_close_notify(authority, pair):
    async with secure(pair) as server, connect(server, authority.client()) as client:
        await client.get("/whole", "connection: close\r\n")
        assert (await client.read_rest()).endswith(b"whole")
        await eventually(lambda: not server.lifecycle.connections)


async def test_a_stream_arrives_without_delay_and_ends_when_the_client_leaves(authority, pair):
    async with secure(pair) as server:
        async with connect(server, authority.client()) as client:
            await client.get("/stream")
            await client.until(b"first;")
            await server.witness.feed.send(b"second;")
            await client.until(b"second;")
        await eventually(lambda: server.witness.closed == [True])


async def test_a_tls_write_that_need_not_wait_is_sent_immediately(authority, pair):
    """The same applies without TLS: a task for each event of a stream would be three times the work."""
    async with secure(pair) as server, connect(server, authority.client()) as client:
        await client.get("/stream")
        await client.until(b"first;")
        (connection,) = server.lifecycle.connections
        assert connection.write_now(b"5\r\nnow;;\r\n")
        data = os.read(client.stream.transport_stream.socket.fileno(), 100)  # the data has already arrived
        assert data[0] == 23, "application data (RFC 8446, section 5.1)"


async def test_a_client_that_takes_nothing_is_seen_to_leave(authority, pair):
    """While the writer waits for room, the reader must not wait for the writer."""
    async with secure(pair) as server:
        async with connect(server, authority.client()) as client:
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
        assert await client.read_rest() == b""
        await eventually(lambda: not server.lifecycle.connections)
    assert "Traceback" not in caplog.text


async def test_an_unfinished_handshake_does_not_delay_the_shutdown(pair):
    async with secure(pair, drain=60) as server, server.connect() as client:
        await client.send(b"\x16\x03\x01")
        await eventually(lambda: len(server.lifecycle.connections) == 1)
        server.lifecycle.stop()
        with trio.fail_after(PATIENCE):
            await server.over.wait()


GARBAGE = [
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"\x00" * 100,
    b"\x16\x03\x01\x00\x05hello",
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1 1\r\n",
    b"\x16\x03\x01\xff\xff" + b"x" * 70_000,
]


@pytest.mark.parametrize("sent", GARBAGE, ids=range(len(GARBAGE)))
async def test_garbage_is_one_quiet_line(pair, sent, caplog):
    caplog.set_level(logging.DEBUG, "trigate")
    async with secure(pair) as server, server.connect() as client:
        with contextlib.suppress(OSError):
            await client.send(sent)
        with contextlib.suppress(OSError):
            client.sock.shutdown(socket.SHUT_WR)
        await client.read_rest()
        await eventually(lambda: not server.lifecycle.connections)
    (line,) = [one for one in caplog.records if one.name == "trigate.connections"]
    assert line.levelname == "DEBUG"
    assert "\n" not in line.getMessage()


async def test_plain_http_gets_advice_to_use_tls(pair):
    async with secure(pair) as server:
        answer = await server.get("/whole")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"https://" in answer


@pytest.mark.parametrize(
    ("offered", "agreed"), [(("h2", "http/1.1"), "h2"), (("http/1.1",), "http/1.1"), (("x",), None)]
)
async def test_http2_is_agreed_on_in_the_handshake(authority, pair, offered, agreed):
    async with secure(pair) as server, connect(server, authority.client(None, *offered)) as client:
        assert client.stream.selected_alpn_protocol() == agreed
        if agreed == "h2":
            peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
            peer.initiate_connection()
            peer.send_headers(1, HTTP2_HEAD, end_stream=True)
            await client.stream.send_all(peer.data_to_send())
            await client.until(b"whole")
        else:
            await client.get("/whole")
            await client.until(b"whole")
        assert server.witness.schemes == ["https"]


HTTP2_HEAD = [(":method", "GET"), (":path", "/whole"), (":scheme", "https"), (":authority", "localhost")]


async def test_http2_is_not_offered_where_it_is_off(authority, pair):
    tls = ListenerTls(TlsFiles(pair.certificate, pair.key), http2=False)
    async with (
        serving(options=[ListenerOptions(tls=tls, http2=False)]) as server,
        connect(server, authority.client(None, "h2", "http/1.1")) as client,
    ):
        assert client.stream.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_old_versions_of_tls_are_not_spoken(authority, pair, version):
    context = authority.client()
    context.maximum_version = version
    async with secure(pair) as server, connect(server, context) as client:
        await client.get("/whole")
        await client.until(b"whole")
    server_side = ListenerTls(TlsFiles(pair.certificate, pair.key)).context
    assert server_side.minimum_version == ssl.TLSVersion.TLSv1_2
    assert server_side.options & ssl.OP_NO_RENEGOTIATION


async def test_a_cut_connection_of_a_stalled_client_keeps_no_task(authority, pair):
    async with secure(pair) as server, connect(server, authority.client()) as client:
        await client.get("/flood")
        await server.witness.begun.wait()
        await trio.testing.wait_all_tasks_blocked(0.05)
        server.lifecycle.cut_connections()
        await eventually(lambda: not server.lifecycle.connections and server.witness.closed == [True])


async def test_a_connection_beyond_the_limit_gets_an_error(authority, pair):
    async with secure(pair) as server, connect(server, authority.client()) as client:
        await client.get("/whole")
        await client.until(b"whole")
        server.lifecycle.max_connections = 1
        async with connect(server, authority.client()) as other:
            await other.get("/whole")
            assert b" 503 " in await other.read_rest()


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01"])
async def test_a_handshake_that_stalls_is_one_of_its_address(authority, pair, sent):
    """Otherwise a client that only begins handshakes could hold every place."""
    tls = ListenerTls(TlsFiles(pair.certificate, pair.key))
    options = [ListenerOptions(tls=tls, proxy_protocol=True)]

    async def response_for(server: Server, address: str) -> bytes:
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        await stream.send_all(f"PROXY TCP4 {address} 192.0.2.1 4711 443\r\n".encode())
        async with trio.SSLStream(stream, authority.client(), server_hostname="localhost") as secured:
            client = TlsClient(secured)
            await client.get("/whole", "connection: close\r\n")
            return await client.read_rest()

    async with serving(options=options) as server, contextlib.AsyncExitStack() as stack:
        server.lifecycle.max_per_address = 2
        for _ in range(2):
            client = await stack.enter_async_context(server.connect())
            await client.send(b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n" + sent)
        await eventually(lambda: [one.client for one in server.lifecycle.connections] == 2 * [("203.0.113.7", 4711)])
        assert b" 200 " in await response_for(server, "203.0.113.8")
        assert b" 429 " in await response_for(server, "203.0.113.7")


# Certificates


async def test_only_new_connections_get_a_new_certificate(authority, pair):
    tls = ListenerTls(TlsFiles(pair.certificate, pair.key))
    async with serving(options=[ListenerOptions(tls=tls)]) as server, connect(server, authority.client()) as old:
        serial = old.stream.getpeercert()["serialNumber"]
        authority.pair("localhost", *LOOPBACK)
        tls.reread()
        await old.get("/whole")
        await old.until(b"whole")
        async with connect(server, authority.client()) as new:
            assert new.stream.getpeercert()["serialNumber"] != serial


async def test_a_certificate_that_cannot_be_used_leaves_the_one_from_before(authority, pair):
    tls = ListenerTls(TlsFiles(pair.certificate, pair.key))
    async with serving(options=[ListenerOptions(tls=tls)]) as server:
        pair.certificate.write_text("-----BEGIN CERTIFICATE-----\n")
        with pytest.raises(CertificateFailed, match="no readable PEM certificate"):
            tls.reread()
        async with connect(server, authority.client()) as client:
            await client.get("/whole")
            await client.until(b"whole")


def unusable(folder: Path) -> dict[str, tuple[TlsFiles, str]]:
    authority = Authority(folder)
    good, other = authority.pair("a"), authority.pair("b")
    (junk := folder / "junk").write_text("junk")
    locked = folder / "locked.key"
    key = serialization.load_pem_private_key(good.key.read_bytes(), None)
    locked.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret"))
    )
    none = folder / "none"
    return {
        "no certificate": (TlsFiles(none, good.key), f"tls.certificate {none}: no such file"),
        "no key": (TlsFiles(good.certificate, none), f"tls.key {none}: no such file"),
        "no roots": (TlsFiles(good.certificate, good.key, none), f"tls.client_ca {none}: no such file"),
        "a directory": (TlsFiles(folder, good.key), "is a directory"),
        "junk": (TlsFiles(junk, good.key), f"tls.certificate {junk}: no readable PEM certificate"),
        "junk for a key": (TlsFiles(good.certificate, junk), f"tls.key {junk}: no readable PEM key"),
        "junk for roots": (
            TlsFiles(good.certificate, good.key, junk),
            f"tls.client_ca {junk}: no readable PEM certificate",
        ),
        "another's key": (TlsFiles(good.certificate, other.key), "the key does not belong to the certificate"),
        "a key with a passphrase": (TlsFiles(good.certificate, locked), "without a passphrase"),
        "a certificate without its key": (
            TlsFiles(good.certificate),
            f"tls.key {good.certificate}: no readable PEM key",
        ),
    }


def test_files_that_cannot_be_used_are_reported_by_name(tmp_path):
    for what, (files, said) in unusable(tmp_path).items():
        with pytest.raises(CertificateFailed) as caught:
            ListenerTls(files)
        assert said in str(caught.value), what


def test_certificate_and_key_may_be_in_one_file(tmp_path, pair):
    both = tmp_path / "both.pem"
    both.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    assert ListenerTls(TlsFiles(both)).context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(("days", "said"), [(90, None), (13, "expires on"), (-1, "is expired")])
def test_the_end_of_a_certificate_is_remarked_on(authority, days, said):
    pair = authority.pair("localhost", *LOOPBACK, days=days)
    found = expiry_warning(TlsFiles(pair.certificate, pair.key))
    assert found is None if said is None else said in (found or "")


def test_a_key_that_all_users_can_read_causes_a_warning(pair):
    files = TlsFiles(pair.certificate, pair.key)
    assert key_mode_warning(files) is None
    pair.key.chmod(0o644)
    assert "every user" in (key_mode_warning(files) or "")
