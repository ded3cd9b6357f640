"""The paths of the pages. Everything else of them is imported with the first request."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from configfile.keys import value_of
from gateway.access.page_guard import GuardedPaths
from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.features.admin.parts.interface import api_modules
from gateway.features.page_paths import ACCOUNT, LIVE
from gateway.features.people.console.feature import PAGES
from gateway.http.pages import TEXT, wants_page
from gateway.http.response import Response
from gateway.seams.hooks import Hooks
from gateway.seams.route import HttpRoute
from gateway.seams.running import Addition, Ports, Running
from gateway.serving.incoming_request import PiecesRequest
from gateway.serving.late_views import LateViews
from gateway.serving.route_table import METHODS

ME, USAGE, KEYS, GROUPS, PEOPLE, AUDIT = PAGES
STYLE: Final = "/ui/pages.css"

CONSOLE_PATHS: Final = (*PAGES, STYLE)

_PACKAGE: Final = "gateway.features.people.console"
_SERVING: Final = f"{_PACKAGE}.serving"


def open_console(config: Config, ports: Ports, before: Running | None) -> Running:
    """Open the pages of ``config``."""
    guarded = GuardedPaths(LIVE, (LIVE, f"{LIVE}/", *PAGES), are_views=True)
    return Addition(Hooks(routes=(partial(_routes_of, config),), guarded=(guarded,)))


def _routes_of(config: Config, service: Service) -> Iterator[HttpRoute]:
    """Yield the paths of the pages for ``config``, and that of a live view which is switched off."""
    if not value_of(config, "ui"):
        yield HttpRoute(LIVE, _without_live_view, uses=("pages",))
    modules = (*api_modules(service.opened.features.values()), _SERVING)
    answer = LateViews(modules, "ConsoleServer", (config, service)).view("answer")
    for path in CONSOLE_PATHS if config.pages_ask_for_key else (USAGE, STYLE):
        yield HttpRoute(path, answer, METHODS, is_page=path == ACCOUNT, uses=("pages",))


_OFF: Final = f"the configuration switches the live view off (`ui: false`); your account is at {ACCOUNT}\n"


async def _without_live_view(incoming: PiecesRequest) -> Response:
    """Send browsers, also after a sign-in, to the first page."""
    own = ("x-request-id", incoming.scope.id)
    if not wants_page(incoming.headers):
        return Response(404, (*TEXT, own), _OFF.encode())
    location = f"{ACCOUNT}?{incoming.query}".removesuffix("?")
    return Response(303, (("location", location), ("vary", "accept"), own), b"")
