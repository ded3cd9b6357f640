"""The scope in which a request's history is looked for, the request with its history, and who can go on from that."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs

from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.http.headers import Headers
from gateway.request.parse import Incoming
from gateway.routing.plan import Candidate
from gateway.routing.target import Target
from gateway.stores.store import Store

_KEPT: Final[Mapping[bytes, re.Pattern[bytes]]] = {
    b'"file_id"': re.compile(rb'\s{0,9}:\s{0,9}"file[-_]'),
    b'"vector_store_ids"': re.compile(rb'\s{0,9}:\s{0,9}\[\s{0,9}"vs_'),
    b'"container"': re.compile(rb'\s{0,9}:\s{0,9}"(?:cntr|container)_'),
    b'"id"': re.compile(rb'\s{0,9}:\s{0,9}"container_'),
}
"""Members by which a request names what OpenAI and Anthropic keep for an account, and how the ids of these begin."""


@attrs.frozen
class StateScope:
    """The stores of a client's turns: under ``owner``'s name in ``store``, none if nothing is. What the client wants
    not to be stored is still remembered in ``local``, as long as the connection lives that has one. ``named``: the
    owner is a client of the configuration; else it is whoever shows the same credential, or everybody."""

    owner: str
    store: Store | None
    local: Store | None = None
    named: bool = True


@attrs.frozen
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
