"""Accepting connections with no descriptor left for one; over real sockets."""

import contextlib
import resource
import socket
from collections.abc import Iterator

import pytest
import trio

from gateway.serving.accepting import AcceptLoop
from tests.support.asgi_app import PATIENCE, Client, eventually, serving


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Take every descriptor that this process may still open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as taken:
        spare = taken.enter_context(socket.socket())
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare.fileno() + 1, hard))
        taken.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        with contextlib.suppress(OSError):
            while True:
                taken.enter_context(socket.socket())
        yield


async def test_connections_wait_for_a_descriptor_and_the_log_says_so_once(caplog):
    async with serving() as server:
        with trio.socket.socket() as sock:
            client = Client(sock)
            with no_descriptors_left():
                await sock.connect(("127.0.0.1", server.port))
                await client.get("/whole")
                await eventually(lambda: "raise the limit on open files" in caplog.text)
                with trio.move_on_after(0.3):  # some tries more
                    await client.until(b"whole")
                assert not client.buffer
            await client.until(b"whole")
    assert [record.exc_info for record in caplog.records] == [None]


async def test_a_socket_that_does_not_listen_is_no_endless_loop():
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE), pytest.raises(OSError, match="Invalid argument"):
            await AcceptLoop(trio.socket.socket(), trio.aclose_forcefully).run(nursery)
