"""The row of the pages about callers: their rights, usage, keys, groups and people."""

from typing import Final

from configfile.keys import value_of
from gateway.config.settings import Config
from gateway.config.state_storage import KEEPING_KEYS
from gateway.seams.feature import Feature


def _is_wanted(config: Config) -> bool:
    """Return whether callers have keys, or this machine has a page about its usage."""
    storage = config.state_storage
    has_ledger = storage is not None and storage.type in KEEPING_KEYS
    return config.pages_ask_for_key or (has_ledger and bool(value_of(config, "ui", False)))


PAGES: Final = ("/ui/me", "/ui/usage", "/ui/keys", "/ui/groups", "/ui/people", "/ui/audit")

_NO_CLIENTS: Final = "it is a page for clients with keys: set client_keys, stored_keys or issuers, and not `ui: false`"
_NO_LEDGER: Final = "; for all requests without keys, set `state_storage` to sqlite or postgres"

FEATURE: Final = Feature(
    "console",
    "gateway.features.people.console.paths:open_console",
    _is_wanted,
    ("admin",),
    first_steps=("ui",),
    unwanted_paths=(("/ui/usage", f"{_NO_CLIENTS}{_NO_LEDGER}"), *((page, _NO_CLIENTS) for page in PAGES)),
)
