"""Stored interactions of Google's API: ``/v1beta/interactions/{id}`` and paths below."""

import re
from collections.abc import Mapping
from typing import Final

import attrs

from gateway.conversations.background import RUNNING
from gateway.conversations.stored_apis import stored_api
from gateway.endpoints.answers import Call, object_response, object_views, read_flag
from gateway.endpoints.provider_kept import ProviderLookup
from gateway.endpoints.stored_turns import StoredTurns
from gateway.exchange.service import Service
from gateway.http.late_imports import load_module
from gateway.http.response import Response
from gateway.serving.route_table import Handler
from providers.interactions import INTERACTIONS
from providers.responses.tools import is_own_id
from streams.errors import invalid

_OWN_ID: Final = re.compile(r"[a-z0-9]+_tg1\.[0-9a-f]{24}")
_REPLAY: Final = "providers.interactions.replay"


def interaction_views(service: Service) -> Mapping[str, Handler]:
    """Return the handlers of stored interactions by name."""
    views, api = StoredInteractions(service), INTERACTIONS.api
    return object_views(service, (views.retrieve, views.delete, views.cancel), ProviderLookup(service, api), api)


@attrs.frozen
class StoredInteractions:
    """The views of stored interactions. Each raises ``GatewayError``: 404 for unknown ones, 400 for malformed ids and
    invalid queries."""

    _service: Service

    async def retrieve(self, call: Call, id: str) -> Response:
        """Return the interaction or, with ``stream=true``, its events after ``last_event_id``."""
        turns, last = await self._turns(id), call.argument("last_event_id")
        if read_flag(call, "stream"):
            return await turns.replay(call, id, (await load_module(_REPLAY)).after_event(last or None))
        if last is not None:
            raise invalid("last_event_id requires stream=true", "last_event_id")
        turn, head = await turns.read(call, id)
        interaction = turns.api.current_response(turn, head)
        if read_flag(call, "include_input"):
            interaction[turns.api.output] = turn.items
        return object_response(call, interaction)

    async def delete(self, call: Call, id: str) -> Response:
        """Delete the interaction; if it is in progress, cancel it first so that it is not stored again."""
        await (await self._turns(id)).delete(call, id)
        return object_response(call, {})

    async def cancel(self, call: Call, id: str) -> Response:
        """Cancel a running interaction, and return it afterwards; one that is cancelled already is returned again."""
        turns = await self._turns(id)
        turn, head = await turns.read(call, id)
        if turn.status in RUNNING:
            turn, head = await turns.cancel(call, id)
        elif turn.status != "cancelled":
            raise invalid(f"Cannot cancel an interaction whose status is {turn.status}.", "id")
        return object_response(call, turns.api.current_response(turn, head))

    async def _turns(self, id: str) -> StoredTurns:
        if is_own_id(id) and _OWN_ID.fullmatch(id) is None:
            raise invalid(f"the id '{id[:100]}' is malformed: send the id of the interaction unchanged", "id")
        api, service = await stored_api(INTERACTIONS.api), self._service
        return StoredTurns(api, service.turns.store, service.turns.background, service.settings.keep_alive)
