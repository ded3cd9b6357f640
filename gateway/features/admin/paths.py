"""The paths of the HTTP API for people and administrators. Everything else is imported with their first request."""

import sys
from typing import Final

import attrs

from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.http.late_imports import import_all
from gateway.http.response import Response
from gateway.serving.fast_route import HasExtensions, add_all_methods, add_named_route
from gateway.serving.incoming_request import IncomingRequest
from gateway.serving.route_table import METHODS

PREFIXES: Final = ("/me", "/admin", "/key", "/team", "/user", "/budget", "/spend")
"""Paths that, with everything below them, belong to this API. The last five are LiteLLM's."""

LITELLM_MODELS: Final = ("/model/new", "/model/update", "/model/delete", "/model/info")
"""LiteLLM's paths under a prefix that Amazon's clients use, too."""

_PACKAGE: Final = "gateway.features.admin"
_SERVING: Final = f"{_PACKAGE}.serving"
API_MODULES: Final = (
    _SERVING,
    *(f"{_PACKAGE}.{name}" for name in (
        "own", "own_keys", "keys", "groups", "people", "raises", "audit_list", "usage", "litellm",
    )),
)  # fmt: skip
"""The modules that a request needs; ``serving`` finds the handlers in them."""


def add_admin(app: HasExtensions, config: Config, service: Service) -> None:
    """Handle the paths of this API for ``config``."""
    answer = _AdminPaths(config, service).answer
    add_all_methods(app, (*PREFIXES, *(f"{prefix}/" for prefix in PREFIXES), *LITELLM_MODELS), answer)
    for method in METHODS:
        for prefix in PREFIXES:
            add_named_route(app, f"{prefix}/", "", answer, method)


@attrs.frozen(eq=False, repr=False)
class _AdminPaths:
    config: Config
    service: Service

    async def answer(self, incoming: IncomingRequest, name: str = "") -> Response:
        await import_all(API_MODULES)
        response: Response = await sys.modules[_SERVING].answer(self.config, self.service, incoming)
        return response
