"""Ids that trigate makes for responses and their items. They bear the mark of a seal, by which requests of both lanes
are looked through: no provider knows them, and one that meets an id it does not know refuses the request
(Kilo-Org/kilocode#10197)."""

from typing import Any

from providers.neutral.codec import new_id
from providers.neutral.seal import PREFIX


def own_id(prefix: str) -> str:
    """Return a new id that ``is_ours`` knows again: ``prefix`` (``msg_``, ``rs_``, …), the mark and random
    characters."""
    return new_id(prefix + PREFIX)


def is_ours(id: Any) -> bool:
    """Return whether ``own_id`` made it."""
    return isinstance(id, str) and id.partition("_")[2].startswith(PREFIX)
