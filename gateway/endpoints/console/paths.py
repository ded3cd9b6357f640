"""The paths of the pages. Everything else of them is imported with the first request."""

import sys
from typing import Final

import attrs

from gateway.config.settings import Config
from gateway.endpoints.admin.paths import API_MODULES
from gateway.exchange.service import Service
from gateway.http.imports import import_all
from gateway.http.response import Response
from gateway.serving.fast_route import FastRoute, HasExtensions, PiecesRequest, add_fast_route

ME: Final = "/ui/me"
USAGE: Final = "/ui/usage"
KEYS: Final = "/ui/keys"
GROUPS: Final = "/ui/groups"
PEOPLE: Final = "/ui/people"
STYLE: Final = "/ui/pages.css"

CONSOLE_PATHS: Final = (ME, USAGE, KEYS, GROUPS, PEOPLE, STYLE)

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_PACKAGE: Final = "gateway.endpoints.console"
_SERVING: Final = f"{_PACKAGE}.serving"


def add_console(app: HasExtensions, config: Config, service: Service) -> None:
    """Handle the paths of the pages for ``config``."""
    answer = _ConsolePaths(config, service).answer
    for path in CONSOLE_PATHS:
        for method in _METHODS:
            add_fast_route(app, path, answer, method)


@attrs.define(eq=False, repr=False)
class _ConsolePaths:
    config: Config
    service: Service
    _answer: FastRoute | None = None

    async def answer(self, incoming: PiecesRequest) -> Response:
        if self._answer is None:
            await import_all((*API_MODULES, _SERVING))
            self._answer = sys.modules[_SERVING].ConsoleServer(self.config, self.service).answer
        return await self._answer(incoming)
