"""The path of Responses over websockets, whose code is imported with the first one."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.seams.hooks import Hooks
from gateway.seams.route import HttpRoute
from gateway.seams.running import Addition, Ports, Running
from gateway.serving.late_views import LateViews
from gateway.serving.route_table import WEBSOCKET

_CONNECTION: Final = "gateway.features.responses_websocket.connection"


def open_responses_websocket(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the path of these websockets."""
    return Addition(Hooks(routes=(partial(_routes, config.websocket_idle),)))


def _routes(idle: float, service: Service) -> Iterator[HttpRoute]:
    views = LateViews((_CONNECTION,), "websocket_views", (service, idle))
    yield HttpRoute("/v1/responses", views.view("responses"), (WEBSOCKET,))
