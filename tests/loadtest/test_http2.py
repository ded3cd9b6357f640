"""HTTP/2 of the load tester, against a scripted server."""

import contextlib
import socket
from functools import partial

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
import trio
import trio.testing

from loadtest.exchange.content import read_answer
from loadtest.exchange.exchange import LoadTarget, TimedExchange
from loadtest.plan.load_request import Cancelling, LoadRequest
from loadtest.wire.address import ServerAddress
from loadtest.wire.answers import OutgoingRequest
from loadtest.wire.connections import ConnectionRules, Connections
from loadtest.wire.http2 import SharedConnection
from loadtest.wire.transport import TimedTransport
from tests.support.cases import case
from tests.support.http2_server import http2_server
from tests.support.load_servers import events

REQUEST = OutgoingRequest("/v1/chat/completions", (("Authorization", "Bearer k"), ("Connection", "keep-alive")), b"{}")


@contextlib.asynccontextmanager
async def target_at(url: str, **rules):
    connections = Connections(await ServerAddress.resolve(url), None, ConnectionRules(http=2, **rules))
    yield LoadTarget(connections, timeout=3)
    connections.close()


async def asked(target: LoadTarget, number: int, request: OutgoingRequest = REQUEST, **kind) -> list[TimedExchange]:
    """So many exchanges concurrent requests, to their ends."""
    manner = "cancels" if "cancel" in kind else "reads"
    exchanges = [TimedExchange(LoadRequest("m", **kind), manner, trio.current_time()) for _ in range(number)]
    async with trio.open_nursery() as nursery:
        for exchange in exchanges:
            nursery.start_soon(exchange.run, target, request)
    for exchange in exchanges:
        exchange.apply_reading(read_answer("chat", exchange.body, streamed=True))
    return exchanges


async def test_a_status_that_is_no_number_is_no_http():
    """The library hands on whatever word stands there."""
    said = ["abc", "-200", "9" * 5000, "20"]

    async def strange(peer, number):
        await peer.head(number, said[len(told)])
        await peer.send(number, b"", end=True)

    told = []
    async with http2_server(strange) as (url, _), target_at(url) as target:
        for _ in said:
            told += [exchange.problem for exchange in await asked(target, 1)]
    assert [(problem.kind, problem.detail[:20]) for problem in told] == [
        ("not http", f"its status is {word!r}"[:20]) for word in said
    ]


async def quick(peer, number):
    await peer.head(number)
    await peer.send(number, *events("one", "two"), end=True)


@pytest.mark.parametrize(("streams", "allowed", "connections"), [(100, 1000, 1), (4, 1000, 3), (100, 5, 2)])
async def test_exchanges_share_connections(streams, allowed, connections):
    async def slow(peer, number):
        await trio.sleep(0.1)
        await quick(peer, number)

    async with http2_server(slow, allowed) as (url, peers), target_at(url, streams=streams) as target:
        exchanges = await asked(target, 10)
        assert len(peers) == connections
        assert all(exchange.complete and exchange.version == "2" for exchange in exchanges)
        assert all(len(exchange.contents) == 2 for exchange in exchanges)
        again = await asked(target, connections)
        assert len(peers) == connections
    assert all(exchange.connected is None for exchange in again)
    head = peers[0].heads[1]
    assert (head[":path"], head["authorization"]) == ("/v1/chat/completions", "Bearer k")
    assert head[":authority"] in url
    assert "connection" not in head


async def test_each_event_has_the_time_of_its_read():
    role, one, two, *rest = events("one", "two")

    async def serve(peer, number):
        await peer.head(number)
        await peer.send(number, role, one)
        await trio.sleep(0.1)
        await peer.send(number, two, end=False)
        await trio.sleep(0.1)
        await peer.send(number, *rest, end=True)

    async with http2_server(serve) as (url, _), target_at(url) as target:
        (exchange,) = await asked(target, 1)
    assert 0.09 < exchange.contents[1] - exchange.contents[0] < 0.5
    assert 0.09 < exchange.end_event - exchange.contents[1] < 0.5
    assert exchange.first_byte <= exchange.first_event <= exchange.contents[0]


async def test_large_bodies_are_sent_as_fast_as_the_window_allows():
    async with http2_server(quick) as (url, peers), target_at(url) as target:
        exchanges = await asked(target, 3, OutgoingRequest("/", (), bytes(300_000)))
    assert [exchange.complete for exchange in exchanges] == [True] * 3
    assert [len(body) for body in peers[0].bodies.values()] == [300_000] * 3


@pytest.mark.parametrize(
    ("code", "again", "kind"), [(0x7, True, ""), (0x2, False, "reset")], ids=["refused", "internal error"]
)
async def test_a_stream_that_the_server_resets_is_sent_again_only_where_it_was_refused(code, again, kind):
    """A refused stream was not processed (RFC 9113, section 8.7)."""

    async def serve(peer, number):
        if number == 3:
            peer.frames.reset_stream(number, code)
            await peer.flush()
        else:
            await quick(peer, number)

    async with http2_server(serve) as (url, _), target_at(url) as target:
        await asked(target, 1)
        (exchange,) = await asked(target, 1)
    assert exchange.resent is again
    assert exchange.complete is again
    if kind:
        assert (exchange.problem.kind, exchange.problem.phase) == (kind, "first byte")
        assert "INTERNAL_ERROR" in exchange.problem.detail


async def test_a_server_that_is_leaving_gets_no_more_and_ends_what_it_has():
    async def serve(peer, number):
        peer.frames.send_headers(number, [(":status", "200")])
        peer.frames.close_connection(last_stream_id=number)
        await peer.flush()
        await trio.sleep_forever()

    async with http2_server(serve) as (url, peers), target_at(url) as target:
        first = TimedExchange(LoadRequest("m", cancel=Cancelling(1.0, 0.3)), "cancels", 0.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.run, target, REQUEST)
            with trio.fail_after(2):
                while not first.status:  # noqa: ASYNC110  # polled, with a deadline
                    await trio.lowlevel.checkpoint()
            await asked(target, 1, cancel=Cancelling(1.0, 0.1))
        assert len(peers) == 2
        assert first.client_left


async def test_a_client_that_leaves_resets_only_its_stream():
    async def serve(peer, number):
        await peer.head(number)
        if number > 1:
            await peer.send(number, *events("one"), end=True)

    async with http2_server(serve) as (url, peers), target_at(url) as target:
        (left,) = await asked(target, 1, cancel=Cancelling(1.0, 0.1))
        (whole,) = await asked(target, 1)
    assert left.client_left
    assert whole.complete
    assert peers[0].resets == [1]
    assert len(peers) == 1


async def test_a_server_of_http_1_is_reported():
    async def serve(stream):
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        async with target_at(f"http://127.0.0.1:{listener.socket.getsockname()[1]}") as target:
            (exchange,) = await asked(target, 1)
        nursery.cancel_scope.cancel()
    assert (exchange.problem.kind, exchange.problem.phase) == ("not http", "connect"), exchange.problem
    assert exchange.problem.detail == "the server does not support HTTP/2"


async def test_a_connection_that_ends_takes_all_its_streams():
    async def serve(peer, number):
        await peer.head(number)
        if number == 5:
            await peer.stream.aclose()

    async with http2_server(serve) as (url, _), target_at(url) as target:
        exchanges = await asked(target, 3)
    assert {exchange.problem.kind for exchange in exchanges} <= {"closed", "reset"}


async def test_a_cancelled_sender_leaves_no_partial_frame():
    """Half a frame would be the end of all other streams of the connection."""
    ours, other = socket.socketpair()
    ours.setblocking(False)
    theirs = trio.socket.from_stdlib_socket(other)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    server.local_settings = h2.settings.Settings(
        client=False, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**24}
    )
    server.initiate_connection()
    server.increment_flow_control_window(2**24)
    await theirs.send(server.data_to_send())
    transport = TimedTransport(ours, "as it comes", None)
    connection = await SharedConnection.open(transport, await ServerAddress.resolve("http://127.0.0.1:1"), 100)
    first, second = connection.stream(), connection.stream()
    assert first is not None
    assert second is not None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.begin, first, OutgoingRequest("/large", (), bytes(2**20)))
        await trio.testing.wait_all_tasks_blocked()  # the server reads nothing
        nursery.cancel_scope.cancel()
    asked = []
    async with trio.open_nursery() as nursery:
        first.close()
        nursery.start_soon(connection.begin, second, OutgoingRequest("/small", (), b"{}"))
        with trio.fail_after(10):
            while len(asked) < 2:
                found = server.receive_data(await theirs.recv(2**16))
                asked += [event.stream_id for event in found if isinstance(event, h2.events.RequestReceived)]
    assert asked == [1, 3]
    connection.close()
    theirs.close()


# Servers that are up to no good: their frames byte by byte, since no library writes such


def frame(kind: int, flags: int, number: int, content: bytes = b"") -> bytes:
    return len(content).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big") + content


DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
LAST, WHOLE_HEAD = 1, 4
OK = b"\x88"  # :status 200 in HPACK's static table
HEAD_OF_1 = frame(HEADERS, WHOLE_HEAD, 1, OK)
SAID = b"".join(events("one"))


@contextlib.asynccontextmanager
async def raw_server(said: bytes, settings: bytes = b"", first: bytes | None = None):
    """A server that says the same of each connection's first request, and the connections that it has had."""
    peers: list[trio.SocketStream] = []

    async def serve(stream):
        peers.append(stream)
        await stream.send_all(frame(SETTINGS, 0, 0, settings) if first is None else first)
        with contextlib.suppress(trio.BrokenResourceError):
            unread = b""
            async for data in stream:
                kinds, unread = whole_frames(unread + data)
                if HEADERS in kinds:
                    await stream.send_all(said)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}", peers
        nursery.cancel_scope.cancel()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def whole_frames(data: bytes) -> tuple[set[int], bytes]:
    """The kinds of the frames that are there as a whole, and the rest: a read ends where it happens to end."""
    kinds: set[int] = set()
    if PREFACE.startswith(data):
        return kinds, data.removeprefix(PREFACE)
    data = data.removeprefix(PREFACE)
    while len(data) >= (size := 9 + int.from_bytes(data[:3], "big")):
        kinds.add(data[3])
        data = data[size:]
    return kinds, data


async def gone(peers: list[trio.SocketStream]) -> None:
    """Wait until we have closed all of these connections."""
    with trio.fail_after(2):
        for peer in peers:
            while peer.socket.fileno() >= 0:  # noqa: ASYNC110  # polled, with a deadline
                await trio.lowlevel.checkpoint()


async def test_a_connection_that_breaks_the_protocol_is_closed_immediately():
    """Before it was read on until the run's end, whatever came. It is counted anew when the request's body goes out:
    twice as much comes at least."""
    for said, phase, detail in [
        (frame(PING, 0, 0, bytes(8)) * 20_000, "first byte", "more than 128 KiB of frames without a response"),
        (HEAD_OF_1 + frame(DATA, 0, 1) * 30_000, "first token", "more than 128 KiB of frames without a response"),
        (frame(DATA, 0, 7, b"x"), "first byte", "a frame of the unknown stream 7"),
        (frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff"), "first byte", "May not increment flow control window"),
        (frame(HEADERS, 0, 1, OK) + frame(9, 0, 1) * 100, "first byte", "Too many continuation frames"),
    ]:
        with case((said, phase, detail)):
            async with raw_server(said) as (url, peers), target_at(url) as target:
                (exchange,) = await asked(target, 1)
                await gone(peers)
            assert (exchange.problem.kind, exchange.problem.phase) == ("not http", phase)
            assert detail in exchange.problem.detail


async def test_a_server_whose_first_frame_has_no_settings_does_not_speak_http_2():
    for first in (b"SSH-2.0-OpenSSH\r\n", frame(PING, 0, 0, bytes(8))):
        async with raw_server(b"", first=first) as (url, peers), target_at(url) as target:
            (exchange,) = await asked(target, 1)
            await gone(peers)
        assert (exchange.problem.phase, exchange.problem.detail) == ("connect", "the server does not support HTTP/2")


async def test_an_answer_in_the_same_read_as_goaway_counts():
    leaving = frame(GOAWAY, 0, 0, bytes((0, 0, 0, 1)) + bytes(4))
    half = len(SAID) // 2
    answers = [
        leaving + HEAD_OF_1 + frame(DATA, LAST, 1, SAID),
        HEAD_OF_1 + frame(DATA, 0, 1, SAID[:half]) + leaving + frame(DATA, LAST, 1, SAID[half:]),
    ]
    for said in answers:
        async with raw_server(said) as (url, peers), target_at(url) as target:
            first, second = [(await asked(target, 1))[0] for _ in range(2)]
            assert len(peers) == 2
            await gone(peers[:1])
        assert (first.problem, first.complete, len(first.contents)) == (None, True, 1)
        assert second.complete


async def test_an_answer_that_comes_before_the_request_is_out_leaves_no_stream_open():
    """The library counts it as one of those that the server takes, and the next request ended the whole load."""
    no_room, one_stream = b"\x00\x04" + bytes(4), b"\x00\x03\x00\x00\x00\x01"
    said = HEAD_OF_1 + frame(DATA, LAST, 1, SAID)
    again = HEAD_OF_1.replace(b"\x00\x01\x88", b"\x00\x03\x88") + frame(DATA, LAST, 3, SAID)
    async with raw_server(said, no_room + one_stream) as (url, peers), target_at(url) as target:
        (first,) = await asked(target, 1)
        second = TimedExchange(LoadRequest("m"), "reads", trio.current_time())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(second.run, target, REQUEST)
            await trio.testing.wait_all_tasks_blocked(0.02)
            await peers[0].send_all(again)
        assert len(peers) == 1
    assert first.complete
    assert second.complete


async def test_connections_on_which_nothing_can_begin_are_not_collected():
    """A server that allows no stream gets a connection for each try."""
    async with raw_server(b"", b"\x00\x03" + bytes(4)) as (url, peers), target_at(url) as target:
        refused = await asked(target, 3)
        await gone(peers)
    assert {exchange.problem.detail for exchange in refused} == {"the server allows no streams"}
