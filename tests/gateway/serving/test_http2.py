"""HTTP/2 over real sockets, and the bytes that wait to be sent."""

import json

import h2.events
import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from hypercorn.protocol.h2 import BufferCompleteError

from gateway.serving.http2 import HIGH_WATER, LOW_WATER, SendBuffer
from gateway.serving.listeners import ListenerOptions
from tests.support.asgi_app import PATIENCE, eventually, serving, within
from tests.support.harness import given_attempts
from tests.support.http2_client import Http2Client


@given_attempts
async def test_a_reset_http2_stream_ends_its_request_and_leaves_the_others():
    async with serving(keep_alive=0.5) as server, server.connect() as client:
        peer = Http2Client(client)
        hanging = await peer.ask("/hang")
        await server.witness.begun.wait()
        peer.connection.reset_stream(hanging, ErrorCodes.CANCEL)
        await peer.flush()
        with within(0.1):
            await eventually(lambda: server.witness.closed == [True])
        whole = await peer.ask("/whole")
        await peer.until(h2.events.StreamEnded, whole)
        assert peer.data(whole) == b"whole"
        await eventually(lambda: server.witness.closed == [True, False])


async def test_an_http2_connection_is_idle_after_its_preface_and_after_a_reset():
    async with serving(keep_alive=0.4) as server:
        async with server.connect() as client:
            peer = Http2Client(client)
            await peer.flush()
            await client.rest()
        async with server.connect() as client:
            peer = Http2Client(client)
            hanging = await peer.ask("/hang")
            await server.witness.begun.wait()
            peer.connection.reset_stream(hanging, ErrorCodes.CANCEL)
            await peer.flush()
            await client.rest()


async def test_a_cut_answer_resets_its_http2_stream():
    async with serving() as server, server.connect() as client:
        peer = Http2Client(client)
        stream = await peer.ask("/stream")
        await peer.until(h2.events.DataReceived, stream)
        await server.witness.feed.send(b"last;")
        server.witness.body.cut()
        server.witness.feed.close()
        reset = await peer.until(h2.events.StreamReset, stream)
        assert reset.error_code == ErrorCodes.INTERNAL_ERROR
        assert peer.data(stream) == b"first;last;"
        whole = await peer.ask("/whole")
        await peer.until(h2.events.StreamEnded, whole)


async def test_a_crash_is_a_500_over_http2_too(caplog):
    async with serving() as server, server.connect() as client:
        peer = Http2Client(client)
        stream = await peer.ask("/crash")
        response = await peer.until(h2.events.ResponseReceived, stream)
        await peer.until(h2.events.StreamEnded, stream)
        assert (":status", "500") in response.headers
        assert json.loads(peer.data(stream))["error"]["type"] == "server_error"
        await eventually(lambda: "a task of the request failed" in caplog.text)


async def test_a_late_body_does_not_cost_the_http2_connection():
    async with serving() as server, server.connect() as client:
        peer = Http2Client(client)
        other = await peer.ask("/stream")
        await peer.until(h2.events.DataReceived, other)
        missing = await peer.ask("/missing", "POST", end=False)
        await peer.until(h2.events.StreamEnded, missing)
        peer.connection.send_data(missing, b"late")
        await peer.flush()
        await peer.until(h2.events.StreamReset, missing)
        server.witness.feed.close()
        await peer.until(h2.events.StreamEnded, other)


async def test_an_http2_path_that_is_not_ascii_costs_only_its_own_stream():
    async with serving() as server, server.connect() as client:
        peer = Http2Client(client)
        odd = await peer.ask("/\u00e9")
        await peer.until(h2.events.StreamReset, odd)
        whole = await peer.ask("/whole")
        await peer.until(h2.events.StreamEnded, whole)


async def test_an_http2_connect_to_another_host_costs_only_its_own_stream():
    """RFC 9113, section 8.5: it has no path. Proxies send the streams of many users over one connection."""
    async with serving() as server, server.connect() as client:
        peer = Http2Client(client)
        whole = await peer.ask("/whole", end=False)
        odd = peer.connection.get_next_available_stream_id()
        peer.connection.send_headers(odd, [(":method", "CONNECT"), (":authority", "a:1")], end_stream=True)
        await peer.flush()
        await peer.until(h2.events.StreamReset, odd)
        peer.connection.end_stream(whole)
        await peer.flush()
        await peer.until(h2.events.StreamEnded, whole)


async def test_an_http2_client_that_keeps_its_window_shut_is_given_up():
    async with serving(write_timeout=0.2) as server, server.connect() as client:
        peer = Http2Client(client)
        await peer.ask("/flood")
        await eventually(lambda: server.witness.closed == [True])


@given_attempts
async def test_an_http2_client_that_leaves_with_its_window_shut_ends_its_request():
    async with serving() as server:
        async with server.connect() as client:
            peer = Http2Client(client)
            await peer.ask("/flood")
            await server.witness.begun.wait()
            await trio.testing.wait_all_tasks_blocked(0.05)
        with within(0.2):
            await eventually(lambda: server.witness.closed == [True])
        await eventually(lambda: not server.lifecycle.connections)


@pytest.mark.parametrize("leaves", [False, True])
async def test_an_http2_answer_given_up_in_its_last_bytes_is_not_complete(leaves):
    async with serving() as server, server.connect() as client:
        peer = Http2Client(client)
        stream = await peer.ask("/stream")
        await server.witness.begun.wait()
        await server.witness.feed.send(b"x" * (65535 + 10_000))  # more than the window lets through
        server.witness.feed.close()
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert not server.witness.closed
        if leaves:
            client.leave()
        else:
            peer.connection.reset_stream(stream, ErrorCodes.CANCEL)
            await peer.flush()
        await eventually(lambda: server.witness.closed == [True])
        assert not server.witness.scopes[0].complete
        if leaves:
            await eventually(lambda: not server.lifecycle.connections)


# The bytes that wait on one stream


async def test_a_writer_waits_until_there_is_room():
    buffer = SendBuffer()
    written = []

    async def write(data: bytes) -> None:
        await buffer.push(data)
        written.append(data)

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            for data in (b"a" * HIGH_WATER, b"b"):
                nursery.start_soon(write, data)
                await trio.testing.wait_all_tasks_blocked()
            assert await buffer.pop(0) == b"", "the client's window is shut"
            await buffer.pop(HIGH_WATER - LOW_WATER)
            await trio.testing.wait_all_tasks_blocked()
            assert not written, "more than half of it waits still"
            await buffer.pop(10)
        assert sorted(map(len, written)) == [1, HIGH_WATER]


async def test_a_writer_does_not_outlive_its_stream():
    buffer = SendBuffer()

    async def write() -> None:
        await buffer.push(b"a" * HIGH_WATER)
        with pytest.raises(BufferCompleteError):
            await buffer.push(b"b")

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked()
            await buffer.close()
            await buffer.drain()
    assert buffer.complete


# A listener without it


async def test_a_listener_without_http2_refuses_its_preface_in_http1():
    async with serving(options=[ListenerOptions(http2=False)]) as server:
        async with server.connect() as client:
            await Http2Client(client).flush()
            head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 505 ")
        assert "http2 is not off" in json.loads(body)["error"]["message"]
        assert b"whole" in await server.get("/whole")
