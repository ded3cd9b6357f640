"""The paths of the pages. Everything else of them is imported with the first request."""

import sys
from typing import Final

from gateway.config.settings import Config
from gateway.endpoints.admin.paths import API_MODULES
from gateway.exchange.service import Service
from gateway.serving.fast_route import FastRoute, HasExtensions, LateRoute, add_all_methods

ME: Final = "/ui/me"
USAGE: Final = "/ui/usage"
KEYS: Final = "/ui/keys"
GROUPS: Final = "/ui/groups"
PEOPLE: Final = "/ui/people"
AUDIT: Final = "/ui/audit"
STYLE: Final = "/ui/pages.css"

CONSOLE_PATHS: Final = (ME, USAGE, KEYS, GROUPS, PEOPLE, AUDIT, STYLE)

_PACKAGE: Final = "gateway.endpoints.console"
_SERVING: Final = f"{_PACKAGE}.serving"


def add_console(app: HasExtensions, config: Config, service: Service) -> None:
    """Handle the paths of the pages for ``config``."""

    def make() -> FastRoute:
        answer: FastRoute = sys.modules[_SERVING].ConsoleServer(config, service).answer
        return answer

    add_all_methods(app, CONSOLE_PATHS, LateRoute((*API_MODULES, _SERVING), make))
