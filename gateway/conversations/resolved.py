"""A request with state: the scope of its history, and the request with its history."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NoReturn

import attrs

from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.http.headers import Headers
from gateway.request.parse import Incoming
from gateway.routing.plan import Candidate
from gateway.routing.target import Target
from gateway.stores.store import Store
from streams.errors import GatewayError


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
        for at in _positions_of(body, name)
    )


def _positions_of(body: bytes, name: bytes) -> Iterator[int]:
    at = body.find(name)
    while at >= 0:
        yield at
        at = body.find(name, at + 1)
