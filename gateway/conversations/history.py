"""The earlier turns that a request refers to, loaded by the client's API."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from gateway.conversations.resolved import ResolvedRequest, StateScope
from gateway.conversations.stored_apis import stored_api
from gateway.http.late_imports import load_module
from gateway.request.parse import Incoming
from gateway.request.structure import Bounds
from gateway.routing.plan import Candidate
from providers.interactions import INTERACTIONS
from providers.responses import RESPONSES
from streams.events import Api

_Loader: TypeAlias = Callable[[StateScope, Incoming, tuple[Candidate, ...], Bounds], Awaitable[ResolvedRequest]]


async def _load_thread(
    scope: StateScope, incoming: Incoming, candidates: tuple[Candidate, ...], bounds: Bounds
) -> ResolvedRequest:
    if "thread" not in incoming.members:
        return ResolvedRequest(incoming, candidates)
    threads = await load_module("gateway.conversations.thread_history")
    resolved: ResolvedRequest = await threads.load_thread(scope, incoming, candidates, bounds)
    return resolved


async def _load_turns(
    scope: StateScope, incoming: Incoming, candidates: tuple[Candidate, ...], bounds: Bounds
) -> ResolvedRequest:
    stored, turns = await stored_api(incoming.api), await load_module("gateway.conversations.turn_history")
    resolved: ResolvedRequest = await turns.load_turns(stored, scope, incoming, candidates, bounds)
    return resolved


_LOADERS: Mapping[Api, _Loader] = {
    "messages": _load_thread,
    RESPONSES.api: _load_turns,
    INTERACTIONS.api: _load_turns,
}


APIS_WITH_TURNS: Final = frozenset(_LOADERS)
"""The APIs whose requests may refer to stored turns."""


async def recall(
    scope: StateScope, incoming: Incoming, candidates: tuple[Candidate, ...], bounds: Bounds
) -> ResolvedRequest:
    """Load the turns that ``incoming``, a request of one of ``APIS_WITH_TURNS``, refers to, within the ``bounds`` of a
    whole conversation.

    The result has the ``candidates`` that can continue them and the recorder of the new turn. State at a provider pins
    the request to it. Raises ``GatewayError``."""
    return await _LOADERS[incoming.api](scope, incoming, candidates, bounds)
