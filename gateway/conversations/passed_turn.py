"""The recorder of a Responses turn whose events pass unchanged, remembered while its connection lives."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs
import msgspec

from gateway.conversations.bodies import turn_body
from gateway.conversations.recorder import TurnRecorder
from gateway.http.offload import offload
from gateway.stores.store import Node, Store
from gateway.streaming.lane import StreamProgress
from providers.neutral.codec import Reply
from providers.responses.tools import own_id
from streams import sse
from streams.fold import Answer
from streams.surrogates import NOT_JSON

ITEM_DONE: Final = "response.output_item.done"
ENDS: Final = ("response.completed", "response.incomplete", "response.failed")


class _FinalResponse(msgspec.Struct):
    id: str = ""
    status: str = ""
    output: list[dict[str, Any]] | None = None


class _Event(msgspec.Struct):
    type: str = ""
    output_index: int = 0
    item: dict[str, Any] | None = None
    response: _FinalResponse | None = None


_EVENT = msgspec.json.Decoder(_Event)


class PassedTurn(TurnRecorder):
    """The recorder of a turn that must not be stored and passes in the byte lane.

    It reads the response's items from the client's events, and remembers the turn in ``store`` by the client's id.
    ``parent`` is the turn that it continues, ``input`` the whole conversation, with the last ``new`` items from the
    client. Responses over ``most`` bytes are not remembered."""

    records = True

    def __init__(
        self, store: Store, owner: str, parent: str | None, input: Sequence[dict[str, Any]], new: int, most: int
    ) -> None:
        self._store = store
        self._owner = owner
        self._parent = parent
        self._input = input
        self._new = new
        self._room = most
        self._items: dict[int, dict[str, Any]] = {}
        self._final: _FinalResponse | None = None

    @property
    def continues(self) -> bool:
        return self._parent is not None

    def reply(self, reply: Reply) -> Reply:
        state = {**reply.state, "store": False, "previous_response_id": self._parent}
        return attrs.evolve(reply, id=reply.id or own_id("resp_"), state=state)

    def may_pass(self, data: bytes, progress: StreamProgress) -> bool:
        self._room -= len(data)
        if self._room >= 0 and (ITEM_DONE.encode() in data or progress.over):
            for event in _events(data):
                if event.type == ITEM_DONE and event.item is not None:
                    self._items[event.output_index] = event.item
                elif event.type in ENDS:
                    self._final = event.response
        return self._final is None

    async def persist(self, data: bytes, progress: StreamProgress) -> bytes:
        final, self._final = self._final, None
        if final is not None and final.id:
            output = final.output or [item for _, item in sorted(self._items.items())]
            await self._remember(final.id, final.status, output, len(data))
        return data

    async def persist_whole(self, body: bytes, answer: Answer) -> bytes:
        response = await offload(len(body), msgspec.json.decode, body)
        await self._remember(response["id"], response["status"], response["output"], len(body))
        return body

    async def _remember(self, id: str, status: str, output: Sequence[dict[str, Any]], size: int) -> None:
        await self._store.put([await offload(size, self._node, id, status, output)])

    def _node(self, id: str, status: str, output: Sequence[dict[str, Any]]) -> Node:
        replaces = id == self._parent  # some servers give every response the same id
        input = self._input if replaces else self._input[len(self._input) - self._new :]
        ids = tuple(known for item in (*input, *output) if isinstance(known := item.get("id"), str))
        parent = None if replaces else self._parent
        return Node(id, self._owner, "response", turn_body(status, input, output), parent, ids)


def _events(data: bytes) -> Iterator[_Event]:
    """Yield the readable whole events in ``data``."""
    for raw in sse.Splitter(len(data)).feed(data):
        parsed = sse.parse(raw)
        with contextlib.suppress(*NOT_JSON):
            if parsed is not None:
                yield _EVENT.decode(parsed[1])
