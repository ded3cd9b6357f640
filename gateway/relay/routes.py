"""The paths of relayed endpoints, outside Quart: bodies of any size pass, and are read as they arrive."""

import sys
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final

import attrs

from gateway.endpoints.border import Admit, admit_by_key, serve
from gateway.exchange.exchange import Exchange
from gateway.exchange.service import Service
from gateway.http.late_imports import import_all
from gateway.http.paths import api_of
from gateway.http.response import Response
from gateway.request.parse import NO_PARAMETERS, PathParameters
from gateway.seams.route import HttpRoute
from gateway.serving.incoming_request import PiecesRequest
from providers.endpoints.endpoint import ENDPOINTS, EndpointName


@attrs.frozen(eq=False, repr=False)
class RelayRoute:
    """A route of an endpoint.

    In ``path``, ``{id}`` matches one step, ``{model}`` one or more; repeated variables are numbered: ``id``, ``id2``.
    ``read`` and ``admit`` are names of functions in the feature's package, such as ``audio.read_speech``. They are
    imported with the first request, because few gateways serve all endpoints. ``header_start`` is that of an
    ``HttpRoute``."""

    endpoint: EndpointName
    method: str
    path: str
    read: str
    admit: str | None = None
    header_start: str = ""
    passing: tuple[Any, ...] = ()
    """The first arguments of ``read``, such as an entry and its name for pass-through."""


DEPLOYMENT: Final = "deployment"
"""The variable of a path with the name of a model, which replaces that of the body."""


_RELAY: Final = "gateway.relay.relay"
_RELAYING: Final = "gateway.relay.relaying"


def relayed_routes(package: str, rows: Iterable[RelayRoute], service: Service) -> Iterator[HttpRoute]:
    """Yield the routes of ``rows``, whose functions are in modules of ``package``."""
    for row in rows:
        answer = partial(_answer, package, row, service)
        is_listed = "{" not in row.path
        yield HttpRoute(
            row.path, answer, (row.method,), is_listed=is_listed, for_programs=True, header_start=row.header_start
        )


async def _answer(
    package: str, route: RelayRoute, service: Service, incoming: PiecesRequest, /, **names: str
) -> Response:
    """Answer a request; ``names`` are the variables of its path."""
    endpoint = ENDPOINTS[route.endpoint]
    own = (_module_of(package, name) for name in (route.read, route.admit) if name is not None)
    await import_all((_RELAY, _RELAYING, *own))

    async def read_and_answer(exchange: Exchange) -> Response:
        await exchange.context.admit_endpoint(endpoint.name, (route.method, route.path))
        relaying, relay = sys.modules[_RELAYING], sys.modules[_RELAY]
        read = _function(package, route.read)
        relayed = await read(*route.passing, relaying.InboundRequest(endpoint.name, incoming, exchange), names)
        if isinstance(relayed, Response):
            return relayed
        response: Response = await relay.relay(exchange, incoming.scope, relayed)
        return response

    api = endpoint.shape if endpoint.shape != "chat" else api_of(incoming.asgi["path"], incoming.headers)
    admit: Admit = admit_by_key if route.admit is None else _function(package, route.admit)
    path = PathParameters(names[DEPLOYMENT], replaces_model=True) if DEPLOYMENT in names else NO_PARAMETERS
    return await serve(
        service, api, incoming, route.path, read_and_answer, path=path, endpoint=endpoint.name, admit=admit
    )


def _module_of(package: str, name: str) -> str:
    return f"{package}.{name.partition('.')[0]}"


def _function(package: str, name: str) -> Any:
    """Return a function by name; its module must be imported."""
    return getattr(sys.modules[_module_of(package, name)], name.partition(".")[2])
