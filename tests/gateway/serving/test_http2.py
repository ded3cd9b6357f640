"""HTTP/2 over real sockets, and the bytes that wait to be sent."""

import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import h2.events
import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hypercorn.protocol.h2 import BufferCompleteError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from gateway.serving import http2
from gateway.serving.frame_limits import BOUNDS, FrameLimit, FrameType
from gateway.serving.http2 import MAX_ABANDONED, MAX_UNREAD
from gateway.serving.http2_streams import HIGH_WATER, LOW_WATER, SendBuffer
from gateway.serving.listeners import ListenerOptions
from tests.support.asgi_app import PATIENCE, Server, eventually, serving, within
from tests.support.harness import retried_when_late
from tests.support.http2_client import Http2Client
from tests.support.loop_steps import LONGEST, check_measured_steps, check_own_steps, loop_steps


@contextlib.asynccontextmanager
async def open_http2(window: int | None = None, **options: Any) -> AsyncIterator[tuple[Server, Http2Client]]:
    """Run a server, and a client that speaks HTTP/2 to it."""
    async with serving(**options) as server, server.connect() as client:
        yield server, Http2Client(client) if window is None else Http2Client(client, window=window)


async def answers(peer: Http2Client) -> None:
    """Wait until the connection has answered one more request."""
    await peer.until(h2.events.StreamEnded, await peer.ask("/whole"))


@retried_when_late
async def test_a_reset_http2_stream_ends_its_request_and_leaves_the_others():
    async with open_http2(keep_alive=0.5) as (server, peer):
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


async def test_a_client_that_waits_for_100_receives_it_once():
    """Java's HTTP client waits without a limit. RFC 9110, section 10.1.1."""
    async with open_http2() as (_, peer):
        uploaded = await peer.ask("/size", "POST", end=False, headers=[("expect", "100-Continue")])
        await peer.until(h2.events.InformationalResponseReceived, uploaded)
        peer.connection.send_data(uploaded, b"12345", end_stream=True)
        await peer.flush()
        await peer.until(h2.events.StreamEnded, uploaded)
        assert json.loads(peer.data(uploaded))["size"] == 5
        assert sum(isinstance(event, h2.events.InformationalResponseReceived) for event in peer.seen) == 1


async def test_a_client_gets_no_100_for_a_body_that_is_too_long_or_complete():
    async with open_http2() as (_, peer):
        whole = await peer.ask("/size", "POST", headers=[("expect", "100-continue")])
        await peer.until(h2.events.StreamEnded, whole)
        refused = await peer.ask(
            "/size", "POST", end=False, headers=[("expect", "100-continue"), ("content-length", "9999999")]
        )
        await peer.until(h2.events.ResponseReceived, refused)
        assert not any(isinstance(event, h2.events.InformationalResponseReceived) for event in peer.seen)


@pytest.mark.parametrize("pieces", [1, 17])
async def test_streams_continue_after_goaway_without_an_error(pieces: int):
    """The JavaScript SDK of AWS sends it as soon as it has the head of a stream of events. RFC 9113, section 6.8."""
    async with open_http2() as (server, peer):
        streamed = await peer.ask("/stream")
        uploaded = await peer.ask("/size", "POST", end=False)
        await peer.until(h2.events.DataReceived, streamed)
        goaway = GoAwayFrame(0, last_stream_id=0).serialize()
        for start in range(0, len(goaway), len(goaway) // pieces):
            await peer.client.send(goaway[start : start + len(goaway) // pieces])
        peer.connection.send_data(uploaded, b"12345", end_stream=True)
        await peer.flush()
        await peer.until(h2.events.StreamEnded, uploaded)
        await server.witness.feed.send(b"last")
        await server.witness.feed.aclose()
        await peer.until(h2.events.StreamEnded, streamed)
        assert peer.data(streamed) == b"first;last"
        assert json.loads(peer.data(uploaded))["size"] == 5


async def test_goaway_with_an_error_ends_the_streams():
    async with open_http2() as (server, peer):
        await peer.ask("/hang")
        await server.witness.begun.wait()
        await peer.client.send(GoAwayFrame(0, error_code=ErrorCodes.PROTOCOL_ERROR).serialize())
        await peer.client.read_rest()
        await eventually(lambda: server.witness.closed == [True])


async def test_an_http2_connection_is_idle_after_its_preface_and_after_a_reset():
    async with serving(keep_alive=0.4) as server:
        async with server.connect() as client:
            peer = Http2Client(client)
            await peer.flush()
            await client.read_rest()
        async with server.connect() as client:
            peer = Http2Client(client)
            hanging = await peer.ask("/hang")
            await server.witness.begun.wait()
            peer.connection.reset_stream(hanging, ErrorCodes.CANCEL)
            await peer.flush()
            await client.read_rest()


async def test_only_the_streams_beyond_the_limit_are_refused():
    """RFC 9113, section 5.1.2: the client may send them again. Before it has the settings it may open any number."""
    async with open_http2() as (_, peer):
        peer.connection.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 1000
        peer.connection.remote_settings.acknowledge()
        opened = [await peer.ask("/size", "POST", end=False) for _ in range(120)]
        refused = opened[100:]
        for stream in refused:
            reset = await peer.until(h2.events.StreamReset, stream)
            assert reset.error_code == ErrorCodes.REFUSED_STREAM
        for stream in opened[:100]:
            peer.connection.send_data(stream, b"12345", end_stream=True)
        await peer.flush()
        for stream in opened[:100]:
            await peer.until(h2.events.StreamEnded, stream)
            assert json.loads(peer.data(stream))["size"] == 5
        await answers(peer)


LINE = [(":method", "POST"), (":path", "/size"), (":scheme", "http"), (":authority", "x")]
MALFORMED = {
    "upper case": [*LINE, ("X-Upper", "1")],
    "white space": [*LINE, ("x", " 1 ")],
    "a line break": [*LINE, ("x", "1\r\ny: 2")],
    "no name": [*LINE, ("", "1")],
    "no path": [LINE[0], *LINE[2:]],
    "an empty path": [LINE[0], (":path", ""), *LINE[2:]],
    "no host": LINE[:3],
    "two paths": [*LINE, (":path", "/whole")],
    "a path after a header": [*LINE[:1], *LINE[2:], ("x", "1"), LINE[1]],
    "another host": [*LINE, ("host", "y")],
    "an unknown pseudo-header": [*LINE, (":x", "1")],
    "connection": [*LINE, ("connection", "close")],
    "te": [*LINE, ("te", "gzip")],
    "transfer-encoding": [*LINE, ("transfer-encoding", "chunked")],
    "no length": [*LINE, ("content-length", "x")],
    "two lengths": [*LINE, ("content-length", "1"), ("content-length", "2")],
    "a long body": [*LINE, ("content-length", "16383")],
    "a short body": [*LINE, ("content-length", "16385")],
    "more headers after the first": [*LINE, ("x-trailers", "1")],
}
"""Requests that are malformed by RFC 9113, sections 8.1.1, 8.2 and 8.3; each has a body of 16 KiB."""


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_request_ends_no_other_stream(name: str):
    """A proxy may have the requests of many users on one connection."""
    async with open_http2() as (server, peer):
        peer.connection.config.validate_outbound_headers = peer.connection.config.normalize_outbound_headers = False
        streamed = await peer.ask("/stream")
        await peer.until(h2.events.DataReceived, streamed)
        for _ in range(20):  # their bodies take no window from later ones
            stream = peer.connection.get_next_available_stream_id()
            peer.connection.send_headers(stream, MALFORMED[name])
            if "after" in name:
                await peer.client.send(
                    peer.connection.data_to_send()
                    + HeadersFrame(stream, b"\x00\x01x\x011", flags=["END_HEADERS"]).serialize()
                )
            else:
                peer.connection.send_data(stream, bytes(16384), end_stream=True)
            await peer.flush()
            reset = await peer.until(h2.events.StreamReset, stream)
            assert reset.error_code == ErrorCodes.PROTOCOL_ERROR
        await answers(peer)
        await server.witness.feed.send(b"last")
        await server.witness.feed.aclose()
        await peer.until(h2.events.StreamEnded, streamed)
        assert peer.data(streamed) == b"first;last"
        await eventually(lambda: not server.lifecycle.in_flight)


@pytest.mark.parametrize("sizes", [(2**32 - 1,), (0, 2**32 - 1), (65_536, 2**20)])
async def test_a_client_cannot_enlarge_the_table_of_response_headers(sizes):
    """Each response adds headers to it: the memory and the search of a client's table grew with every request."""
    async with open_http2() as (_, peer):
        await peer.flush()
        peer.connection.decoder.max_allowed_table_size = 2**32 - 1
        for size in sizes:
            await peer.client.send(SettingsFrame(0, {SettingsFrame.HEADER_TABLE_SIZE: size}).serialize())
        for _ in range(2):
            await answers(peer)
        assert peer.connection.decoder.header_table_size <= 4096  # the size in the server's headers


async def test_headers_that_cannot_be_decoded_end_the_connection():
    """RFC 9113, section 4.3: both sides would decode later headers differently."""
    async with open_http2() as (_, peer):
        await peer.ask("/size", "POST", end=False)
        await peer.client.send(
            HeadersFrame(1, b"\xff\xff\xff\xff\x0f", flags=["END_HEADERS", "END_STREAM"]).serialize()
        )
        assert (
            GoAwayFrame(0, last_stream_id=1, error_code=ErrorCodes.COMPRESSION_ERROR).serialize()
            in await peer.client.read_rest()
        )


async def test_few_requests_run_whose_streams_were_reset():
    """A client opens a stream in the place of each that it has reset (CVE-2023-44487)."""
    async with open_http2() as (server, peer):
        for _ in range(200):
            stream = await peer.ask("/stubborn")
            peer.connection.reset_stream(stream, ErrorCodes.CANCEL)
        await peer.flush()
        await eventually(lambda: server.lifecycle.in_flight > MAX_ABANDONED)
        for _ in range(100):
            await trio.testing.wait_all_tasks_blocked()
            assert server.lifecycle.in_flight == MAX_ABANDONED + 1
        server.witness.released.set()
        await answers(peer)
        await eventually(lambda: not server.lifecycle.in_flight)


async def test_requests_with_a_slot_may_continue_in_any_number():
    """``on_disconnect: finish`` reads the provider's response to its end; ``limits.in_flight`` bounds it."""
    async with open_http2() as (server, peer):
        for number in range(50):
            stream = await peer.ask("/stubborn?slot")
            await eventually(lambda number=number: server.lifecycle.in_flight == number + 1)
            await trio.testing.wait_all_tasks_blocked()
            peer.connection.reset_stream(stream, ErrorCodes.CANCEL)
        await answers(peer)
        server.witness.released.set()
        await eventually(lambda: not server.lifecycle.in_flight)


async def test_a_stream_is_refused_while_requests_run_whose_streams_were_reset(monkeypatch):
    monkeypatch.setattr(http2, "ABANDONED_SECONDS", 0.05)
    async with open_http2() as (server, peer):
        for _ in range(MAX_ABANDONED + 1):
            stream = await peer.ask("/stubborn")
            peer.connection.reset_stream(stream, ErrorCodes.CANCEL)
        refused = await peer.ask("/whole")
        assert (await peer.until(h2.events.StreamReset, refused)).error_code == ErrorCodes.REFUSED_STREAM
        server.witness.released.set()
        await answers(peer)


async def test_an_idle_connection_ends_with_a_goaway_that_lists_its_last_stream():
    """RFC 9113, section 6.8: a client may send a request that it does not list again, also a POST."""
    async with open_http2(keep_alive=0.2) as (_, peer):
        await answers(peer)
        last = await peer.ask("/whole")
        await peer.until(h2.events.StreamEnded, last)
        received = await peer.client.read_rest()
        assert received == GoAwayFrame(0, last_stream_id=last).serialize()


async def test_a_cut_answer_resets_its_http2_stream():
    async with open_http2() as (server, peer):
        stream = await peer.ask("/stream")
        await peer.until(h2.events.DataReceived, stream)
        await server.witness.feed.send(b"last;")
        server.witness.body.cut()
        server.witness.feed.close()
        reset = await peer.until(h2.events.StreamReset, stream)
        assert reset.error_code == ErrorCodes.INTERNAL_ERROR
        assert peer.data(stream) == b"first;last;"
        await answers(peer)


async def test_a_crash_is_a_500_over_http2_too(caplog):
    async with open_http2() as (_, peer):
        stream = await peer.ask("/crash")
        response = await peer.until(h2.events.ResponseReceived, stream)
        await peer.until(h2.events.StreamEnded, stream)
        assert (":status", "500") in response.headers
        assert json.loads(peer.data(stream))["error"]["type"] == "server_error"
        await eventually(lambda: "a task of the request failed" in caplog.text)


async def test_a_late_body_does_not_cost_the_http2_connection():
    async with open_http2() as (server, peer):
        other = await peer.ask("/stream")
        await peer.until(h2.events.DataReceived, other)
        missing = await peer.ask("/missing", "POST", end=False)
        await peer.until(h2.events.StreamEnded, missing)
        peer.connection.send_data(missing, b"late")
        await peer.flush()
        await peer.until(h2.events.StreamReset, missing)
        server.witness.feed.close()
        await peer.until(h2.events.StreamEnded, other)


async def test_an_http2_path_with_an_invalid_character_costs_only_its_own_stream():
    """HTTP/1.1 does not accept it either. On a pass-through path it was a 500: no provider's URL may have it."""
    async with open_http2() as (server, peer):
        peer.connection.config.validate_outbound_headers = peer.connection.config.normalize_outbound_headers = False
        for character in (*map(chr, range(33)), "\x7f", "\u00e9"):
            for path in (f"/whole{character}", f"/whole{character}x", f"/whole?x={character}y"):
                await peer.until(h2.events.StreamReset, await peer.ask(path))
        await answers(peer)
        assert len(server.witness.scopes) == 1


async def test_an_http2_connect_to_another_host_or_protocol_costs_only_its_own_stream():
    """RFC 9113, section 8.5: it has no path. Proxies send the streams of many users over one connection. A connect for
    another protocol (RFC 8441, section 4) was a websocket."""
    async with open_http2() as (_, peer):
        whole = await peer.ask("/whole", end=False)
        await peer.until(h2.events.StreamReset, await peer.open_websocket("/", protocol="connect-udp"))
        odd = peer.connection.get_next_available_stream_id()
        peer.connection.send_headers(odd, [(":method", "CONNECT"), (":authority", "a:1")], end_stream=True)
        await peer.flush()
        await peer.until(h2.events.StreamReset, odd)
        peer.connection.end_stream(whole)
        await peer.flush()
        await peer.until(h2.events.StreamEnded, whole)


async def test_an_http2_client_with_a_closed_window_is_disconnected():
    async with open_http2(write_timeout=0.2) as (server, peer):
        await peer.ask("/flood")
        await eventually(lambda: server.witness.closed == [True])


@retried_when_late
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
async def test_an_http2_answer_aborted_in_its_last_bytes_is_not_complete(leaves):
    async with open_http2() as (server, peer):
        stream = await peer.ask("/stream")
        await server.witness.begun.wait()
        await server.witness.feed.send(b"x" * (65535 + 10_000))  # more than the window permits
        server.witness.feed.close()
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert not server.witness.closed
        if leaves:
            peer.client.leave()
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
            head, _, body = (await client.read_rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 505 ")
        assert "http2 is not off" in json.loads(body)["error"]["message"]
        assert b"whole" in await server.get("/whole")


# The cost of a client before its admission


@pytest.mark.parametrize("path", ["/whole", "/missing"])
async def test_few_responses_before_admission_wait_for_the_window(path, monkeypatch):
    """RFC 9113, section 10.5: with an empty window, every response would stay in memory until its timeout."""
    monkeypatch.setattr(http2, "IMMEDIATE_SECONDS", PATIENCE)
    async with open_http2(window=0) as (server, peer):
        waiting = [await peer.ask(path) for _ in range(MAX_UNREAD)]
        for stream in [await peer.ask(path) for _ in range(30)]:
            reset = await peer.until(h2.events.StreamReset, stream)
            assert reset.error_code == ErrorCodes.ENHANCE_YOUR_CALM
        assert sum(isinstance(event, h2.events.ResponseReceived) for event in peer.seen) == MAX_UNREAD + 30
        await eventually(lambda: server.lifecycle.in_flight == MAX_UNREAD)
        for stream in waiting:
            peer.connection.increment_flow_control_window(1000, stream)
        await peer.flush()
        for stream in waiting:
            await peer.until(h2.events.StreamEnded, stream)
        await eventually(lambda: not server.lifecycle.in_flight)


async def test_a_response_before_admission_waits_only_some_seconds_for_the_window(monkeypatch):
    monkeypatch.setattr(http2, "IMMEDIATE_SECONDS", 0.2)
    async with open_http2(window=0) as (server, peer):
        for _ in range(2):
            for stream in [await peer.ask("/whole") for _ in range(MAX_UNREAD)]:
                assert (await peer.until(h2.events.StreamReset, stream)).error_code == ErrorCodes.CANCEL
        await eventually(lambda: not server.lifecycle.in_flight)


@pytest.mark.parametrize("path", ["/whole", "/missing"])
async def test_a_response_before_admission_arrives_as_the_window_opens(path):
    """RFC 9113, section 6.9.2: a client may begin with a window of one byte, and even of none."""
    async with open_http2(window=1) as (_, peer):
        for _ in range(2 * MAX_UNREAD):
            stream = await peer.ask(path)
            seen = 0
            while not any(isinstance(e, h2.events.StreamEnded) and e.stream_id == stream for e in peer.seen):
                await peer.until(h2.events.DataReceived, stream)
                if (size := len(peer.data(stream))) == seen:
                    await peer.read()
                    continue
                assert size - seen <= 50
                seen = size
                peer.connection.increment_flow_control_window(50, stream)
                await peer.flush()
            assert not any(isinstance(event, h2.events.StreamReset) for event in peer.seen)


async def test_a_window_that_is_too_small_for_a_refusal_costs_that_stream_alone(monkeypatch):
    monkeypatch.setattr(http2, "MAX_UNREAD", 0)
    async with open_http2(window=100) as (_, peer):
        missing, whole = await peer.ask("/missing"), await peer.ask("/whole")
        await peer.until(h2.events.StreamReset, missing)
        await peer.until(h2.events.StreamEnded, whole)
        assert peer.data(whole) == b"whole"


async def test_the_refusal_of_a_websocket_does_not_wait_for_its_window(monkeypatch):
    monkeypatch.setattr(http2, "MAX_UNREAD", 0)
    async with open_http2(window=0) as (server, peer):
        peer.connection.remote_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        peer.connection.remote_settings.acknowledge()
        line = [(":method", "CONNECT"), (":protocol", "websocket"), (":path", "/"), (":scheme", "http")]
        stream = peer.connection.get_next_available_stream_id()
        peer.connection.send_headers(stream, [*line, (":authority", "x")])  # no version of a websocket
        await peer.flush()
        await peer.until(h2.events.StreamReset, stream)
        assert not server.witness.scopes


async def test_an_answer_that_streams_waits_for_its_window():
    async with open_http2(window=0) as (_, peer):
        stream = await peer.ask("/stream")
        await peer.until(h2.events.ResponseReceived, stream)
        await trio.testing.wait_all_tasks_blocked(0.02)
        peer.connection.increment_flow_control_window(100, stream)
        await peer.flush()
        await peer.until(h2.events.DataReceived, stream)
        assert peer.data(stream) == b"first;"


async def test_a_client_whose_answers_never_fit_gets_enhance_your_calm(monkeypatch):
    set_bound(monkeypatch, FrameType.RST_STREAM, 3)
    async with open_http2(window=0) as (_, peer):
        for _ in range(MAX_UNREAD + 4):
            await peer.ask("/whole")
        await assert_goes_away(peer)


@pytest.fixture(autouse=True)
def soon_closed(monkeypatch):
    monkeypatch.setattr(http2, "FAREWELL_SECONDS", 0.1)


def set_bound(monkeypatch: pytest.MonkeyPatch, kind: FrameType, most: int) -> None:
    monkeypatch.setitem(BOUNDS, kind, FrameLimit(kind.name, most))


async def assert_goes_away(peer: Http2Client) -> None:
    """Assert that the server closes the connection because the client sent too much."""
    received = await peer.client.read_rest()
    codes = re.findall(rb"\0\0\x08\x07\0\0{4}.{4}(.{4})", received, re.DOTALL)  # of GOAWAY: RFC 9113, section 6.8
    assert [int.from_bytes(code) for code in codes] == [ErrorCodes.ENHANCE_YOUR_CALM]


UNKNOWN = b"\0\0\3\x10\0\0\0\0\0u=1"  # PRIORITY_UPDATE (RFC 9218)
FLOODS = {
    "resets": b"".join(
        HeadersFrame(n, bytes.fromhex("828684418a089d5c0b8170dc780f03"), flags=("END_HEADERS",)).serialize()
        + RstStreamFrame(n, 8).serialize()
        for n in range(1, 1000, 2)
    ),
    "provoked resets": b"".join(
        HeadersFrame(n, bytes.fromhex("828684418a089d5c0b8170dc780f03"), flags=("END_HEADERS",)).serialize()
        + WindowUpdateFrame(n, 2**31 - 1).serialize()
        for n in range(1, 1000, 2)
    ),
    "settings": SettingsFrame(0, settings={3: 1}).serialize() * 1000,
    "pings": PingFrame(0, b"12345678").serialize() * 2000,
    "priorities": b"".join(PriorityFrame(n, stream_weight=15).serialize() for n in range(1, 4000, 2)),
    "windows": WindowUpdateFrame(0, 1).serialize() * 2000,
    "empty data": HeadersFrame(1, bytes.fromhex("838684418a089d5c0b8170dc780f03"), flags=("END_HEADERS",)).serialize()
    + DataFrame(1).serialize() * 2000,
    "unknown": UNKNOWN * 2000,
}


@pytest.mark.parametrize("sent", FLOODS.values(), ids=FLOODS)
async def test_a_flood_of_frames_ends_its_connection_with_one_line_in_the_log(sent, caplog):
    """CVE-2023-44487 (resets), CVE-2025-8671 (provoked resets), CVE-2019-9512, 9513, 9515 and 9518 (pings,
    priorities, settings, empty frames)."""
    async with serving() as server, server.connect() as other, server.connect() as client:
        await other.get("/stream")
        await other.until(b"first;")
        peer = Http2Client(client)
        await peer.flush()
        await client.send(sent)
        await assert_goes_away(peer)
        assert [record.exc_info for record in caplog.records] == [None], caplog.text
        await server.witness.feed.send(b"alive;")
        await other.until(b"alive;")
        await eventually(lambda: len(server.lifecycle.connections) == 1)


async def test_headers_that_never_end_are_no_burden():
    """CVE-2024-27316 and its like: CONTINUATION upon CONTINUATION, empty or not."""
    async with open_http2() as (server, peer):
        await peer.flush()
        await peer.client.send(HeadersFrame(1, b"\x82").serialize() + ContinuationFrame(1).serialize() * 2000)
        await peer.client.read_rest()
        await eventually(lambda: not server.lifecycle.connections)


async def test_an_agent_can_cancel_its_requests_and_continue():
    async with open_http2() as (server, peer):
        for _ in range(3):
            streams = [await peer.ask("/hang") for _ in range(90)]
            await eventually(lambda: len(server.witness.scopes) % 90 == 0)
            for stream in streams:
                peer.connection.reset_stream(stream, ErrorCodes.CANCEL)
            await peer.flush()
            await eventually(lambda: not server.lifecycle.in_flight)
        await answers(peer)


async def test_more_priorities_than_streams_are_ignored(caplog):
    """RFC 9113, section 5.3.2: they may be. Hypercorn would keep each of them."""
    async with open_http2() as (_, peer):
        for stream in range(1, 401, 2):
            peer.connection.prioritize(stream, weight=7, depends_on=stream + 2)
        await answers(peer)
        assert not caplog.records


async def test_many_simultaneous_requests_leave_turns_to_others():
    """A read has room for a hundred and more of them."""

    class Passes(trio.abc.Instrument):
        def __init__(self) -> None:
            self.spawned = [0]  # tasks, in each pass of the loop

        def task_spawned(self, task: trio.lowlevel.Task) -> None:
            self.spawned[-1] += 1

        def before_io_wait(self, timeout: float) -> None:
            self.spawned.append(0)

    async with serving() as server, server.connect() as client:
        peer, passes = Http2Client(client), Passes()
        await peer.flush()
        for _ in range(90):
            stream = peer.connection.get_next_available_stream_id()
            line = [(":method", "GET"), (":path", "/hang"), (":scheme", "http"), (":authority", "x")]
            peer.connection.send_headers(stream, line)  # with a body that is to come
        trio.lowlevel.add_instrument(passes)
        await peer.flush()
        await eventually(lambda: len(server.witness.scopes) == 90)
        trio.lowlevel.remove_instrument(passes)
        assert sum(passes.spawned) > 90
        assert max(passes.spawned) < 30


@pytest.mark.soak
async def test_a_body_of_tiny_frames_is_read_between_the_turns_of_others():
    """A read of 64 KiB contains six thousand frames of a byte, and was handled in one step (CWE-400)."""
    async with open_http2(max_body=10_000_000) as (_, peer):

        async def send() -> None:
            stream = await peer.ask("/size", "POST", end=False)
            frame, last = DataFrame(stream, b"x"), DataFrame(stream)
            last.flags.add("END_STREAM")
            await peer.client.send(frame.serialize() * 20_000 + last.serialize())
            await peer.until(h2.events.StreamEnded, stream)
            assert json.loads(peer.data(stream))["size"] == 20_000

        await check_own_steps(send, longest=LONGEST / 3)


async def test_requests_with_hundreds_of_headers_are_refused_one_at_a_time():
    """A byte may be a header: 60 requests in a read, each with 900 headers, took half a second (CWE-400)."""
    async with open_http2() as (server, peer):
        await answers(peer)
        method, path, scheme, authority, coding = b"\x82", b"\x84", b"\x86", b"\x41\x01x", b"\x90"
        head = method + path + scheme + authority
        requests = []
        for stream in range(101, 161, 2):
            frame = HeadersFrame(stream, head + coding * 900, flags=["END_HEADERS", "END_STREAM"])
            requests.append(frame.serialize())
        with loop_steps() as steps:
            await peer.client.send(b"".join(requests))
            await eventually_reset(peer, 159)
        check_measured_steps(steps, LONGEST / 2)
        assert len(server.witness.scopes) == 1


async def eventually_reset(peer: Http2Client, stream: int) -> None:
    """Wait until the server has reset ``stream``, which the client's library does not know."""
    reset, received = RstStreamFrame(stream).serialize()[:9], b""
    with trio.fail_after(PATIENCE):
        while reset not in received:
            received += await peer.client.sock.recv(65536)
