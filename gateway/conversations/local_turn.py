"""The recorder of a turn whose full content the gateway stores."""

import logging
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import attrs
import msgspec

from gateway.conversations import conversation_store
from gateway.conversations.bodies import head_body, head_id, turn_body
from gateway.conversations.deadline import store_deadline
from gateway.conversations.recorder import TurnRecorder
from gateway.conversations.stored_api import StateOptions, StoredApi
from gateway.conversations.stored_responses import STORED as STORED_RESPONSES
from gateway.http.offload import offload
from gateway.routing.target import Target
from gateway.stores.store import Node, Store
from gateway.streaming.lane import StreamProgress
from providers.neutral.codec import Reply, Writer
from providers.responses.tools import own_id
from streams.errors import GatewayError
from streams.event_log import EventLog, events_in
from streams.fold import Answer

if TYPE_CHECKING:
    from providers.responses.writer import TurnWriter

log = logging.getLogger("trigate")

Object: TypeAlias = Mapping[str, Any]


class LocalTurn(TurnRecorder):
    """The recorder of a turn stored by the gateway.

    ``store`` is ``None`` if nothing is stored; ``parent`` is the node that the turn continues, ``input`` the JSON of
    the client's own input with references resolved, in the API ``stored``. An interrupted response is stored as far as
    it got, with its ``status``, and cannot be continued."""

    def __init__(
        self,
        store: Store | None,
        owner: str,
        options: StateOptions,
        parent: str | None,
        input: bytes | None,
        stored: StoredApi = STORED_RESPONSES,
    ) -> None:
        self.api = stored
        self.id = own_id(stored.id_prefix)
        self._store = store
        self.records = store is not None
        self._owner = owner
        self._options = options
        self._parent = parent
        self._input = input
        self._log = EventLog()
        self._writer: TurnWriter | None = None
        self._reply: Reply | None = None  # of the stream whose writer is made next
        self._has_target = False
        self._is_id_known = options.background  # to the client, which may request the turn by it
        self.is_persisted = False
        """True once the complete turn is stored."""

    @property
    def continues(self) -> bool:
        options = self._options
        return options.previous is not None or options.conversation is not None or options.refers

    @property
    def background(self) -> "LocalTurn | None":
        return self if self._options.background else None

    def reply(self, reply: Reply) -> Reply:
        state = self.api.state(self._options, self._options.stores and self._store is not None)
        self._reply = attrs.evolve(reply, id=self.id, state=state)
        return self._reply

    def writer(self, writer: Writer) -> Writer:
        assert self._reply is not None, "a writer writes a reply"
        recordable, self._reply = self.api.recordable(writer, self._reply), None
        if not self._has_target:
            self._writer = recordable
        return recordable

    def record_target(self, target: Target, writer: Writer | None = None) -> None:
        self._has_target = True
        if writer is not None:
            self._writer = cast("TurnWriter", writer)

    def may_pass(self, data: bytes, progress: StreamProgress) -> bool:
        self._is_id_known = self._is_id_known or progress.committed
        if self._store is None:
            return True
        self._log.add(data)
        return not (progress.over and self._is_id_known) or self._writer is None or self._writer.response is None

    async def persist(self, data: bytes, progress: StreamProgress) -> bytes:
        assert self._writer is not None, "may_pass returned false"
        assert self._writer.response is not None, "the answer is over"
        try:
            await self._write(self._writer.partial_response or self._writer.response, len(data))
        except GatewayError as error:
            if progress.error is not None:  # a more important error came first
                log.warning("%s: %s", self.id, error.info.loggable_message)
            elif self._options.must_store:
                progress.mark_failed(error.info)
                return await offload(len(data), self.api.failed_end, data, error.info, self.id)
            else:
                log.warning("could not store %s: %s", self.id, error.info.loggable_message)
                return await offload(len(data), self.api.unstored_end, data)
        return data

    async def _closed_log(self) -> bytes:
        return await offload(self._log.size_of_work, self._log.close)

    async def persist_partial(self, id: str) -> None:
        if self._store is None or not self._is_id_known or self._writer is None or self._writer.response is not None:
            return
        response = self._writer.interrupted_response("cancelled")
        size = self._log.size_of_work
        before = await self._closed_log()
        self._log.add(await offload(size, lambda: self.api.cancelled_end(response, events_in(before))))
        try:
            await self._write(response, size)
        except GatewayError as error:
            log.warning("could not store %s: %s", self.id, error.info.loggable_message)

    async def persist_whole(self, body: bytes, answer: Answer) -> bytes:
        if self._store is None:
            return body
        response = await offload(len(body), _read_response, body, self.api.output)
        try:
            await self._write(response, len(body))
        except GatewayError as error:
            if self._options.must_store:
                raise
            log.warning("could not store %s: %s", self.id, error.info.loggable_message)
            return await offload(len(body), lambda: msgspec.json.encode(self.api.unstored(response)))
        return body

    async def _write(self, response: Object, size: int) -> None:
        """Store the turn, whose answer has about ``size`` bytes. A client that leaves meanwhile does not undo it.

        Raises ``GatewayError`` (503)."""
        if self._store is None:
            return
        with store_deadline("store the response", shield=True):
            nodes, items = await self.nodes(response, await self._closed_log(), size)
            if self._options.conversation is None:
                await self._store.put(nodes)
            else:
                stored = nodes if self._options.stores else []
                await conversation_store.append(self._store, self._owner, self._options.conversation, items, *stored)
        self.is_persisted = True

    @cached_property
    def _own_items(self) -> list[dict[str, Any]]:
        """The client's input items. A turn stored twice keeps their ids."""
        return self.api.prepare_input(None if self._input is None else msgspec.json.decode(self._input))

    async def nodes(self, response: Object, events: bytes, size: int = 0) -> tuple[list[Node], list[Any]]:
        """Return the nodes to store for ``response``, and the items that it adds to its conversation. Delays
        cancellation. ``size`` is the answer's in bytes, if it is known."""
        return await offload(size + self._size(response, events), self._nodes, response, events)

    def _size(self, response: Object, events: bytes) -> int:
        """Estimate the rest without encoding: the input, the stream's log, and members repeated from the request."""
        echo = sum(len(value) for value in response.values() if isinstance(value, msgspec.Raw))
        return len(self._input or b"") + len(events) + echo

    def _nodes(self, response: Object, events: bytes) -> tuple[list[Node], list[Any]]:
        input, output, status = self._own_items, response[self.api.output], response["status"]
        items = (*input, *output) if self.api.has_item_ids else ()
        ids = tuple(item["id"] for item in items if isinstance(item.get("id"), str))
        turn = Node(self.id, self._owner, self.api.kind, turn_body(status, input, output), self._parent, ids)
        head = Node(head_id(self.id), self._owner, "head", head_body(response, events, self.api.output), self.id)
        return [turn, head], [*input, *output] if status in ("completed", "incomplete") else []


def _read_response(body: bytes, output: str) -> Object:
    """Return a whole response with only the required members decoded."""
    response = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return {**response, **{name: msgspec.json.decode(response[name]) for name in (output, "status")}}
