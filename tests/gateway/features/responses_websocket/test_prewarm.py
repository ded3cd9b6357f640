"""The memory of a connection for turns that were sent in advance, and its limits."""

import json
import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.features.responses_websocket.envelopes import read_envelope
from gateway.features.responses_websocket.prewarm import MAX_PREWARMS, Prewarms
from streams.errors import GatewayError
from tests.support.each_row import each_row

MEGABYTE = 2**20


def members(**body: Any) -> Mapping[str, Any]:
    return read_envelope(json.dumps({"type": "response.create", "model": "m", "generate": False, **body})).members


def message(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def is_known(ahead: Prewarms, id: str) -> bool:
    return "input" in ahead.with_prewarm(members(previous_response_id=id))


def test_prewarmed_items_precede_the_turn_byte_for_byte():
    ahead = Prewarms(MEGABYTE)
    frame = '{"type":"response.create","input":[{"n": 1.0,"t":"caf\\u00e9"}],"conversation": "conv_1","model":"other"}'
    ahead.remember("resp_1", read_envelope(frame).members)
    told = ahead.with_prewarm(members(previous_response_id="resp_1", input=[message("next")]))
    assert bytes(told["input"]).startswith(b'[{"n": 1.0,"t":"caf\\u00e9"},{')
    assert json.loads(bytes(told["input"]))[1:] == [message("next")]
    assert (bytes(told["conversation"]), bytes(told["model"])) == (b'"conv_1"', b'"m"')
    assert "previous_response_id" not in told


def test_the_predecessor_of_a_prewarmed_turn_stays_its_predecessor():
    ahead = Prewarms(MEGABYTE)
    ahead.remember("resp_1", members(input="hello", previous_response_id="resp_0"))
    told = ahead.with_prewarm(members(previous_response_id="resp_1"))
    assert bytes(told["previous_response_id"]) == b'"resp_0"'


@each_row("previous", ["unknown", None, 5])
def test_other_requests_are_unchanged(previous):
    ahead = Prewarms(MEGABYTE)
    ahead.remember("resp_1", members(input=[]))
    asked = members(input="x", previous_response_id=previous)
    assert ahead.with_prewarm(asked) is asked


@each_row(("input", "count"), [("hello", 1), ([], 0), (None, 0), ([message("a"), message("b")], 2)])
def test_every_form_of_input_can_be_continued(input, count):
    ahead = Prewarms(MEGABYTE)
    ahead.remember("resp_1", members(input=input))
    told = ahead.with_prewarm(members(previous_response_id="resp_1", input="next"))
    items = json.loads(bytes(told["input"]))
    assert len(items) == count + 1
    assert items[-1]["content"] == "next"


def test_invalid_input_is_refused():
    ahead = Prewarms(MEGABYTE)
    with pytest.raises(GatewayError) as caught:
        ahead.remember("resp_1", members(input={"a": 1}))
    assert caught.value.info.status == 400
    assert not is_known(ahead, "resp_1")


def test_a_remembered_part_of_a_frame_does_not_keep_the_frame_in_memory():
    ahead = Prewarms(16 * MEGABYTE)
    tracemalloc.start()
    try:
        for i in range(MAX_PREWARMS):
            body = {"instructions": str(i) + "x" * MEGABYTE, "input": [message("hi")], "conversation": "conv_1"}
            ahead.remember(f"resp_{i}", members(**body))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(is_known(ahead, f"resp_{i}") for i in range(MAX_PREWARMS))
    assert held < 4 * MEGABYTE, "the last frame may still be there"


def test_the_number_of_prewarmed_turns_is_limited():
    ahead = Prewarms(MEGABYTE)
    for i in range(MAX_PREWARMS + 5):
        ahead.remember(f"resp_{i}", members())
    assert [i for i in range(MAX_PREWARMS + 5) if is_known(ahead, f"resp_{i}")] == list(range(5, MAX_PREWARMS + 5))


@each_row("name", ["input", "conversation", "previous_response_id"])
def test_all_remembered_parts_count_towards_the_limit_and_the_newest_stays(name):
    ahead = Prewarms(2500)
    for i in range(3):
        ahead.remember(f"resp_{i}", members(**{name: "x" * 1000}))
    assert [is_known(ahead, f"resp_{i}") for i in range(3)] == [False, True, True]
    ahead.remember("resp_3", members(**{name: "x" * 5000}))
    assert [is_known(ahead, f"resp_{i}") for i in range(4)] == [False, False, False, True]
