"""The settings that ``trigate import`` cannot convert, in groups by their meaning for the operator."""

from enum import Enum
from typing import Final

import attrs


class Group(Enum):
    """A group of lost settings, by their meaning for the operator."""

    NAMES = "model names"
    PROTECTION = "protection"
    MONEY = "money"
    TRIFLES = "less important"
    UNKNOWN = "unknown to trigate import"


SERIOUS: Final = frozenset(Group) - {Group.TRIFLES}


@attrs.frozen
class Loss:
    """A setting or model (``what``) that is not in the new file, and the reason (``why``)."""

    group: Group
    what: str
    why: str

    def __str__(self) -> str:
        return f"not converted: {self.what}: {self.why}"
