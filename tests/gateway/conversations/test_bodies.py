"""The contents of stored nodes: they round-trip, and incomplete bytes are an error."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.conversations.bodies import (
    LONG,
    StoredConversation,
    StoredHead,
    StoredTurn,
    conversation_body,
    head_body,
    items_body,
    read_conversation,
    read_head,
    read_turn,
    turn_body,
)
from gateway.stores.errors import Unavailable
from tests.support.each_row import each_row
from tests.support.examples import examples

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, values, max_size=4)
lists = st.lists(objects, max_size=4)


@settings(max_examples=examples(40))
@given(texts, lists, lists)
def test_a_turn_survives_a_round_trip(status, input, output):
    turn = read_turn(turn_body(status, input, output))
    assert turn == StoredTurn(tuple(input), tuple(output), status)
    assert list(turn.items) == input + output


@settings(max_examples=examples(40))
@given(lists)
def test_items_that_were_put_into_a_conversation_are_read_as_a_turn(items):
    assert read_turn(items_body(items)).items == tuple(items)


@settings(max_examples=examples(40))
@given(objects, st.binary(max_size=100))
def test_the_rest_of_a_response_comes_back_and_of_its_output_the_place(response, log):
    whole = {"id": "resp_1", "output": [{"large": "x"}]} | response | {"output": [1]}
    head = read_head(head_body(whole, log))
    assert head == StoredHead({**whole, "output": None}, log)
    assert list(head.response) == list(whole)


@settings(max_examples=examples(40))
@given(st.integers(0, 2**40), objects, st.none() | texts)
def test_a_conversation_survives_a_round_trip(created_at, metadata, head):
    conversation = StoredConversation(created_at, metadata, head)
    assert read_conversation(conversation_body(conversation)) == conversation


READERS = {"turn": read_turn, "head": read_head, "conversation": read_conversation}
WHOLE = {
    "turn": turn_body("completed", [{"id": "a"}], [{"id": "b"}]),
    "head": head_body({"id": "a"}, b""),
    "conversation": conversation_body(StoredConversation(1, {})),
}


@each_row("kind", READERS)
def test_a_body_that_is_cut_anywhere_is_not_read(kind):
    body = WHOLE[kind]
    READERS[kind](body)
    for end in range(len(body)):
        with pytest.raises(Unavailable, match="damaged"):
            READERS[kind](body[:end])


@pytest.mark.parametrize("kind", READERS)
@given(
    body=st.binary(max_size=50) | st.sampled_from([b"{}", b"[]", b"null", b"[" * 100_000, b"\x01\0\0\0\x02{}", b"\xff"])
)
def test_stored_bytes_of_another_format_are_not_read(kind, body):
    with pytest.raises(Unavailable):
        READERS[kind](body)


def test_a_later_version_is_not_guessed_at():
    body = head_body({"id": "a"}, b"")
    with pytest.raises(Unavailable):
        read_head(b"\x02" + body[1:])


def test_long_turns_are_not_compressed_in_the_event_loop():
    said = [{"type": "message", "content": "x" * LONG}]
    assert turn_body("completed", [], said).startswith(b"{")


def test_a_turn_is_stored_compressed_and_one_of_an_earlier_version_is_still_read():
    said = [
        {"type": "message", "id": f"msg_{i}", "content": [{"type": "output_text", "text": "Yes."}]} for i in range(50)
    ]
    body = turn_body("completed", [], said)
    assert len(body) < 1000
    tools = [{"type": "function", "name": f"f{i}", "description": "Reads the file."} for i in range(99)]
    assert len(head_body({"tools": tools}, b"")) < 1000
    assert read_turn(json.dumps({"status": "completed", "input": [], "output": said}).encode()) == read_turn(body)
