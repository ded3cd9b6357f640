"""The options of a Responses request about state: what it goes on from, and what is to be stored."""

from collections.abc import Mapping
from typing import Any

import attrs

from gateway.request.parse import Incoming
from providers.neutral.fields import parsed
from streams.errors import invalid

_KINDS: Mapping[str, tuple[type, str]] = {
    "previous_response_id": (str, "a string"),
    "conversation": (str, "an id, or an object with one"),
    "store": (bool, "a boolean"),
    "background": (bool, "a boolean"),
}
OWN_MEMBERS = tuple(_KINDS)
"""They say nothing to a provider of what is kept here."""


@attrs.frozen
class StateOptions:
    """The options of one request. ``store`` is ``None`` where it says nothing, which is yes. ``refers``: it may refer
    to items of earlier turns; ``compacts``: it may ask for a compaction, which only providers that keep state know."""

    previous: str | None = None
    conversation: str | None = None
    store: bool | None = None
    background: bool = False
    refers: bool = False
    compacts: bool = False

    @property
    def stores(self) -> bool:
        return self.store is not False

    @property
    def must_store(self) -> bool:
        """The client counts on what is stored: a failure to store is a failure of the turn."""
        if self.conversation is not None:  # it goes on, whether or not the response itself is stored
            return True
        return self.stores and (self.store is True or self.previous is not None or self.background)


def read_options(incoming: Incoming) -> StateOptions:
    """The options of a Responses request. Raises ``GatewayError`` (400)."""
    given = {name: decoded(incoming, name) for name in OWN_MEMBERS}
    if isinstance(conversation := given["conversation"], dict):
        # Without an id here it may have one for a server that takes the first of two, or ``Id``.
        given["conversation"] = conversation.get("id") or False
    for name, (kind, word) in _KINDS.items():
        if given[name] is not None and not isinstance(given[name], kind):
            raise invalid(f"{name} must be {word}", name)
    previous, conversation, store = given["previous_response_id"], given["conversation"], given["store"]
    if previous and conversation:
        raise invalid("give previous_response_id or conversation, not both", "previous_response_id")
    if given["background"] and store is False:
        raise invalid("background needs store: without it nobody could come back for the response", "background")
    refers, compacts = (word in incoming.body for word in (b'"item_reference"', b'"compaction_trigger"'))
    return StateOptions(previous or None, conversation or None, store, bool(given["background"]), refers, compacts)


def decoded(incoming: Incoming, name: str) -> Any:
    """The value of a member of the request, ``None`` if it is not there."""
    raw = incoming.members.get(name)
    return None if raw is None else parsed(raw, Any)
