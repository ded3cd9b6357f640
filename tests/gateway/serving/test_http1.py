"""HTTP/1.1 over real sockets: pipelining, invalid HTTP, responses before the whole body has arrived."""

import contextlib
import json

import pytest
import trio
import trio.testing

from gateway.serving import http1
from gateway.serving.request_reader import MAX_LINES
from tests.support.asgi_app import eventually, serving, within
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.harness import PATIENCE, retried_when_late
from tests.support.loop_steps import LONGEST, check_own_steps

END = b"0\r\n\r\n"


# Pipelining


async def test_pipelined_requests_are_answered_in_order():
    async with serving() as server, server.connect() as client:
        one = "POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{}"
        await client.send("".join(one.format(n, "x" * n) for n in range(1, 101)))
        for n in range(1, 101):
            answer = json.loads((await client.until(b"}")).partition(b"\r\n\r\n")[2])
            assert answer["size"] == n


@retried_when_late
async def test_a_disconnect_after_a_pipelined_request_is_seen():
    async with serving() as server:
        async with server.connect() as client:
            await client.get("/hang")
            await server.witness.begun.wait()
            await client.get("/whole")
            client.leave()
        with within(0.1):
            await eventually(lambda: server.witness.closed == [True])


async def test_a_flood_after_a_request_is_not_read_without_end():
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
            assert kept <= http1.MAX_PIPELINED + 65536
            server.witness.feed.close()
            await client.until(END)
            assert b'"size":2000000' in await client.until(b"}")


async def test_a_client_that_leaves_after_a_flood_is_released():
    async with serving() as server:
        async with server.connect(small=True) as client:
            await client.get("/flood")
            await server.witness.begun.wait()
            with trio.move_on_after(0.1):  # until the server stops reading
                await client.send(b"x" * 2_000_000)
            client.leave("rst")
        await eventually(lambda: server.witness.closed == [True] and not server.lifecycle.connections)


async def answer_in_one_step(scope, receive, send):
    """Respond as soon as the request has arrived, without another turn of the loop."""
    while scope["type"] == "lifespan" and (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
        await send({"type": "http.response.body", "body": b"end", "more_body": False})


async def test_a_request_at_the_end_of_a_long_pipelined_one_is_answered():
    """It arrives while another task reads the previous request, whose response may come first."""
    one = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    chunked = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 900 + END
    async with serving(app=answer_in_one_step) as server:
        for _ in range(20):  # the order of the tasks is random
            async with server.connect() as client:
                await client.send(one + chunked)
                await client.until(b"end")
                await client.send(one)
                await client.until(b"end")
                await client.until(b"end")


@pytest.mark.parametrize("behind", [b"\r\n", b"GET /whole HTTP/1.1\r\nhost: x\r\n\r\n", b"x" * 200_000])
async def test_data_after_a_connections_last_request_is_ignored(behind):
    async with serving() as server, server.connect() as client:
        await client.send(b"GET /stream HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" + behind)
        await client.until(b"first;")
        with contextlib.suppress(OSError):
            await client.send(behind)
        await server.witness.feed.send(b"second;")
        await client.until(b"second;")
        server.witness.feed.close()
        await client.until(END)
        assert await client.read_rest() == b""
        assert len(server.witness.scopes) == 1


@pytest.mark.parametrize("behind", [b"\r\n", b""])
async def test_an_empty_line_before_a_request_is_ignored(behind):
    """Some clients send one after a body, with it or later (RFC 9112, section 2.2)."""
    post = b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbody"
    async with serving() as server, server.connect() as client:
        for _ in range(3):
            await client.send(post + behind)
            await client.until(b"}")
            if not behind:
                await client.send(b"\r\n")
        await client.send(b"GET /whole HTTP/1.1\r\nhost: x\r\n\r\n")
        await client.until(b"whole")


# Requests that are no HTTP, or not allowed


@each_row(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /whole HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET /whole HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
        (b"GET /whole HTTP/1.1\r\nhost: user:password@x\r\n\r\n", 400),
        (b"GET /whole HTTP/1.1\r\nhost: x/path\r\n\r\n", 400),
        (b"GET /whole HTTP/1.1\r\nhost: x:80:80\r\n\r\n", 400),
        (b"GET /whole HTTP/1.1\r\nhost: [::1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nxxxx", 400),
        (b"POST /size HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", 501),
        (b"GET /whole HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 70_000, 431),
        (b"GET /whole HTTP/1.1\r\nhost: x\r\n" + b"a:\r\n" * 2000 + b"\r\n", 431),
    ],
)
async def test_invalid_http_is_refused_with_a_reason(request_bytes, status):
    async with serving() as server:
        async with server.connect() as client:
            await client.send(request_bytes)
            head, _, body = (await client.read_rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d" % status)
        assert json.loads(body)["error"]["message"]
        assert not server.witness.scopes
        assert b"whole" in await server.get("/whole")


HOSTS = [
    b"",
    b"localhost",
    b"127.0.0.1:12000",
    b"[::1]:80",
    b"[fe80::1%25eth0]",
    b"a_b.svc:",
    b"xn--bcher-kva.example",
    b"%2Ftmp%2Fs",
]


@each_row("host", HOSTS)
async def test_every_valid_host_is_served(host):
    """RFC 3986, section 3.2.2; ``%2F`` is what clients of Unix sockets send."""
    async with serving() as server, server.connect() as client:
        await client.send(b"GET /whole HTTP/1.1\r\nhost: %b\r\nconnection: close\r\n\r\n" % host)
        assert (await client.read_rest()).startswith(b"HTTP/1.1 200 ")


CONTROLS = [bytes((code,)) for code in (*range(0x20), 0x7F) if code != 0x09]


@each_row("part", range(4))
@each_row("chunk", [b"4;a%bb\r\n", b"4;%b\r\n", b'4;a="%b"\r\n', b"4\r\nabcd\r\n0;%b\r\n\r\n"])
async def test_a_control_character_in_a_chunk_extension_is_refused(chunk, part):
    """CVE-2025-55315: two servers that read the end of the line in two places read two requests."""
    head = b"POST /size HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving() as server:
        for control in CONTROLS[part::4]:
            with case(control):
                async with server.connect() as client:
                    await client.send(head + chunk % control + b"abcd\r\n0\r\n\r\n")
                    received = await client.read_rest()
                assert received.startswith(b"HTTP/1.1 400")
                assert received.count(b"HTTP/1.1 ") == 1


@each_row("extension", [b"", b";", b";a", b";a=b", b';a="b c"', b";\t", b";caf\xe9", b"; a = b"])
async def test_other_chunk_extensions_are_read_and_dropped(extension):
    head = b"POST /size HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving() as server, server.connect() as client:
        body = b"4%b\r\nabcd\r\n0%b\r\n\r\n" % (extension, extension)
        for byte in head + body:  # however the network cuts it
            await client.send(bytes((byte,)))
        assert json.loads((await client.until(b"}")).partition(b"\r\n\r\n")[2])["size"] == 4


@pytest.mark.parametrize("size", [b"f" * 20, b"f" * 16, b"8" + b"0" * 15, b"7" + b"f" * 15, b"10000000000"])
async def test_a_chunk_of_an_absurd_size_is_refused_immediately(size):
    """The server would wait for the client until the timeout."""
    async with serving() as server, server.connect() as client:
        await client.send(b"POST /size HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + size + b"\r\nabc")
        assert (await client.read_rest()).startswith(b"HTTP/1.1 400")


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
        answer = await client.read_rest()
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"connection: close" in answer.lower()
        assert b"too large" in answer
        await eventually(lambda: server.witness.closed == [False])


async def test_the_gateway_does_not_wait_for_a_body_that_never_arrives(monkeypatch):
    monkeypatch.setattr(http1, "SKIP_SECONDS", 0.1)
    async with serving() as server, server.connect() as client:
        await client.send("POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\nx")
        assert (await client.read_rest()).startswith(b"HTTP/1.1 413")


async def test_a_connection_stays_open_after_an_early_answer_if_the_body_arrives():
    async with serving() as server, server.connect() as client:
        await client.send("POST /missing HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n")
        assert (await client.until(b"</p>")).startswith(b"HTTP/1.1 404")
        await client.send("abcdeGET /whole HTTP/1.1\r\nhost: x\r\n\r\n")
        await client.until(b"whole")


async def test_an_early_answer_does_not_delay_the_next_request():
    async with serving() as server:
        for _ in range(20):
            async with server.connect() as client:
                body = b"1\r\nx\r\n" * 50 + END
                await client.send(b"POST /missing HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + body)
                await client.get("/whole")
                assert (await client.until(b"</p>")).startswith(b"HTTP/1.1 404")
                await client.until(b"whole")


async def cut_the_response(scope, receive, send):
    while scope["type"] == "lifespan" and (message := await receive())["type"] != "lifespan.shutdown":
        await send({"type": f"{message['type']}.complete"})
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})


async def test_a_cut_response_to_http_1_0_ends_with_a_reset():
    """There the end of the connection is the end of the body, so nginx passed on half an audio file as a whole one."""
    async with serving(app=cut_the_response) as server, server.connect() as client:
        await client.send("GET / HTTP/1.0\r\nhost: x\r\n\r\n")
        await client.until(b"half")
        with trio.fail_after(PATIENCE), pytest.raises(ConnectionResetError):
            await client.sock.recv(65536)


async def test_an_app_that_ends_during_an_upload_releases_the_connection(caplog):
    async with serving() as server, server.connect() as client:
        await client.send("POST /crash-slowly HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        await client.send(b"1\r\nx\r\n" * 200 + END)
        await client.until(b"HTTP/1.1 500")
        await client.read_rest()
        await eventually(lambda: not server.lifecycle.connections)
        await eventually(lambda: "a task of the request failed" in caplog.text)


async def test_a_client_that_uses_tls_without_need_is_reported_once(caplog):
    """Such a client shows its user only a wrong version number: OpenAI's SDK for JavaScript always uses TLS here."""
    async with serving() as server:
        for _ in range(2):
            async with server.connect() as client:
                await client.send(bytes.fromhex("1603010200010001fc0303") + b"\0" * 200)
                assert (await client.read_rest()).startswith(b"HTTP/1.1 400")
    assert caplog.text.count("a client used TLS") == 1
    assert "`tls` of the listener" in caplog.text


UPGRADE = (
    b"GET /whole HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def test_a_handshake_that_is_not_valid_ends_its_connection():
    async with serving(keep_alive=60) as server, server.connect() as client:
        await client.send(b"GET /whole HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        answer = await client.read_rest()
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"connection: close" in answer.lower()
        await eventually(lambda: not server.lifecycle.connections)


@pytest.mark.parametrize("pause", [False, True])
async def test_bytes_right_after_a_websocket_upgrade_are_refused(pause, caplog):
    async with serving() as server:
        for _ in range(20):
            async with server.connect() as client:
                await client.send(UPGRADE if pause else UPGRADE + b"too early")
                if pause:
                    await client.until(b"\r\n\r\n")
                    with contextlib.suppress(OSError):  # the server may have closed by now
                        await client.send(b"too early")
                await client.read_rest()
        await eventually(lambda: not server.lifecycle.connections)
        assert "Traceback" not in caplog.text


@pytest.mark.parametrize("size", [100, 5000, 10**6])
async def test_lines_of_a_body_are_no_lines_of_the_head(size):
    """A client may send both together, and in any pieces."""
    body = b"\n" * 20_000
    data = b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    async with serving(max_body=10_000_000) as server, server.connect() as client:
        for at in range(0, len(data), size):
            await client.send(data[at : at + size])
        assert json.loads((await client.until(b"}")).partition(b"\r\n\r\n")[2])["size"] == len(body)


async def test_a_head_of_many_lines_is_refused_in_pieces_as_well():
    """Each line takes about four microseconds, in one step of the loop (CWE-400)."""
    async with serving() as server, server.connect() as client:
        await client.send(b"GET /whole HTTP/1.1\r\nhost: x\r\n")
        for _ in range(MAX_LINES // 50 + 1):
            await client.send(b"a:\r\n" * 50)
        assert (await client.read_rest()).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("name", [b"a:\r\n", b"a%d:\r\n"])
@pytest.mark.parametrize("more", [0, 1])
async def test_a_short_head_of_many_lines_is_refused(name, more):
    lines = b"".join(name % number if b"%" in name else name for number in range(MAX_LINES - 1 + more))
    async with serving() as server, server.connect() as client:
        await client.send(b"GET /whole HTTP/1.1\r\nhost: x\r\n" + lines + b"\r\n")
        assert (await client.until(b"\r\n")).startswith(b"HTTP/1.1 431 " if more else b"HTTP/1.1 200 ")


async def test_a_body_of_tiny_chunks_is_read_between_the_turns_of_others():
    """A read of 64 KiB contains ten thousand chunks of a byte, and was handled in one step (CWE-400)."""
    async with serving(max_body=10_000_000) as server, server.connect() as client:

        async def send() -> None:
            await client.send(b"POST /size HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(2):
                await client.send(b"1\r\nx\r\n" * 10_000)
            await client.send(b"0\r\n\r\n")
            assert json.loads((await client.until(b"}")).partition(b"\r\n\r\n")[2])["size"] == 20_000

        await check_own_steps(send, longest=LONGEST / 3)
