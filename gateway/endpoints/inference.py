"""Requests with a body for providers: each is an exchange."""

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import Final, Protocol, TypeAlias

import attrs

from gateway.endpoints.border import serve
from gateway.endpoints.request_body import read_whole_body
from gateway.exchange.exchange import Exchange
from gateway.exchange.service import Service
from gateway.http.late_imports import import_all, load_module
from gateway.http.response import Response
from gateway.request.parse import PathParameters
from gateway.seams.route import HttpRoute
from gateway.serving.incoming_request import IncomingRequest
from providers.apis import CODECS
from providers.neutral.wire_api import Operation, RequestPath
from streams.events import Api

Answer: TypeAlias = Callable[[Exchange, bytes], Awaitable[Response]]


def _late(name: str) -> Answer:
    """Return the function ``name`` of the module with that name, which is imported with its first request."""

    async def answer(exchange: Exchange, body: bytes) -> Response:
        response: Response = await getattr(await load_module(f"gateway.endpoints.{name}"), name)(exchange, body)
        return response

    return answer


ANSWERS: Final[Mapping[Operation, Answer]] = {
    "answer": Exchange.answer, "count": _late("count_tokens"), "compact": _late("compact"),
}  # fmt: skip
"""The handler of a request by its operation."""

ROUTES: Final[Mapping[str, Api]] = {
    route.path: codec.api for codec in CODECS.values() for route in codec.wire.routes() if route.operation == "answer"
}
"""The paths of conversations, and their APIs."""


def conversation_routes(service: Service) -> Iterator[HttpRoute]:
    """Yield each path of each API."""
    for codec in CODECS.values():
        for route in codec.wire.routes():
            yield HttpRoute(route.path, exchange_route(service, codec.api, route), ("POST",), for_programs=True)


class ModelRoute(Protocol):
    """A function that responds to a request whose path may contain the model. Never raises."""

    def __call__(self, incoming: IncomingRequest, model: str | None = None) -> Coroutine[None, None, Response]: ...


def exchange_route(service: Service, api: Api, route: RequestPath) -> ModelRoute:
    """Return the handler of requests on ``route``, which checks the client's key itself."""
    answer, unnamed = ANSWERS[route.operation], PathParameters(stream=bool(route.streamed))
    in_body = CODECS[api].wire.model_member is not None
    missing = [*CODECS[api].parts]  # until the first request has imported them

    def answer_route(incoming: IncomingRequest, model: str | None = None) -> Coroutine[None, None, Response]:
        async def read_and_answer(exchange: Exchange) -> Response:
            return await answer(exchange, await read_whole_body(exchange.context, incoming))

        path = unnamed if model is None else attrs.evolve(unnamed, model=model, replaces_model=in_body)
        served = serve(service, api, incoming, route.path, read_and_answer, path=path)
        return _import_first(missing, served) if missing else served

    return answer_route


async def _import_first(missing: list[str], served: Coroutine[None, None, Response]) -> Response:
    """Import the modules ``missing``, and return the response that ``served`` makes.

    It is no part of the route's function: that function would refer to itself, and a replaced app would stay alive."""
    try:
        await import_all(missing)
    except BaseException:
        served.close()
        raise
    missing.clear()
    return await served
