"""The state options of a request, the same for each API."""

from typing import Any

import attrs

from gateway.request.parse import Incoming
from providers.neutral.fields import parse_json


@attrs.frozen(eq=False, repr=False)
class StateOptions:
    """The state options of one request.

    ``store`` is ``None`` if unset; the turn is then stored. ``refers``: it may refer to items of earlier turns.
    ``compacts``: it may request a compaction, which only providers with state support."""

    previous: str | None = None
    conversation: str | None = None
    store: bool | None = None
    background: bool = False
    refers: bool = False
    compacts: bool = False

    @property
    def stores(self) -> bool:
        """Whether the turn is to be stored."""
        return self.store is not False

    @property
    def must_store(self) -> bool:
        """Whether a failure to store the turn must fail it, because the client relies on it."""
        if self.conversation is not None:  # a conversation continues even if the response is not stored
            return True
        return self.stores and (self.store is True or self.previous is not None or self.background)


def decode_member(incoming: Incoming, name: str) -> Any:
    """Return the decoded member ``name``, ``None`` if it is missing."""
    raw = incoming.members.get(name)
    return None if raw is None else parse_json(raw, Any)
