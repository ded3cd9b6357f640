"""The names of people that other features use."""

from collections.abc import Mapping
from typing import cast

from gateway.features.people.opening import PeopleOfConfig
from gateway.seams.running import Running

__all__ = ["PeopleOfConfig", "people_of"]


def people_of(opened: Mapping[str, Running]) -> PeopleOfConfig | None:
    """Return the people among the features ``opened``, ``None`` without issuers."""
    return cast("PeopleOfConfig | None", opened.get("people"))
