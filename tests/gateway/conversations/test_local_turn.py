"""The recorder of turns that the gateway stores: their nodes, and large ones encoded in a thread."""

import json
import threading
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from gateway.conversations.bodies import head_id, read_head, read_turn
from gateway.conversations.local_turn import LocalTurn
from gateway.conversations.stored_api import StateOptions
from gateway.exchange.body import StreamBody
from gateway.exchange.delivery import Delivery
from gateway.http.offload import LARGE
from gateway.ledger.record import Record
from gateway.stores.memory import MemoryStore
from gateway.streaming.translation import Translation
from providers.apis import CODECS
from providers.neutral.codec import Reply
from providers.neutral.seal import Issuer
from providers.responses.replay import after_number
from streams.event_log import EventLog
from streams.events import AnswerEnd, AnswerStart, Usage
from streams.fold import Answer
from streams.handoff import Handoff
from streams.pipe import PIECES_QUEUED, Chunk
from tests.support.each_row import each_row
from tests.support.lanes import SCRIPTS, events_of

SAID = [{"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "yes"}]}]
LONG = "x" * (LARGE + 1)


class Seen(dict[str, Any]):
    """A response that knows which thread has written it down."""

    thread: int | None = None

    def items(self) -> Any:
        self.thread = threading.get_ident()
        return super().items()


def response(**more: Any) -> Seen:
    """Return a response in the writers' form: the members that repeat the request are already encoded."""
    told = {"id": "r", "status": "completed", "output": SAID, "usage": None}
    return Seen(told | {name: msgspec.Raw(json.dumps(value).encode()) for name, value in more.items()})


def new_turn(store: MemoryStore | None, input: str, wish: StateOptions | None = None) -> LocalTurn:
    return LocalTurn(store, "alice", wish or StateOptions(), None, json.dumps(input).encode())


def log_of(*events: bytes) -> bytes:
    log = EventLog()
    for event in events:
        log.add(event)
    return log.close()


@each_row(
    ("input", "echo", "elsewhere"),
    [
        ("hi", {}, False),
        ("hi", {"instructions": "be brief", "tools": []}, False),
        (LONG, {}, True),
        ("hi", {"instructions": LONG}, True),
        (LONG[: LARGE // 2], {"tools": [LONG[: LARGE // 2 + 1]]}, True),
    ],
)
async def test_a_large_turn_is_stored_outside_the_event_loop(input, echo, elsewhere):
    told = response(**echo)
    turn = new_turn(MemoryStore(100, 2**30), input)
    nodes, items = await turn.nodes(told, b"")
    assert (told.thread != threading.get_ident()) is elsewhere
    body = read_turn(nodes[0].body)
    assert body.output == tuple(SAID)
    assert body.input[0]["content"] in (input, [{"type": "input_text", "text": input}])
    assert items == [*body.input, *body.output]
    assert [node.id for node in nodes] == [turn.id, head_id(turn.id)]
    head = read_head(nodes[1].body)
    assert {name: head.response[name] for name in echo} == echo


async def test_a_turn_that_is_written_down_twice_has_the_same_items():
    turn = new_turn(MemoryStore(100, 2**30), LONG)
    begun, _ = await turn.nodes(response() | {"status": "in_progress", "output": []}, b"")
    ended, _ = await turn.nodes(response(), b"")
    assert read_turn(begun[0].body).input == read_turn(ended[0].body).input


@pytest.mark.parametrize("input", ["hi", LONG], ids=["small", "large"])
async def test_a_complete_answer_is_stored_before_its_end_is_sent(input):
    store = MemoryStore(100, 2**30)
    turn = new_turn(store, input)
    body = json.dumps(response()).encode()
    assert await turn.persist_whole(body, Answer(AnswerStart(), (), Usage(), AnswerEnd("stop"))) == body
    node, head = await store.get("alice", turn.id), await store.get("alice", head_id(turn.id))
    assert head is not None
    assert read_turn(node.body).status == "completed"
    assert turn.is_persisted


async def test_the_log_of_a_large_turn_is_kept_byte_for_byte():
    events = [b'event: a\ndata: {"sequence_number":%d,"t":"%b"}\n\n' % (i, b"y" * 50_000) for i in range(20)]
    nodes, _ = await new_turn(MemoryStore(100, 2**30), LONG).nodes(response(), log_of(*events))
    assert after_number().of_log(read_head(nodes[1].body).log) == b"".join(events)


# On its way to the client


class Talk:
    """A stored turn between a provider that speaks Chat and a client that accepts every write immediately."""

    def __init__(self) -> None:
        self.store = MemoryStore(60, 2**20)
        self.turn = new_turn(self.store, "hi")
        call = CODECS["responses"].read_request({"model": "m", "input": "hi"})
        writer = self.turn.writer(CODECS["responses"].writer(self.turn.reply(Reply(call, Issuer("p", ""), 1))))
        self.chunks = Handoff[Chunk](PIECES_QUEUED)
        lane = Translation(CODECS["chat"], writer, CODECS["chat"].wire, lambda failed: failed, 2**20)
        record = Record("id", "responses")
        delivery = Delivery(lane, record, 15.0, trio.current_time, turn=self.turn)
        self.body = StreamBody(delivery, self.chunks, record, self.turn)
        self.got: list[bytes] = []

    async def begin(self, nursery: trio.Nursery) -> None:
        """Run the turn until the body waits for more than the answer's first content."""
        nursery.start_soon(self.body.store_on_cancel)
        await self.chunks.send(BEGUN)
        await self.body.open()
        self.body.set_writer(lambda data: not self.got.append(data))
        nursery.start_soon(self._read)
        await wait_all_tasks_blocked()
        assert b"output_text.delta" in b"".join(self.got)

    async def _read(self) -> None:
        async for data in self.body:
            self.got.append(data)

    async def stored(self) -> str | None:
        node = await self.store.get("alice", self.turn.id)
        return None if node is None else read_turn(node.body).status


EVENTS = events_of("chat", SCRIPTS["text"])
BEGUN, REST = b"".join(EVENTS[:2]), b"".join(EVENTS[2:])


@pytest.mark.parametrize("behind", [b": more\n\n", b'data: {"choices":[]}\n\n'])
async def test_data_after_the_end_does_not_replace_the_stored_end(behind):
    talk = Talk()
    async with trio.open_nursery() as nursery:
        await talk.begin(nursery)
        assert talk.chunks.offer(REST)
        assert b"response.completed" not in b"".join(talk.got)  # the turn must be stored first
        assert not talk.chunks.offer(behind)
        talk.chunks.send_nowait(behind)
        await wait_all_tasks_blocked()
        assert b"response.completed" in b"".join(talk.got)
        nursery.cancel_scope.cancel()
    assert await talk.stored() == "completed"


@pytest.mark.parametrize("left_first", [True, False])
async def test_an_answer_that_ends_as_the_client_leaves_is_kept_whole(left_first):
    """Both may happen in one turn of the loop."""
    talk = Talk()
    async with trio.open_nursery() as nursery:
        await talk.begin(nursery)
        if left_first:
            nursery.cancel_scope.cancel()
        assert talk.chunks.offer(REST)
        nursery.cancel_scope.cancel()
    assert await talk.stored() == "completed"


async def test_a_client_that_leaves_midway_leaves_the_partial_turn():
    talk = Talk()
    async with trio.open_nursery() as nursery:
        await talk.begin(nursery)
        nursery.cancel_scope.cancel()
    assert await talk.stored() == "cancelled"
