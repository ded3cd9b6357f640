"""The paths of pass-through."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.features.pass_through.addresses import passed_entries
from gateway.relay.routes import RelayRoute, relayed_routes
from gateway.seams.hooks import Hooks
from gateway.seams.route import ALL_BELOW, HttpRoute
from gateway.seams.running import Addition, Ports, Running
from gateway.serving.late_views import LateViews
from gateway.serving.route_table import WEBSOCKET

_WEBSOCKETS: Final = "gateway.features.pass_through.websockets"


def open_pass_through(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the routes of entries with pass-through, the longest prefix first. Its websockets need realtime."""
    entries = passed_entries(config)
    rows = tuple(
        RelayRoute("passthrough", method, f"/{name}{ALL_BELOW}", "requests.read_passed", passing=(entry, name))
        for name, entry in entries.items()
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    )
    relayed = partial(relayed_routes, "gateway.features.pass_through", rows)
    if not config.websocket or "realtime" not in ports.opened:
        return Addition(Hooks(routes=(relayed,)))
    return Addition(Hooks(routes=(relayed, partial(_websocket_routes, config.websocket_idle, entries))))


def _websocket_routes(idle: float, entries: Mapping[str, ModelEntry], service: Service) -> Iterator[HttpRoute]:
    views = LateViews((_WEBSOCKETS,), "passed_views", (service, idle, entries))
    for name in entries:
        yield HttpRoute(f"/{name}{ALL_BELOW}", views.view(name), (WEBSOCKET,))
