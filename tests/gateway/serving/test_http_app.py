"""A request's nursery, its end, and response bodies, over real sockets."""

import json
from contextvars import ContextVar
from typing import Any

import pytest
import trio
import trio.testing

from gateway.http.response import Response
from gateway.serving.http_app import App
from gateway.serving.incoming_request import IncomingRequest, ignore_arrived
from gateway.serving.route_table import RouteTable
from tests.support.asgi_app import eventually, serving, within
from tests.support.each_row import each_row
from tests.support.harness import PATIENCE, retried_when_late

END = b"0\r\n\r\n"


@pytest.fixture(params=["fin", "rst"])
def how(request):
    return request.param


@pytest.mark.parametrize("path", ["/hang", "/stream", "/flood"])
@retried_when_late
async def test_a_client_that_leaves_ends_every_task_of_its_request(path, how):
    async with serving() as server:
        witness = server.witness
        async with server.connect() as client:
            await client.get(path)
            await witness.begun.wait()
            if path != "/hang":
                await client.until(b"\r\n\r\n")
            with within(0.1):
                client.leave(how)
                await eventually(lambda: witness.closed)
        assert len(witness.ended) == 1
        assert witness.closed == [True]
        assert not witness.scopes[0].complete
        await eventually(lambda: not server.lifecycle.in_flight and not server.lifecycle.connections)


async def test_a_client_that_shuts_its_sending_side_counts_as_gone():
    async with serving() as server, server.connect() as client:
        await client.get("/hang")
        await server.witness.begun.wait()
        client.sock.shutdown(trio.socket.SHUT_WR)
        await eventually(lambda: server.witness.closed == [True])


async def test_callbacks_run_after_every_task_and_survive_each_other(caplog):
    async with serving() as server, server.connect() as client:
        witness = server.witness
        order = []
        await client.get("/stream")
        await client.until(b"first;")
        scope = witness.scopes[0]

        def fail(_):
            order.append(len(witness.ended))
            raise ValueError("settling failed")

        scope.on_close(fail)
        scope.on_close(lambda left: order.append(left))
        witness.feed.close()
        await client.until(END)
        await eventually(lambda: len(order) == 2)
        assert order == [1, False], "the task ended first, and the second callback ran"
        assert "settling failed" in caplog.text
        await client.get("/whole")
        await client.until(b"whole")


CLIENT = ContextVar("CLIENT", default="nobody")


@pytest.mark.parametrize("is_pipelined", [False, True])
async def test_a_request_inherits_nothing_of_the_one_before_on_its_connection(is_pipelined):
    """A proxy sends the requests of several clients over one connection."""

    async def answer(scope, receive, send):
        while scope["type"] == "lifespan" and (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        if scope["type"] == "http":
            met = CLIENT.get().encode()
            CLIENT.set("ann")
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
            await send({"type": "http.response.body", "body": met, "more_body": False})

    async with serving(app=answer) as server, server.connect() as client:
        one = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
        if is_pipelined:
            await client.send(one * 3)
        for _ in range(3):
            if not is_pipelined:
                await client.send(one)
            await client.until(b"nobody")


@pytest.mark.parametrize(
    ("given", "expected"), [("my-id.1", "my-id.1"), ("a b", None), ("x" * 129, None), ("", None), ("\u00e9", None)]
)
async def test_the_request_is_named_by_the_client_if_it_names_it_well(given, expected):
    async with serving() as server, server.connect() as client:
        await client.send(f"POST /size HTTP/1.1\r\nhost: x\r\nx-request-id: {given}\r\ncontent-length: 2\r\n\r\nab")
        head = await client.until(b"}")
        answer = json.loads(head.partition(b"\r\n\r\n")[2])
        assert answer["size"] == 2
        assert answer["id"] == expected or (expected is None and answer["id"].startswith("req_"))


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_cut_answer_has_no_terminating_chunk(version):
    async with serving() as server, server.connect() as client:
        await client.send(f"GET /stream HTTP/{version}\r\nhost: x\r\n\r\n")
        await client.until(b"first;")
        witness = server.witness
        await witness.feed.send(b"last;")
        witness.body.cut()
        witness.feed.close()
        rest = await client.read_rest()
        assert b"last;" in rest, "what was queued is still written"
        assert END not in rest
        await eventually(lambda: witness.closed)
        assert witness.closed == [False]
        assert not witness.scopes[0].complete


async def test_a_crash_before_the_answer_is_a_500_with_a_body(caplog):
    async with serving() as server:
        head, _, body = (await server.get("/crash")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 500")
        assert json.loads(body)["error"]["type"] == "server_error"
        await eventually(lambda: "a task of the request failed" in caplog.text)


@each_row("target", ["?x=1", "http://[", "http://x", "*", "//", "/%ff%00", "/\x7e\x7e?%zz"])
async def test_an_odd_target_is_a_404_and_not_a_500(target):
    async with serving() as server:
        assert (await server.get(target)).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("leaves", ["in the body", "behind the body"])
async def test_a_foreign_server_reports_a_disconnect_by_message(leaves):
    """``ON_LEAVING`` is an extension; ASGI has ``http.disconnect``."""
    seen = []

    async def answer(request: IncomingRequest) -> Response:
        seen.append(request.scope)
        await request.read(ignore_arrived)
        await trio.sleep_forever()

    routes = RouteTable()
    routes.add("/x", answer, ("POST",))
    app = App(routes=routes)
    part = {"type": "http.request", "body": b"half", "more_body": leaves == "in the body"}
    messages = iter([part, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        raise AssertionError("nobody is there")

    asgi = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.1"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": "/x", "raw_path": b"/x", "query_string": b"", "root_path": "", "headers": [],
        "client": None, "server": None, "state": {}, "extensions": {},
    }  # fmt: skip
    with trio.fail_after(PATIENCE):
        await app(asgi, receive, send)
    assert seen[0].left
