"""Requests with a body that has to do with a provider: each is an exchange."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Final, Protocol, TypeAlias

import attrs
from quart_trio import QuartTrio

from gateway.access.page_guard import Cors
from gateway.endpoints.border import serve, whole_body
from gateway.endpoints.compact import compact
from gateway.endpoints.count_tokens import count
from gateway.exchange.exchange import Exchange
from gateway.exchange.service import Service
from gateway.http.response import Response
from gateway.request.parse import PathParameters
from gateway.serving.fast_route import IncomingRequest, QuartRequest, add_fast_route, add_named_route
from gateway.serving.quart_views import add_view
from providers.apis import CODECS
from providers.neutral.wire_api import Operation, RequestPath
from streams.events import Api

Answer: TypeAlias = Callable[[Exchange, bytes], Awaitable[Response]]

ANSWERS: Final[Mapping[Operation, Answer]] = {"answer": Exchange.answer, "count": count, "compact": compact}
"""What answers a request, by what it asks of a model."""

ROUTES: Final[Mapping[str, Api]] = {
    route.path: codec.api for codec in CODECS.values() for route in codec.wire.routes() if route.operation == "answer"
}
"""Where clients ask for answers, and in which API."""

_MODEL = "{model}"


def add_exchanges(app: QuartTrio, service: Service, cors: Cors) -> tuple[str, ...]:
    """Serve all paths of all APIs. Returns the names of the routes, which ask for a client's key themselves."""
    names = []
    for codec in CODECS.values():
        for route in codec.wire.routes():
            answering = _exchange(service, codec.api, route)
            add_view(app, route.path.replace(_MODEL, "<path:model>"), route.path, _routed(answering), ["POST"])
            if not cors:  # its hooks are Quart's
                _add_past_quart(app, route.path, answering)
            names.append(route.path)
    return tuple(names)


def _add_past_quart(app: QuartTrio, path: str, answer: "_ModelRoute") -> None:
    before, named, behind = path.partition(_MODEL)
    if named:
        add_named_route(app, before, behind, answer)
    else:
        add_fast_route(app, path, answer)


class _ModelRoute(Protocol):
    """Answers a request, whose path may name the model. It raises nothing."""

    def __call__(self, incoming: IncomingRequest, name: str | None = None) -> Coroutine[None, None, Response]: ...


def _exchange(service: Service, api: Api, route: RequestPath) -> _ModelRoute:
    """The answer to requests on ``route``, which asks for the client's key itself."""
    answer, unnamed = ANSWERS[route.operation], PathParameters(stream=bool(route.streamed))

    def answer_route(incoming: IncomingRequest, name: str | None = None) -> Coroutine[None, None, Response]:
        async def read_and_answer(exchange: Exchange) -> Response:
            return await answer(exchange, await whole_body(exchange.context, incoming))

        path = unnamed if name is None else attrs.evolve(unnamed, model=name)
        return serve(service, api, incoming, route.path, read_and_answer, path=path)

    return answer_route


def _routed(
    answer: _ModelRoute,
) -> Callable[..., Awaitable[Response]]:
    """``answer`` as a view of Quart's."""

    async def view(model: str | None = None) -> Response:
        return await answer(QuartRequest(), model)

    return view
