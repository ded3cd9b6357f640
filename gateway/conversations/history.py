"""The earlier turns that a request refers to, by the API that the client speaks."""

from collections.abc import Awaitable, Callable, Mapping

from gateway.conversations.resolved import ResolvedRequest, StateScope
from gateway.conversations.response_history import load_responses
from gateway.conversations.thread_history import load_thread
from gateway.request.parse import Incoming
from gateway.request.structure import Bounds
from gateway.routing.target import Target
from streams.events import Api

_LOADERS: Mapping[Api, Callable[[StateScope, Incoming, Target, Bounds], Awaitable[ResolvedRequest]]] = {
    "messages": load_thread,
    "responses": load_responses,
}


async def load_history(scope: StateScope, incoming: Incoming, target: Target, bounds: Bounds) -> ResolvedRequest:
    """Load what ``incoming`` refers to, within the ``bounds`` of a whole conversation, and choose the recorder of its
    turn. Raises ``GatewayError``."""
    load = _LOADERS.get(incoming.api)
    return ResolvedRequest(incoming, target) if load is None else await load(scope, incoming, target, bounds)
