"""The earlier turns that a request refers to, by the API that the client speaks."""

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
    """Load what ``incoming`` refers to, within the ``bounds`` of a whole conversation, leave the ``candidates`` that
    can go on from it, and choose the recorder of its turn. What a provider keeps pins a request to it. Raises
    ``GatewayError``."""
    load = _LOADERS.get(incoming.api)
    return ResolvedRequest(incoming, candidates) if load is None else await load(scope, incoming, candidates, bounds)
