"""The drain of a worker that stops, over real sockets."""

import pytest
import trio
import trio.testing
from h2.connection import ConnectionInputs, H2ConnectionStateMachine
from h2.events import ConnectionTerminated, DataReceived, StreamEnded

from gateway.commands.listening import LOCAL
from gateway.processes.binding import bind
from gateway.serving.app_lifespan import LifespanFailed
from gateway.serving.frame_limits import BOUNDS, FrameLimit, FrameType
from gateway.serving.http2 import ALL_STREAMS
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.listeners import WRITE_TIMEOUT
from gateway.serving.worker import AcceptLoop, serve
from tests.support.asgi_app import PATIENCE, Client, eventually, eventually_refused, serving
from tests.support.http2_client import Http2Client
from tests.support.processes import no_descriptors_left

END = b"0\r\n\r\n"


class OpenUntilClosed(H2ConnectionStateMachine):
    """A state machine that keeps streams open after GOAWAY, by RFC 9113, section 6.8 (python-hyper/h2#1181)."""

    def process_input(self, input_):
        return [] if input_ is ConnectionInputs.RECV_GOAWAY else super().process_input(input_)


async def test_a_drain_waits_for_streams_and_closes_idle_connections():
    async with serving(drain=3600) as server, server.connect() as client, server.connect() as idle:
        await client.get("/stream")
        await client.until(b"first;")
        await idle.get("/whole")
        await idle.until(b"whole")
        server.lifecycle.stop()
        assert server.lifecycle.draining
        assert await idle.read_rest() == b""
        await eventually_refused(server)
        await server.witness.feed.send(b"last;")
        server.witness.feed.close()
        assert (await client.read_rest()).endswith(b"last;\r\n" + END)
        await server.over.wait()


async def test_a_drain_does_not_wait_for_an_idle_client_that_reads_nothing(monkeypatch):
    """Hypercorn answers its pings, and waits for it to take that."""
    monkeypatch.setitem(BOUNDS, FrameType.PING, FrameLimit("PING", 30_000))
    async with serving(drain=3600) as server, server.connect(small=True) as client:
        peer = Http2Client(client)
        for number in range(30_000):
            peer.connection.ping(number.to_bytes(8, "big"))
        with trio.move_on_after(0.5):
            await peer.flush()
        server.lifecycle.stop()
        with trio.fail_after(PATIENCE):
            await server.over.wait()


async def test_the_drain_begins_after_its_delay():
    async with serving(drain=3600, drain_delay=0.1) as server:
        server.lifecycle.stop()
        await server.over.wait()


async def test_answers_during_the_delay_ask_for_another_connection():
    """RFC 9112, section 9.6: a client that keeps its connection would send its next request to a process that stops."""
    async with serving(drain_delay=3600) as server, server.connect() as idle, server.connect() as busy:
        await idle.get("/whole")
        assert b"connection: close" not in (await idle.until(b"\r\n\r\n")).lower()
        await idle.until(b"whole")
        await busy.get("/stream")
        await busy.until(b"first;")
        server.lifecycle.stop()
        await idle.get("/whole")  # it was not closed: its next request might have been under way
        answer = (await idle.read_rest()).lower()
        assert answer.count(b"connection: close") == 1
        assert answer.endswith(b"whole")
        await server.witness.feed.send(b"last;")
        server.witness.feed.close()
        await busy.until(END)
        await busy.get("/no-such-path")
        assert b"connection: close" in (await busy.read_rest()).lower()
        assert b"connection: close" in (await server.get("/whole")).lower()


async def goodbyes(peer: Http2Client, count: int = 1) -> list[tuple[int, int]]:
    """Return the error and the last stream of each GOAWAY, once there are ``count`` of them."""
    with trio.fail_after(PATIENCE):
        while len(ends := [event for event in peer.seen if isinstance(event, ConnectionTerminated)]) < count:
            data = await peer.client.sock.recv(65536)
            assert data, "the connection ended without a GOAWAY"
            peer.seen += peer.connection.receive_data(data)
    return [(event.error_code, event.last_stream_id) for event in ends]


@pytest.mark.parametrize(
    ("delay", "announced"), [(3600, []), (0, [(0, ALL_STREAMS)])], ids=["in_the_delay", "in_the_drain"]
)
async def test_over_http2_a_goaway_follows_the_last_answer(delay, announced):
    """In the drain, another stream on a busy connection is preceded by an announcement: the client is to open no more
    (RFC 9113, section 6.8)."""
    async with serving(drain_delay=delay, drain=3600) as server, server.connect() as client:
        peer = Http2Client(client)
        peer.connection.state_machine = OpenUntilClosed()
        slow = await peer.ask("/stream")
        await peer.until(DataReceived, slow)
        server.lifecycle.stop()
        if not delay:
            await eventually_refused(server)
        for _ in range(2):
            last = await peer.ask("/whole")
            await peer.until(StreamEnded, last)
            assert b"whole" in peer.data(last)
        await server.witness.feed.send(b"last;")
        server.witness.feed.close()
        await peer.until(StreamEnded, slow)
        assert await goodbyes(peer, len(announced) + 1) == [*announced, (0, last)]
        assert peer.data(slow).endswith(b"last;")
        if not delay:
            assert await client.read_rest() == b""


async def test_over_http2_no_answer_loses_its_end_to_the_goaway():
    """Hypercorn sends the GOAWAY once the end of an answer is out of its buffer, which may be before it is sent."""
    async with serving(drain_delay=3600) as server:
        server.lifecycle.stop()
        for _ in range(20):
            async with server.connect() as client:
                peer = Http2Client(client)
                asked = await peer.ask("/whole")
                await peer.until(StreamEnded, asked)
                assert b"whole" in peer.data(asked)
                assert await goodbyes(peer) == [(0, asked)]


async def test_at_the_end_of_the_drain_a_stream_is_ended_in_words():
    async with serving(drain=0.2) as server, server.connect() as client:
        await client.get("/pump-stream")
        await client.until(b"first;")
        server.lifecycle.stop()
        assert (await client.read_rest()).endswith(b"shutting down;\r\n" + END)
        await server.over.wait()
        assert server.witness.closed == [False]


async def test_a_pump_that_starts_after_the_drain_is_cancelled_immediately():
    lifecycle = Lifecycle()
    lifecycle.cancel_pumps()
    with trio.fail_after(PATIENCE), trio.CancelScope() as scope, lifecycle.track_pump(scope):
        await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_stalled_client_does_not_delay_the_shutdown(monkeypatch):
    monkeypatch.setattr("gateway.serving.lifecycle.CUT_AFTER", 0.2)
    async with serving(drain=0.2) as server, server.connect(small=True) as client:
        await client.get("/flood")
        await server.witness.begun.wait()
        await trio.testing.wait_all_tasks_blocked(0.05)
        server.lifecycle.stop()
        with trio.fail_after(WRITE_TIMEOUT / 2):  # the kernel would cut it then
            await server.over.wait()
        assert server.witness.closed == [True]


async def test_connections_wait_for_a_descriptor_and_the_log_reports_it_once(caplog):
    async with serving() as server:
        with trio.socket.socket() as sock:
            client = Client(sock)
            with no_descriptors_left():
                await sock.connect(("127.0.0.1", server.port))
                await client.get("/whole")
                await eventually(lambda: "Raise the limit of open files" in caplog.text)
                with trio.move_on_after(0.3):  # some tries more
                    await client.until(b"whole")
                assert not client.buffer
            await client.until(b"whole")
    assert [record.exc_info for record in caplog.records] == [None]


async def test_a_socket_that_does_not_listen_is_no_endless_loop():
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE), pytest.raises(OSError, match="Invalid argument"):
            await AcceptLoop(trio.socket.socket(), trio.aclose_forcefully).run(nursery)


async def test_an_app_that_fails_to_start_serves_nothing():
    """Its error ends the service some turns of the loop after the app has failed."""
    was_ready = []

    async def app(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with bind(LOCAL, 0) as sock:
        for _ in range(30):
            with pytest.RaisesGroup(LifespanFailed, flatten_subgroups=True):
                await serve(app, [sock], state=Lifecycle(), ready=lambda: was_ready.append(True), signals=False)
    assert not was_ready
