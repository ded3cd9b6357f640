"""Realtime sessions on streams of one HTTP/2 connection (RFC 8441), which must not delay each other."""

import contextlib
import socket
from collections.abc import AsyncIterator

import h2.events
import trio
from h2.settings import SettingCodes
from wsproto.events import BytesMessage, CloseConnection, Ping

from tests.support.asgi_app import eventually
from tests.support.http2_client import Http2Client
from tests.support.in_process import InProcess
from tests.support.realtime_sessions import BEARER, PATH, echo, serve_sessions
from tests.support.websocket_over_http2 import Http2WebSocket, http2_client
from tests.support.websocket_server import Peer, Talk, WebSocketServer

SOON = 20.0
"""Seconds within which other streams continue; a provider may leave a message unread for a minute."""


@contextlib.asynccontextmanager
async def connect(talk: Talk) -> AsyncIterator[tuple[InProcess, WebSocketServer, Http2Client]]:
    async with serve_sessions(talk) as (running, server), http2_client(running.url) as peer:
        yield running, server, peer


async def answers(peer: Http2Client) -> None:
    """Check that the connection answers a request soon."""
    with trio.fail_after(SOON):
        await peer.until(h2.events.StreamEnded, await peer.ask("/healthz"))


async def test_a_provider_that_does_not_read_delays_only_its_own_websocket():
    """The connection's reader waited for it: for a minute, with all streams."""
    gone = trio.Event()

    async def unread(peer: Peer) -> None:
        peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await peer.accept()
        await gone.wait()

    async with connect(unread) as (_, _, peer):
        first, second = [await Http2WebSocket.open(peer, PATH, BEARER) for _ in range(2)]
        await first.fill(BytesMessage(data=bytes(100_000)))
        await answers(peer)
        await second.send(Ping(payload=b"x"))
        assert bytes((await second.receive()).payload) == b"x"
        gone.set()


async def test_a_client_that_does_not_read_delays_only_its_own_websocket():
    """A pong waited for the stream's window, and the connection's reader for the pong."""

    async def flood(peer: Peer) -> None:
        await peer.accept()
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await peer.send("x" * 1_000_000)

    async with connect(flood) as (_, _, peer):
        websocket = await Http2WebSocket.open(peer, PATH, BEARER)
        peer.connection.increment_flow_control_window(2**20)  # of the connection: the stream's stays closed
        while len(peer.data(websocket.stream)) < 65_535:
            await peer.read()
        await websocket.send(Ping(payload=b"x"))
        await answers(peer)
        peer.connection.reset_stream(websocket.stream)
        await peer.flush()
        await answers(peer)


async def test_a_session_ends_with_its_stream_without_a_close_frame():
    """RFC 8441, section 5: the end of the stream is the end of the connection."""
    async with connect(echo) as (_, server, peer):
        websocket = await Http2WebSocket.open(peer, PATH, BEARER)
        await websocket.send('{"type":"x"}')
        peer.connection.end_stream(websocket.stream)
        await peer.flush()
        with trio.fail_after(SOON):
            await server.peers[0].gone.wait()
            assert server.peers[0].code == 1001
            await peer.until(h2.events.StreamEnded, websocket.stream)
        await answers(peer)


async def test_a_close_ends_its_stream_in_order():
    """The gateway reset the stream with INTERNAL_ERROR after the close frame."""
    async with connect(echo) as (_, server, peer):
        websocket = await Http2WebSocket.open(peer, PATH, BEARER)
        await websocket.send('{"type":"x"}')
        assert (await websocket.receive()).data == '{"type":"x"}'
        await websocket.send(CloseConnection(code=4000, reason="done"))
        closed = await websocket.receive()
        assert (closed.code, closed.reason) == (4000, "done")
        await peer.until(h2.events.StreamEnded, websocket.stream)
        await server.peers[0].gone.wait()
        assert server.peers[0].closed == (4000, "done")
        assert not [event for event in peer.seen if isinstance(event, h2.events.StreamReset)]


async def test_a_handshake_that_ends_its_stream_is_refused():
    async with connect(echo) as (_, _, peer):
        stream = await peer.open_websocket(PATH, BEARER, end=True)
        head = await peer.until(h2.events.ResponseReceived, stream)
        assert dict(head.headers)[":status"] == "400"
        await answers(peer)


async def test_a_handshake_that_is_reset_immediately_opens_no_session():
    """The task of the websocket began after the reset half of the time, and its session stayed open."""
    async with connect(echo) as (running, _, peer):
        for _ in range(20):
            peer.connection.remote_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
            peer.connection.remote_settings.acknowledge()
            line = [(":method", "CONNECT"), (":protocol", "websocket"), (":path", PATH), (":scheme", "http")]
            stream = peer.connection.get_next_available_stream_id()
            head = [*line, (":authority", "x"), ("sec-websocket-version", "13"), *BEARER]
            peer.connection.send_headers(stream, head)
            peer.connection.reset_stream(stream)
            await peer.flush()
            await answers(peer)
        await eventually(lambda: running.service.upstream.stats().active == 0)
