"""What is written down of a turn, and where: the work of a large one is done beside the event loop."""

import json
import threading
from typing import Any

import msgspec
import pytest

from gateway.state.bodies import head_id, read_head, read_turn
from gateway.state.memory import MemoryStore
from gateway.turns.keeping import Wish
from gateway.turns.kept import LARGE, KeptTurn
from providers.responses.kept import EventLog, after
from streams.events import Begin, End, Usage
from streams.fold import Answer

SAID = [{"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "yes"}]}]
LONG = "x" * (LARGE + 1)


class Seen(dict[str, Any]):
    """A response that knows which thread has written it down."""

    thread: int | None = None

    def items(self) -> Any:
        self.thread = threading.get_ident()
        return super().items()


def response(**more: Any) -> Seen:
    """As the writers have it: what it repeats of the request is encoded already."""
    told = {"id": "r", "status": "completed", "output": SAID, "usage": None}
    return Seen(told | {name: msgspec.Raw(json.dumps(value).encode()) for name, value in more.items()})


def kept(store: MemoryStore | None, input: str, wish: Wish | None = None) -> KeptTurn:
    return KeptTurn(store, "alice", wish or Wish(), None, json.dumps(input).encode())


def log_of(*events: bytes) -> bytes:
    log = EventLog()
    for event in events:
        log.add(event)
    return log.close()


@pytest.mark.parametrize(
    ("input", "echo", "elsewhere"),
    [
        ("hi", {}, False),
        ("hi", {"instructions": "be brief", "tools": []}, False),
        (LONG, {}, True),
        ("hi", {"instructions": LONG}, True),
        (LONG[: LARGE // 2], {"tools": [LONG[: LARGE // 2 + 1]]}, True),
    ],
    ids=["small", "some echo", "long input", "long echo", "both"],
)
async def test_a_large_turn_is_written_down_beside_the_event_loop(input, echo, elsewhere):
    told = response(**echo)
    turn = kept(MemoryStore(100, 2**30), input)
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
    turn = kept(MemoryStore(100, 2**30), LONG)
    begun, _ = await turn.nodes(response() | {"status": "in_progress", "output": []}, b"")
    ended, _ = await turn.nodes(response(), b"")
    assert read_turn(begun[0].body).input == read_turn(ended[0].body).input


@pytest.mark.parametrize("input", ["hi", LONG], ids=["small", "large"])
async def test_an_answer_that_is_whole_is_stored_before_it_is_told(input):
    store = MemoryStore(100, 2**30)
    turn = kept(store, input)
    body = json.dumps(response()).encode()
    assert await turn.whole(body, Answer(Begin(), (), Usage(), End("stop"))) == body
    node, head = await store.get("alice", turn.id), await store.get("alice", head_id(turn.id))
    assert node is not None
    assert head is not None
    assert read_turn(node.body).status == "completed"
    assert turn.kept


async def test_the_log_of_a_large_turn_is_kept_byte_for_byte():
    events = [b'event: a\ndata: {"sequence_number":%d,"t":"%b"}\n\n' % (i, b"y" * 50_000) for i in range(20)]
    nodes, _ = await kept(MemoryStore(100, 2**30), LONG).nodes(response(), log_of(*events))
    assert after(read_head(nodes[1].body).log) == b"".join(events)
