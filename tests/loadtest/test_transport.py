"""The transport of the load tester and the loops that read for it, on real sockets."""

import socket
import ssl

import pytest
import trio

from loadtest.wire import read_loop as loops
from loadtest.wire.address import AddressRotation, ServerAddress
from loadtest.wire.answers import OutgoingRequest, WireError
from loadtest.wire.connections import ConnectionRules, Connections
from loadtest.wire.read_loop import WatchedSocket
from loadtest.wire.transport import PIECE, open_transport
from tests.support.load_servers import answer, serving
from tests.support.timed_wire import TakenAnswer, connection_ends


async def test_a_large_request_is_sent_in_pieces_that_let_other_tasks_run():
    """Else the streams beside it would be measured late (vllm-project/vllm#39963)."""
    near, far = connection_ends()
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async def read():
        size = 0
        while size < 20 * PIECE:
            size += len(await far.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        nursery.start_soon(near.send, (b"head", bytes(20 * PIECE)))
        await read()
        nursery.cancel_scope.cancel()
    assert turns >= 20
    near.close()
    await far.aclose()


async def test_small_data_is_sent_immediately():
    near, far = connection_ends()
    step = near.send((b"head ", b"body"))
    with pytest.raises(StopIteration):  # without a turn of anybody else
        step.send(None)
    assert await far.receive_some() == b"head body"
    near.close()
    await far.aclose()


@pytest.mark.skipif(not hasattr(loops, "_PollingLoop"), reason="each socket has a task of its own")
@pytest.mark.parametrize("turn", [-1.0, 60.0])
async def test_slow_processing_of_reads_does_not_delay_timers(turn, monkeypatch, nursery):
    """Frames without end on sixty connections kept timeouts waiting for the better part of a minute."""
    monkeypatch.setattr(loops, "TURN", turn)
    loop, pairs, order = loops._PollingLoop(), [socket.socketpair() for _ in range(3)], []
    for near, far in pairs:
        near.setblocking(False)
        loop.add(WatchedSocket(near, lambda data, at: order.append(at), lambda error, at: None))
        far.send(b"x")
    nursery.start_soon(loop.run)
    with trio.fail_after(2):
        while len([at for at in order if at]) < 3:
            order.append(0.0)  # the turn of another task
            await trio.lowlevel.checkpoint()
    first, last = order.index(next(filter(None, order))), len(order)
    assert (order[first:last].count(0.0) > 0) is (turn < 0)
    assert max(order) - min(filter(None, order)) < 0.01, "all were read concurrent requests"
    for near, far in pairs:
        loop.remove(next(one for one in loop._watched.values() if one.socket is near))
        near.close()
        far.close()


@pytest.mark.parametrize("kind", [loops._TaskLoop, getattr(loops, "_PollingLoop", loops._TaskLoop)])
@pytest.mark.parametrize("paced", [False, True])
async def test_every_loop_reads_to_the_end_and_slowly_where_that_is_asked_for(kind, paced, nursery):
    loop, taken, news = kind(), [], trio.Event()
    if kind is not loops._TaskLoop:
        nursery.start_soon(loop.run)

    def take(data, at):
        nonlocal news
        taken.append((data, at))
        before, news = news, trio.Event()
        before.set()

    near, far = socket.socketpair()
    near.setblocking(False)
    watched = WatchedSocket(near, take, lambda error, at: None, paced)
    loop.add(watched)
    start = trio.current_time()
    far.send(b"one")
    await news.wait()
    far.send(b"two")
    await trio.testing.wait_all_tasks_blocked(0.02)
    assert len(taken) == (1 if paced else 2)
    loop.resume(watched)
    far.close()
    while taken[-1][0]:
        loop.resume(watched)
        await news.wait()
    assert b"".join(data for data, _ in taken) == b"onetwo"
    assert [at for _, at in taken] == sorted(at for _, at in taken)
    assert taken[0][1] >= start
    loop.remove(watched)
    near.close()
    nursery.cancel_scope.cancel()


async def test_a_closed_connection_reports_nothing_more():
    near, far = connection_ends()
    taken = []
    near.listen(lambda data, at: taken.append(data), lambda error, at: taken.append(error))
    await far.send_all(b"one")
    near.close()
    near.close()
    await trio.testing.wait_all_tasks_blocked(0.02)
    await far.aclose()
    assert taken == []


def tls_of(certificate) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's, and a client's that trusts it."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*certificate)
    return server, ssl.create_default_context(cafile=str(certificate[0]))


async def test_answers_come_through_tls(certificate):
    server, client = tls_of(certificate)

    async def serve(stream, head):
        await answer(stream, "x" * 100_000)

    async with serving(serve, server) as url:
        connections = Connections(await ServerAddress.resolve(url), client, ConnectionRules())
        for _ in range(2):
            taken = TakenAnswer()
            connection = connections.idle_channel() or await connections.open_channel()
            await connection.ask(OutgoingRequest("/", (), b'{"a": "%b"}' % (b"y" * 200_000)), taken)
            await taken.over.wait()
            connections.release(connection)
            assert taken.fault is None
            assert len(taken.content) > 100_000
        connections.close()


async def test_a_server_that_agrees_on_no_http_2_is_reported(certificate):
    server, client = tls_of(certificate)

    async with serving(lambda stream, head: answer(stream, "x"), server) as url:
        connections = Connections(await ServerAddress.resolve(url), client, ConnectionRules(http=2))
        with pytest.raises(WireError) as caught:
            await connections.open_channel()
    assert (caught.value.fault, caught.value.detail) == (
        "tls",
        "the server does not support HTTP/2: it agreed on nothing",
    )


async def test_a_server_without_tls_is_reported():
    async def serve(stream):
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        address = await ServerAddress.resolve(f"https://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        with pytest.raises(WireError) as caught:
            await open_transport(AddressRotation(address.addresses), "127.0.0.1", ssl.create_default_context())
        nursery.cancel_scope.cancel()
    assert caught.value.fault == "tls"
