"""Connections that are kept, and end when they are idle; over real sockets."""

import contextlib

import trio

from tests.support.asgi_app import PATIENCE, eventually, serving

END = b"0\r\n\r\n"


async def test_a_connection_serves_many_requests_and_ends_when_idle_after_a_stream():
    async with serving(keep_alive=0.5) as server, server.connect() as client:
        for _ in range(20):
            await client.get("/whole")
            head = await client.until(b"whole")
            assert b"server:" not in head
        await client.get("/stream")
        await client.until(b"first;")
        server.witness.feed.close()
        await client.until(END)
        assert await client.rest() == b""


async def test_the_idle_timer_does_not_cut_a_silent_stream():
    async with serving(keep_alive=0.4) as server, server.connect() as client:
        await client.get("/stream")
        await client.until(b"first;")
        await trio.sleep(0.8)  # the timer under test
        await server.witness.feed.send(b"second;")
        await client.until(b"second;")


async def test_a_head_that_dribbles_in_is_not_waited_for_beyond_the_limit():
    async with serving(keep_alive=0.2) as server, server.connect() as client:
        with trio.fail_after(PATIENCE), contextlib.suppress(OSError):  # reset, or a broken pipe
            await client.send("GET /whole HTTP/1.1\r\n")
            while True:
                await client.send("x-a: b\r\n")
                await trio.sleep(0.02)


async def test_a_client_that_hangs_up_is_let_go_at_once():
    async with serving(keep_alive=60) as server:
        async with server.connect() as client:
            await client.get("/whole")
            await client.until(b"whole")
        await eventually(lambda: not server.lifecycle.connections)
