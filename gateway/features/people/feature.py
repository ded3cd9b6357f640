"""The row of people and their sign-in."""

from typing import Final

from gateway.config.settings import Config
from gateway.seams.feature import Feature


def _has_issuers(config: Config) -> bool:
    return bool(config.issuers)


FEATURE: Final = Feature(
    "people",
    "gateway.features.people.opening:open_people",
    _has_issuers,
    ("admin",),
    find_client="gateway.features.people.commands.finding:find_person",
    client_rows="gateway.features.people.followed:FollowedPeople",
    people="gateway.features.people.gate:open_gate",
)
