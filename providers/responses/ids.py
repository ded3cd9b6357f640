"""Ids that the gateway makes for responses and their items.

They contain the mark of a seal, so that both lanes find and remove them: providers reject ids that they do not know
(Kilo-Org/kilocode#10197).
"""

from typing import Any

from providers.neutral.codec import new_id
from providers.neutral.seal import PREFIX


def own_id(prefix: str) -> str:
    """Return a new id that ``is_own_id`` recognizes: ``prefix`` (``msg_``, ``rs_``, …), the mark and random
    characters."""
    return new_id(prefix + PREFIX)


def is_own_id(id: Any) -> bool:
    return isinstance(id, str) and id.partition("_")[2].startswith(PREFIX)
