"""The state machine of a stream: its actions for triggers in any order."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.exchange.delivery import (
    END_GRACE,
    MAX_HELD,
    TRANSITIONS,
    Actions,
    Delivery,
    DeliveryState,
    Ping,
    Refuse,
    Signal,
    StoreTurn,
)
from gateway.ledger.record import Record
from gateway.streaming.lane import Lane, StreamProgress
from streams.events import ErrorInfo
from streams.sse import COMMENT_PING
from tests.support.each_row import each_row
from tests.support.lanes import SCRIPTS, byte_lane, events_of, hub_lane

KEEP_ALIVE = 15.0
OPENING, WORD, *MORE = events_of("chat", SCRIPTS["text"])
REST = b"".join(MORE)
FINISH, DONE = REST.removesuffix(b"data: [DONE]\n\n"), b"data: [DONE]\n\n"
BROKE = ErrorInfo("upstream", "it broke")
ERROR = b'data: {"error": {"message": "overloaded", "code": 503}}\n\n'
OPENINGS = OPENING * (MAX_HELD // (4 * len(OPENING)))  # a quarter of what may be held, and a little less
STATES = tuple(DeliveryState)


class Recorder(TurnRecorder):
    """A recorder that stores the turn before the first events for which ``due`` returns true."""

    records = True

    def __init__(self, due: Callable[[StreamProgress], bool]) -> None:
        self._due = due
        self.asked = 0

    def may_pass(self, data: bytes, seen: StreamProgress) -> bool:
        self.asked += self._due(seen)
        return not self._due(seen) or self.asked > 1


def at_content(seen: StreamProgress) -> bool:
    return seen.committed


def at_end(seen: StreamProgress) -> bool:
    return seen.over


class Client:
    """A client that accepts every write, on a simulated clock. ``did`` lists the actions, ``wrote`` the events."""

    def __init__(self, lane: Lane | None = None, turn: TurnRecorder = UNRECORDED) -> None:
        self.now = 0.0
        self.lane = lane or byte_lane("chat")
        self.record = Record("req_1", "chat")
        self.delivery = Delivery(self.lane, self.record, KEEP_ALIVE, lambda: self.now, turn=turn)
        self.did: list[Any] = []
        self.wrote = b""
        self.fails: ErrorInfo | None = None
        """The turn cannot be stored."""

    @property
    def state(self) -> DeliveryState:
        return self.delivery.state

    def receive(self, data: bytes, failed: ErrorInfo | None = None) -> Actions:
        return self._do(self.delivery.receive(data, failed))

    def wait(self, seconds: float, *, more: bool = False) -> Actions:
        self.now += seconds
        return self._do(self.delivery.time_up(has_more_data=more))

    def upstream_ends(self) -> Actions:
        return self._do(self.delivery.upstream_ended())

    def use_lane(self, lane: Lane) -> None:
        self.lane = lane
        self.delivery.use_lane(lane)

    def _do(self, actions: Actions) -> Actions:
        for action in actions:
            self.did.append(action)
            if isinstance(action, bytes):
                self.wrote += action
            elif isinstance(action, StoreTurn):
                self._do(self.delivery.turn_stored(action, self._stored(action.data)))
            elif action is Signal.LINGER:
                self.delivery.linger()
        return actions

    def _stored(self, data: bytes) -> bytes:
        if self.fails is None or not self.lane.progress.over:  # only at its end can a turn fail
            return data
        self.lane.progress.mark_failed(self.fails)
        return ERROR


# The table


def test_every_state_is_reached_and_comes_to_an_end():
    after = {state: {to for _, to in row.values()} for state, row in TRANSITIONS.items()}
    assert set(after) == set(DeliveryState)
    assert set.union(*after.values()) | {DeliveryState.HELD} == set(DeliveryState)
    for state in DeliveryState:
        found = {state}
        while not (nearer := set.union(*(after[one] for one in found))) <= found:
            found |= nearer
        assert DeliveryState.ENDED in found


@each_row(("state", "earlier"), [(state, earlier) for state in STATES for earlier in STATES[: STATES.index(state)]])
def test_no_state_leads_back(state, earlier):
    """The only exception is storing: a turn in the background stores its first content, then streams on."""
    if (state, earlier) != (DeliveryState.STORING, DeliveryState.STREAMING):
        assert earlier not in {to for _, to in TRANSITIONS[state].values()}


@attrs.frozen
class Case:
    """A sequence of events and its outcome: bytes arrive, numbers are seconds of silence, ``None`` is the end of the
    upstream's body."""

    comes: tuple[bytes | float | ErrorInfo | None, ...]
    does: tuple[Any, ...]
    state: DeliveryState


COMMENT = b": x\n\n"
OPEN, LINGER, PING = Signal.OPEN, Signal.LINGER, Ping(COMMENT_PING)
CASES = {
    "openings are held": Case((OPENING, OPENINGS), (), DeliveryState.HELD),
    "half an event is nothing": Case((OPENING, WORD[:9]), (), DeliveryState.HELD),
    "too many openings": Case((OPENINGS,) * 5, (OPEN, OPENINGS * 5), DeliveryState.OPEN),
    "too many openings, twice": Case((OPENINGS,) * 10, (OPEN, OPENINGS * 5, OPENINGS * 5), DeliveryState.OPEN),
    "content": Case((OPENING, WORD), (OPEN, OPENING + WORD), DeliveryState.STREAMING),
    "content goes on": Case((WORD, COMMENT, WORD), (OPEN, WORD, COMMENT, WORD), DeliveryState.STREAMING),
    "a whole answer at once": Case(
        (OPENING + WORD + REST,), (OPEN, OPENING + WORD + REST, LINGER), DeliveryState.LINGERING
    ),
    "a failure is refused": Case((OPENING, BROKE), (Refuse(BROKE),), DeliveryState.ENDED),
    "a failure behind content": Case((WORD, BROKE), (OPEN, WORD, bytes, LINGER), DeliveryState.LINGERING),
    "content and a failure at once": Case((OPENING + WORD + ERROR,), (OPEN, bytes, LINGER), DeliveryState.LINGERING),
    "an empty body": Case((None,), (Refuse,), DeliveryState.ENDED),
    "silence": Case((OPENING, 15.0), (OPEN, PING), DeliveryState.OPEN),
    "not yet silence": Case((OPENING, 14.9), (), DeliveryState.HELD),
    "silence goes on": Case((15.0, 15.0, 14.0), (OPEN, PING, PING), DeliveryState.OPEN),
    "content behind silence": Case((OPENING, 15.0, WORD), (OPEN, PING, OPENING + WORD), DeliveryState.STREAMING),
    "a failure behind silence": Case((15.0, BROKE), (OPEN, PING, bytes, LINGER), DeliveryState.LINGERING),
    "silence in mid-answer": Case((WORD, 15.0, 14.0), (OPEN, WORD, PING), DeliveryState.STREAMING),
    "half an event breaks no silence": Case((WORD, 9.0, WORD[:9], 6.0), (OPEN, WORD, PING), DeliveryState.STREAMING),
    "content breaks silence": Case((WORD, 9.0, WORD, 14.0), (OPEN, WORD, WORD), DeliveryState.STREAMING),
    "more behind the end": Case((WORD + REST, COMMENT), (OPEN, WORD + REST, LINGER, COMMENT), DeliveryState.LINGERING),
    "the provider ends its body": Case((WORD + REST, None), (OPEN, WORD + REST, LINGER), DeliveryState.ENDED),
    "the provider does not": Case((WORD + REST, END_GRACE), (OPEN, WORD + REST, LINGER), DeliveryState.ENDED),
    "it talks on": Case((WORD + REST, 0.2, WORD, 0.1), (OPEN, WORD + REST, LINGER, WORD), DeliveryState.ENDED),
    "a body that is cut": Case((WORD, None), (OPEN, WORD, bytes, LINGER), DeliveryState.LINGERING),
}  # fmt: skip


def happen(client: Client, comes: Iterable[bytes | float | ErrorInfo | None]) -> None:
    for one in comes:
        if isinstance(one, bytes):
            client.receive(one)
        elif isinstance(one, float):
            client.wait(one)
        elif one is None:
            client.upstream_ends()
        else:
            client.receive(b"", one)


@each_row("case", CASES.values(), every=2)
def test_each_delivery_event_causes_its_actions(case):
    client = Client()
    happen(client, case.comes)
    for action, expected in zip(client.did, case.does, strict=True):
        assert isinstance(action, expected) if isinstance(expected, type) else action == expected
    assert client.state is case.state


# A turn that is stored


STORED = {
    "at its end": (at_end, (OPENING, WORD, REST), OPENING + WORD, DeliveryState.LINGERING),
    "at once": (at_end, (OPENING + WORD + REST,), b"", DeliveryState.LINGERING),
    "at its first content": (at_content, (OPENING, WORD), b"", DeliveryState.STREAMING),
    "behind silence": (at_content, (OPENING, 15.0, WORD), b"", DeliveryState.STREAMING),
    "failing behind content": (at_end, (OPENING + WORD, BROKE), OPENING + WORD, DeliveryState.LINGERING),
    "failing behind silence": (at_end, (OPENING, 15.0, BROKE), b"", DeliveryState.LINGERING),
}


@each_row(("due", "comes", "before", "state"), STORED.values())
def test_a_turn_is_stored_before_the_event_that_reports_it(due, comes, before, state):
    client = Client(turn=Recorder(due))
    happen(client, comes)
    place = next(place for place, action in enumerate(client.did) if isinstance(action, StoreTurn))
    assert b"".join(action for action in client.did[:place] if isinstance(action, bytes)) == before
    assert client.wrote == before + b"".join(action for action in client.did[place:] if isinstance(action, bytes))
    assert client.wrote.startswith(OPENING + WORD if WORD in comes else OPENING)
    assert client.state is state


def test_a_failure_that_is_stored_first_is_refused_anyway():
    client = Client(turn=Recorder(at_end))
    happen(client, (OPENING, BROKE))
    assert [type(action) for action in client.did] == [StoreTurn, Refuse]
    assert client.state is DeliveryState.ENDED


def test_a_turn_that_cannot_be_stored_has_failed():
    client = Client(turn=Recorder(at_end))
    client.fails = BROKE
    happen(client, (OPENING, WORD, REST))
    assert client.wrote == OPENING + WORD + ERROR
    assert client.record.error == BROKE
    assert client.state is DeliveryState.LINGERING


# The answer of another attempt


def test_the_output_of_a_failed_attempt_is_discarded():
    client = Client()
    happen(client, (OPENING, OPENINGS))
    client.use_lane(byte_lane("chat"))
    happen(client, (WORD,))
    assert client.wrote == WORD


def test_another_attempt_may_continue_in_an_open_stream():
    client = Client()
    happen(client, (OPENING, 15.0))
    client.use_lane(hub_lane("messages", "chat"))
    happen(client, events_of("messages", SCRIPTS["text"]))
    assert client.did[:2] == [OPEN, PING]
    assert client.wrote.count(b"[DONE]") == 1
    assert OPENING not in client.wrote


def test_no_other_attempt_continues_after_content():
    client = Client()
    happen(client, (WORD,))
    with pytest.raises(AssertionError):
        client.use_lane(byte_lane("chat"))


# Properties of every order

PIECES = (OPENING, OPENINGS, COMMENT, WORD, FINISH, DONE, ERROR, WORD[:20], WORD[20:], b"data: nonsense\n\n")
HAPPENINGS = st.one_of(
    st.sampled_from(PIECES), st.sampled_from((0.0, 1.0, 14.0, 15.0, 60.0)), st.sampled_from((None, BROKE))
)
TURNS = st.sampled_from((None, at_content, at_end))


@given(comes=st.lists(HAPPENINGS, max_size=30), due=TURNS, stores=st.booleans())
@example(comes=[FINISH, BROKE], due=at_content, stores=False)
def test_a_stream_never_reports_a_false_end(comes, due, stores):
    client = Client(turn=UNRECORDED if due is None else Recorder(due))
    client.fails = None if stores else BROKE
    came = 0
    for one in (*comes, None, None):
        if client.state is DeliveryState.ENDED:
            break
        silent = isinstance(one, float) and client.now + one >= client.delivery.deadline
        state = client.state
        did = len(client.did)
        happen(client, [one])
        came += len(one) if isinstance(one, bytes) else 0
        seen = client.lane.progress
        quiet = not silent and one is not COMMENT
        if state is DeliveryState.HELD and not seen.committed and quiet and came <= MAX_HELD:
            assert not any(isinstance(action, bytes | Ping) for action in client.did[did:]), "nothing before content"
        if client.state in (DeliveryState.HELD, DeliveryState.OPEN):
            assert came - len(client.wrote) <= MAX_HELD + len(OPENINGS), "what is held is bounded"
    assert client.state is DeliveryState.ENDED
    refused = [action for action in client.did if isinstance(action, Refuse)]
    assert len(refused) + client.did.count(LINGER) == 1, "it ends once"
    assert not (refused and client.wrote), "a refusal is the whole answer"
    assert refused or client.did.index(OPEN) < client.did.index(LINGER)
    if client.lane.progress.error is not None and not refused:
        failed = client.wrote.rindex(b'"error"')
        assert b"[DONE]" not in client.wrote[failed:], "no good end behind a failure"
    assert client.record.error == (refused[0].error if refused else client.record.error)


@given(places=st.lists(st.integers(0, len(OPENING + WORD + REST)), max_size=8), silences=st.sets(st.integers(0, 8)))
def test_the_answer_arrives_whole_however_it_is_cut(places, silences):
    answer, client = OPENING + WORD + REST, Client()
    cuts = sorted({0, *places, len(answer)})
    for number, (start, end) in enumerate(pairwise(cuts)):
        client.wait(KEEP_ALIVE * (number in silences) / 2)
        client.receive(answer[start:end])
    client.upstream_ends()
    assert client.wrote == answer
    assert client.record.bill.is_complete


def test_no_keep_alive_precedes_content_that_has_already_arrived():
    client = Client()
    client.receive(WORD)
    assert client.wait(16, more=True) == ()
    assert client.wait(14) == ()
    assert client.wait(1) == (PING,)


def test_data_after_an_answer_keeps_no_stream_open():
    client = Client()
    client.receive(WORD + REST)
    assert client.wait(END_GRACE, more=True) == ()
    assert client.state is DeliveryState.ENDED
