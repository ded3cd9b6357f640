"""The paths of the live view, and the headers of its responses."""

from typing import Final

from configfile.keys import part_of
from gateway.config.settings import Config
from gateway.features.live_view.settings import LiveViewKeys
from gateway.http.headers import Headers

LIVE: Final = "/ui"
ACCOUNT: Final = "/ui/me"
"""The first of the pages about callers."""

WITH_KEY: Final = "sign_in=key"
"""The query with which a page requests a key instead of a sign-in, for an operator whose issuer is unavailable."""

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


def wants_page(headers: Headers) -> bool:
    """Return whether a browser sent the request, to show the response."""
    return any(name == "accept" and "text/html" in value for name, value in headers)


def first_page(config: Config) -> str | None:
    """Return the path of the live view, else of the first page, ``None`` without any."""
    return LIVE if part_of(config, LiveViewKeys).ui else ACCOUNT if has_pages(config) else None


EVENTS: Final = "/ui/events"
MODELS: Final = "/ui/models"
STREAM: Final = "/ui/streams/{id}"

GUARDED: Headers = (
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
)
TEXT: Headers = (("content-type", "text/plain; charset=utf-8"), *GUARDED)
