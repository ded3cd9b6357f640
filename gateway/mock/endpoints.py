"""The stand-in's paths other than conversations."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

import attrs
from quart import websocket

from gateway.http.response import Response
from gateway.mock.called import EndpointCall, read_call
from gateway.mock.endpoint_answers import GET_ANSWERS, POST_ANSWERS, AnswerCall
from gateway.mock.kept import AnswerLine, MockObjects
from gateway.mock.realtime import PATH, MockSession
from gateway.serving.asgi_extensions import AsgiApp
from gateway.serving.incoming_request import IncomingRequest, ignore_arrived
from gateway.serving.route_table import READING, Handler, RouteTable
from gateway.websockets.in_quart import HostlessQuart, configure

ANTHROPIC_PATHS: Final = "/v1/messages/"
"""The prefix of paths that are always Anthropic's: an entry of the demo has its files there."""

SendAnswer: TypeAlias = Callable[
    [IncomingRequest, AnswerCall, Callable[[], Awaitable[EndpointCall]]], Awaitable[Response]
]
"""A function that sends the response to a request, with the fault that its model's name selects."""


def add_endpoints(routes: RouteTable, send: SendAnswer, answer_line: AnswerLine) -> None:
    """Add the endpoints to ``routes``; ``answer_line`` answers lines of batches, which are conversations."""
    for method, path, answering in _routes(MockObjects(answer_line)):
        methods = READING if method == "GET" else (method,)
        routes.add(path, _handler(answering, path, send), methods)


async def session_app() -> AsgiApp:
    """Return the app of websockets."""
    app = HostlessQuart("trigate-mock", static_folder=None)
    configure(app)
    app.add_websocket(PATH, f"websocket {PATH}", _serve_session)
    return app


async def _serve_session() -> None:
    """Serve a realtime session until its client leaves."""
    session = MockSession(websocket.args.get("model", "mock-small"))
    offered = websocket.requested_subprotocols
    await websocket.accept(subprotocol="realtime" if "realtime" in offered else None)
    await websocket.send(session.created_event())
    while True:
        for event in session.take(await websocket.receive()):
            await websocket.send(event)


def _handler(answering: AnswerCall, path: str, send: SendAnswer) -> Handler:
    async def answer(incoming: IncomingRequest, **named: str) -> Response:
        async def read() -> EndpointCall:
            headers, body = dict(incoming.headers), await incoming.read(ignore_arrived)
            return attrs.evolve(
                read_call(body, headers.get("content-type", ""), named, path),
                origin=f"{incoming.asgi['scheme']}://{headers['host']}",
                query=dict(parse_qsl(incoming.query, keep_blank_values=True)),
                is_from_anthropic_client="anthropic-version" in headers or path.startswith(ANTHROPIC_PATHS),
            )

        return await send(incoming, answering, read)

    return answer


def _routes(objects: MockObjects) -> Iterator[tuple[str, str, AnswerCall]]:
    yield from (("POST", path, answering) for path, answering in POST_ANSWERS.items())
    yield from (("GET", path, answering) for path, answering in GET_ANSWERS.items())
    for root, prefixes, create in (
        ("/v1/files", ("file-", "file_"), objects.add_file),
        (f"{ANTHROPIC_PATHS}files", ("file-", "file_"), objects.add_file),
        ("/v1/batches", ("batch_",), objects.create_batch),
        ("/v1/messages/batches", ("msgbatch_",), objects.create_message_batch),
    ):
        yield "POST", root, create
        yield "GET", root, objects.lister(*prefixes)
        yield "GET", f"{root}/{{id}}", objects.show
        yield "DELETE", f"{root}/{{id}}", objects.remove
        yield "GET", f"{root}/{{id}}/{'results' if root.endswith('messages/batches') else 'content'}", objects.content
        yield "POST", f"{root}/{{id}}/cancel", objects.cancel
