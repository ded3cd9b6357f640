"""The paths of the live view."""

from typing import Final

from gateway.config.settings import Config
from gateway.config.state_storage import KEEPING_KEYS
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
