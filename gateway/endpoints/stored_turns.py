"""Stored turns of any API: their retrieval, the repetition of their streams, cancellation and deletion."""

import attrs

from gateway.conversations.background import RUNNING, Background, NoBackground
from gateway.conversations.bodies import StoredHead, StoredTurn, head_id, read_head
from gateway.conversations.conversation_store import read_node_turn
from gateway.conversations.deadline import store_deadline, unavailable
from gateway.conversations.stored_api import StoredApi
from gateway.endpoints.answers import Call, require_store
from gateway.endpoints.plain_answers import PRIVATE
from gateway.http.offload import offload, offload_always
from gateway.http.response import STREAM_HEADERS, Response, ResponseBody
from gateway.stores.store import Node, Store
from streams.errors import GatewayError, invalid
from streams.event_log import Resumption

_READ_ATTEMPTS = 3  # attempts to read a turn whose two nodes differ because it is being written

_MARKER = "last_event_id"
"""The parameter with the id of an event. A number may be any."""

_REPLAYED = (*(pair for pair in STREAM_HEADERS if pair[0] != "cache-control"), *PRIVATE)


@attrs.frozen
class StoredTurns:
    """The stored turns of the API ``api``, for its views. Methods raise ``GatewayError``: 404 for unknown ids."""

    api: StoredApi
    store: Store | None
    background: Background | NoBackground
    keep_alive: float

    async def replay(self, call: Call, id: str, rest: Resumption) -> Response:
        """Return the ``rest`` of the stream of a turn, also of one that is running.

        Raises ``GatewayError`` (400) for an event that is not in the stream."""
        running = self.background.follow(call.owner, id, rest, self.keep_alive)
        if running is not None:
            if not running.has_start:
                raise self._unknown_event_error()
            return _stream_response(call, running)
        turn, head = await self.read(call, id)
        if turn.status in RUNNING:
            message = (
                f"another worker of the gateway is still generating the {self.api.noun}: try again, or request it "
                "without stream"
            )
            raise GatewayError("invalid_request", message, status=409, param="stream")
        try:
            events = await offload_always(lambda: rest.of_log(self.api.event_log(turn, head)))  # of any size
        except ValueError as error:
            raise unavailable(f"could not replay the stream: {error}") from None
        if rest.must_start and not rest.has_started:
            raise self._unknown_event_error()
        return _stream_response(call, events)

    def _unknown_event_error(self) -> GatewayError:
        return invalid(f"there is no such event in the stream of this {self.api.noun}: send the id of one", _MARKER)

    async def delete(self, call: Call, id: str) -> None:
        """Delete the turn; if it is in progress, cancel it first so that it is not stored again."""
        turn, _ = await self.read(call, id)
        if turn.status in RUNNING:
            await self.background.cancel(call.owner, id)
        with store_deadline(f"delete the {self.api.noun}"):
            if not await require_store(self.store).delete(call.owner, (id, head_id(id))):
                raise self.unknown_error(id)

    async def cancel(self, call: Call, id: str) -> tuple[StoredTurn, StoredHead]:
        """Cancel a running turn, and return it afterwards."""
        await self.background.cancel(call.owner, id)
        return await self.read(call, id)

    async def read(self, call: Call, id: str) -> tuple[StoredTurn, StoredHead]:
        """Return the turn and its head, if possible from the same write."""
        with store_deadline(f"read the {self.api.noun}"):
            turn, head = await self._read_turn_and_head(call, id)
            if turn.status in RUNNING:
                await self.background.fail_if_lost(self.api, call.owner, id)
                turn, head = await self._read_turn_and_head(call, id)
        return turn, head

    async def _read_turn_and_head(self, call: Call, id: str) -> tuple[StoredTurn, StoredHead]:
        for _ in range(_READ_ATTEMPTS):
            turn = await read_node_turn(await self.node(call, id))
            node = await require_store(self.store).get(call.owner, head_id(id))
            if node is None:
                raise self.unknown_error(id)
            head = await offload(10 * len(node.body), read_head, node.body)  # after decompression
            if head.response.get("status") == turn.status:
                break
        return turn, head

    async def node(self, call: Call, id: str) -> Node:
        node = await require_store(self.store).get(call.owner, id)
        if node is None or node.kind != self.api.kind:
            raise self.unknown_error(id)
        return node

    def unknown_error(self, id: str) -> GatewayError:
        """Return the error for an unknown id; ids of other keys are unknown."""
        return GatewayError("not_found", f"{self.api.noun.capitalize()} with id '{id[:100]}' not found.")


def _stream_response(call: Call, body: bytes | ResponseBody) -> Response:
    return Response(200, (*_REPLAYED, ("x-request-id", call.scope.id)), body)
