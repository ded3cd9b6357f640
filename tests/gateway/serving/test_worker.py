"""Drain, over real sockets."""

import trio
import trio.testing

from gateway.serving.frame_limits import BOUNDS, FrameBound, FrameType
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.server_config import WRITE_TIMEOUT
from tests.support.asgi_app import PATIENCE, eventually_refused, serving
from tests.support.http2_client import Http2Client

END = b"0\r\n\r\n"


async def test_a_drain_lets_streams_end_and_closes_what_is_idle():
    async with serving(drain=3600) as server, server.connect() as client, server.connect() as idle:
        await client.get("/stream")
        await client.until(b"first;")
        await idle.get("/whole")
        await idle.until(b"whole")
        server.lifecycle.stop()
        assert server.lifecycle.draining
        assert await idle.rest() == b""
        await eventually_refused(server)
        await server.witness.feed.send(b"last;")
        server.witness.feed.close()
        assert (await client.rest()).endswith(b"last;\r\n" + END)
        await server.over.wait()


async def test_a_drain_does_not_wait_for_an_idle_client_that_reads_nothing(monkeypatch):
    """Hypercorn answers its pings, and waits for it to take that."""
    monkeypatch.setitem(BOUNDS, FrameType.PING, FrameBound("PING", 30_000))
    async with serving(drain=3600) as server, server.connect(small=True) as client:
        peer = Http2Client(client)
        for number in range(30_000):
            peer.connection.ping(number.to_bytes(8, "big"))
        with trio.move_on_after(0.5):
            await peer.flush()
        server.lifecycle.stop()
        with trio.fail_after(PATIENCE):
            await server.over.wait()


async def test_requests_are_taken_during_the_delay_before_the_drain():
    async with serving(drain_delay=3600) as server:
        server.lifecycle.stop()
        assert b"whole" in await server.get("/whole")
    async with serving(drain=3600, drain_delay=0.1) as server:
        server.lifecycle.stop()
        await server.over.wait()


async def test_at_the_end_of_the_drain_a_stream_is_ended_in_words():
    async with serving(drain=0.2) as server, server.connect() as client:
        await client.get("/pumped")
        await client.until(b"first;")
        server.lifecycle.stop()
        assert (await client.rest()).endswith(b"shutting down;\r\n" + END)
        await server.over.wait()
        assert server.witness.closed == [False]


async def test_a_pump_that_starts_after_the_drain_is_cancelled_at_once():
    lifecycle = Lifecycle()
    lifecycle.cancel_pumps()
    with trio.fail_after(PATIENCE), trio.CancelScope() as scope, lifecycle.pump(scope):
        await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_stalled_client_does_not_hold_the_shutdown(monkeypatch):
    monkeypatch.setattr("gateway.serving.lifecycle.CUT_AFTER", 0.2)
    async with serving(drain=0.2) as server, server.connect(small=True) as client:
        await client.get("/flood")
        await server.witness.begun.wait()
        await trio.testing.wait_all_tasks_blocked(0.05)
        server.lifecycle.stop()
        with trio.fail_after(WRITE_TIMEOUT / 2):  # the kernel would cut it then
            await server.over.wait()
        assert server.witness.closed == [True]
