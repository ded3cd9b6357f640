"""The routes of the live view. Handlers are imported with the first request."""

from collections.abc import Iterator
from typing import Final

from gateway.access.page_guard import GuardedPaths
from gateway.config.loading import Config
from gateway.exchange.service import Service
from gateway.features.live_view.pages.paths import EVENTS, FILES, MODELS, STREAM
from gateway.http.pages import LIVE
from gateway.seams.route import HttpRoute
from gateway.serving.late_views import LateViews

_PAGES: Final = "gateway.features.live_view.pages.pages"


GUARDED: Final = (GuardedPaths(LIVE, (LIVE, f"{LIVE}/"), are_views=True),)


def live_view_routes(config: Config, service: Service) -> Iterator[HttpRoute]:
    """Yield the routes of the live view."""
    views = LateViews((_PAGES,), "ui_views", (service, config, service.opened.features["live_view"]))
    for path in (*FILES, EVENTS, MODELS, STREAM):
        yield HttpRoute(path, views.view(path), is_page=path == LIVE, uses=("pages",))
