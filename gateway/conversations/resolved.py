"""A request about state: its options, the scope in which its history is looked for, and the request with that."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs

from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.http.headers import Headers
from gateway.request.parse import Incoming
from gateway.routing.plan import Candidate
from gateway.routing.target import Target
from gateway.stores.store import Store
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


_KEPT: Final[Mapping[bytes, re.Pattern[bytes]]] = {
    b'"file_id"': re.compile(rb'\s{0,9}:\s{0,9}"file[-_]'),
    b'"vector_store_ids"': re.compile(rb'\s{0,9}:\s{0,9}\[\s{0,9}"vs_'),
    b'"container"': re.compile(rb'\s{0,9}:\s{0,9}"(?:cntr|container)_'),
    b'"id"': re.compile(rb'\s{0,9}:\s{0,9}"container_'),
}
"""Members by which a request names what OpenAI and Anthropic keep for an account, and how the ids of these begin."""


@attrs.frozen(slots=False)  # one for each request, and made with fewer calls
class StateScope:
    """The stores of a client's turns: under ``owner``'s name in ``store``, none if nothing is. What the client wants
    not to be stored is still remembered in ``local``, as long as the connection lives that has one. ``named``: the
    owner is a client of the configuration; else it is whoever shows the same credential, or everybody."""

    owner: str
    store: Store | None
    local: Store | None = None
    named: bool = True


@attrs.frozen(slots=False)  # one for each request, and made with fewer calls
class ResolvedRequest:
    """A request with all that it refers to, the ``candidates`` that can answer it, at least one, and the recorder of
    its turn. ``headers`` tell the client what could not be done as it wished."""

    incoming: Incoming
    candidates: tuple[Candidate, ...]
    turn: TurnRecorder = UNRECORDED
    headers: Headers = ()

    @property
    def target(self) -> Target:
        return self.candidates[0].target


def in_hub_lane(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """``candidates`` for a request whose turn is kept here: each is asked with all of it, and its answer is written
    anew."""
    return tuple([attrs.evolve(one, target=attrs.evolve(one.target, lane="hub")) for one in candidates])


def kept_elsewhere(incoming: Incoming) -> bool:
    """Whether the request names something that some provider keeps, nobody knows which: a file, a container, a store
    of vectors. Another provider would answer without it. Ids are looked at, not only names: tools have parameters that
    are called ``file_id``, too."""
    body = incoming.body
    return any(
        value.match(body, at + len(name)) is not None for name, value in _KEPT.items() for at in _places(body, name)
    )


def _places(body: bytes, name: bytes) -> Iterator[int]:
    at = body.find(name)
    while at >= 0:
        yield at
        at = body.find(name, at + 1)
