"""The HTTP paths of realtime: secrets of clients, and calls."""

from functools import partial
from typing import Final

from gateway.config.settings import Config
from gateway.relay.routes import RelayRoute, relayed_routes
from gateway.seams.hooks import Hooks
from gateway.seams.running import Addition, Ports, Running

ROUTES: Final[tuple[RelayRoute, ...]] = (
    RelayRoute("realtime", "POST", "/v1/realtime/client_secrets", "relayed.read_client_secret"),
    RelayRoute(
        "realtime_translations", "POST", "/v1/realtime/translations/client_secrets", "relayed.read_client_secret"
    ),
    RelayRoute("realtime", "POST", "/v1/realtime/calls", "relayed.read_call"),
    *(
        RelayRoute("realtime", "POST", f"/v1/realtime/calls/{{id}}/{action}", "relayed.read_action")
        for action in ("accept", "reject", "refer", "hangup")
    ),
)


def open_realtime(config: Config, ports: Ports, before: Running | None) -> Running:
    return Addition(Hooks(routes=(partial(relayed_routes, "gateway.features.realtime", ROUTES),)))
