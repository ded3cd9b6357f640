"""Stored parts of Responses turns: input, references, pages, and the input of the next turn."""

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import ResponseItemList

from providers.chat import CHAT
from providers.messages import MESSAGES
from providers.neutral.codec import Recipient
from providers.neutral.request import ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from providers.neutral.seal import seal
from providers.responses import RESPONSES
from providers.responses.compaction import compaction_item
from providers.responses.incoming import read_continuation
from providers.responses.kept_items import (
    answered_ids,
    page,
    prepare_input,
    previous_items,
    references,
    resolve_references,
)
from providers.responses.tools import is_own_id
from streams.errors import GatewayError
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.responses_requests import OTHER, US
from tests.support.responses_strategies import VALUE

Item = dict[str, Any]
USER: Item = {"role": "user", "content": "hi"}
CALL: Item = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
OUTPUT: Item = {"type": "function_call_output", "call_id": "c1", "output": "done"}
SAID: Item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
              "content": [{"type": "output_text", "text": "ok", "annotations": []}]}  # fmt: skip
REFERENCE: Item = {"type": "item_reference", "id": "msg_1"}
WEB: Item = {"type": "web_search_call", "id": "ws_1", "status": "completed",
             "action": {"type": "search", "query": "q"}}  # fmt: skip


def body_of(status: str = "completed", input: list[Item] | None = None, output: list[Item] | None = None) -> bytes:
    return msgspec.json.encode({"status": status, "input": input or [], "output": output or []})


# Stored input


def test_a_string_and_easy_messages_become_items() -> None:
    (item,) = prepare_input("hi")
    assert is_own_id(item.pop("id"))
    assert item == {
        "type": "message", "role": "user", "status": "completed", "content": [{"type": "input_text", "text": "hi"}],
    }  # fmt: skip
    said, given = prepare_input([{"role": "assistant", "content": "ok", "phase": "commentary"}, SAID])
    assert said["content"][0]["type"] == "output_text"
    assert (said["phase"], given) == ("commentary", SAID)
    assert prepare_input(None) == []


def test_references_keep_their_ids_and_triggers_are_not_kept() -> None:
    assert prepare_input([REFERENCE, {"id": "msg_1"}, SAID]) == [REFERENCE, REFERENCE, SAID]
    assert [item["type"] for item in prepare_input([USER, {"type": "compaction_trigger"}])] == ["message"]


ITEMS = st.lists(
    st.sampled_from([USER, CALL, OUTPUT, SAID, REFERENCE, WEB, {"id": "x"}, {"type": "compaction_trigger"},
                     {"role": "system", "content": None}, {"role": "user", "content": []},
                     {"type": "future_thing", "id": 3}])
    | st.dictionaries(st.sampled_from(["type", "role", "content", "id", "call_id", "name", "status"]), VALUE),
    max_size=5,
)  # fmt: skip


@settings(max_examples=examples(120), deadline=None)
@given(ITEMS | st.text(max_size=3) | st.none())
def test_preparing_stored_input_twice_changes_nothing(value: Any) -> None:
    try:
        RESPONSES.read_request({"model": "m", "input": value, "previous_response_id": "resp_1"})
    except GatewayError:
        return  # rejected input is not stored
    once = prepare_input(value)
    assert prepare_input(once) == once
    ids = [item["id"] for item in once if item["type"] != "item_reference"]
    assert len(set(ids)) == len(ids)
    assert all(isinstance(id, str) and id for id in ids)


def test_the_sdk_reads_a_page_of_stored_input() -> None:
    items = prepare_input([USER, {"role": "assistant", "content": "ok"}, {"role": "developer", "content": "x"}])
    found = ResponseItemList.model_validate(page(items, order="asc"))
    assert [item.id for item in found.data] == [item["id"] for item in items]


# References


def test_references_are_found_with_and_without_a_type() -> None:
    """`ItemReference.type` of the openai package may be null; the AI SDK sends it."""
    value = [REFERENCE, {"id": "a"}, {"id": "b", "type": None}, {"id": "c", "role": "user", "content": "x"}, CALL]
    assert references(value) == ["msg_1", "a", "b"]
    assert references("hi") == references(None) == []


def test_references_become_their_items_and_unknown_ones_are_reported() -> None:
    """The AI SDK names the assistant's text in place of the item, and a 404 ends its turn."""
    items, unknown = resolve_references([USER, REFERENCE, {"id": "gone"}, OUTPUT], {"msg_1": SAID})
    assert items == [USER, SAID, OUTPUT]
    assert unknown == ["gone"]
    assert resolve_references("hi", {}) == ([USER], [])


def test_no_item_is_sent_twice() -> None:
    assert resolve_references([REFERENCE, REFERENCE], {"msg_1": SAID}) == ([SAID], [])
    assert resolve_references([REFERENCE, SAID], {"msg_1": SAID}) == ([SAID], [])
    assert resolve_references([REFERENCE, USER], {}, earlier_ids={"msg_1"}) == ([USER], [])


# Pages


LIST = [{"id": f"i{n}"} for n in range(25)]


def ids(found: Item) -> list[str]:
    return [item["id"] for item in found["data"]]


def test_the_newest_come_first_twenty_at_a_time() -> None:
    first = page(LIST)
    assert ids(first) == [f"i{n}" for n in range(24, 4, -1)]
    assert (first["object"], first["first_id"], first["last_id"], first["has_more"]) == ("list", "i24", "i5", True)
    rest = page(LIST, after="i5")
    assert (ids(rest), rest["has_more"]) == (["i4", "i3", "i2", "i1", "i0"], False)
    assert page([]) == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@each_row("order, limit", itertools.product(["asc", "desc", None], ["1", 7, "100", None]))
def test_pages_put_together_are_the_list_from_either_end(order, limit) -> None:
    whole = ids(page(LIST, order=order, limit=100))
    forward: list[str] = []
    more = True
    while more:
        found = page(LIST, after=forward[-1] if forward else None, limit=limit, order=order)
        forward += ids(found)
        more = found["has_more"]
    assert forward == whole
    backward = [whole[-1]]
    more = True
    while more:
        found = page(LIST, before=backward[0], limit=limit, order=order)
        backward = ids(found) + backward
        more = found["has_more"]
    assert backward == whole


def test_a_wrong_query_is_reported() -> None:
    for query, param in [
        ({"limit": 0}, "limit"), ({"limit": "101"}, "limit"), ({"limit": "x"}, "limit"), ({"limit": "²"}, "limit"),
        ({"limit": "-1"}, "limit"), ({"limit": "9" * 5000}, "limit"), ({"order": "up"}, "order"),
        ({"after": "none"}, "after"), ({"before": "none"}, "before"),
    ]:  # fmt: skip
        with case((query, param)):
            with pytest.raises(GatewayError) as caught:
                page(LIST, **query)
            assert (caught.value.info.status, caught.value.info.param) == (400, param)


# Continuation


def test_paths_of_the_client_stay_unchanged() -> None:
    earlier = [USER, {**SAID, "content": [{"type": "output_text", "text": "ok", "odd": 1}]}]
    body = {"model": "m", "input": [{"role": "user", "content": "x", "strange": 2}]}
    call = read_continuation(body, earlier)
    assert [message.at for message in call.messages] == [
        "previous.input[0]",
        "previous.input[1]",
        "input[0]",
    ]
    assert call.dropped == ("previous.input[].content[].odd", "input[].strange")
    with pytest.raises(GatewayError) as caught:
        read_continuation({"model": "m", "input": [USER, {"role": "robot", "content": ""}]}, earlier)
    assert caught.value.info.param == "input[1].role"
    with pytest.raises(GatewayError) as caught:
        read_continuation(body, [{"type": "function_call"}])
    assert caught.value.info.param == "previous.input[0].name"


def test_model_items_before_and_after_a_continuation_are_one_turn() -> None:
    call = read_continuation({"model": "m", "input": [{"role": "assistant", "content": "more"}, USER]}, [USER, SAID])
    assert [message.role for message in call.messages] == ["user", "assistant", "user"]
    assert [part.text for part in call.messages[1].parts if isinstance(part, TextPart)] == ["ok", "more"]


def test_resolved_references_are_removed_from_a_continuation() -> None:
    """The provider would refuse what the gateway has done already; instructions are those of the request."""
    body = {"model": "m", "input": "x", "conversation": "conv_1", "previous_response_id": "resp_1", "store": True}
    call = read_continuation(body, [USER])
    assert set(call.parameters) == {"store"}
    assert call.source["input"] == [USER, {"role": "user", "content": "x"}]
    assert json.loads(CHAT.write_request(call, Recipient("up", US)).body)["messages"][-1]["content"] == "x"
    assert len(read_continuation({"model": "m", "previous_response_id": "resp_1"}, [USER]).messages) == 1


def test_reasoning_returns_to_its_issuer_only() -> None:
    item = {"type": "thinking", "thinking": "hm", "signature": "S"}
    sealed = {"type": "reasoning", "id": "rs_tg1.1", "summary": [], "encrypted_content": seal(OTHER, "messages", item)}
    body = {"model": "m", "input": [OUTPUT], "max_output_tokens": 10}
    call = read_continuation(
        body, previous_items([body_of(input=[USER], output=[sealed, CALL])], [*answered_ids(body["input"])])
    )
    assert [type(part) for part in call.messages[1].parts] == [ReasoningPart, ToolCallPart]
    assert isinstance(call.messages[2].parts[0], ToolResultPart)
    back = json.loads(MESSAGES.write_request(call, Recipient("up", OTHER)).body)
    assert back["messages"][1]["content"][0] == item
    other = MESSAGES.write_request(call, Recipient("up", US))
    assert b"signature" not in other.body
    assert other.dropped == ("previous.input[]",)


@each_row("status", ["failed", "cancelled", "queued", "in_progress"])
def test_failed_turns_are_not_repeated(status) -> None:
    assert previous_items([body_of(input=[USER], output=[SAID]), body_of(status, [USER], [CALL])]) == [USER, SAID]


def test_only_answered_calls_of_an_incomplete_turn_are_repeated() -> None:
    """Every API refuses a call that has no output, and reasoning without what it led to (maximhq/bifrost#5892)."""
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    chain = [body_of("incomplete", [USER], [thought, SAID, {**thought, "id": "rs_2"}, CALL])]
    assert previous_items(chain, [*answered_ids("go on")]) == [USER, thought, SAID]
    assert previous_items(chain, [*answered_ids([OUTPUT])])[-1] == CALL
    assert previous_items([*chain, body_of(input=[OUTPUT])])[-2] == CALL
    assert previous_items([body_of(input=[USER], output=[CALL])])[-1] == CALL  # the client's API rejects it


def test_after_a_compaction_only_the_summary_and_instructions_remain() -> None:
    rules = {"type": "message", "role": "developer", "content": "be brief"}
    notes = compaction_item("all of it")
    chain = [body_of(input=[rules, USER], output=[SAID]), body_of(output=[notes]), body_of(input=[USER], output=[SAID])]
    assert previous_items(chain) == [rules, notes, USER, SAID]
    foreign = {**notes, "encrypted_content": "gAAA"}
    assert len(previous_items([chain[0], body_of(output=[foreign])])) == 4


def test_a_damaged_turn_is_an_error() -> None:
    for body in [b"", b"[]", b'{"input": [1]}', b'{"status": null}', b"\xff", b'{"input":' * 3000]:
        with case(body), pytest.raises(ValueError, match="damaged"):
            previous_items([body])


def test_input_that_no_api_allows_passes_unread_to_the_codec() -> None:
    chain = [body_of("incomplete", [USER, {"type": "x_output", "call_id": [1]}], [CALL, {"type": "x", "call_id": {}}])]
    for value in (3, {"a": 1}, [3, None], [{"type": ["x"], "call_id": [1]}], [{"type": {"a": 1}, "id": "x"}]):
        assert previous_items(chain, [*answered_ids(value)])[0] == USER
        assert references(value) == []
        assert resolve_references(value, {})[1] == []
