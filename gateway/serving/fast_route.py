"""Routes without Quart. Quart's routing, contexts and hooks cost as much as the gateway's own work for a small request,
so the most used paths avoid them."""

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Protocol, TypeAlias

import attrs

from gateway.http.late_imports import import_all
from gateway.http.response import Response
from gateway.serving.incoming_request import IncomingRequest, PiecesRequest
from gateway.serving.route_table import READING, Handler, RouteTable

FastRoute: TypeAlias = Handler


@attrs.frozen(eq=False, repr=False)
class OpenRoute:
    """A route for GET and HEAD that checks a client's key itself, if at all. It is a fast route, and a Quart view for
    other spellings of its paths."""

    name: str
    paths: tuple[str, ...]
    answer: Callable[[IncomingRequest], Awaitable[Response]]


class HasExtensions(Protocol):
    """An app: ``App`` or one of Quart's."""

    @property
    def extensions(self) -> dict[str, Any]: ...


ROUTES: Final = "trigate.routes"
"""The key in an app's ``extensions`` for its ``RouteTable``."""


def routes_of(app: HasExtensions) -> RouteTable:
    """Return the table of the routes of ``app``, which has those that are added later, too."""
    found: RouteTable = app.extensions.setdefault(ROUTES, RouteTable())
    return found


def add_fast_route(app: HasExtensions, path: str, answer: FastRoute, method: str = "POST") -> None:
    """Handle ``method`` on ``path`` with ``answer``, without Quart's routing, contexts and hooks. ``answer`` must not
    raise."""
    routes_of(app).add(path, answer, (method,))


def add_named_route(app: HasExtensions, prefix: str, suffix: str, answer: FastRoute, method: str = "POST") -> None:
    """Handle ``method`` on every path from ``prefix`` to ``suffix`` with ``answer``; the part between them is the
    name."""
    routes_of(app).add(f"{prefix}{{rest}}{suffix}", _with_name(answer), (method,))


def _with_name(answer: FastRoute) -> FastRoute:
    def answer_named(incoming: PiecesRequest, rest: str) -> Awaitable[Response]:
        return answer(incoming, name=rest)

    return answer_named


@attrs.define(eq=False, repr=False)
class LateRoute:
    """A fast route whose ``modules`` are imported with its first request.

    The class ``server`` of the last one makes the server from ``parts``; its method ``answer`` is the handler."""

    modules: Sequence[str]
    server: str
    parts: tuple[Any, ...]
    _answer: FastRoute | None = None

    async def __call__(self, incoming: PiecesRequest, **names: str) -> Response:
        if self._answer is None:
            await import_all(self.modules)
            self._answer = getattr(sys.modules[self.modules[-1]], self.server)(*self.parts).answer
        return await self._answer(incoming, **names)


def add_open_routes(app: HasExtensions, routes: Iterable[OpenRoute]) -> None:
    """Handle GET and HEAD on the paths of ``routes``."""
    for route in routes:
        for path in route.paths:
            routes_of(app).add(path, route.answer, READING)
