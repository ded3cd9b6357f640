"""A request with state: its options, the scope of its history, and the request with its history."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NoReturn

import attrs

from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.http.headers import Headers
from gateway.request.parse import Incoming
from gateway.routing.plan import Candidate
from gateway.routing.target import Target
from gateway.stores.store import Store
from providers.neutral.fields import parse_json
from streams.errors import GatewayError, invalid

_KINDS: Mapping[str, tuple[type, str]] = {
    "previous_response_id": (str, "a string"),
    "conversation": (str, "an id, or an object with one"),
    "store": (bool, "a boolean"),
    "background": (bool, "a boolean"),
}
OWN_MEMBERS = tuple(_KINDS)
"""Members for the gateway, which providers of resolved requests must not receive."""


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


def read_options(incoming: Incoming) -> StateOptions:
    """Return the options of a Responses request. Raises ``GatewayError`` (400)."""
    options = {name: decode_member(incoming, name) for name in OWN_MEMBERS}
    if isinstance(conversation := options["conversation"], dict):
        # Without a readable id, it may have one that another server would accept, such as a duplicate or ``Id``.
        options["conversation"] = conversation.get("id") or False
    for name, (kind, word) in _KINDS.items():
        if options[name] is not None and not isinstance(options[name], kind):
            raise invalid(f"{name} must be {word}", name)
    previous, conversation, store = options["previous_response_id"], options["conversation"], options["store"]
    if previous and conversation:
        raise invalid("send either previous_response_id or conversation, not both", "previous_response_id")
    if options["background"] and store is False:
        raise invalid("background requires store: otherwise you could not fetch the response later", "background")
    refers, compacts = (word in incoming.body for word in (b'"item_reference"', b'"compaction_trigger"'))
    return StateOptions(previous or None, conversation or None, store, bool(options["background"]), refers, compacts)


def decode_member(incoming: Incoming, name: str) -> Any:
    """Return the decoded member ``name``, ``None`` if it is missing."""
    raw = incoming.members.get(name)
    return None if raw is None else parse_json(raw, Any)


def refuse_foreign_turn(param: str) -> NoReturn:
    """Raise ``GatewayError`` (403) for a turn that only a provider has, and no step can read."""
    message = "steps must check the whole conversation, but only the provider has its beginning: send all of it"
    raise GatewayError("permission", message, code="unchecked_content", param=param, reason=None)


_STORED_OBJECTS: Final[Mapping[bytes, re.Pattern[bytes]]] = {
    b'"file_id"': re.compile(rb'\s{0,9}:\s{0,9}"file[-_]'),
    b'"vector_store_ids"': re.compile(rb'\s{0,9}:\s{0,9}\[\s{0,9}"vs_'),
    b'"container"': re.compile(rb'\s{0,9}:\s{0,9}"(?:cntr|container)_'),
    b'"id"': re.compile(rb'\s{0,9}:\s{0,9}"container_'),
}
"""Members that refer to objects stored at OpenAI or Anthropic, and the beginnings of their ids."""


@attrs.frozen(eq=False, repr=False, slots=False)  # one per request: cheaper to create
class StateScope:
    """The stores for a client's turns.

    ``store`` has stored turns of ``owner``, ``None`` without state storage. ``local`` remembers other turns while a
    websocket lives. ``keeps_turns``: new turns are kept here, whatever ``state`` the entries have, because steps must
    see the whole conversation. ``refuses_foreign``: turns that only a provider has are refused. ``is_named_client``
    means that the owner is a configured client; otherwise it is a credential's user, or everybody."""

    owner: str
    store: Store | None
    local: Store | None = None
    is_named_client: bool = True
    keeps_turns: bool = False
    refuses_foreign: bool = False

    def kept_here(self, *, refuses_foreign: bool) -> "StateScope":
        """Return the scope of a request whose turns are kept here."""
        return StateScope(self.owner, self.store, self.local, self.is_named_client, True, refuses_foreign)


@attrs.frozen(eq=False, repr=False, slots=False)  # one per request: cheaper to create
class ResolvedRequest:
    """A request with its history, at least one of the ``candidates`` that can answer it, and its turn's recorder.

    ``headers`` report requested options that were not possible."""

    incoming: Incoming
    candidates: tuple[Candidate, ...]
    turn: TurnRecorder = UNRECORDED
    headers: Headers = ()

    @property
    def target(self) -> Target:
        return self.candidates[0].target


def in_hub_lane(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Return ``candidates`` in the hub lane, for a request whose turn the gateway stores."""
    return tuple([attrs.evolve(one, target=attrs.evolve(one.target, lane="hub")) for one in candidates])


def refers_to_stored_object(incoming: Incoming) -> bool:
    """Return whether the request refers to an object at an unknown provider: a file, container or vector store.

    Another provider would answer without it. Ids are checked, too, because tools have parameters called ``file_id``."""
    body = incoming.body
    return any(
        value.match(body, at + len(name)) is not None
        for name, value in _STORED_OBJECTS.items()
        for at in _places(body, name)
    )


def _places(body: bytes, name: bytes) -> Iterator[int]:
    at = body.find(name)
    while at >= 0:
        yield at
        at = body.find(name, at + 1)
