"""Routes past Quart, under a server that is not ours."""

from typing import Any

import pytest
import trio
import trio.testing
from quart_trio import QuartTrio

from gateway.http.response import Response
from gateway.serving.fast_route import IncomingRequest, add_fast_route, unlimited
from gateway.serving.quart_connections import configure
from tests.support.harness import PATIENCE


@pytest.mark.parametrize("leaves", ["in the body", "behind the body"])
async def test_a_server_that_is_not_ours_tells_by_message_that_the_client_has_left(leaves):
    """``ON_LEAVING`` is an extension; ASGI has ``http.disconnect``."""
    seen = []

    async def answer(request: IncomingRequest) -> Response:
        seen.append(request.scope)
        await request.read(unlimited)
        await trio.sleep_forever()

    app = QuartTrio(__name__)
    configure(app)
    add_fast_route(app, "/x", answer)
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
