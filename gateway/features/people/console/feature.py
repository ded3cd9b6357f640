"""The row of the pages about callers: their rights, usage, keys, groups and people."""

from typing import Final

from gateway.config.settings import Config
from gateway.seams.feature import Feature


def _has_clients(config: Config) -> bool:
    return config.asks_for_key or config.ui_key is not None


PAGES: Final = ("/ui/me", "/ui/usage", "/ui/keys", "/ui/groups", "/ui/people", "/ui/audit")

_NO_CLIENTS: Final = "it is a page for clients with keys: set client_keys, stored_keys or issuers, and not `ui: false`"

FEATURE: Final = Feature(
    "console",
    "gateway.features.people.console.paths:open_console",
    _has_clients,
    ("admin",),
    unwanted_paths=tuple((page, _NO_CLIENTS) for page in PAGES),
)
