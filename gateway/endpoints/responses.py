"""Stored responses of OpenAI's API: ``/v1/responses/{id}`` and paths below."""

from collections.abc import Mapping
from typing import TypeAlias

import attrs
from quart_trio import QuartTrio

from gateway.conversations.background import RUNNING, Background, NoBackground, event_log
from gateway.conversations.bodies import Object, StoredHead, StoredTurn, head_id, read_head
from gateway.conversations.conversation_store import read_node_turn, read_node_turns
from gateway.conversations.deadline import store_deadline, unavailable
from gateway.endpoints.answers import (
    QueryProviders,
    Route,
    add_routes,
    current_owner,
    list_page,
    object_response,
    read_flag,
    read_number,
    require_store,
)
from gateway.endpoints.plain_answers import PRIVATE
from gateway.exchange.service import Service
from gateway.http.offload import offload
from gateway.http.response import STREAM_HEADERS, Response, ResponseBody
from gateway.serving.quart_views import current_scope
from gateway.stores.store import Node, Store
from providers.responses.replay import events_after
from streams.errors import GatewayError, invalid

_ENDED: Mapping[str, str] = {"completed": "a completed", "failed": "a failed", "incomplete": "an incomplete"}
_READ_ATTEMPTS = 3  # attempts to read a response whose two nodes differ because it is being written

_REPLAYED = (*(pair for pair in STREAM_HEADERS if pair[0] != "cache-control"), *PRIVATE)

TurnAndHead: TypeAlias = tuple[StoredTurn, StoredHead]


def add_stored(app: QuartTrio, service: Service, query_providers: QueryProviders | None = None) -> None:
    """Add the routes of stored responses. ``query_providers`` handles ids that the gateway did not make."""
    stored = StoredResponses(service.store, service.background, service.keep_alive)
    routes: tuple[Route, ...] = (
        ("", stored.retrieve, "GET"),
        ("", stored.delete, "DELETE"),
        ("/input_items", stored.input_items, "GET"),
        ("/cancel", stored.cancel, "POST"),
    )
    add_routes(app, "/v1/responses", routes, service.ledger, query_providers)


@attrs.frozen
class StoredResponses:
    """The views of stored responses. Each raises ``GatewayError``: 404 for unknown objects, 400 for invalid queries."""

    _store: Store | None
    _background: Background | NoBackground
    _keep_alive: float

    async def retrieve(self, id: str) -> Response:
        """Return the response as of its last event or, with ``stream=true``, its events after ``starting_after``."""
        starting_after = read_number("starting_after")
        if read_flag("stream"):
            return await self._replay(id, -1 if starting_after is None else starting_after)
        if starting_after is not None:
            raise invalid("starting_after requires stream=true", "starting_after")
        return object_response(_current_response(*await self._read(id)))

    async def _replay(self, id: str, starting_after: int) -> Response:
        running = self._background.follow(current_owner(), id, starting_after, self._keep_alive)
        if running is not None:
            return _stream_response(running)
        turn, head = await self._read(id)
        if turn.status in RUNNING:
            message = (
                "another worker of the gateway is still generating the response: try again, or request it without "
                "stream"
            )
            raise GatewayError("invalid_request", message, status=409, param="stream")
        try:
            return _stream_response(events_after(event_log(turn, head), starting_after))
        except ValueError as error:
            raise unavailable(f"could not replay the stream: {error}") from None

    async def delete(self, id: str) -> Response:
        """Delete the response; if it is in progress, cancel it first so that it is not stored again."""
        turn, _ = await self._read(id)
        if turn.status in RUNNING:
            await self._background.cancel(current_owner(), id)
        with store_deadline("delete the response"):
            if not await require_store(self._store).delete(current_owner(), (id, head_id(id))):
                raise unknown_response_error(id)
        return object_response({"id": id, "object": "response.deleted", "deleted": True})

    async def input_items(self, id: str) -> Response:
        """Return a page of the response's input items, those of earlier turns included.

        The reference calls them "items used to generate this response", and other servers list earlier turns, too. If
        an earlier turn was deleted, only the turn's own input remains."""
        with store_deadline("read the conversation"):
            chain = await require_store(self._store).chain(current_owner(), id) or (await self._node(id),)
        if chain[-1].kind != "response":
            raise unknown_response_error(id)
        *earlier, own = await read_node_turns(node for node in chain if node.kind in ("response", "items"))
        return object_response(list_page([*(item for turn in earlier for item in turn.items), *own.input]))

    async def cancel(self, id: str) -> Response:
        """Cancel a background turn, and return the response afterwards.

        If the response is already cancelled, it is returned again; other finished or synchronous responses are a 400,
        as at OpenAI (vllm-project/vllm#57999, sgl-project/sglang#38002)."""
        turn, head = await self._read(id)
        if head.response.get("background") is not True:
            raise invalid("Cannot cancel a synchronous response.", "response_id")
        if turn.status in _ENDED:
            raise invalid(f"Cannot cancel {_ENDED[turn.status]} response.", "response_id")
        if turn.status in RUNNING:
            await self._background.cancel(current_owner(), id)
            turn, head = await self._read(id)
        return object_response(_current_response(turn, head))

    async def _read(self, id: str) -> TurnAndHead:
        """Return the turn and the head of a response, if possible from the same write."""
        with store_deadline("read the response"):
            turn, head = await self._read_turn_and_head(id)
            if turn.status in RUNNING:
                await self._background.fail_if_lost(current_owner(), id)
                turn, head = await self._read_turn_and_head(id)
        return turn, head

    async def _read_turn_and_head(self, id: str) -> TurnAndHead:
        for _ in range(_READ_ATTEMPTS):
            turn = await self._turn(id)
            node = await require_store(self._store).get(current_owner(), head_id(id))
            if node is None:
                raise unknown_response_error(id)
            head = await offload(10 * len(node.body), read_head, node.body)  # after decompression
            if head.response.get("status") == turn.status:
                break
        return turn, head

    async def _turn(self, id: str) -> StoredTurn:
        return await read_node_turn(await self._node(id))

    async def _node(self, id: str) -> Node:
        node = await require_store(self._store).get(current_owner(), id)
        if node is None or node.kind != "response":
            raise unknown_response_error(id)
        return node


def unknown_response_error(id: str) -> GatewayError:
    """Return OpenAI's error for an unknown id; ids of other keys are unknown."""
    return GatewayError("not_found", f"Response with id '{id[:100]}' not found.")


def _current_response(turn: StoredTurn, head: StoredHead) -> Object:
    return {**head.response, "status": turn.status, "output": turn.output}


def _stream_response(body: bytes | ResponseBody) -> Response:
    return Response(200, (*_REPLAYED, ("x-request-id", current_scope().id)), body)
