"""The WebSocket of the load tester, against a scripted server."""

import pytest
import trio
import trio.testing

from loadtest.wire.address import AddressRotation, ServerAddress
from loadtest.wire.answers import WireError
from loadtest.wire.transport import open_transport
from loadtest.wire.websocket import HandshakeRefused, TimedWebSocket
from tests.support.websocket_server import websocket_server


async def opened(url, path="/v1/responses", headers=(("authorization", "Bearer k"),)) -> TimedWebSocket:
    address = await ServerAddress.resolve(url)
    transport = await open_transport(AddressRotation(address.addresses), address.host, None)
    return await TimedWebSocket.open(transport, address, path, headers)


async def test_messages_come_with_the_time_of_their_read():
    async def talk(peer):
        await peer.accept()
        assert await peer.receive() == '{"a":1}'
        await peer.send("one", "two")
        await trio.sleep(0.1)
        await peer.ping(b"are you there?")
        await peer.send("three")
        await peer.rest()

    async with websocket_server(talk) as server:
        socket = await opened(server.url)
        await socket.send('{"a":1}')
        (one, at_one), (two, at_two), (three, at_three) = [await socket.receive() for _ in range(3)]
        with trio.fail_after(2):
            while not server.peers[0].pongs:  # noqa: ASYNC110  # polled, with a deadline
                await trio.lowlevel.checkpoint()
        socket.close()
    assert (one, two, three) == ("one", "two", "three")
    assert at_one == at_two  # in one read
    assert 0.09 < at_three - at_one < 1
    assert server.peers[0].target == "/v1/responses"
    assert server.peers[0].headers["authorization"] == "Bearer k"
    assert socket.first <= at_one


async def test_a_refused_handshake_is_an_answer():
    async def talk(peer):
        await peer.refuse(401, {"error": "no key"})

    async with websocket_server(talk) as server:
        with pytest.raises(HandshakeRefused) as caught:
            await opened(server.url)
    assert caught.value.status == 401
    assert caught.value.body == b'{"error": "no key"}'


@pytest.mark.parametrize(
    ("ending", "fault", "detail"), [("close", "closed", "with code 1011 busy"), ("leave", "closed", "without a word")]
)
async def test_the_end_of_a_websocket_is_reported_after_earlier_messages(ending, fault, detail):
    async def talk(peer):
        await peer.accept()
        await peer.send("last")
        if ending == "close":
            await peer.close(1011, "busy")

    async with websocket_server(talk) as server:
        socket = await opened(server.url)
        assert (await socket.receive())[0] == "last"
        with pytest.raises(WireError) as caught:
            await socket.receive()
        socket.close()
    assert (caught.value.fault, caught.value.detail) == (fault, detail)
    assert socket.closed == ((1011, "busy") if ending == "close" else None)


async def test_an_invalid_websocket_server_is_reported():
    async def talk(peer):
        await peer.accept()
        await peer.stream.send_all(b"\xff\xff\xff")
        await peer.rest()

    async with websocket_server(talk) as server:
        socket = await opened(server.url)
        with pytest.raises(WireError) as caught:
            await socket.receive()
        socket.close()
    assert caught.value.fault == "not http"


async def received_all(socket, received):
    while True:
        received.append(await socket.receive())


async def test_unread_messages_are_not_stored_for_ever(monkeypatch):
    """Many small ones, or one does not work in parts without end."""
    monkeypatch.setattr("loadtest.wire.websocket.LARGEST", 1000)
    floods = ((b"\x81\x64" + b"x" * 100) * 50, 5), (b"\x01\x00" + b"\x00\x00" * 2000, 0), (b"\x81\x00" * 2000, 10)
    for flood, kept in floods:

        async def talk(peer, flood=flood):
            await peer.accept()
            await peer.stream.send_all(b"\x89\x00" * 500 + flood)
            await peer.rest()

        async with websocket_server(talk) as server:
            socket = await opened(server.url)
            await trio.testing.wait_all_tasks_blocked(0.05)
            received = []
            with pytest.raises(WireError, match="too large"):
                await received_all(socket, received)
            socket.close()
        assert len(received) == kept


async def test_frames_without_end_that_bring_no_message_are_the_end():
    async def talk(peer):
        await peer.accept(behind=b"\x8a\x00" * 20_000)
        await peer.rest()

    async with websocket_server(talk) as server:
        socket = await opened(server.url)
        with pytest.raises(WireError, match="more than 16 KiB of frames without a message"):
            await socket.receive()
        socket.close()
