"""Websockets to providers, over real sockets: their messages and their ends; no connection stays open."""

import contextlib
from collections.abc import AsyncIterator

import pytest
import trio
from wsproto.events import BytesMessage, Ping, TextMessage

from gateway.features.realtime.provider_websocket import UpstreamWebSocket, WebSocketEnded, accept_upgrade, handshake
from gateway.upstream.client import Upstream
from gateway.upstream.errors import UpstreamError
from gateway.upstream.request import UpstreamRequest
from tests.support.each_row import each_row
from tests.support.harness import PATIENCE
from tests.support.loop_steps import check_own_steps
from tests.support.websocket_server import Peer, Talk, WebSocketServer, websocket_server

MOST = 2**20


@contextlib.asynccontextmanager
async def open_websocket(
    talk: Talk, most: int = MOST, subprotocols: tuple[str, ...] = ()
) -> AsyncIterator[tuple[UpstreamWebSocket, WebSocketServer, Upstream]]:
    with trio.fail_after(PATIENCE):
        async with websocket_server(talk) as server, Upstream(trust_env=False) as upstream:
            request = handshake(UpstreamRequest("GET", f"{server.url}/v1/realtime?model=m"), subprotocols)
            response = await upstream.send(request)
            assert response.status == 101
            socket = accept_upgrade(request, response, most)
            try:
                yield socket, server, upstream
            finally:
                await socket.aclose()
            assert upstream.stats().connections == 0


async def test_messages_keep_their_kind():
    async def echo(peer: Peer) -> None:
        await peer.accept("realtime")
        while (message := await peer.receive()) is not None:
            await peer.send(message)

    async with open_websocket(echo, subprotocols=("realtime",)) as (socket, server, _):
        assert socket.subprotocol == "realtime"
        for message in ("text ☃", b"\x00\xff", "", b"", "x" * 70_000, b"y" * 200_000):
            await socket.send(message)
            assert await socket.receive() == message
        peer = server.peers[0]
        assert peer.target == "/v1/realtime?model=m"
        assert peer.headers["sec-websocket-version"] == "13"
        assert peer.headers["sec-websocket-protocol"] == "realtime"
        assert "sec-websocket-extensions" not in peer.headers


async def test_frames_in_the_packet_of_the_handshake_response_are_not_lost():
    """A session's first event may arrive in this packet: h2o/h2o#1276."""

    async def talk(peer: Peer) -> None:
        await peer.accept(behind=peer.frame({"type": "session.created"}) + peer.frame("second"))
        await peer.read_rest()

    async with open_websocket(talk) as (socket, _, _):
        assert await socket.receive() == '{"type": "session.created"}'
        assert await socket.receive() == "second"


async def test_pings_get_pongs_during_silence_and_parts_of_messages_are_joined():
    async def talk(peer: Peer) -> None:
        await peer.accept()
        frames = peer._frames
        await peer.stream.send_all(
            frames.send(TextMessage(data="one ", message_finished=False))
            + frames.send(Ping(payload=b"between"))
            + frames.send(TextMessage(data="two"))
            + frames.send(BytesMessage(data=b"three"))
        )
        await peer.read_rest()

    async with open_websocket(talk) as (socket, server, _):
        assert await socket.receive() == "one two"
        assert await socket.receive() == b"three"
        await socket.ping()
        await socket.close(1000, "done")
        (peer,) = server.peers
        await peer.gone.wait()
        assert peer.pongs == [b"between"]
        assert peer.pings == 1
        assert peer.closed == (1000, "done")


FLOODS = {
    "fragments of a letter": b"\x00\x01x",
    "empty fragments": b"\x00\x00",
    "pongs": b"\x8a\x00",
    "pings": b"\x89\x00",
}


@pytest.mark.sample(4)
@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_of_tiny_frames_ends_the_websocket_and_delays_no_other_task(flood):
    """Thirty thousand frames fit in one read, and the gateway handled them without a pause (CWE-400)."""

    async def talk(peer: Peer) -> None:
        await peer.accept()
        await peer.stream.send_all(peer._frames.send(TextMessage(data="begun", message_finished=False)))
        with contextlib.suppress(trio.BrokenResourceError):
            await peer.stream.send_all(FLOODS[flood] * 100_000)

    async def receive() -> None:
        async with open_websocket(talk) as (socket, _, _):
            with pytest.raises(WebSocketEnded, match="more than 10,000 frames"):
                await socket.receive()

    await check_own_steps(receive)


async def test_a_message_over_the_limit_is_refused_as_it_arrives():
    async def talk(peer: Peer) -> None:
        await peer.accept()
        await peer.send(b"x" * 1000)
        await peer.stream.send_all(bytes((0x82, 127)) + (2**40).to_bytes(8) + b"x" * 2000)
        await peer.read_rest()

    async with open_websocket(talk, most=1000) as (socket, server, _):
        assert await socket.receive() == b"x" * 1000
        with pytest.raises(WebSocketEnded) as ended:
            await socket.receive()
        assert ended.value.code == 1006
        assert "1000 bytes" in ended.value.reason
        await socket.aclose()
        await server.peers[0].gone.wait()
        assert server.peers[0].closed == (1009, "a message larger than the limit of 1000 bytes")


INVALID_FRAMES = {
    "reserved bits": (b"\xf2\x01x", 1002),
    "an unknown opcode": (b"\x83\x01x", 1002),
    "a masked frame": (b"\x82\x81\x00\x00\x00\x00x", 1002),
    "a control frame in parts": (b"\x09\x00", 1002),
    "a long control frame": (b"\x89\x7e\x00\xff" + bytes(255), 1002),
    "a continuation of nothing": (b"\x80\x01x", 1002),
    "a message inside another": (b"\x02\x01x\x82\x01x", 1002),
    "text that is not UTF-8": (b"\x81\x02\xff\xff", 1007),
    "text that ends inside a character": (b"\x81\x01\xc3", 1007),
    "a close with half a code": (b"\x88\x01\x03", 1002),
    "a close with a forbidden code": (b"\x88\x02\x03\xed", 1002),
    "a close with a reason that is not UTF-8": (b"\x88\x04\x03\xe8\xff\xff", 1007),
}


@each_row("frame", INVALID_FRAMES)
async def test_an_invalid_frame_is_a_failure_and_no_close(frame):
    """The log had its code as a close by the provider, caused by the client."""
    sent, told = INVALID_FRAMES[frame]

    async def talk(peer: Peer) -> None:
        await peer.accept(behind=sent)
        await peer.read_rest()

    async with open_websocket(talk) as (socket, server, _):
        with pytest.raises(WebSocketEnded) as ended:
            await socket.receive()
        assert (ended.value.code, ended.value.reason) == (1006, "the provider sent an invalid WebSocket frame")
        await socket.aclose()
        await server.peers[0].gone.wait()
        assert server.peers[0].code == told


async def test_an_unrequested_answer_opens_no_websocket():
    """A 101 to a plain request, or for another key, is not a websocket."""

    async def talk(peer: Peer) -> None:
        peer.head = peer.head.replace(b"sec-websocket-key: ", b"sec-websocket-key: other")
        await (peer.accept() if b"upgrade" in peer.head else peer.stream.send_all(b"HTTP/1.1 101 Ok\r\n\r\n"))
        await peer.read_rest()

    with trio.fail_after(PATIENCE):
        async with websocket_server(talk) as server, Upstream(trust_env=False) as upstream:
            with pytest.raises(UpstreamError):
                await upstream.send(UpstreamRequest("GET", server.url))
            request = handshake(UpstreamRequest("GET", server.url))
            async with await upstream.send(request) as response:
                with pytest.raises(UpstreamError):
                    accept_upgrade(request, response, MOST)
