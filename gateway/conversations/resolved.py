"""The scope in which a request's history is looked for, and the request with its history."""

import attrs

from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.http.headers import Headers
from gateway.request.parse import Incoming
from gateway.routing.target import Target
from gateway.stores.store import Store


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
    """A request with all that it refers to, and the recorder of its turn. ``headers`` tell the client what could not be
    done as it wished."""

    incoming: Incoming
    target: Target
    turn: TurnRecorder = UNRECORDED
    headers: Headers = ()
