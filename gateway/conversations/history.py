"""What a request refers to of earlier ones, by the API that the client speaks."""

from collections.abc import Awaitable, Callable, Mapping

from gateway.conversations.recorder import Memory, Recalled
from gateway.conversations.responses import recall_turn
from gateway.conversations.threads import recall_thread
from gateway.request.parse import Incoming
from gateway.routing.target import Target
from streams.events import Api

_RECALLS: Mapping[Api, Callable[[Memory, Incoming, Target], Awaitable[Recalled]]] = {
    "messages": recall_thread,
    "responses": recall_turn,
}


async def recall(memory: Memory, incoming: Incoming, target: Target) -> Recalled:
    """``incoming`` with all that it refers to, and what is to be kept of its answer. Raises ``GatewayError``."""
    recall = _RECALLS.get(incoming.api)
    return Recalled(incoming, target) if recall is None else await recall(memory, incoming, target)
