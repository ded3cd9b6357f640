"""The paths of the HTTP API for people and administrators. Everything else is imported with their first request."""

import sys
from collections.abc import Iterator
from functools import partial
from typing import Final

from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.features.admin.parts.interface import SERVING, api_modules
from gateway.http.late_imports import import_all
from gateway.http.response import Response
from gateway.seams.route import HttpRoute
from gateway.serving.incoming_request import IncomingRequest
from gateway.serving.route_table import METHODS

ME: Final = "/me"
"""The path of a client's own figures."""

PREFIXES: Final = (ME, "/admin", "/key", "/team", "/user", "/budget", "/spend")
"""Paths that, with everything below them, belong to this API. The last five are LiteLLM's."""

LITELLM_MODELS: Final = ("/model/new", "/model/update", "/model/delete", "/model/info")
"""LiteLLM's paths under a prefix that Amazon's clients use, too."""


def routes_of(config: Config, service: Service) -> Iterator[HttpRoute]:
    """Yield the routes of this API for ``config``."""
    answer = partial(_answer, config, service)
    rest = (path for prefix in PREFIXES for path in (f"{prefix}/", f"{prefix}/{{rest}}"))
    for path in (*PREFIXES, *LITELLM_MODELS, *rest):
        yield HttpRoute(path, answer, METHODS, uses=("models", "admin") if path.startswith(ME) else ("admin",))


async def _answer(config: Config, service: Service, incoming: IncomingRequest, rest: str = "") -> Response:
    await import_all(api_modules(service.opened.features.values()))
    response: Response = await sys.modules[SERVING].answer(config, service, incoming)
    return response
