"""The routes of the live view. Handlers are imported with the first request."""

from collections.abc import Mapping
from functools import cache, partial
from types import ModuleType
from typing import Any

from quart_trio import QuartTrio

from gateway.config.loading import Config
from gateway.exchange.service import Service
from gateway.features.live_view.live import LiveView
from gateway.features.live_view.pages.paths import EVENTS, FILES, MODELS, PREFIX, STREAM
from gateway.http.late_imports import load_module
from gateway.http.response import Response
from gateway.serving.quart_views import View, add_view


def add_ui(app: QuartTrio, service: Service, config: Config) -> None:
    """Add the live view of ``service``, if it has one."""
    live_view = service.live_view
    if not isinstance(live_view, LiveView):
        return

    @cache
    def views(pages: ModuleType) -> Mapping[str, View]:
        made: Mapping[str, View] = pages.ui_views(service, config, live_view)
        return made

    async def view(path: str, **variables: Any) -> Response:
        return await views(await load_module("gateway.features.live_view.pages.pages"))[path](**variables)

    for path in (*FILES, EVENTS, MODELS, STREAM):
        add_view(app, path, PREFIX + path, partial(view, path), ["GET"])
