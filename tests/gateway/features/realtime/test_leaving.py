"""Clients that leave while a message of theirs waits: the provider's session, which is billed, ends soon."""

import json
import socket

import pytest
import trio
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong

from tests.support.asgi_app import Client, eventually
from tests.support.each_row import each_row
from tests.support.http2_client import Http2Client
from tests.support.in_process import InProcess
from tests.support.realtime_sessions import BEARER, GEMINI, LIVE, PATH, VOICE, serve_sessions
from tests.support.websocket_caller import Caller, calling
from tests.support.websocket_over_http2 import Http2WebSocket, http2_client
from tests.support.websocket_server import Peer

FIRST = {
    GEMINI: {"setup": {"model": "models/live"}},
    "/v1/live/sessions": {"type": "session.start", "session": {"model": "gpt-live-1"}},
}
SOON = 20.0
"""Seconds until the session has ended; it took a minute, or ten."""


ENTRIES = (VOICE, LIVE, {"model": "openai/gpt-live-1", "name": "gpt-live-1"})


async def is_over(running: InProcess) -> None:
    with trio.fail_after(SOON):
        await eventually(lambda: running.service.upstream.stats().active == 0)


class Unread:
    """A provider that accepts a session and reads nothing until ``over``."""

    def __init__(self) -> None:
        self.over = trio.Event()

    async def __call__(self, peer: Peer) -> None:
        peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await peer.accept()
        await self.over.wait()


async def fill(caller: Caller) -> None:
    """Send messages until one waits in the gateway, which then answers no ping."""
    for sent in range(1000):
        await caller.send(bytes(100_000))
        await caller.ping(b"%d" % sent)
        with trio.move_on_after(0.5), trio.CancelScope() as answered:
            async with trio.open_nursery() as reading:
                reading.start_soon(caller.receive)
                await eventually(lambda sent=sent: b"%d" % sent in caller.pongs)
                answered.cancel()
        if not answered.cancelled_caught:
            return
    raise AssertionError("the provider reads")


async def silent(peer: Peer) -> None:
    """Leave the handshake without an answer."""
    await peer.read_rest()


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_client_that_leaves_while_the_provider_does_not_read_ends_the_session(how):
    talk = Unread()
    async with serve_sessions(talk, *ENTRIES) as (running, _), calling(running.url, PATH, BEARER) as caller:
        await fill(caller)
        Client(caller.stream.socket).leave(how)
        await is_over(running)
        talk.over.set()


async def leave(peer: Http2Client, websocket: Http2WebSocket, how: str) -> None:
    """End the stream of a websocket, or the connection that it shares."""
    if how in ("fin", "rst"):
        peer.client.leave(how)
        return
    end = peer.connection.reset_stream if how == "reset" else peer.connection.end_stream
    end(websocket.stream)
    await peer.flush()


@each_row("how", ["reset", "end", "fin", "rst"], every=2)
async def test_an_http2_client_that_leaves_while_the_provider_does_not_read_ends_the_session(how):
    talk = Unread()
    async with serve_sessions(talk, *ENTRIES) as (running, _), http2_client(running.url) as peer:
        websocket = await Http2WebSocket.open(peer, PATH, BEARER)
        await websocket.fill(BytesMessage(data=bytes(100_000)))
        await leave(peer, websocket, how)
        await is_over(running)
        talk.over.set()


@pytest.mark.parametrize("in_one_piece", [True, False])
async def test_a_close_that_ends_its_stream_while_a_message_waits_is_the_clients(in_one_piece, exchanges):
    """The session counted as one whose client was lost."""
    talk = Unread()
    async with serve_sessions(talk, *ENTRIES) as (running, _), http2_client(running.url) as peer:
        websocket = await Http2WebSocket.open(peer, PATH, BEARER)
        message = websocket.frame(BytesMessage(data=bytes(20_000)))
        while not await waits(peer, websocket, message):
            pass
        close = websocket.frame(CloseConnection(code=4000, reason="done"))
        peer.connection.send_data(websocket.stream, close, end_stream=in_one_piece)
        if not in_one_piece:
            await peer.flush()
            peer.connection.end_stream(websocket.stream)
        await peer.flush()
        await is_over(running)
        (line,) = await exchanges.wait_for(1)
        talk.over.set()
    assert (line["ended"], line["reason"]) == ("complete", "client_closed")


async def waits(peer: Http2Client, websocket: Http2WebSocket, message: bytes) -> bool:
    """Send ``message`` and a ping; return whether the gateway does not answer it, because the message waits."""
    peer.connection.send_data(websocket.stream, message[:16_384])
    peer.connection.send_data(websocket.stream, message[16_384:] + websocket.frame(Ping(payload=b"x")))
    await peer.flush()
    with trio.move_on_after(0.5) as silence:
        assert isinstance(await websocket.receive(), Pong)
    return silence.cancelled_caught


@each_row("how", ["fin", "rst"])
@each_row("path", FIRST)
async def test_a_client_that_leaves_while_its_session_opens_ends_the_handshake(path, how):
    """Its second message waits for the session, so the gateway read no more from the client."""
    async with serve_sessions(silent, *ENTRIES) as (running, server), calling(running.url, path, BEARER) as caller:
        await caller.send(FIRST[path], FIRST[path])
        await eventually(lambda: server.peers)
        Client(caller.stream.socket).leave(how)
        await is_over(running)


@each_row("how", ["reset", "end", "fin", "rst"], every=2)
@each_row("path", FIRST)
async def test_an_http2_client_that_leaves_while_its_session_opens_ends_the_handshake(path, how):
    async with serve_sessions(silent, *ENTRIES) as (running, server), http2_client(running.url) as peer:
        websocket = await Http2WebSocket.open(peer, path, BEARER)
        for _ in range(2):
            await websocket.send(json.dumps(FIRST[path]))
        await eventually(lambda: server.peers)
        await leave(peer, websocket, how)
        await is_over(running)
