"""The stand-in's paths other than conversations."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeAlias

import attrs
from quart import request, websocket
from quart_trio import QuartTrio

from gateway.http.response import Response
from gateway.mock.called import EndpointCall, read_call
from gateway.mock.endpoint_answers import GET_ANSWERS, POST_ANSWERS, AnswerCall
from gateway.mock.kept import AnswerLine, MockObjects
from gateway.mock.realtime import PATH, MockSession
from gateway.serving.quart_views import View, add_view, read_body

ANTHROPIC_PATHS: Final = "/v1/messages/"
"""The prefix of paths that are always Anthropic's: an entry of the demo has its files there."""

SendAnswer: TypeAlias = Callable[[AnswerCall, Callable[[], EndpointCall]], Awaitable[Response]]
"""A function that sends the response to a request, with the fault that its model's name selects."""


def add_endpoints(app: QuartTrio, send: SendAnswer, answer_line: AnswerLine) -> None:
    """Add the endpoints to ``app``; ``answer_line`` answers lines of batches, which are conversations."""
    for method, path, answering in _routes(MockObjects(answer_line)):
        rule = path.replace("{model}", "<path:model>").replace("{id}", "<id>")
        add_view(app, rule, f"{method} {path}", _view(answering, path, send), [method])
    app.add_websocket(PATH, f"websocket {PATH}", _serve_session)


async def _serve_session() -> None:
    """Serve a realtime session until its client leaves."""
    session = MockSession(websocket.args.get("model", "mock-small"))
    offered = websocket.requested_subprotocols
    await websocket.accept(subprotocol="realtime" if "realtime" in offered else None)
    await websocket.send(session.created_event())
    while True:
        for event in session.take(await websocket.receive()):
            await websocket.send(event)


def _view(answering: AnswerCall, path: str, send: SendAnswer) -> View:
    async def answer(**named: str) -> Response:
        body, type = await read_body(), request.headers.get("content-type", "")
        origin = request.host_url.rstrip("/")
        is_from_anthropic_client = "anthropic-version" in request.headers or path.startswith(ANTHROPIC_PATHS)
        query = request.args.to_dict()

        def read() -> EndpointCall:
            return attrs.evolve(
                read_call(body, type, named, path), origin=origin, query=query,
                is_from_anthropic_client=is_from_anthropic_client,
            )  # fmt: skip

        return await send(answering, read)

    return answer


def _routes(objects: MockObjects) -> Iterator[tuple[str, str, AnswerCall]]:
    yield from (("POST", path, answering) for path, answering in POST_ANSWERS.items())
    yield from (("GET", path, answering) for path, answering in GET_ANSWERS.items())
    for root, prefixes, create in (
        ("/v1/files", ("file-", "file_"), objects.add_file),
        (f"{ANTHROPIC_PATHS}files", ("file-", "file_"), objects.add_file),
        ("/v1/videos", ("video_",), objects.create_video),
        ("/v1/batches", ("batch_",), objects.create_batch),
        ("/v1/messages/batches", ("msgbatch_",), objects.create_message_batch),
    ):
        yield "POST", root, create
        yield "GET", root, objects.lister(*prefixes)
        yield "GET", f"{root}/{{id}}", objects.show
        yield "DELETE", f"{root}/{{id}}", objects.remove
        yield "GET", f"{root}/{{id}}/{'results' if root.endswith('messages/batches') else 'content'}", objects.content
        yield "POST", f"{root}/{{id}}/cancel", objects.cancel
