"""Tests of hostile input on real sockets: each input returns a 4xx in the client's API or closes the connection, never
a 5xx or a traceback, and the gateway keeps working."""

import contextlib
import json
import re
import resource
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import product
from typing import Any

import pytest
import trio

from gateway.app import create_app
from gateway.config_files.loading import from_mapping
from gateway.processes.binding import bind
from gateway.serving import http_app
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.worker import serve
from tests.support.apis import OLDER, question
from tests.support.asgi_app import Client
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Wire, config, free_port, post, provider, running
from tests.support.processes import resident
from tests.support.raw_call import SUCCESS
from tests.support.upstreams import PATHS, Script, Upstream, render

ROUNDS = 1  # how often the process gets all inputs before the second measurement of its memory
GROWTH = 24  # MiB that the process may grow meanwhile; the largest body has 10
LARGE = ("many_tools", "many_turns", "empty_turns", "many_keys")
SECONDS = 20.0  # for the largest input on a busy machine, which delays the others

CHAT = PATHS["chat"].encode()
HOST = b"host: x\r\n"
TYPE = b"content-type: application/json\r\n"
TURN = b'{"role":"user","content":"hi"}'
GOOD = b'{"model":"on-chat","messages":[%b]}' % TURN
LENGTH = b"content-length: %d\r\n" % len(GOOD)
CHUNKED = b"transfer-encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)


def lines(*fields: bytes, first: bytes = b"POST " + CHAT + b" HTTP/1.1", body: bytes = GOOD) -> bytes:
    return first + b"\r\n" + b"".join(fields) + b"\r\n" + body


SMUGGLED = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"
UPGRADE = b"connection: upgrade\r\nupgrade: websocket\r\n"
KEY = b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n"
RESPONSES_GET = b"GET /v1/responses HTTP/1.1"

REFUSED = {
    "upgrade_elsewhere": lines(HOST, UPGRADE, KEY, first=b"GET /v1/models HTTP/1.1", body=b"\x81\x7f" + b"\xff" * 8),
    # RFC 9112, section 11.2: the end of the request is ambiguous
    "length_and_chunked": lines(HOST, LENGTH, CHUNKED, body=b"0\r\n\r\n" + SMUGGLED),
    "chunked_and_length": lines(HOST, CHUNKED, b"content-length: 5\r\n", body=b"0\r\n\r\n" + SMUGGLED),
    "two_lengths": lines(HOST, LENGTH, b"content-length: 3\r\n"),
    "two_lengths_in_one": lines(HOST, b"content-length: 3, 5\r\n"),
    "negative_length": lines(HOST, b"content-length: -1\r\n"),
    "signed_length": lines(HOST, b"content-length: +5\r\n"),
    "hexadecimal_length": lines(HOST, b"content-length: 0x5\r\n"),
    "length_with_a_space": lines(HOST, b"content-length: 1 5\r\n"),
    "length_without_digits": lines(HOST, b"content-length: \r\n"),
    "length_of_superscripts": lines(HOST, b"content-length: \xb2\r\n"),
    "endless_length": lines(HOST, b"content-length: " + b"9" * 30 + b"\r\n"),
    "length_of_5000_digits": lines(HOST, b"content-length: " + b"9" * 5000 + b"\r\n"),
    "space_before_the_colon": lines(HOST, b"transfer-encoding : chunked\r\n", body=CHUNKS),
    "coding_in_disguise": lines(HOST, b"transfer-encoding: xchunked\r\n", body=CHUNKS),
    "coding_behind_chunked": lines(HOST, b"transfer-encoding: chunked, identity\r\n", body=CHUNKS),
    "chunked_twice": lines(HOST, b"transfer-encoding: chunked, chunked\r\n", body=CHUNKS),
    "coding_with_a_tab": lines(HOST, b"transfer-encoding: \x0bchunked\r\n", body=CHUNKS),
    "chunk_with_prefix": lines(HOST, CHUNKED, body=b"0x3f\r\n" + GOOD),
    "chunk_with_sign": lines(HOST, CHUNKED, body=b"-1\r\n" + GOOD),
    "chunk_too_large": lines(HOST, CHUNKED, body=b"F" * 30 + b"\r\n" + GOOD),
    "chunk_without_its_line_end": lines(HOST, CHUNKED, body=b"3\r\nabcdef\r\n0\r\n\r\n"),
    "chunk_of_more_than_there_can_be": lines(HOST, CHUNKED, body=b"f" * 20 + b"\r\n" + GOOD),
    "chunk_of_a_terabyte": lines(HOST, CHUNKED, body=b"10000000000\r\n" + GOOD),
    # CVE-2025-55315: the end of a chunk's first line is ambiguous
    "chunk_extension_with_a_bare_return": lines(HOST, CHUNKED, body=b"3;\rxx\r\nabc\r\n0\r\n\r\n"),
    "chunk_extension_with_a_null": lines(HOST, CHUNKED, body=b"3;a\x00\r\nabc\r\n0\r\n\r\n"),
    "last_chunk_with_a_vertical_tab": lines(HOST, CHUNKED, body=CHUNKS[:-5] + b"0;a=\x0b\r\n\r\n"),
    "chunk_extension_without_end": lines(HOST, CHUNKED, body=b"3;" + b"x" * 200_000),
    "no_host": lines(LENGTH),
    "two_hosts": lines(HOST, b"host: y\r\n", LENGTH),
    "no_colon": lines(HOST, b"x-nothing\r\n", LENGTH),
    "empty_name": lines(HOST, b": x\r\n", LENGTH),
    "name_with_a_null": lines(HOST, b"x\x00y: z\r\n", LENGTH),
    "value_with_a_null": lines(HOST, b"x: a\x00b\r\n", LENGTH),
    "value_with_a_bare_return": lines(HOST, b"x: a\rb: c\r\n", LENGTH),
    "fold_in_the_first_line": lines(b" x: y\r\n", HOST, LENGTH),
    "huge_header": lines(HOST, b"x: " + b"y" * 1_000_000 + b"\r\n", LENGTH),
    "many_headers": lines(HOST, *(b"x-%d: y\r\n" % n for n in range(20_000)), LENGTH),
    "huge_target": lines(HOST, LENGTH, first=b"POST /" + b"x" * 100_000 + b" HTTP/1.1"),
    "old_http": b"GET /\r\n\r\n",
    "nameless_http": lines(HOST, LENGTH, first=b"POST " + CHAT + b" HTTP/x"),
    "http_3": lines(HOST, LENGTH, first=b"POST " + CHAT + b" HTTP/3.0"),
    "target_with_spaces": lines(HOST, LENGTH, first=b"POST /v1 /chat HTTP/1.1"),
    "target_with_a_null": lines(HOST, LENGTH, first=b"POST /v1/\x00 HTTP/1.1"),
    "no_method": lines(HOST, LENGTH, first=b" /v1 HTTP/1.1"),
    "connect": lines(HOST, first=b"CONNECT evil.example:443 HTTP/1.1", body=b""),
    "asterisk": lines(HOST, first=b"OPTIONS * HTTP/1.1", body=b""),
    "traversal": lines(HOST, first=b"GET /v1/../../etc/passwd HTTP/1.1", body=b""),
    "escaped_null": lines(HOST, first=b"GET /v1/models/%00%ff%0d%0aset-cookie:x HTTP/1.1", body=b""),
    "trace": lines(HOST, first=b"TRACE / HTTP/1.1", body=b""),
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "preface_of_1_1": lines(HOST, first=b"PRI * HTTP/1.1", body=b""),
    "no_websocket_key": lines(HOST, UPGRADE, first=RESPONSES_GET, body=b""),
    "websocket_key_of_rubbish": lines(
        HOST, UPGRADE, b"sec-websocket-key: \xff\r\nsec-websocket-version: 13\r\n", first=RESPONSES_GET, body=b""
    ),
    "websocket_of_version_99": lines(HOST, UPGRADE, KEY.replace(b"13", b"99"), first=RESPONSES_GET, body=b""),
    "frames_behind_an_upgrade": lines(HOST, UPGRADE, KEY, first=RESPONSES_GET, body=b"\xff\x80" * 500),
    "compressed_it_says": lines(HOST, TYPE, LENGTH, b"content-encoding: gzip\r\n"),
    "compressed_thrice": lines(HOST, TYPE, LENGTH, b"content-encoding: gzip, br, x-nonsense\r\n"),
}
"""Invalid requests: the gateway returns a 4xx or 501, or closes the connection without a response."""

TAKEN = {
    "absolute_form": lines(HOST, TYPE, LENGTH, first=b"POST http://evil.example" + CHAT + b" HTTP/1.1"),
    "one_length_twice": lines(HOST, TYPE, LENGTH, LENGTH),
    "folded_header": lines(HOST, TYPE, b"x-folded: a\r\n b\r\n", LENGTH),
    "bare_line_feeds": lines(HOST, TYPE, LENGTH).replace(b"\r\n", b"\n"),
    "odd_case": lines(HOST, TYPE, b"Transfer-Encoding: CHUNKED\r\n", body=CHUNKS),
    "extensions_and_trailers": lines(
        HOST, TYPE, CHUNKED, body=CHUNKS.replace(b"\r\n", b";a=b\r\n", 1)[:-2] + b"content-length: 9\r\nx: y\r\n\r\n"
    ),
    "one_byte_chunks": lines(
        HOST, TYPE, CHUNKED, body=b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD + 20_000 * b" ") + b"0\r\n\r\n"
    ),
    "nothing_to_continue": lines(HOST, TYPE, LENGTH, b"expect: 100-continue\r\n"),
    "upgrade_to_h2c": lines(HOST, TYPE, LENGTH, b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\n"),
    "eighty_headers": lines(HOST, TYPE, *(b"x-%d: y\r\n" % n for n in range(80)), LENGTH),
    "odd_request_id": lines(HOST, TYPE, LENGTH, b"x-request-id: a\tb\xff\r\n"),
    "two_request_ids": lines(HOST, TYPE, LENGTH, b"x-request-id: a\r\nx-request-id: b, c\r\n"),
}
"""Unusual but valid requests: the gateway returns one good answer, and nothing after it."""


def nested_json(depth: int) -> bytes:
    return b'{"a":[' * depth + b"1" + b"]}" * depth


@lru_cache
def bodies(api: str, model: str, many: int = 100_000) -> dict[str, bytes]:
    """Return bodies that are invalid or barely valid requests. ``many`` is the number of parts of large ones."""
    key, turn = "input" if api == "responses" else "messages", TURN
    name = json.dumps(model).encode()

    def request(more: bytes = b"", turns: bytes = turn, model: bytes = name) -> bytes:
        limit = b'"max_tokens":9,' if api == "messages" else b""
        return b'{"model":%b,%b"%b":[%b]%b}' % (model, limit, key.encode(), turns, more)

    schema = {"type": "object", "properties": {}}
    tool = {
        "chat": {"type": "function", "function": {"name": "f%d", "parameters": schema}},
        "messages": {"name": "f%d", "input_schema": schema},
        "responses": {"type": "function", "name": "f%d", "parameters": schema},
    }[api]
    written = json.dumps(tool).replace("%d", "{n}").replace("{", "{{").replace("}", "}}").replace("{{n}}", "{n}")

    def deep_tool(depth: int) -> bytes:
        return b',"tools":[%b]' % json.dumps(tool).encode().replace(
            b'"properties": {}', b'"properties":' + nested_json(depth)
        )

    tools = b",".join(written.format(n=n).encode() for n in range(many))
    return {
        "deep_parameters": request(deep_tool(300)),
        "deeper_parameters": request(deep_tool(480)),
        "deep_metadata": request(b',"metadata":' + nested_json(490)),
        "too_deep": request(b',"metadata":' + nested_json(many)),
        "deep_content": request(turns=b'{"role":"user","content":' + nested_json(495) + b"}"),
        "deep_turns": request(turns=b"[" * 900 + b"]" * 900),
        "infinite": request(b',"temperature":1e400'),
        "minus_infinite": request(b',"top_p":-1e400'),
        "vanishing": request(b',"temperature":1e-400'),
        "ten_thousand_digits": request(b',"max_tokens":' + b"9" * 10_000 + b',"max_output_tokens":' + b"9" * 10_000),
        "long_fraction": request(b',"temperature":0.' + b"1" * 10_000),
        "not_a_number": request(b',"temperature":NaN'),
        "lone_surrogate": request(turns=turn.replace(b"hi", b"\\ud800")),
        "surrogates_reversed": request(turns=turn.replace(b"hi", b"\\udc00\\ud800")),
        "surrogate_in_bytes": request(turns=turn.replace(b"hi", b"\xed\xa0\x80")),
        "surrogate_model": request(model=b'"\\ud800"'),
        "surrogate_key": request(b',"\\udfff":1'),
        "not_utf8": request(turns=turn.replace(b"hi", b"\xff\xfe")),
        "overlong_utf8": request(turns=turn.replace(b"hi", b"\xc0\xaf")),
        "utf16": request().decode().encode("utf-16"),
        "byte_order_mark": b"\xef\xbb\xbf" + request(),
        "null_in_text": request(turns=turn.replace(b"hi", b"a\\u0000b")),
        "null_in_bytes": request(turns=turn.replace(b"hi", b"a\x00b")),
        "null_in_model": request(model=b'"%b\\u0000"' % model.encode()),
        "keys_twice": request(b',"model":["x"],"model":%b,"stream":false,"stream":false' % name),
        "role_twice": request(turns=turn.replace(b'"role":"user"', b'"role":5,"role":"user"')),
        "many_keys": request(b"".join(b',"k%d":1' % n for n in range(many))),
        "many_tools": request(b',"tools":[' + tools + b"]"),
        "many_turns": request(turns=b",".join([turn] * many)),
        "empty_turns": request(turns=b",".join([b"{}"] * many)),
        "nulls": request(turns=b"null,null"),
        "model_of_a_million": request(model=b'"' + b"m" * 1_000_000 + b'"'),
        "model_with_lines": request(model=b'"on-chat\\r\\nset-cookie: stolen=1\\r\\n\\r\\n<html>"'),
        "wildcard_with_lines": request(model=b'"openai/any\\r\\nset-cookie: stolen=1"'),
        "wildcard_of_a_million": request(model=b'"openai/' + b"m" * 1_000_000 + b'"'),
        "wildcard_in_unicode": request(model='"openai/\u2028ü\U0001f600\\u0000"'.encode()),
        "empty_model": request(model=b'""'),
        "tool_name_with_lines": request(b',"tools":[%b]' % json.dumps(tool).replace("f%d", "a\\r\\nb").encode()),
        "all_wrong": b'{"model":%b,"%b":{"a":[null,{"b":1e999}]},"tools":7,"stream":[]}' % (name, key.encode()),
    }  # fmt: skip


BODIES = tuple(bodies("chat", "on-chat", many=1))


def settings(upstream: Upstream) -> dict[str, Any]:
    vendors = {"chat": "openai", "messages": "anthropic", "responses": "openai"}
    entries = [provider(f"{vendors[api]}/on-{api}", upstream.url, [api]) for api in OLDER]
    return config([*entries, provider("openai/*", upstream.url, ["chat"])])


@pytest.fixture(scope="module")
def gateway(upstream) -> Iterator[Gateway]:
    with gateway_thread(settings(upstream)) as process:
        yield process
        text = "\n".join(process.log)
        assert "Traceback" not in text, text[-3000:]


@pytest.fixture
def process(upstream) -> Iterator[Gateway]:
    """Return the same gateway in its own process."""
    with running(settings(upstream)) as process:
        yield process


def response_to(gateway: Gateway, data: bytes) -> bytes:
    """Send ``data`` on a new connection, and return the received bytes up to the response's or the connection's end."""
    with Wire.connect(gateway.port) as wire:
        with contextlib.suppress(OSError):  # the gateway may close before it has read everything
            wire.send(data)
        wire.sock.settimeout(SECONDS)
        received = b""
        with contextlib.suppress(OSError):
            while not whole(received):
                part = wire.sock.recv(65536)
                if not part:
                    break
                received += part
        return received


def whole(received: bytes) -> bool:
    head, blank, body = received.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        return whole(body)
    if not blank:
        return False
    length = fields(head).get("content-length")
    return length is not None and len(body) >= int(length)


def fields(head: bytes) -> dict[str, str]:
    return dict(line.decode("latin-1").lower().split(": ", 1) for line in head.split(b"\r\n")[1:])


def check_answer(received: bytes, statuses: tuple[int, ...]) -> None:
    """Check that the client gets one response in its API, without text from the request in its head."""
    head, _, body = received.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    assert status in statuses, received[:600]
    found = fields(head)
    assert "set-cookie" not in found
    assert all(value.isascii() and value.isprintable() for value in found.values()), head
    assert len(head) < 16_384, "what the client sent comes back in the head"
    if status not in (200, 404) or "application/json" in found["content-type"]:
        assert len(body) == int(found["content-length"])
        assert status == 200 or (json.loads(body)["error"]["message"] and len(body) < 10_000)


@each_row("sent", REFUSED.values(), ids=REFUSED)
def test_invalid_http_is_refused_or_closes_the_connection(gateway, upstream, sent):
    upstream.script(Script("nobody should ask for this"))
    if received := response_to(gateway, sent):
        check_answer(received, (*range(400, 432), 501, 505))
        assert len(re.findall(rb"HTTP/1.1 \d+ ", received)) == 1, (
            "a second answer, to what was hidden in the first request"
        )
    assert upstream.seen == []


@each_row("sent", TAKEN.values(), ids=TAKEN)
def test_unusual_but_valid_http_is_one_request(gateway, upstream, sent):
    upstream.script(Script("one"))
    check_answer(response_to(gateway, sent), (200,))
    assert [json.loads(seen.body)["model"] for seen in upstream.seen] == ["on-chat"]


@each_row("cut", [1, 20, 60, 200])
def test_a_request_that_breaks_off_is_dropped(gateway, upstream, cut):
    upstream.script()
    with Wire.connect(gateway.port) as wire:
        wire.send(lines(HOST, TYPE, LENGTH)[:-cut])
    assert gateway.request("GET", "/healthz").status == 200
    assert upstream.seen == []


@each_row("model, at", product(["on-chat", "on-messages"], range(len(OLDER))))
def test_odd_bodies_return_4xx_or_pass_whole(gateway, upstream, model, at):
    """For each provider, the clients' APIs take turns over the bodies."""
    api = OLDER[at - (model == "on-chat")]
    for name, body in [*bodies(api, model).items()][at :: len(OLDER)]:
        with case(name):
            answered = "chat" if name.startswith("wildcard") else model.removeprefix("on-")
            upstream.script(render(Script("fine"), answered, {"model": "up"}))  # without reading the body
            begun = time.perf_counter()
            check_answer(response_to(gateway, post(PATHS[api], body)), (200, *range(400, 432)))
            assert time.perf_counter() - begun < SECONDS


def request_body(api: str) -> Mapping[str, Any]:
    return question(api, "on-chat", max_tokens=100, stream=True)


@pytest.mark.soak
@pytest.mark.process
def test_the_process_keeps_its_memory_and_works_after_all_inputs(process, upstream):
    everything = [*REFUSED.values(), *TAKEN.values()]
    sent = [(api, name) for api in OLDER for name in BODIES if api == "chat" or name not in LARGE]
    everything += [post(PATHS[api], bodies(api, "on-messages")[name]) for api, name in sent]

    def one_round() -> float:
        upstream.script(*[Script("fine")] * len(everything))
        for sent in everything:
            response_to(process, sent)
        return resident(process.pid)

    before = one_round()  # the allocator keeps the memory of the largest body
    after = [one_round() for _ in range(ROUNDS)][-1]
    assert after - before < GROWTH, (before, after)
    for api in OLDER:
        upstream.script(Script("as good as new"))
        reply = process.request("POST", PATHS[api], request_body(api))
        assert (reply.status, reply.cut) == (200, False)
        assert SUCCESS[api] in reply.body


@pytest.mark.process
def test_silent_connections_up_to_the_soft_limit_block_no_client(upstream):
    """Many systems allow 1024 open files, and a stranger can open as many silent connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    port = free_port()
    settings = config([provider("openai/on-chat", upstream.url, ["chat"])], port)
    with contextlib.ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            own = stack.enter_context(running(settings, port))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(300):
            stack.enter_context(Wire.connect(port))
        upstream.script(Script("let in"))
        assert own.request("GET", "/healthz").status == 200
        assert own.request("POST", PATHS["chat"], request_body("chat")).status == 200
        assert "Traceback" not in "\n".join(own.log)


# Slow requests to a server in this process with short timeouts


@contextlib.asynccontextmanager
async def impatient_server(monkeypatch: pytest.MonkeyPatch, keep_alive: float = 75) -> Any:
    monkeypatch.setattr(http_app, "BODY_SECONDS", 0.3)
    app = create_app(from_mapping(config([provider("openai/on-chat", "http://127.0.0.1:9")], 12000)))
    state, ready, sock = Lifecycle(), trio.Event(), bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    with trio.fail_after(SECONDS), trio.socket.socket() as client:
        async with trio.open_nursery() as nursery:
            run = {"state": state, "ready": ready.set, "signals": False, "keep_alive": keep_alive}
            nursery.start_soon(lambda: serve(app, [sock], **run))
            await ready.wait()
            await client.connect(("127.0.0.1", port))
            yield Client(client), state
            nursery.cancel_scope.cancel()


async def dribble(client: Client, data: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            await client.send(data)
            await trio.sleep(0.01)


@pytest.mark.parametrize("path", PATHS.values())
async def test_a_body_that_never_ends_returns_408(monkeypatch, path):
    async with impatient_server(monkeypatch) as (client, _), trio.open_nursery() as nursery:
        await client.send(b"POST " + path.encode() + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n")
        nursery.start_soon(dribble, client, b" ")
        while not whole(client.buffer):
            client.buffer += await client.sock.recv(65536)
        check_answer(client.buffer, (408,))
        nursery.cancel_scope.cancel()


DEEP_BODIES = {
    "conversation": ("/v1/responses", b'{"model":"on-chat","input":"hi","conversation":%b}'),
    "reference": ("/v1/responses", b'{"model":"on-chat","input":[{"type":"item_reference","id":"a","b":%b}]}'),
    "thread": ("/v1/messages", b'{"model":"on-chat","max_tokens":9,"messages":[],"thread":%b}'),
    "schema": (
        "/v1/messages",
        b'{"model":"on-chat","max_tokens":9,"messages":[{"role":"user","content":"hi"}],'
        b'"tools":[{"name":"f","input_schema":{"properties":%b}}]}',
    ),
    "item": ("/v1/conversations", b'{"items":[{"type":"message","role":"user","content":%b}]}'),
}


@each_row(("path", "body"), DEEP_BODIES.values(), ids=DEEP_BODIES)
def test_no_depth_of_nesting_is_an_internal_error(gateway, upstream, path, body):
    """Each reader of the body reaches the interpreter's limit at another depth, because its own call depth differs."""
    depths = (*range(960, 1000), 400_000)  # Python 3.14 decodes tens of thousands of levels
    upstream.script(*[render(Script("fine"), "chat", {"model": "up"})] * len(depths))
    statuses = {depth: response_to(gateway, post(path, body % (b"[" * depth + b"]" * depth)))[9:12] for depth in depths}
    assert {depth: status for depth, status in statuses.items() if not status.startswith((b"2", b"4"))} == {}
    assert b"400" in statuses.values(), "no depth was too deep"


@each_row("value", ["1e999", "[1e999]", "NaN", "9" * 400])
@each_row("member", ["store", "previous_response_id", "conversation", "background"])
def test_an_invalid_number_returns_400(gateway, upstream, member, value):
    upstream.script()
    body = f'{{"model":"on-chat","input":"hi","{member}":{value}}}'.encode()
    check_answer(response_to(gateway, post("/v1/responses", body)), (400,))
