"""The paths of the live view."""

from typing import Final

from gateway.config.settings import Config
from gateway.http.pages import LIVE

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

PAGE_LINKS: Final = b' <a href="/ui/usage">Usage</a> <a href="/ui/me">Your account</a>'
"""The links from the live view to the pages of its callers."""


def has_pages(config: Config) -> bool:
    """Return whether the gateway of ``config`` has pages about callers: it has keys or issuers."""
    return config.asks_for_key or config.ui_key is not None


EVENTS: Final = "/ui/events"
MODELS: Final = "/ui/models"
STREAM: Final = "/ui/streams/{id}"
