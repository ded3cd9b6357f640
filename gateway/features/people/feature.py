"""The row of people, their sign-in and their pages."""

from typing import Final

from gateway.config.settings import Config
from gateway.seams.feature import Feature


def _has_issuers(config: Config) -> bool:
    return bool(config.issuers)


def _has_clients(config: Config) -> bool:
    return config.asks_for_key or config.ui_key is not None


FEATURE: Final = Feature(
    "people",
    "first of those that identify clients",
    "gateway.features.people.opening:open_people",
    _has_issuers,
    ("admin",),
    client_rows="gateway.features.people.followed:FollowedPeople",
    people="gateway.features.people.gate:open_gate",
)

CONSOLE: Final = Feature(
    "console",
    "after people, who sign in for its pages; clients with keys have them without people",
    "gateway.features.people.console.paths:open_console",
    _has_clients,
    ("admin",),
)

CALLS: Final = Feature(
    "people_calls",
    "after people; the HTTP API has them without issuers, too",
    "gateway.features.people.api.opening:open_calls",
    needs=("admin",),
)
