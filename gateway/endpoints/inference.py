"""Requests with a body for providers: each is an exchange."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import attrs

from gateway.endpoints.border import serve
from gateway.endpoints.compact import compact
from gateway.endpoints.count_tokens import count_tokens
from gateway.endpoints.request_body import read_whole_body
from gateway.exchange.exchange import Exchange
from gateway.exchange.service import Service
from gateway.http.late_imports import import_all
from gateway.http.response import Response
from gateway.request.parse import PathParameters
from gateway.serving.fast_route import add_fast_route, add_named_route
from gateway.serving.http_app import App
from gateway.serving.incoming_request import IncomingRequest
from providers.apis import CODECS
from providers.neutral.wire_api import Operation, RequestPath
from streams.events import Api

Answer: TypeAlias = Callable[[Exchange, bytes], Awaitable[Response]]

ANSWERS: Final[Mapping[Operation, Answer]] = {"answer": Exchange.answer, "count": count_tokens, "compact": compact}
"""The handler of a request by its operation."""

ROUTES: Final[Mapping[str, Api]] = {
    route.path: codec.api for codec in CODECS.values() for route in codec.wire.routes() if route.operation == "answer"
}
"""The paths of conversations, and their APIs."""

MODEL: Final = "{model}"
"""The part of a path that names the model."""


def add_exchanges(app: App, service: Service) -> tuple[str, ...]:
    """Add the routes of all paths of all APIs, and return the paths."""
    routes = tuple(exchange_routes(service))
    for path, answer in routes:
        prefix, suffix_marker, suffix = path.partition(MODEL)
        if suffix_marker:
            add_named_route(app, prefix, suffix, answer)
        else:
            add_fast_route(app, path, answer)
    return tuple(path for path, _ in routes)


def add_deployments(app: App, service: Service, roots: Sequence[str]) -> None:
    """Add the routes of Chat on Azure's paths, which start with one of ``roots`` and the model.

    They precede those of relayed endpoints, because ``/chat/completions`` also ends like the path of completions."""
    wire = CODECS["chat"].wire
    for root in roots:
        answer = _exchange(service, "chat", RequestPath(root + MODEL + wire.path, "answer"))
        add_named_route(app, root, wire.path, answer)


def exchange_routes(service: Service) -> Iterator[tuple[str, "ModelRoute"]]:
    """Yield each path of each API with its handler, which checks the client's key itself."""
    for codec in CODECS.values():
        for route in codec.wire.routes():
            yield route.path, _exchange(service, codec.api, route)


class ModelRoute(Protocol):
    """A function that responds to a request whose path may contain the model. Never raises."""

    def __call__(self, incoming: IncomingRequest, name: str | None = None) -> Coroutine[None, None, Response]: ...


def _exchange(service: Service, api: Api, route: RequestPath) -> ModelRoute:
    """Return the handler of requests on ``route``, which checks the client's key itself."""
    answer, unnamed = ANSWERS[route.operation], PathParameters(stream=bool(route.streamed))
    parts, in_body = CODECS[api].parts, CODECS[api].wire.model_member is not None

    def answer_route(incoming: IncomingRequest, name: str | None = None) -> Coroutine[None, None, Response]:
        async def read_and_answer(exchange: Exchange) -> Response:
            return await answer(exchange, await read_whole_body(exchange.context, incoming))

        path = unnamed if name is None else attrs.evolve(unnamed, model=name, replaces_model=in_body)
        return serve(service, api, incoming, route.path, read_and_answer, path=path)

    async def import_and_answer(incoming: IncomingRequest, name: str | None = None) -> Response:
        await import_all(parts)
        return await answer_route(incoming, name)

    return import_and_answer if parts else answer_route
