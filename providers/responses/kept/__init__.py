"""Kept turns: their content, and the answers made from it later. Pure; the stores are the gateway's.

``items`` is what a turn took and gave, and what the next one goes on from; ``page`` lists items; ``log`` and ``replay``
give the events of an answer once more, as they were or as they would have been.
"""

from providers.responses.kept.items import (
    UNUSABLE,
    given_items,
    previous,
    references,
    replayable,
    resolved,
    stored_input,
)
from providers.responses.kept.log import EventLog, after
from providers.responses.kept.page import page
from providers.responses.kept.replay import replay

__all__ = [
    "UNUSABLE",
    "EventLog",
    "after",
    "given_items",
    "page",
    "previous",
    "references",
    "replay",
    "replayable",
    "resolved",
    "stored_input",
]
