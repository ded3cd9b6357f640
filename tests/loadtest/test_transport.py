"""The connections of the load tester, and the loop that reads from them, on real sockets."""

import socket
import ssl
from collections.abc import Callable

import pytest
import trio

from loadtest.wire import read_loop as loops
from loadtest.wire.connecting import ServerAddress, WireError, open_socket
from loadtest.wire.connection import PIECE, Connections
from loadtest.wire.read_loop import ReadLoop, ReadSocket
from tests.support.load_servers import answer, serving
from tests.support.timed_wire import TakenAnswer, connection_and_peer


class NotingSocket(ReadSocket):
    """A socket that passes each read to a function."""

    def __init__(self, sock: socket.socket, take: Callable[[bytes | OSError, float], object]) -> None:
        super().__init__(sock)
        self._take = take

    def take_read(self, found: bytes | OSError, at: float) -> None:
        self._take(found, at)


async def test_a_large_request_is_sent_in_pieces_that_let_other_tasks_run():
    """Otherwise the load tester would measure the other streams late (vllm-project/vllm#39963)."""
    near, far = connection_and_peer()
    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async def read():
        size = 0
        while size < 20 * PIECE:
            size += len(await far.receive_some())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        nursery.start_soon(near.ask, bytes(20 * PIECE), TakenAnswer())
        await read()
        nursery.cancel_scope.cancel()
    assert turns >= 20
    near.close()
    await far.aclose()


async def test_small_data_is_sent_immediately():
    near, far = connection_and_peer()
    step = near.ask(b"body", TakenAnswer())
    with pytest.raises(StopIteration):  # without a turn of another task
        step.send(None)
    assert (await far.receive_some()) == b"body"
    near.close()
    await far.aclose()


@pytest.mark.parametrize("turn", [-1.0, 60.0])
async def test_slow_processing_of_reads_does_not_delay_timers(turn, monkeypatch, nursery):
    """Endless frames on sixty connections delayed timeouts by more than half a minute."""
    monkeypatch.setattr(loops, "TURN", turn)
    loop, pairs, order = ReadLoop(), [socket.socketpair() for _ in range(3)], []
    watched = [NotingSocket(near, lambda _, at: order.append(at)) for near, _ in pairs]
    for one, (_, far) in zip(watched, pairs, strict=True):
        one.socket.setblocking(False)
        loop.add(one)
        far.send(b"x")
    nursery.start_soon(loop.run)
    with trio.fail_after(30):
        while len([at for at in order if at]) < 3:
            order.append(0.0)  # another task runs
            await trio.lowlevel.checkpoint()
    first, last = order.index(next(filter(None, order))), len(order)
    assert (order[first:last].count(0.0) > 0) is (turn < 0)
    for one, (_, far) in zip(watched, pairs, strict=True):
        loop.remove(one)
        one.socket.close()
        far.close()


async def test_the_loop_reads_to_the_end(nursery):
    loop, taken, over = ReadLoop(), [], trio.Event()
    nursery.start_soon(loop.run)

    def take(data, at):
        taken.append((data, at))
        if not data:
            over.set()

    near, far = socket.socketpair()
    near.setblocking(False)
    loop.add(NotingSocket(near, take))
    start = trio.current_time()
    far.send(b"one")
    far.send(b"two")
    far.close()
    await over.wait()
    assert b"".join(data for data, _ in taken) == b"onetwo"
    assert [at for _, at in taken] == sorted(at for _, at in taken)
    assert taken[0][1] >= start
    near.close()


async def test_a_closed_connection_reports_nothing_more():
    near, far = connection_and_peer()
    taken = TakenAnswer()
    await near.ask(b"x", taken)
    await far.send_all(b"HTTP/1.1 200 OK\r\n\r\none")
    near.close()
    near.close()
    await trio.testing.wait_all_tasks_blocked(0.02)
    await far.aclose()
    assert (taken.status, taken.pieces, taken.fault) == (None, [], None)


async def test_responses_arrive_over_tls(certificate, monkeypatch):
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(*certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))

    async def serve(stream, head):
        await answer(stream, "x" * 100_000)

    async with serving(serve, server) as url:
        connections = Connections(await ServerAddress.resolve(url))
        for _ in range(2):
            taken = TakenAnswer()
            connection = connections.take_idle() or await connections.open()
            await connection.ask(b"POST / HTTP/1.1\r\ncontent-length: 200000\r\n\r\n" + b"y" * 200_000, taken)
            await taken.over.wait()
            connections.release(connection)
            assert taken.fault is None
            assert len(taken.content) > 100_000
        connections.close()


async def test_a_server_without_tls_is_reported():
    async def serve(stream):
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        address = await ServerAddress.resolve(f"https://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        with pytest.raises(WireError) as caught:
            await open_socket(address, ssl.create_default_context())
        nursery.cancel_scope.cancel()
    assert caught.value.fault == "tls"
