"""The settings that ``trigate import`` does not convert, in groups by their meaning for the operator."""

from enum import Enum
from typing import Final, TypeAlias

import attrs


class Group(Enum):
    """A group of lost settings, by their meaning for the operator."""

    NAMES = "model names and behaviour"
    """Clients fail or notice another behaviour."""
    PROTECTION = "protection"
    """Limits, guardrails, access and fallbacks."""
    RESIDENCY = "residency"
    """The place where providers process requests."""
    MONEY = "money"
    LOGS = "logs"
    TRIFLES = "less important"
    UNKNOWN = "unknown to trigate import"


SERIOUS: Final = frozenset(Group) - {Group.TRIFLES}

Reason: TypeAlias = tuple[Group, str]
"""The group of a loss, and the reason or advice, which may be ""."""


class Inconvertible(Exception):
    """An error for a model that cannot be converted; the message is the reason."""


@attrs.frozen
class Loss:
    """A setting or model (``what``) that is not in the new file, and the reason (``why``), if it has one.

    ``place`` is in the old configuration, "" for its file. ``names`` are those that ``what`` shortens."""

    group: Group
    what: str
    why: str = ""
    place: str = ""
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"not converted: {self.what}" + (f": {self.why}" if self.why else "")
