"""The paths of the live view. Handlers are imported with the first request."""

from collections.abc import Iterator
from typing import Final

from gateway.access.page_guard import GuardedPaths
from gateway.config.settings import Config
from gateway.config.state_storage import KEEPING_KEYS
from gateway.exchange.service import Service
from gateway.features.page_paths import LIVE
from gateway.seams.route import HttpRoute
from gateway.serving.late_views import LateViews
from gateway.serving.route_table import READING

_PAGES: Final = "gateway.features.live_view.pages.pages"

GUARDED: Final = (GuardedPaths(LIVE, (LIVE, f"{LIVE}/"), are_views=True),)

FILES: Final = {
    LIVE: ("index.html", "text/html; charset=utf-8"),
    "/ui/style.css": ("style.css", "text/css; charset=utf-8"),
    "/ui/live.js": ("live.js", "text/javascript; charset=utf-8"),
    "/ui/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/ui/opened.js": ("opened.js", "text/javascript; charset=utf-8"),
    "/ui/prompt.js": ("prompt.js", "text/javascript; charset=utf-8"),
    "/ui/events.js": ("events.js", "text/javascript; charset=utf-8"),
    "/ui/cache.js": ("cache.js", "text/javascript; charset=utf-8"),
    "/ui/tables.js": ("tables.js", "text/javascript; charset=utf-8"),
}

_USAGE: Final = b' <a href="/ui/usage">Usage</a>'
_ACCOUNT: Final = b' <a href="/ui/me">Your account</a>'


def page_links(config: Config) -> bytes:
    """Return the links from the live view to the pages that have something for its callers."""
    if config.pages_ask_for_key:
        return _USAGE + _ACCOUNT
    return _USAGE if config.state_storage is not None and config.state_storage.type in KEEPING_KEYS else b""


EVENTS: Final = "/ui/events"
MODELS: Final = "/ui/models"
STREAM: Final = "/ui/streams/{id}"


def live_view_routes(config: Config, service: Service) -> Iterator[HttpRoute]:
    """Yield the routes of the live view."""
    views = LateViews((_PAGES,), "ui_views", (service, config, service.opened.features["live_view"]))
    for path in (*FILES, EVENTS, MODELS, STREAM):
        methods = ("GET",) if path in (EVENTS, STREAM) else READING  # a stream without a body would never end
        yield HttpRoute(path, views.view(path), methods, is_page=path == LIVE, uses=("pages",))
