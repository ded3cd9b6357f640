"""Routes without Quart. Quart's routing, contexts and hooks cost as much as the gateway's own work for a small request,
so the most used paths avoid them."""

import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, cast

import attrs

from gateway.http.late_imports import import_all
from gateway.http.response import Response
from gateway.serving.incoming_request import IncomingRequest, PiecesRequest

FastRoute: TypeAlias = Callable[[PiecesRequest], Awaitable[Response]]


@attrs.frozen(eq=False, repr=False)
class OpenRoute:
    """A route for GET and HEAD that checks a client's key itself, if at all. It is a fast route, and a Quart view for
    other spellings of its paths."""

    name: str
    paths: tuple[str, ...]
    answer: Callable[[IncomingRequest], Awaitable[Response]]


class NamedRoute(Protocol):
    """Responds to a request whose path contains a name."""

    async def __call__(self, incoming: PiecesRequest, name: str) -> Response: ...


@attrs.frozen(eq=False, repr=False)
class FastRoutes:
    """The fast routes of an app for one method: exact paths, and paths with a name between two fixed parts."""

    by_path: dict[str, FastRoute] = attrs.field(factory=dict)
    named_routes: list[tuple[str, str, NamedRoute]] = attrs.field(factory=list)

    def route_with_name(self, path: str) -> FastRoute | None:
        """Return the route for a ``path`` with a name in it."""
        for prefix, suffix, answer in self.named_routes:
            if path.startswith(prefix) and path.endswith(suffix) and len(path) > len(prefix) + len(suffix):
                return partial(answer, name=path[len(prefix) : len(path) - len(suffix)])
        return None


_NONE: Final = FastRoutes()


class HasExtensions(Protocol):
    """An app: ``App`` or one of Quart's."""

    @property
    def extensions(self) -> dict[str, Any]: ...


METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

ROUTES: Final = "trigate.routes"
"""The key in an app's ``extensions`` for its ``FastRoutes`` by method."""


def add_fast_route(app: HasExtensions, path: str, answer: FastRoute, method: str = "POST") -> None:
    """Handle ``method`` on ``path`` with ``answer``, without Quart's routing, contexts and hooks. ``answer`` must not
    raise."""
    _routes(app, method).by_path[path] = answer


def add_named_route(app: HasExtensions, prefix: str, suffix: str, answer: NamedRoute, method: str = "POST") -> None:
    """Handle ``method`` on every path from ``prefix`` to ``suffix`` with ``answer``; the part between them is the
    name."""
    _routes(app, method).named_routes.append((prefix, suffix, answer))


def _routes(app: HasExtensions, method: str) -> FastRoutes:
    by_method: dict[str, FastRoutes] = app.extensions.setdefault(ROUTES, {})
    return by_method.setdefault(method, FastRoutes())


def fast_routes(app: HasExtensions, method: str) -> FastRoutes:
    """Return the fast routes of ``app`` for ``method``, none if it has not added any."""
    return cast("FastRoutes", app.extensions[ROUTES].get(method, _NONE)) if ROUTES in app.extensions else _NONE


@attrs.define(eq=False, repr=False)
class LateRoute:
    """A fast route whose ``modules`` are imported with its first request.

    The class ``server`` of the last one makes the server from ``parts``; its method ``answer`` is the handler."""

    modules: Sequence[str]
    server: str
    parts: tuple[Any, ...]
    _answer: FastRoute | None = None

    async def __call__(self, incoming: PiecesRequest) -> Response:
        if self._answer is None:
            await import_all(self.modules)
            self._answer = getattr(sys.modules[self.modules[-1]], self.server)(*self.parts).answer
        return await self._answer(incoming)


def add_all_methods(app: HasExtensions, paths: Iterable[str], answer: FastRoute) -> None:
    """Handle every method on ``paths`` with ``answer``, which rejects those that it does not know."""
    for path in paths:
        for method in METHODS:
            add_fast_route(app, path, answer, method)


def add_open_routes(app: HasExtensions, routes: Iterable[OpenRoute]) -> None:
    """Handle GET and HEAD on the paths of ``routes``."""
    for route in routes:
        for path in route.paths:
            for method in ("GET", "HEAD"):
                add_fast_route(app, path, route.answer, method)


def routes_of(app: HasExtensions) -> Mapping[str, FastRoutes]:
    """Return the fast routes of ``app`` by method, with those that are added later."""
    found: dict[str, FastRoutes] = app.extensions.setdefault(ROUTES, {})
    return found


def has_path(routes: Mapping[str, FastRoutes], path: str) -> bool:
    """Return whether one of ``routes`` has exactly this path, for any method."""
    return any(path in one.by_path for one in routes.values())
