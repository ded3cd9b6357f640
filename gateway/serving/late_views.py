"""Handlers whose code is imported with the first request."""

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from gateway.http.late_imports import import_all
from gateway.http.response import Response
from gateway.serving.incoming_request import PiecesRequest
from gateway.serving.route_table import Handler


@attrs.define(eq=False, repr=False)
class LateRoute:
    """A handler whose ``modules`` are imported with its first request.

    The class ``server`` of the last one makes the server from ``parts``; its method ``answer`` is the handler."""

    modules: Sequence[str]
    server: str
    parts: tuple[Any, ...]
    _answer: Handler | None = None

    async def __call__(self, incoming: PiecesRequest, **names: str) -> Response:
        if self._answer is None:
            await import_all(self.modules)
            self._answer = getattr(sys.modules[self.modules[-1]], self.server)(*self.parts).answer
        return await self._answer(incoming, **names)


@attrs.define(eq=False, repr=False)
class LateViews:
    """Handlers whose ``modules`` are imported with the first request for one of them.

    The function ``maker`` of the last module makes all of them from ``parts``, by name."""

    modules: Sequence[str]
    maker: str
    parts: tuple[Any, ...]
    _made: Mapping[str, Callable[..., Awaitable[Any]]] | None = None

    def view(self, name: str) -> Callable[..., Awaitable[Any]]:
        return partial(self._answer, name)

    async def _answer(self, view: str, /, *given: Any, **names: str) -> Any:
        if self._made is None:
            await import_all(self.modules)
            self._made = getattr(sys.modules[self.modules[-1]], self.maker)(*self.parts)
        return await self._made[view](*given, **names)
