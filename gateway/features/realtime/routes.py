"""The paths of realtime; the handlers of sessions are imported with the first one."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Final

from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.relay.routes import RelayRoute, relayed_routes
from gateway.seams.hooks import Hooks
from gateway.seams.route import HttpRoute
from gateway.seams.running import Addition, Ports, Running
from gateway.serving.late_views import LateViews
from gateway.serving.route_table import WEBSOCKET
from providers.endpoints.endpoint import LIVE_VERSIONS, EndpointName

OPENAI_PATHS: Final = ("/v1/realtime", "/openai/realtime")
GEMINI_PATHS: Final = tuple(
    f"/ws/google.ai.generativelanguage.{version}.GenerativeService.BidiGenerateContent" for version in LIVE_VERSIONS
)

TRANSLATIONS: Final[EndpointName] = "realtime_translations"
LIVE: Final[EndpointName] = "live"

PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "chat": OPENAI_PATHS, "gemini": GEMINI_PATHS, TRANSLATIONS: ("/v1/realtime/translations",),
    LIVE: ("/v1/live/sessions", "/v1/live/sessions/{id}/fork", "/v1/live/sessions/{id}/attach"),
}  # fmt: skip
"""The paths of each view: a client API's, or those of another endpoint."""

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
"""The relayed requests: secrets of clients, and calls."""

_SERVING: Final = "gateway.features.realtime.serving"


def _session_routes(idle: float, service: Service) -> Iterator[HttpRoute]:
    """Yield the websockets of realtime clients of OpenAI, Azure and Gemini."""
    views = LateViews((_SERVING,), "realtime_views", (service, idle))
    for name, paths in PATHS.items():
        for path in paths:
            yield HttpRoute(path, views.view(name), (WEBSOCKET,))


def open_realtime(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the paths of realtime."""
    relayed = partial(relayed_routes, "gateway.features.realtime", ROUTES)
    sessions = partial(_session_routes, config.websocket_idle)
    return Addition(Hooks(routes=(relayed, sessions) if config.websocket else (relayed,)))
