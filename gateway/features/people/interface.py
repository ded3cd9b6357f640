"""The names of people that other features and commands use."""

from collections.abc import Mapping
from typing import cast

from gateway.features.people.keeping import FLUSH_SECONDS
from gateway.features.people.opening import PeopleOfConfig
from gateway.features.people.records import Block, OwnKey, SeenPerson
from gateway.features.people.rules import NotAdmitted, RuleBook
from gateway.features.people.store import PeopleStore, open_people_store
from gateway.seams.running import Running

__all__ = [
    "FLUSH_SECONDS", "Block", "NotAdmitted", "OwnKey", "PeopleOfConfig", "PeopleStore", "RuleBook", "SeenPerson",
    "open_people_store", "people_of",
]  # fmt: skip


def people_of(opened: Mapping[str, Running]) -> PeopleOfConfig | None:
    """Return the people among the features ``opened``, ``None`` without issuers."""
    return cast("PeopleOfConfig | None", opened.get("people"))
