"""The earlier turns that a request refers to, loaded by the client's API."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from gateway.conversations.resolved import ResolvedRequest, StateScope
from gateway.conversations.response_history import load_responses
from gateway.conversations.thread_history import load_thread
from gateway.request.parse import Incoming
from gateway.request.structure import Bounds
from gateway.routing.plan import Candidate
from streams.events import Api

_Loader: TypeAlias = Callable[[StateScope, Incoming, tuple[Candidate, ...], Bounds], Awaitable[ResolvedRequest]]

_LOADERS: Mapping[Api, _Loader] = {
    "messages": load_thread,
    "responses": load_responses,
}


async def recall(
    scope: StateScope, incoming: Incoming, candidates: tuple[Candidate, ...], bounds: Bounds
) -> ResolvedRequest:
    """Load the turns that ``incoming`` refers to, within the ``bounds`` of a whole conversation.

    The result has the ``candidates`` that can continue them and the recorder of the new turn. State at a provider pins
    the request to it. Raises ``GatewayError``."""
    load = _LOADERS.get(incoming.api)
    return ResolvedRequest(incoming, candidates) if load is None else await load(scope, incoming, candidates, bounds)
