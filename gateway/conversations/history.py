"""What a request refers to of earlier ones, by the API that the client speaks."""

from collections.abc import Awaitable, Callable, Mapping

from gateway.conversations.recorder import ResolvedRequest, StateScope
from gateway.conversations.responses import recall_turn
from gateway.conversations.threads import recall_thread
from gateway.request.parse import Incoming
from gateway.routing.target import Target
from streams.events import Api

_RECALLS: Mapping[Api, Callable[[StateScope, Incoming, Target], Awaitable[ResolvedRequest]]] = {
    "messages": recall_thread,
    "responses": recall_turn,
}


async def load_history(memory: StateScope, incoming: Incoming, target: Target) -> ResolvedRequest:
    """``incoming`` with all that it refers to, and what is to be kept of its answer. Raises ``GatewayError``."""
    load_history = _RECALLS.get(incoming.api)
    return ResolvedRequest(incoming, target) if load_history is None else await load_history(memory, incoming, target)
