"""The routes of the live view. Handlers are imported with the first request."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from gateway.config.loading import Config
from gateway.exchange.service import Service
from gateway.features.live_view.live import LiveView
from gateway.features.live_view.pages.paths import EVENTS, FILES, MODELS, STREAM
from gateway.seams.hooks import Hooks
from gateway.seams.route import HttpRoute
from gateway.seams.running import Addition, Ports, Running
from gateway.serving.fast_route import LateViews

_PAGES: Final = "gateway.features.live_view.pages.pages"


def open_live_view(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the paths of the live view."""
    return Addition(Hooks(routes=(partial(_live_view_routes, config),)))


def _live_view_routes(config: Config, service: Service) -> Iterator[HttpRoute]:
    """Yield the routes of the live view of ``service``, if it has one."""
    live_view = service.live_view
    if isinstance(live_view, LiveView):
        views = LateViews((_PAGES,), "ui_views", (service, config, live_view))
        for path in (*FILES, EVENTS, MODELS, STREAM):
            yield HttpRoute(path, views.view(path))
