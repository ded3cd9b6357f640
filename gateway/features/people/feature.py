"""The row of people and their sign-in."""

from typing import Final

from gateway.config.settings import Config
from gateway.features.people.settings import PeopleKeys
from gateway.seams.feature import Feature, Keys

FEATURE: Final = Feature(
    "people",
    "gateway.features.people.opening:open_people",
    lambda config: bool(config.rule_clients),
    ("admin",),
    keys=(Keys(Config, PeopleKeys),),
    build="gateway.features.people.issuer_checks:build_people",
    advice="gateway.features.people.advice:ADVICE",
    first_steps=("oauth", "device"),
    find_client="gateway.features.people.commands.client_by_name:find_person",
    client_tables="gateway.features.people.tables:TABLES",
    client_rows="gateway.features.people.followed:FollowedPeople",
    unlisted="gateway.features.people.gate:open_gate",
)
