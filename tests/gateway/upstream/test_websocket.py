"""Websockets to providers, on real sockets: what is sent, how they end, and that nothing stays open."""

import contextlib
import ssl
from collections.abc import AsyncIterator

import pytest
import trio
from wsproto.events import BytesMessage, Ping, TextMessage

from gateway.http.frame_rate import FRAMES_PER_TURN
from gateway.upstream.client import Upstream
from gateway.upstream.errors import UpstreamError
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.websocket import UpstreamWebSocket, WebSocketEnded, accept_upgrade, handshake
from tests.support.certificates import LOOPBACK, Authority
from tests.support.each_row import each_row
from tests.support.harness import PATIENCE
from tests.support.loop_steps import check_own_steps
from tests.support.websocket_server import Peer, Talk, WebSocketServer, websocket_server

MOST = 2**20


@contextlib.asynccontextmanager
async def opened(
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


async def test_messages_of_both_kinds_come_as_what_they_were():
    async def echo(peer: Peer) -> None:
        await peer.accept("realtime")
        while (message := await peer.receive()) is not None:
            await peer.send(message)

    async with opened(echo, subprotocols=("realtime",)) as (socket, server, _):
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
    """A session's first event comes so: h2o/h2o#1276."""

    async def talk(peer: Peer) -> None:
        await peer.accept(behind=peer.frame({"type": "session.created"}) + peer.frame("second"))
        await peer.rest()

    async with opened(talk) as (socket, _, _):
        assert await socket.receive() == '{"type": "session.created"}'
        assert await socket.receive() == "second"


async def test_pings_are_answered_while_nothing_else_is_sent_and_parts_are_joined():
    async def talk(peer: Peer) -> None:
        await peer.accept()
        frames = peer._frames
        await peer.stream.send_all(
            frames.send(TextMessage(data="one ", message_finished=False))
            + frames.send(Ping(payload=b"between"))
            + frames.send(TextMessage(data="two"))
            + frames.send(BytesMessage(data=b"three"))
        )
        await peer.rest()

    async with opened(talk) as (socket, server, _):
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


@pytest.mark.sample(4, by="turns")
@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_of_tiny_frames_ends_the_websocket_and_delays_no_other_task(flood):
    """Thirty thousand frames fit in one read, and were handled in one step (CWE-400)."""

    async def talk(peer: Peer) -> None:
        await peer.accept()
        await peer.stream.send_all(peer._frames.send(TextMessage(data="begun", message_finished=False)))
        with contextlib.suppress(trio.BrokenResourceError):
            await peer.stream.send_all(FLOODS[flood] * 100_000)

    async def receive() -> None:
        async with opened(talk) as (socket, _, _):
            with pytest.raises(WebSocketEnded, match="more than 10,000 frames"):
                await socket.receive()

    await check_own_steps(receive)


async def test_others_run_between_the_messages_of_one_read():
    """Each message is billed and passed on, so thirty thousand of them in one read took a second."""

    async def talk(peer: Peer) -> None:
        await peer.accept()
        await peer.stream.send_all(b"\x82\x00" * 9000)
        await peer.rest()

    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with opened(talk) as (socket, _, _), trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        for _ in range(9000):
            assert await socket.receive() == b""
        nursery.cancel_scope.cancel()
    assert turns > 9000 // FRAMES_PER_TURN // 2


async def test_the_close_of_the_provider_is_reported_and_answered():
    for code, reason, told in (
        (1000, "bye", (1000, "bye")),
        (4001, "", (4001, "")),
        (1013, "later", (1013, "later")),
        (None, None, (1005, "")),
    ):

        async def talk(peer: Peer, code: int | None = code, reason: str | None = reason) -> None:
            await peer.accept()
            await peer.close(code, reason)

        async with opened(talk) as (socket, server, _):
            with pytest.raises(WebSocketEnded) as ended:
                await socket.receive()
            assert (ended.value.code, ended.value.reason) == told
            await server.peers[0].gone.wait()
            assert server.peers[0].code == told[0]


async def test_a_connection_that_is_lost_is_an_end_without_a_word():
    async def talk(peer: Peer) -> None:
        await peer.accept(behind=peer.frame("first"))

    async with opened(talk) as (socket, _, _):
        assert await socket.receive() == "first"
        with pytest.raises(WebSocketEnded) as ended:
            await socket.receive()
        assert ended.value.code == 1006
        await socket.send("nobody is there")


async def test_a_message_over_the_limit_is_refused_as_it_arrives():
    async def talk(peer: Peer) -> None:
        await peer.accept()
        await peer.send(b"x" * 1000)
        await peer.stream.send_all(bytes((0x82, 127)) + (2**40).to_bytes(8) + b"x" * 2000)
        await peer.rest()

    async with opened(talk, most=1000) as (socket, server, _):
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
    """Its code was reported as the provider's own close, and its client's fault."""
    sent, told = INVALID_FRAMES[frame]

    async def talk(peer: Peer) -> None:
        await peer.accept(behind=sent)
        await peer.rest()

    async with opened(talk) as (socket, server, _):
        with pytest.raises(WebSocketEnded) as ended:
            await socket.receive()
        assert (ended.value.code, ended.value.reason) == (1006, "the provider sent an invalid WebSocket frame")
        await socket.aclose()
        await server.peers[0].gone.wait()
        assert server.peers[0].code == told


async def test_an_unrequested_answer_opens_no_websocket():
    """Neither a 101 to a plain request, nor one that was made for another key."""

    async def talk(peer: Peer) -> None:
        peer.head = peer.head.replace(b"sec-websocket-key: ", b"sec-websocket-key: other")
        await (peer.accept() if b"upgrade" in peer.head else peer.stream.send_all(b"HTTP/1.1 101 Ok\r\n\r\n"))
        await peer.rest()

    with trio.fail_after(PATIENCE):
        async with websocket_server(talk) as server, Upstream(trust_env=False) as upstream:
            with pytest.raises(UpstreamError):
                await upstream.send(UpstreamRequest("GET", server.url))
            request = handshake(UpstreamRequest("GET", server.url))
            async with await upstream.send(request) as response:
                with pytest.raises(UpstreamError):
                    accept_upgrade(request, response, MOST)


async def test_over_tls_and_through_a_proxy_both_sides_send_at_once(tmp_path, monkeypatch):
    authority = Authority(tmp_path)
    pair = authority.pair("localhost", *LOOPBACK)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    connects: list[bytes] = []

    async def flood(peer: Peer) -> None:
        await peer.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send, *(b"%d" % number * 5000 for number in range(100)))
            for number in range(100):
                assert await peer.receive() == b"%d" % number * 5000
        await peer.rest()

    async def pipe(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some():
                await sink.send_all(data)
            await sink.aclose()

    async def proxy(stream: trio.SocketStream) -> None:
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            asked += await stream.receive_some()
        connects.append(asked)
        host, _, port = connects[0].split()[1].decode().partition(":")
        async with stream, await trio.open_tcp_stream(host, int(port)) as onwards, trio.open_nursery() as nursery:
            await stream.send_all(b"HTTP/1.1 200 Ok\r\n\r\n")
            nursery.start_soon(pipe, stream, onwards)
            nursery.start_soon(pipe, onwards, stream)

    async def send(socket: UpstreamWebSocket) -> None:
        for number in range(100):
            await socket.send(b"%d" % number * 5000)

    with trio.fail_after(PATIENCE):
        async with websocket_server(flood, context) as server, trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            await nursery.start(trio.serve_listeners, proxy, [listener])
            for name in ("no_proxy", "NO_PROXY"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
            async with Upstream(ca_path=str(authority.root)) as upstream:
                request = handshake(UpstreamRequest("GET", f"{server.url}/v1/realtime"))
                socket = accept_upgrade(request, await upstream.send(request), MOST)
                async with trio.open_nursery() as both:
                    both.start_soon(send, socket)
                    for number in range(100):
                        assert await socket.receive() == b"%d" % number * 5000
                await socket.close(1000, "done")
                await server.peers[0].gone.wait()
                assert server.peers[0].closed == (1000, "done")
            nursery.cancel_scope.cancel()
    assert connects[0].startswith(b"CONNECT 127.0.0.1:")
