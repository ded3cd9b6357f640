"""A read of a socket that another task closes, and the copies that reads and writes make."""

import contextlib
import os
import socket
import threading
import tracemalloc

import pytest
import trio
import trio.testing

from gateway.http.sockets import READ, receive, receive_now, send


class BeforeNextStep(trio.abc.Instrument):
    """Does something right before the next step of ``task``, once it is ``armed``."""

    def __init__(self, task: trio.lowlevel.Task, work) -> None:
        self.armed = False
        self._task = task
        self._work = work

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.armed and task is self._task:
            self.armed = False
            self._work()


@contextlib.contextmanager
def doing(instrument: trio.abc.Instrument):
    trio.lowlevel.add_instrument(instrument)
    try:
        yield instrument
    finally:
        trio.lowlevel.remove_instrument(instrument)


async def test_a_reader_takes_nothing_of_the_next_socket_with_its_number():
    """The kernel gives the number of a closed socket to the next one that is opened, such as another client's."""
    mine, peer = trio.socket.socketpair()
    others, other_peer = socket.socketpair()
    number, tasks, ended = mine.fileno(), [], trio.Event()
    other_peer.send(b"another client's request")

    def close_and_open() -> None:
        mine.close()
        os.dup2(others.fileno(), number)

    async def read() -> None:
        tasks.append(trio.lowlevel.current_task())
        with pytest.raises(trio.ClosedResourceError):
            await receive(mine, 1000)
        ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        with doing(BeforeNextStep(tasks[0], close_and_open)) as swap:
            swap.armed = True
            peer.close()
            with trio.fail_after(5):
                await ended.wait()
    assert others.recv(1000) == b"another client's request"
    os.close(number)
    others.close()
    other_peer.close()


async def test_a_read_that_does_not_wait_leaves_the_end_to_the_next_one():
    mine, peer = trio.socket.socketpair()
    assert receive_now(mine, 10) == b""
    await peer.send(b"0123456789ab")
    assert receive_now(mine, 10) == b"0123456789"
    peer.close()
    assert receive_now(mine, 10) == b"ab"
    assert receive_now(mine, 10) == await receive(mine, 10) == b""
    mine.close()
    assert receive_now(mine, 10) == b""


async def test_a_short_read_allocates_only_what_arrived():
    """A block of the whole size, shrunk in place, would leave a hole in the heap for each piece that is kept."""
    mine, peer = trio.socket.socketpair()
    with mine, peer:
        await peer.send(b"the buffer of this thread")
        assert receive_now(mine, READ) == b"the buffer of this thread"
        await peer.send(b"0123456789")
        tracemalloc.start()
        try:
            assert await receive(mine, READ) == b"0123456789"
            assert tracemalloc.get_traced_memory()[1] < READ // 4
        finally:
            tracemalloc.stop()


async def test_a_read_is_a_copy_that_later_reads_leave_alone():
    mine, peer = trio.socket.socketpair()
    read = []
    with mine, peer:
        for data in (b"first", b"second", b"xxx"):
            await peer.send(data)
            read.append(receive_now(mine, READ))
    assert read == [b"first", b"second", b"xxx"]


def test_threads_read_at_the_same_time():
    """A read lets other threads run before it copies what arrived."""
    count, size, wrong = 3000, 8000, []

    def reading(letter: bytes) -> None:
        mine, peer = socket.socketpair()
        with mine, peer:
            own = trio.socket.from_stdlib_socket(mine)
            for _ in range(count):
                peer.send(letter * size)
                if receive_now(own, READ) != letter * size:
                    wrong.append(letter)

    threads = [threading.Thread(target=reading, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Writes


@pytest.mark.parametrize("taken", [0, 3, 10, 15, 20])
def test_the_rest_of_a_write_is_not_copied(monkeypatch, taken):
    """A copy of a large response, which a slow client does not take, would keep other tasks waiting."""
    head, data = b"head 0123\n", b"data 0123\n"
    monkeypatch.setattr(os, "writev", lambda fd, parts: taken)
    with socket.socket() as own:
        rest = send(trio.socket.from_stdlib_socket(own), data, head)
        assert b"".join(rest) == (head + data)[taken:]
        assert all(part is data or part.obj in (head, data) for part in rest)


def test_the_rest_after_an_error_is_everything():
    own, peer = socket.socketpair()
    peer.close()
    with own:
        sock = trio.socket.from_stdlib_socket(own)
        with contextlib.suppress(OSError):
            own.send(b"x")
        assert b"".join(send(sock, b"data", b"head")) == b"headdata"
