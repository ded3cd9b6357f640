"""The paths of the endpoints. None of them is Quart's: bodies of any size pass, and are read as they come."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import attrs
from quart_trio import QuartTrio

from gateway.access.page_guard import Cors
from gateway.endpoints.border import serve
from gateway.endpoints.http_errors import not_allowed, unknown_path
from gateway.exchange.exchange import Exchange
from gateway.exchange.responding import open_record, refused
from gateway.exchange.service import Service
from gateway.http.paths import api_of
from gateway.http.response import Response
from gateway.relay.audio import AUDIO
from gateway.relay.batches import BATCH_ROUTES
from gateway.relay.completions import COMPLETIONS
from gateway.relay.embeddings import EMBEDDINGS
from gateway.relay.images import IMAGES
from gateway.relay.kept import KEPT_ROUTES
from gateway.relay.kept_uploads import UPLOAD_ROUTES
from gateway.relay.pass_through import pass_through_routes
from gateway.relay.plain_json import PLAIN_JSON
from gateway.relay.realtime import CLIENT_SECRETS, REALTIME_CALLS
from gateway.relay.relay import relay
from gateway.relay.relaying import Relaying, RelayRoute
from gateway.relay.rerank import RERANK
from gateway.relay.videos import VIDEOS
from gateway.serving.fast_route import PiecesRequest, add_fast_route, add_named_route
from providers.endpoints.endpoint import ENDPOINTS

ROUTES: Final[tuple[RelayRoute, ...]] = (
    *COMPLETIONS,
    *EMBEDDINGS,
    *RERANK,
    *PLAIN_JSON,
    *AUDIO,
    *IMAGES,
    *CLIENT_SECRETS,
    *REALTIME_CALLS,
    *KEPT_ROUTES,
    *VIDEOS,
    *BATCH_ROUTES,
    *UPLOAD_ROUTES,
)
"""The routes of all endpoints that are relayed."""

PATHS: Final = tuple(dict.fromkeys(route.path for route in ROUTES if "{" not in route.path))
"""The paths that the error for an unknown path may suggest."""


_NAME: Final = re.compile(r"\{(\w+)\}")
_STEPS: Final[Mapping[str, str]] = {"model": ".+", "rest": ".+"}


@lru_cache(maxsize=1024)
def pattern_of(path: str) -> re.Pattern[str]:
    """What matches the ``path`` of a route, with its names as groups."""
    parts = _NAME.split(path)  # a name stands at each odd place
    return re.compile(
        "".join(
            f"(?P<{part}>{_STEPS.get(part, '[^/]+')})" if at % 2 else re.escape(part) for at, part in enumerate(parts)
        )
    )


class RelayedPaths:
    """The paths that one configuration relays. They are no routes of Quart's: adding a hundred routes to Quart takes
    longer than the rest of an app's start."""

    def __init__(self, service: Service) -> None:
        self.routes = (*ROUTES, *pass_through_routes(service))

    def methods(self, path: str) -> tuple[str, ...]:
        """Return the methods that ``path`` has a route for."""
        found = (route.method for route in self.routes if pattern_of(route.path).fullmatch(path) is not None)
        return tuple(sorted(set(found)))


def add_relays(app: QuartTrio, service: Service, cors: Cors, paths: RelayedPaths) -> None:
    """Serve ``paths``."""
    alike: defaultdict[tuple[str, str, str], list[_ServedRoute]] = defaultdict(list)
    for route in paths.routes:
        serving = _ServedRoute(route, pattern_of(route.path), service, cors)
        start, named, _ = route.path.partition("{")
        if named:
            method = route.path.rpartition(":")[2] if ":" in route.path else ""
            alike[route.method, start, f":{method}" if method else ""].append(serving)
        else:
            add_fast_route(app, route.path, serving.answer, route.method)
    for (method, start, end), routes in alike.items():
        add_named_route(app, start, end, _RoutesAlike(routes, paths).answer, method)


@attrs.frozen(eq=False)
class _ServedRoute:
    route: RelayRoute
    pattern: re.Pattern[str]
    service: Service
    cors: Cors

    async def answer(self, incoming: PiecesRequest) -> Response:
        return await self.answer_named(incoming, {})

    async def answer_named(self, incoming: PiecesRequest, names: Mapping[str, str]) -> Response:
        """The answer, with what lets a browser's page read it."""
        response = await self._answer(incoming, names)
        if not self.cors:
            return response
        shared = self.cors.answered(dict(incoming.headers).get("origin"), (name for name, _ in response.headers))
        return attrs.evolve(response, headers=(*response.headers, *shared))

    async def _answer(self, incoming: PiecesRequest, names: Mapping[str, str]) -> Response:
        service, route, endpoint = self.service, self.route, ENDPOINTS[self.route.endpoint]

        async def read_and_answer(exchange: Exchange) -> Response:
            relayed = await route.read(Relaying(endpoint.name, incoming, exchange), names)
            if isinstance(relayed, Response):
                return relayed
            return await relay(exchange, incoming.scope, relayed)

        api = endpoint.shape if endpoint.shape != "chat" else api_of(incoming.asgi["path"], incoming.headers)
        return await serve(
            service, api, incoming, route.path, read_and_answer, endpoint=endpoint.name, admit=route.admit
        )


class _RoutesAlike:
    """Routes with the same beginning; the first one whose pattern matches answers."""

    def __init__(self, routes: Iterable[_ServedRoute], paths: RelayedPaths) -> None:
        self._routes = tuple(routes)
        self._paths = paths

    async def answer(self, incoming: PiecesRequest, name: str) -> Response:
        path = incoming.asgi["path"]
        for route in self._routes:
            if (found := route.pattern.fullmatch(path)) is not None:
                return await route.answer_named(incoming, found.groupdict())
        return self._unknown(incoming, path)

    def _unknown(self, incoming: PiecesRequest, path: str) -> Response:
        """Nothing here has that path."""
        service, api = self._routes[0].service, api_of(path, incoming.headers)
        record = open_record(api, service.ledger, incoming.scope, served=False)
        method, headers = incoming.asgi["method"], incoming.headers
        if allowed := self._paths.methods(path):
            failed = not_allowed(method, path, headers, incoming.asgi, allowed)
        else:
            failed = unknown_path(method, path, headers, incoming.asgi, PATHS)
        return refused(record, failed)
