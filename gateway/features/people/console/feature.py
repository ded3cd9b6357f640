"""The row of the pages about callers: their rights, usage, keys, groups and people."""

from typing import Final

from gateway.config.settings import Config
from gateway.seams.feature import Feature


def _has_clients(config: Config) -> bool:
    return config.asks_for_key or config.ui_key is not None


FEATURE: Final = Feature(
    "console",
    "gateway.features.people.console.paths:open_console",
    _has_clients,
    ("admin",),
)
