"""Stored responses of OpenAI's API: ``/v1/responses/{id}`` and paths below."""

from collections.abc import Mapping

import attrs

from gateway.conversations.background import RUNNING
from gateway.conversations.conversation_store import read_node_turns
from gateway.conversations.deadline import store_deadline
from gateway.conversations.stored_apis import ITEMS, TURNS
from gateway.conversations.stored_responses import STORED as STORED_RESPONSES
from gateway.endpoints.answers import (
    Call,
    QueryProviders,
    list_page,
    object_response,
    object_views,
    read_flag,
    read_number,
    require_store,
)
from gateway.endpoints.provider_kept import ProviderLookup
from gateway.endpoints.stored_turns import StoredTurns
from gateway.exchange.service import Service
from gateway.http.late_imports import load_module
from gateway.http.response import Response
from gateway.serving.route_table import Handler
from providers.responses.replay import after_number
from streams.errors import invalid

_OTHER_TURNS = "gateway.conversations.other_turns"

_ENDED: Mapping[str, str] = {"completed": "a completed", "failed": "a failed", "incomplete": "an incomplete"}


def response_views(service: Service, query_providers: QueryProviders | None = None) -> Mapping[str, Handler]:
    """Return the handlers of stored responses by name. ``query_providers`` handles ids that the gateway did not
    make."""
    views = StoredResponses(
        StoredTurns(STORED_RESPONSES, service.turns.store, service.turns.background, service.settings.keep_alive)
    )
    named = (views.retrieve, views.delete, views.input_items, views.cancel)
    return object_views(service, named, query_providers or ProviderLookup(service, STORED_RESPONSES.api))


@attrs.frozen
class StoredResponses:
    """The views of stored responses. Each raises ``GatewayError``: 404 for unknown objects, 400 for invalid queries."""

    _turns: StoredTurns

    async def retrieve(self, call: Call, id: str) -> Response:
        """Return the response as of its last event or, with ``stream=true``, its events after ``starting_after``."""
        starting_after = read_number(call, "starting_after")
        if read_flag(call, "stream"):
            return await self._turns.replay(call, id, after_number(-1 if starting_after is None else starting_after))
        if starting_after is not None:
            raise invalid("starting_after requires stream=true", "starting_after")
        return object_response(call, STORED_RESPONSES.current_response(*await self._turns.read(call, id)))

    async def delete(self, call: Call, id: str) -> Response:
        """Delete the response; if it is in progress, cancel it first so that it is not stored again."""
        await self._turns.delete(call, id)
        return object_response(call, {"id": id, "object": "response.deleted", "deleted": True})

    async def input_items(self, call: Call, id: str) -> Response:
        """Return a page of the response's input items, those of earlier turns included.

        The reference calls them "items used to generate this response", and other servers list earlier turns, too. If
        an earlier turn was deleted, only the turn's own input remains. Turns of other APIs are listed as items."""
        with store_deadline("read the conversation"):
            store = require_store(self._turns.store)
            chain = await store.chain(call.owner, id) or (await self._turns.node(call, id),)
        if chain[-1].kind != STORED_RESPONSES.kind:
            raise self._turns.unknown_error(id)
        nodes = [node for node in chain if node.kind in (*TURNS, ITEMS)]
        *earlier, own = await read_node_turns(nodes)
        if any(node.kind not in (STORED_RESPONSES.kind, ITEMS) for node in nodes):
            items = await (await load_module(_OTHER_TURNS)).items_of_turns(zip(nodes, earlier, strict=False))
        else:
            items = [item for turn in earlier for item in turn.items]
        return object_response(call, list_page(call, [*items, *own.input]))

    async def cancel(self, call: Call, id: str) -> Response:
        """Cancel a background turn, and return the response afterwards.

        If the response is already cancelled, it is returned again; other finished or synchronous responses are a 400,
        as at OpenAI (vllm-project/vllm#57999, sgl-project/sglang#38002)."""
        turn, head = await self._turns.read(call, id)
        if head.response.get("background") is not True:
            raise invalid("Cannot cancel a synchronous response.", "response_id")
        if turn.status in _ENDED:
            raise invalid(f"Cannot cancel {_ENDED[turn.status]} response.", "response_id")
        if turn.status in RUNNING:
            turn, head = await self._turns.cancel(call, id)
        return object_response(call, STORED_RESPONSES.current_response(turn, head))
