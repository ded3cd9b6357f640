"""Request bodies that are not HTTP: the error has the shape of the client's API, and the line has its status."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Final

import trio

from tests.support.asgi_app import Client
from tests.support.each_row import each_row
from tests.support.in_process import InProcess, gateway
from tests.support.settled_lines import SettledLines

ENTRY: Final = {"model": "openai/m", "base_url": "http://127.0.0.1:9/v1", "access_key": "k"}
SETTINGS: Final = {"version": "v0.3.0", "model_providers": [ENTRY]}
FORM: Final = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nm\r\n--b\r\n'
PATHS: Final = {
    "/v1/chat/completions": ("application/json", b'{"model": "m"', {"error"}),
    "/v1/messages": ("application/json", b'{"model": "m"', {"type", "error", "request_id"}),
    "/v1/responses/compact": ("application/json", b'{"model": "m"', {"error"}),
    "/v1/audio/transcriptions": ("multipart/form-data; boundary=b", FORM, {"error"}),
}
BREAKS: Final = (b"zz\r\n", b"-1\r\n", b"FFFFFFFFFFFFFFFFFFFFFF\r\n", b"1\r\nxyz\r\n", b"0\r\nx: \x00\r\n\r\n")


@contextlib.asynccontextmanager
async def connect_client(served: InProcess) -> AsyncIterator[Client]:
    with trio.socket.socket() as sock, trio.fail_after(10):
        await sock.connect(("127.0.0.1", int(served.url.rpartition(":")[2])))
        yield Client(sock)


@each_row("broken", BREAKS)
@each_row("path", PATHS)
async def test_a_broken_body_is_an_error_of_the_client(path, broken):
    kind, begin, members = PATHS[path]
    fields = f"host: x\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked"
    async with gateway(SETTINGS) as served, connect_client(served) as client:
        lines = SettledLines(served)
        await client.send(f"POST {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode() + b"%x\r\n%b\r\n" % (len(begin), begin))
        await client.send(broken)
        head, _, body = (await client.read_rest()).partition(b"\r\n\r\n")
        (line,) = await lines.next()
    assert head.startswith(b"HTTP/1.1 400 "), head
    assert b"\r\nconnection: close" in head.lower()
    assert json.loads(body).keys() == members
    assert (line["status"], line["ended"], line["error"]) == (400, "refused", "invalid_request"), line


async def test_nothing_is_read_after_a_broken_body():
    head = b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
    async with gateway(SETTINGS) as served, connect_client(served) as client:
        await client.send(head + b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await client.read_rest()).count(b"HTTP/1.1 ") == 1
