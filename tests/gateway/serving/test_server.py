"""Sockets, connections that misbehave, drain, signals and workers; all over real sockets."""

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trio.testing
from h2.errors import ErrorCodes

from gateway.serving import connections, http1
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.listeners import BindFailed, bind
from gateway.serving.server_config import WRITE_TIMEOUT
from tests.support.asgi_app import PATIENCE, Client, Server, eventually, serving, within
from tests.support.harness import given_attempts
from tests.support.repository import ROOT

END = b"0\r\n\r\n"


# Sockets


def test_a_taken_port_says_so():
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(BindFailed, match=rf"cannot listen on 127\.0\.0\.1:{port}.*another process listens there"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(("host", "why"), [("192.0.2.1", "no such address"), ("no-such-host.invalid", "spelling")])
def test_an_address_that_is_not_ours_says_so(host, why):
    with pytest.raises(BindFailed, match=why):
        bind(host, 0)


def test_accepted_connections_inherit_what_keeps_them_alive_and_cuts_them():
    with (
        bind("127.0.0.1", 0, write_timeout=7) as sock,
        socket.create_connection(sock.getsockname()),
        sock.accept()[0] as conn,
    ):
        assert conn.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            assert conn.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000


def test_the_ipv6_wildcard_takes_ipv4_too():
    try:
        sock = bind("::", 0)
    except BindFailed as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            pytest.skip("this machine has no IPv6")
        raise
    with sock, socket.create_connection(("127.0.0.1", sock.getsockname()[1])):
        assert sock.family == socket.AF_INET6


# Keep-alive


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


# Pipelining


async def test_pipelined_requests_are_answered_in_order():
    async with serving() as server, server.connect() as client:
        one = "POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{}"
        await client.send("".join(one.format(n, "x" * n) for n in range(1, 101)))
        for n in range(1, 101):
            answer = json.loads((await client.until(b"}")).partition(b"\r\n\r\n")[2])
            assert answer["size"] == n


@given_attempts
async def test_a_disconnect_behind_a_pipelined_request_is_seen():
    async with serving() as server:
        async with server.connect() as client:
            await client.get("/hang")
            await server.witness.begun.wait()
            await client.get("/whole")
            client.leave()
        with within(0.1):
            await eventually(lambda: server.witness.closed == [True])


async def test_a_flood_behind_a_request_is_not_read_without_end():
    async with serving(max_body=10_000_000) as server, server.connect() as client:
        size = 2_000_000
        await client.get("/stream")
        await client.until(b"first;")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                client.send, f"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n\r\n" + "x" * size
            )
            await trio.testing.wait_all_tasks_blocked(0.05)
            (connection,) = server.lifecycle.connections
            kept = len(connection.protocol.reader.trailing_data[0])
            assert kept <= http1.KEPT + 65536
            server.witness.feed.close()
            await client.until(END)
            assert b'"size":2000000' in await client.until(b"}")


async def test_a_client_that_leaves_behind_a_flood_is_let_go():
    async with serving() as server:
        async with server.connect(small=True) as client:
            await client.get("/flood")
            await server.witness.begun.wait()
            with trio.move_on_after(0.1):  # until the server reads no more
                await client.send(b"x" * 2_000_000)
            client.leave("rst")
        await eventually(lambda: server.witness.closed == [True] and not server.lifecycle.connections)


@pytest.mark.parametrize("behind", [b"\r\n", b"GET /whole HTTP/1.1\r\nhost: x\r\n\r\n", b"x" * 200_000])
async def test_what_comes_behind_the_last_request_of_a_connection_is_let_be(behind):
    async with serving() as server, server.connect() as client:
        await client.send(b"GET /stream HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" + behind)
        await client.until(b"first;")
        with contextlib.suppress(OSError):
            await client.send(behind)
        await server.witness.feed.send(b"second;")
        await client.until(b"second;")
        server.witness.feed.close()
        await client.until(END)
        assert await client.rest() == b""
        assert len(server.witness.scopes) == 1


@pytest.mark.parametrize("behind", [b"\r\n", b""])
async def test_an_empty_line_before_a_request_is_let_be(behind):
    """Some clients send one behind a body, with it or after it (RFC 9112, section 2.2)."""
    post = b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"
    async with serving() as server, server.connect() as client:
        for _ in range(3):
            await client.send(post + behind)
            await client.until(b"}")
            if not behind:
                await client.send(b"\r\n")
        await client.send(b"GET /whole HTTP/1.1\r\nhost: x\r\n\r\n")
        await client.until(b"whole")


# What is not HTTP, or not allowed


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /whole HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nxxxx", 400),
        (b"POST /size HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", 501),
        (b"GET /whole HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 70_000, 431),
    ],
)
async def test_what_is_not_http_is_refused_with_a_reason(request_bytes, status):
    async with serving() as server:
        async with server.connect() as client:
            await client.send(request_bytes)
            head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d" % status)
        assert json.loads(body)["error"]["message"]
        assert not server.witness.scopes
        assert b"whole" in await server.get("/whole")


UPGRADE = (
    b"GET /whole HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_a_handshake_that_is_not_valid_ends_its_connection():
    async with serving(keep_alive=60) as server, server.connect() as client:
        await client.send(b"GET /whole HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"connection: close" in answer.lower()
        await eventually(lambda: not server.lifecycle.connections)


@pytest.mark.parametrize("pause", [False, True])
async def test_bytes_right_behind_a_websocket_upgrade_are_refused(pause, caplog):
    async with serving() as server:
        for _ in range(20):
            async with server.connect() as client:
                await client.send(UPGRADE if pause else UPGRADE + b"too early")
                if pause:
                    await client.until(b"\r\n\r\n")
                    with contextlib.suppress(OSError):  # the server may have closed by now
                        await client.send(b"too early")
                await client.rest()
        await eventually(lambda: not server.lifecycle.connections)
        assert "Traceback" not in caplog.text


async def test_a_connection_that_fails_leaves_the_others_alone(monkeypatch, caplog):
    async with serving() as server, server.connect() as streaming:
        await streaming.get("/stream")
        await streaming.until(b"first;")

        def fail(*_) -> None:
            raise RuntimeError("a mistake of ours")

        with monkeypatch.context() as patch:
            patch.setattr(connections, "ConnectionContext", fail)
            async with server.connect() as client:
                assert await client.rest() == b""
        await eventually(lambda: "a mistake of ours" in caplog.text)
        await server.witness.feed.send(b"alive;")
        await streaming.until(b"alive;")
        assert b"whole" in await server.get("/whole")
        await eventually(lambda: len(server.lifecycle.connections) == 1)


# Early answers


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_gets_its_answer_while_it_is_sent(chunked):
    async with serving() as server, server.connect() as client:
        size = 4_000_000
        framing = "transfer-encoding: chunked" if chunked else f"content-length: {size}"
        await client.send(f"POST /size HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n")
        part = b"x" * 40_000
        for _ in range(size // len(part)):
            await client.send(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
        if chunked:
            await client.send(END)
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"connection: close" in answer.lower()
        assert b"too large" in answer
        await eventually(lambda: server.witness.closed == [False])


async def test_a_body_that_never_comes_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(http1, "SKIP_SECONDS", 0.1)
    async with serving() as server, server.connect() as client:
        await client.send("POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\nx")
        assert (await client.rest()).startswith(b"HTTP/1.1 413")


async def test_a_connection_lives_on_after_an_early_answer_whose_body_comes():
    async with serving() as server, server.connect() as client:
        await client.send("POST /missing HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n")
        assert (await client.until(b"</p>")).startswith(b"HTTP/1.1 404")
        await client.send("abcdeGET /whole HTTP/1.1\r\nhost: x\r\n\r\n")
        await client.until(b"whole")


async def test_an_answer_between_the_pieces_of_its_body_does_not_hold_up_the_next():
    async with serving() as server:
        for _ in range(20):
            async with server.connect() as client:
                body = b"1\r\nx\r\n" * 50 + END
                await client.send(b"POST /missing HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + body)
                await client.get("/whole")
                assert (await client.until(b"</p>")).startswith(b"HTTP/1.1 404")
                await client.until(b"whole")


async def test_an_app_that_ends_during_an_upload_does_not_hold_the_connection(caplog):
    async with serving() as server, server.connect() as client:
        await client.send("POST /crash-slowly HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        await client.send(b"1\r\nx\r\n" * 200 + END)
        await client.until(b"HTTP/1.1 500")
        await client.rest()
        await eventually(lambda: not server.lifecycle.connections)
        await eventually(lambda: "a task of the request failed" in caplog.text)


# Drain


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


async def test_a_drain_does_not_wait_for_an_idle_client_that_reads_nothing():
    """Hypercorn answers its pings, and waits for it to take that."""
    async with serving(drain=3600) as server, server.connect(small=True) as client:
        peer = H2(client)
        for number in range(30_000):
            peer.connection.ping(number.to_bytes(8, "big"))
        with trio.move_on_after(0.5):
            await peer.flush()
        server.lifecycle.stop()
        with trio.fail_after(PATIENCE):
            await server.over.wait()


async def test_connections_that_are_turned_away_leave_nothing_behind():
    async with serving() as server, server.connect() as client:
        await client.get("/whole")
        await client.until(b"whole")
        server.lifecycle.most_connections = 1
        for _ in range(3):
            assert b"503" in await server.get("/whole")
        assert len(server.lifecycle.connections) == 1


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


# HTTP/2


class H2:
    """A client that speaks HTTP/2 from the first byte."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        self.connection.initiate_connection()
        self.seen: list[h2.events.Event] = []

    async def flush(self) -> None:
        await self.client.send(self.connection.data_to_send())

    async def ask(self, path: str, method: str = "GET", end: bool = True) -> int:
        stream = self.connection.get_next_available_stream_id()
        headers = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "x")]
        self.connection.send_headers(stream, headers, end_stream=end)
        await self.flush()
        return stream

    async def until(self, kind: type, stream: int) -> h2.events.Event:
        with trio.fail_after(PATIENCE):
            while True:
                for event in self.seen:
                    if isinstance(event, kind) and event.stream_id == stream:
                        return event
                data = await self.client.sock.recv(65536)
                assert data, f"the connection ended before {kind}"
                self.seen += self.connection.receive_data(data)
                await self.flush()

    def data(self, stream: int) -> bytes:
        return b"".join(e.data for e in self.seen if isinstance(e, h2.events.DataReceived) and e.stream_id == stream)


@given_attempts
async def test_a_reset_http2_stream_ends_its_request_and_leaves_the_others():
    async with serving(keep_alive=0.5) as server, server.connect() as client:
        peer = H2(client)
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
            peer = H2(client)
            await peer.flush()
            await client.rest()
        async with server.connect() as client:
            peer = H2(client)
            hanging = await peer.ask("/hang")
            await server.witness.begun.wait()
            peer.connection.reset_stream(hanging, ErrorCodes.CANCEL)
            await peer.flush()
            await client.rest()


async def test_a_cut_answer_resets_its_http2_stream():
    async with serving() as server, server.connect() as client:
        peer = H2(client)
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
        peer = H2(client)
        stream = await peer.ask("/crash")
        response = await peer.until(h2.events.ResponseReceived, stream)
        await peer.until(h2.events.StreamEnded, stream)
        assert (":status", "500") in response.headers
        assert json.loads(peer.data(stream))["error"]["type"] == "server_error"
        await eventually(lambda: "a task of the request failed" in caplog.text)


async def test_a_late_body_does_not_cost_the_http2_connection():
    async with serving() as server, server.connect() as client:
        peer = H2(client)
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
        peer = H2(client)
        odd = await peer.ask("/\u00e9")
        await peer.until(h2.events.StreamReset, odd)
        whole = await peer.ask("/whole")
        await peer.until(h2.events.StreamEnded, whole)


async def test_an_http2_connect_to_another_host_costs_only_its_own_stream():
    """RFC 9113, section 8.5: it has no path. Proxies send the streams of many users over one connection."""
    async with serving() as server, server.connect() as client:
        peer = H2(client)
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
        peer = H2(client)
        await peer.ask("/flood")
        await eventually(lambda: server.witness.closed == [True])


@given_attempts
async def test_an_http2_client_that_leaves_with_its_window_shut_ends_its_request():
    async with serving() as server:
        async with server.connect() as client:
            peer = H2(client)
            await peer.ask("/flood")
            await server.witness.begun.wait()
            await trio.testing.wait_all_tasks_blocked(0.05)
        with within(0.2):
            await eventually(lambda: server.witness.closed == [True])
        await eventually(lambda: not server.lifecycle.connections)


@pytest.mark.parametrize("leaves", [False, True])
async def test_an_http2_answer_given_up_in_its_last_bytes_is_not_complete(leaves):
    async with serving() as server, server.connect() as client:
        peer = H2(client)
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


# Signals and workers, in processes of their own

PROGRAM = f"""
import os, sys
sys.path[:0] = [{str(ROOT)!r}]
import trio
from gateway.serving.listeners import adopt, bind
from gateway.serving.supervisor import supervise
from gateway.serving.worker import serve
from tests.support.asgi_app import Witness, make_app

role, options = sys.argv[1], sys.argv[2:]
drain = float(options[0])

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

async def work(sockets):
    witness = Witness()
    app = make_app(witness)

    @app.get("/pid")
    async def pid():
        return str(os.getpid())

    witness.lifecycle.on_flush(lambda: say("flushed"))
    await serve(app, sockets, state=witness.lifecycle, drain=drain, ready=lambda: say("ready", os.getpid()))
    say("over", os.getpid())

if role == "supervise":
    sock = bind("127.0.0.1", 0)
    say("port", sock.getsockname()[1])
    sys.exit(trio.run(supervise, [sys.executable, __file__, "work", str(drain)], [sock], 2, drain))
elif options[1:]:
    trio.run(work, [adopt(int(options[2]))])
else:
    sock = bind("127.0.0.1", 0)
    say("port", sock.getsockname()[1])
    trio.run(work, [sock])
"""


class Program:
    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._text = b""

    async def line(self, word: str) -> str:
        """What follows ``word`` in the next line that begins with it."""
        with trio.fail_after(2 * PATIENCE):
            while True:
                while b"\n" not in self._text:
                    data = await self.process.stdout.receive_some()
                    assert data, f"the program ended before it said {word!r}"
                    self._text += data
                line, _, self._text = self._text.partition(b"\n")
                if line.decode().split(" ")[0] == word:
                    return line.decode().partition(" ")[2]


@pytest.fixture
async def run(tmp_path):
    """Starts the program above; gives it and a ``Server`` to talk to. What still runs at the end is killed."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    begun = []

    async def run(role: str, drain: float) -> tuple[Program, Server]:
        command = [sys.executable, str(script), role, str(drain)]
        begun.append(await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, process_group=0))
        program = Program(begun[-1])
        return program, Server(int(await program.line("port")))

    yield run
    for process in begun:
        if process.returncode is None:
            process.terminate()
            process.terminate()
            await process.wait()
        await process.stdout.aclose()


async def ended(program: Program) -> int:
    with trio.fail_after(PATIENCE):
        return await program.process.wait()


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_drains_and_the_second_exits_at_once(run, number):
    program, server = await run("serve", 30)
    await program.line("ready")
    async with server.connect() as client:
        await client.get("/stream")
        await client.until(b"first;")
        program.process.send_signal(number)
        await eventually_refused(server)
        assert program.process.returncode is None, "the stream is waited for"
        program.process.send_signal(number)
        await program.line("flushed")
        assert await ended(program) == 128 + number


@pytest.mark.process
async def test_a_signal_with_nothing_in_flight_ends_the_server_well(run):
    program, _ = await run("serve", 30)
    await program.line("ready")
    program.process.terminate()
    await program.line("over")
    assert await ended(program) == 0


async def eventually_refused(server: Server) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            try:
                async with server.connect():
                    pass
            except (ConnectionRefusedError, ConnectionResetError):
                return  # reset: it was in the queue of the listener that closed
            await trio.sleep(0.01)


@pytest.mark.process
async def test_workers_share_a_socket_are_replaced_and_drain_together(run):
    program, server = await run("supervise", 0.5)
    first, second = int(await program.line("ready")), int(await program.line("ready"))
    assert first != second
    os.kill(first, signal.SIGKILL)
    third = int(await program.line("ready"))
    assert third not in (first, second)
    async with server.connect() as one, server.connect() as two:
        for client in (one, two):
            await client.get("/pumped")
            await client.until(b"first;")
        os.killpg(program.process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
        await eventually_refused(server)
        for client in (one, two):
            assert (await client.rest()).endswith(b"shutting down;\r\n" + END)
    assert {int(await program.line("over")), int(await program.line("over"))} == {second, third}
    assert await ended(program) == 0


@pytest.mark.process
async def test_a_second_signal_ends_the_workers_at_once(run):
    program, server = await run("supervise", 30)
    await program.line("ready")
    await program.line("ready")
    async with server.connect() as client:
        await client.get("/stream")
        await client.until(b"first;")
        program.process.terminate()
        await eventually_refused(server)
        program.process.terminate()
        assert await ended(program) == 128 + signal.SIGTERM
