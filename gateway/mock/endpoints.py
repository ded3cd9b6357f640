"""The paths of the stand-in other than conversations."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Final, TypeAlias

import attrs
from quart import request, websocket
from quart_trio import QuartTrio

from gateway.http.response import Response
from gateway.mock.called import EndpointCall, read_call
from gateway.mock.endpoint_answers import ANSWERS, TOLD, AnswerCall
from gateway.mock.kept import AnswerLine, MockShelf
from gateway.mock.realtime import PATH, MockSession
from gateway.serving.quart_requests import read_body
from gateway.serving.quart_views import View, add_view

ANTHROPICS: Final = "/v1/messages/"
"""The prefix of paths that are always Anthropic's: an entry of the demo has its files there."""

SendAnswer: TypeAlias = Callable[[AnswerCall, Callable[[], EndpointCall]], Awaitable[Response]]
"""A function that sends the response to a request, with the fault that its model's name selects."""


def add_endpoints(app: QuartTrio, send: SendAnswer, answer_line: AnswerLine) -> None:
    """Add the endpoints to ``app``; ``answer_line`` answers lines of batches, which are conversations."""
    for method, path, answering in _routes(MockShelf(answer_line)):
        rule = path.replace("{model}", "<path:model>").replace("{id}", "<id>").replace("{part}", "<part>")
        add_view(app, rule, f"{method} {path}", _view(answering, path, send), [method])
    app.add_websocket(PATH, f"websocket {PATH}", _session)


async def _session() -> None:
    """Serve a realtime session until its client leaves."""
    session = MockSession(websocket.args.get("model", "mock-small"))
    offered = websocket.requested_subprotocols
    await websocket.accept(subprotocol="realtime" if "realtime" in offered else None)
    await websocket.send(session.opened())
    while True:
        for event in session.take(await websocket.receive()):
            await websocket.send(event)


def _view(answering: AnswerCall, path: str, send: SendAnswer) -> View:
    async def answer(**named: str) -> Response:
        body, type = await read_body(), request.headers.get("content-type", "")
        origin = request.host_url.rstrip("/")
        theirs = "anthropic-version" in request.headers or path.startswith(ANTHROPICS)

        def read() -> EndpointCall:
            return attrs.evolve(read_call(body, type, named, path), origin=origin, is_anthropics=theirs)

        return await send(answering, read)

    return answer


def _routes(shelf: MockShelf) -> Iterator[tuple[str, str, AnswerCall]]:
    yield from (("POST", path, answering) for path, answering in ANSWERS.items())
    yield from (("GET", path, answering) for path, answering in TOLD.items())
    for root, prefixes, making in (
        ("/v1/files", ("file-", "file_"), shelf.add_file),
        (f"{ANTHROPICS}files", ("file-", "file_"), shelf.add_file),
        ("/v1/uploads", ("upload_",), shelf.start_upload),
        ("/v1/vector_stores", ("vs_",), shelf.make("vs_", "vector_store")),
        ("/v1/containers", ("cntr_",), shelf.make("cntr_", "container")),
        ("/v1/videos", ("video_",), shelf.make("video_", "video")),
        ("/v1/batches", ("batch_",), shelf.batch),
        ("/v1/messages/batches", ("msgbatch_",), shelf.message_batch),
    ):
        yield "POST", root, making
        yield "GET", root, shelf.list_of(*prefixes)
        yield "GET", f"{root}/{{id}}", shelf.show
        yield "DELETE", f"{root}/{{id}}", shelf.remove
        yield "GET", f"{root}/{{id}}/{'results' if root.endswith('messages/batches') else 'content'}", shelf.content
        yield "POST", f"{root}/{{id}}/cancel", shelf.cancel
    yield "POST", "/v1/uploads/{id}/parts", shelf.add_part
    yield "POST", "/v1/uploads/{id}/complete", shelf.end_upload
    yield "POST", "/v1/vector_stores/{id}/search", shelf.search
    yield "POST", "/v1/vector_stores/{id}", shelf.change
    for root, kind in (("/v1/vector_stores", "vector_store.file"), ("/v1/containers", "container.file")):
        files = f"{root}/{{id}}/files"
        yield "POST", files, shelf.put_within(kind)
        yield "GET", files, shelf.list_within
        yield "GET", f"{files}/{{part}}", shelf.one_within(shelf.show)
        yield "DELETE", f"{files}/{{part}}", shelf.one_within(shelf.remove)
        yield "GET", f"{files}/{{part}}/content", shelf.one_within(shelf.content)
