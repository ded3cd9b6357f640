"""The row of people, their sign-in and their pages."""

from typing import Final

from gateway.config.settings import Config
from gateway.seams.feature import Feature


def _has_issuers(config: Config) -> bool:
    return bool(config.issuers)


FEATURE: Final = Feature(
    "people",
    "first of those that identify clients",
    "gateway.features.people.opening:open_people",
    _has_issuers,
    ("admin",),
    people="gateway.features.people.gate:open_gate",
)
