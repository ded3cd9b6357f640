"""The cost of explaining a turn, in function calls, which are equal on every machine."""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio

from gateway.features.prompt_caches.items import LIST
from gateway.features.prompt_caches.memory import PromptMemory
from gateway.features.prompt_caches.requests import ReadPrompts, SentRequest
from gateway.features.prompt_caches.tracker import PromptTracker
from streams.events import APIS, Usage
from tests.support.cached_prompts import SYSTEM, read_members, request_of, sent_request, user_item
from tests.support.counted_calls import calls
from tests.support.each_row import each_row
from tests.support.set_clock import SetClock

READ = Usage(input=1, cache_read=5_000, cache_write=300, reports_cache_read=True)

MOST_CALLS = 790
"""Calls for a turn of Messages with two new blocks, most of them into C. There were 4,200 when blocks were objects."""


class Client:
    """A client that sends the turns of a conversation through a tracker."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.tracker = PromptTracker(PromptMemory.make_private(2**22, self.clock))

    def send(self, api: Any, body: dict[str, Any], /, **more: Any) -> SentRequest:
        """Return a sent request."""
        self.clock.now += 1
        return sent_request(api, body, self.clock.now, requested_model="model", **more)

    def read(self, sent: SentRequest) -> ReadPrompts:
        read = self.tracker.reader.read(self.tracker.reader.open(sent))
        assert read is not None
        return read

    def follow(self, sent: SentRequest, read: ReadPrompts) -> None:
        """Do everything for a request that was read, and its response, as the gateway does."""
        tracker = self.tracker
        attempt = tracker.follow(sent, read, tracker.open_exchange(sent, tracker.parents.find(sent, read)))
        tracker.note_head(attempt, sent.sent)
        tracker.settle(attempt, READ, None, None)

    def explain(self, sent: SentRequest) -> None:
        self.follow(sent, self.read(sent))


def calls_of_turn(api: str, rounds: int) -> int:
    """Return the calls for a turn of a conversation that has ``rounds`` of tool calls already."""
    client = Client()
    for number in range(3):
        client.explain(client.send(api, request_of(api, rounds + number)))
    sent = client.send(api, request_of(api, rounds + 3))
    return calls(lambda: client.explain(sent))


@each_row("api", APIS, every=3)
def test_a_turn_costs_the_same_after_a_long_history(api: str):
    """Only a hash of the history grows, by one call for 64 KiB."""
    assert calls_of_turn(api, 450) < 1.2 * calls_of_turn(api, 40)


def test_a_turn_costs_few_calls():
    assert calls_of_turn("messages", 450) < MOST_CALLS


def calls_of_continuation(turns: int) -> int:
    """Return the calls to read a turn after ``turns`` stored ones, which have ids that their requests did not have."""
    client = Client()

    def send(turn: int) -> SentRequest:
        texts = [f"Question {number}, which is answered" for number in range(turn + 1)]
        stored = [{"id": f"msg_{number}", **user_item("responses", text)} for number, text in enumerate(texts[:-1])]
        own = user_item("responses", texts[-1])
        members, items = read_members({"input": [*stored, own]}), [user_item("chat", text) for text in texts]
        own_members = {"client_api": "responses", "client_members": lambda: members, "client_earlier": turn}
        return client.send("chat", {"messages": items}, **own_members)

    for turn in (turns, turns + 1):
        client.explain(send(turn))
    last = send(turns + 2)
    return calls(lambda: client.explain(last))


def test_a_turn_after_stored_ones_costs_the_same_for_any_number():
    """All stored turns were parsed for each request, which took half the time of a conversation of 800 turns."""
    assert calls_of_continuation(400) < 1.2 * calls_of_continuation(20)


def test_the_event_loop_does_the_same_for_10_000_blocks():
    """A thread reads the prompt, and stores where the messages end; the rest is done where the streams are."""
    counts = []
    for number in (300, 10_000):
        client = Client()
        items = [user_item("messages", f"Message {at} of a long list of messages") for at in range(number)]
        sent = client.send("messages", {"system": SYSTEM, "messages": items})
        reader, read = client.tracker.reader, client.read(sent)
        assert read.prompt.history_count == number
        unread = reader.open(sent, size=2_000_000)
        in_loop = calls(lambda client=client, sent=sent, read=read: client.follow(sent, read))
        counts.append((in_loop, calls(lambda reader=reader, unread=unread: trio.run(reader.read_in_thread, unread))))
    for few, many in zip(*counts, strict=True):
        assert many < 1.2 * few


RELEASING = frozenset({"blake2b", "update"})
"""Functions that release the lock for long arguments."""


def longest_call(work: Callable[[], object]) -> float:
    """Return the CPU seconds of the longest call into C that keeps the interpreter's lock."""
    longest, began = 0.0, 0.0

    def note(_: Any, event: str, function: Any) -> None:
        nonlocal longest, began
        if event == "c_call":
            began = time.thread_time()
        elif event == "c_return" and function.__name__ not in RELEASING:
            longest = max(longest, time.thread_time() - began)

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return longest


@pytest.mark.soak
@pytest.mark.parametrize("length", [500_000, 16_000_000])
def test_a_history_of_16_megabytes_keeps_no_stream_waiting(length):
    """A thread reads it, and no call takes longer than to find the members of a list, some 5 ms."""
    items = [user_item("messages", "word " * (length // 5)) for _ in range(16_000_000 // length)]
    text = json.dumps([items]).encode()
    client = Client()
    sent = client.send("messages", {"system": SYSTEM, "messages": items})
    scan = min(longest_call(lambda: LIST.decode(text)) for _ in range(3))
    assert min(longest_call(lambda one=one: one.read(sent)) for one in (Client(), Client(), client)) < 2 * scan
    later = client.send("messages", {"system": SYSTEM, "messages": [*items, user_item("messages", "Another message")]})
    assert longest_call(lambda: client.read(later)) < 2 * scan


def test_large_histories_are_not_hashed_in_the_event_loop():
    client = Client()
    items = [user_item("messages", "A long message. " * 1_000) for _ in range(100)]
    body = {"system": SYSTEM, "messages": items}
    client.explain(client.send("messages", body))
    sent = client.send("messages", {**body, "messages": [*items, items[0]]})
    unread = client.tracker.reader.open(sent, size=1_500_000)
    assert 1_400_000 < unread.new < 1_500_000


def test_a_translated_request_is_recognized_without_a_thread():
    """Only its new messages are read: a thread costs more than that."""
    client, items = Client(), [user_item("messages", f"Message {at}. " * 50) for at in range(400)]
    for number in range(3):
        body = {
            "system": SYSTEM,
            "messages": [*items, *(user_item("messages", f"New {at} {'x' * 50}") for at in range(number))],
        }
        raw = json.dumps(body).encode()
        sent = client.send("chat", body, body=raw, client_api="messages", client_members=read_members(body))
        unread = client.tracker.reader.open(sent, size=2 * len(raw))
        assert (unread.new < 5_000) == (number > 0)
        assert client.tracker.reader.read(unread) is not None
