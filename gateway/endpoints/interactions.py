"""Stored interactions of Google's API: ``/v1beta/interactions/{id}`` and paths below."""

import re
from typing import Final

import attrs
from quart import request
from quart_trio import QuartTrio

from gateway.conversations.background import RUNNING
from gateway.conversations.stored_apis import stored_api
from gateway.endpoints.answers import QueryProviders, Route, add_routes, object_response, read_flag
from gateway.endpoints.stored_turns import StoredTurns
from gateway.exchange.service import Service
from gateway.http.late_imports import load_module
from gateway.http.response import Response
from providers.interactions import INTERACTIONS
from providers.responses.tools import is_own_id
from streams.errors import invalid

_OWN_ID: Final = re.compile(r"[a-z0-9]+_tg1\.[0-9a-f]{24}")
_REPLAY: Final = "providers.interactions.replay"


def add_interactions(app: QuartTrio, service: Service, query_providers: QueryProviders | None = None) -> None:
    """Add the routes of stored interactions. ``query_providers`` handles ids that the gateway did not make."""
    views = StoredInteractions(service)
    routes: tuple[Route, ...] = (
        ("", views.retrieve, "GET"),
        ("", views.delete, "DELETE"),
        ("/cancel", views.cancel, "POST"),
    )
    prefix = INTERACTIONS.wire.root + INTERACTIONS.wire.path
    add_routes(app, prefix, routes, service.ledger, query_providers, INTERACTIONS.api)


@attrs.frozen
class StoredInteractions:
    """The views of stored interactions. Each raises ``GatewayError``: 404 for unknown ones, 400 for malformed ids and
    invalid queries."""

    _service: Service

    async def retrieve(self, id: str) -> Response:
        """Return the interaction or, with ``stream=true``, its events after ``last_event_id``."""
        turns, last = await self._turns(id), request.args.get("last_event_id")
        if read_flag("stream"):
            return await turns.replay(id, (await load_module(_REPLAY)).after_event(last or None))
        if last is not None:
            raise invalid("last_event_id requires stream=true", "last_event_id")
        turn, head = await turns.read(id)
        interaction = turns.api.current_response(turn, head)
        if read_flag("include_input"):
            interaction[turns.api.output] = turn.items
        return object_response(interaction)

    async def delete(self, id: str) -> Response:
        """Delete the interaction; if it is in progress, cancel it first so that it is not stored again."""
        await (await self._turns(id)).delete(id)
        return object_response({})

    async def cancel(self, id: str) -> Response:
        """Cancel a running interaction, and return it afterwards; one that is cancelled already is returned again."""
        turns = await self._turns(id)
        turn, head = await turns.read(id)
        if turn.status in RUNNING:
            turn, head = await turns.cancel(id)
        elif turn.status != "cancelled":
            raise invalid(f"Cannot cancel an interaction whose status is {turn.status}.", "id")
        return object_response(turns.api.current_response(turn, head))

    async def _turns(self, id: str) -> StoredTurns:
        if is_own_id(id) and _OWN_ID.fullmatch(id) is None:
            raise invalid(f"the id '{id[:100]}' is malformed: send the id of the interaction unchanged", "id")
        api, service = await stored_api(INTERACTIONS.api), self._service
        return StoredTurns(api, service.store, service.background, service.keep_alive)
