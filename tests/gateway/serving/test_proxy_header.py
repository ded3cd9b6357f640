"""The PROXY protocol, as its specification has it: https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt."""

import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import trio

from gateway.serving.listeners import ListenerOptions
from gateway.serving.proxy_header import SIGNATURE, ProxyHeaderFailed, read_proxy_header
from tests.support.asgi_app import eventually, serving
from tests.support.each_row import each_row

REQUEST = b"GET /whole HTTP/1.1\r\nhost: x\r\n\r\n"


def v2(command: int, family: int, block: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(block) if length is None else length) + block


FOUR = socket.inet_aton("203.0.113.7") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 4711, 443)
SIX = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
PORTS = struct.pack("!HH", 4711, 443)
TLV = b"\xea\x00\x05hello"

GOOD = {
    "v1 TCP4": (b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n", ("203.0.113.7", 4711)),
    "v1 TCP6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", ("2001:db8::7", 4711)),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", None),
    "v1 unknown, with more": (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None),
    "v2 TCP4": (v2(0x21, 0x11, FOUR), ("203.0.113.7", 4711)),
    "v2 TCP4 and more": (v2(0x21, 0x11, FOUR + TLV), ("203.0.113.7", 4711)),
    "v2 TCP6": (v2(0x21, 0x21, SIX + PORTS), ("2001:db8::7", 4711)),
    "v2 local": (v2(0x20, 0x00, b""), None),
    "v2 local, with an address": (v2(0x20, 0x11, FOUR), None),
    "v2 of a Unix socket": (v2(0x21, 0x31, bytes(216)), None),
    "v2 unspecified": (v2(0x21, 0x00, b""), None),
}
BAD = {
    "none": REQUEST,
    "v1 without an end": b"PROXY TCP4 " + b"1" * 200,
    "v1 with a line feed alone": b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\n",
    "v1 of another family": b"PROXY UDP4 203.0.113.7 192.0.2.1 4711 443\r\n",
    "v1 with a name": b"PROXY TCP4 evil.example 192.0.2.1 4711 443\r\n",
    "v1 with the wrong kind": b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 443\r\n",
    "v1 with a port too far": b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 443\r\n",
    "v1 with too little": b"PROXY TCP4 203.0.113.7\r\n",
    "v1 of no bytes that are text": b"PROXY TCP4 \xff\xff\xff\xff 192.0.2.1 4711 443\r\n",
    "v2 of version 3": v2(0x31, 0x11, FOUR),
    "v2 with another command": v2(0x22, 0x11, FOUR),
    "v2 too short for its family": v2(0x21, 0x21, FOUR),
    "v2 too long": v2(0x21, 0x11, FOUR, length=65535),
}


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[tuple[trio.socket.SocketType, trio.socket.SocketType]]:
    ours, theirs = trio.socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@each_row("at_once", [True, False], ids=["at once", "byte by byte"])
@each_row("name", GOOD)
async def test_a_proxy_header_names_the_client_and_consumes_nothing_after_it(name, at_once):
    header, address = GOOD[name]
    async with pair() as (ours, theirs), trio.open_nursery() as nursery:

        async def write() -> None:
            if at_once:
                await theirs.send(header + REQUEST)
            else:
                for byte in header:
                    await theirs.send(bytes([byte]))
                    await trio.lowlevel.checkpoint()
                await theirs.send(REQUEST)

        nursery.start_soon(write)
        assert await read_proxy_header(ours) == address
        assert await ours.recv(1000) == REQUEST


@each_row(("sent", "ends"), [*((one, False) for one in BAD.values()), *((one[:-1], True) for one, _ in GOOD.values())])
async def test_an_invalid_or_cut_proxy_header_is_refused_after_a_limited_number_of_bytes(sent, ends):
    async with pair() as (ours, theirs):
        await theirs.send(sent)
        if ends:
            theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ProxyHeaderFailed):
            await read_proxy_header(ours)


@pytest.mark.parametrize(
    ("name", "host"), [("v1 TCP4", "203.0.113.7"), ("v2 TCP6", "2001:db8::7"), ("v2 local", "127.0.0.1")]
)
async def test_the_address_is_the_connections_client(name, host):
    async with serving(options=[ListenerOptions(proxy_protocol=True)]) as server, server.connect() as client:
        await client.send(GOOD[name][0] + b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
        await client.until(b"first;")
        (connection,) = server.lifecycle.connections
        assert connection.client[0] == host
        assert server.witness.clients == [connection.client]


@each_row("name", BAD)
async def test_a_connection_without_a_header_is_closed(name):
    async with serving(options=[ListenerOptions(proxy_protocol=True)]) as server, server.connect() as client:
        await client.send(BAD[name])
        assert await client.read_rest() == b""
        await eventually(lambda: not server.lifecycle.connections)


async def test_a_silent_connection_is_closed_in_time(autojump_clock):
    async with serving(options=[ListenerOptions(proxy_protocol=True)]) as server, server.connect() as client:
        await client.send(b"PROXY TCP4 203")
        begun = trio.current_time()
        assert await client.read_rest() == b""
        assert trio.current_time() - begun <= 11
