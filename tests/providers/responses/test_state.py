"""What a turn of the Responses API leaves behind, and what the next one makes of it."""

import contextlib
import json
import os
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseItemList

from providers.chat import CHAT
from providers.grammar import judge
from providers.messages import MESSAGES
from providers.neutral.codec import Recipient
from providers.neutral.request import ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from providers.neutral.seal import seal
from providers.responses import RESPONSES, compaction_item, read_continued, whole_answer
from providers.responses.ids import is_ours
from providers.responses.kept_items import page, previous, references, resolved, stored_input
from providers.responses.replay import EventLog, after, replay
from streams import sse
from streams.errors import GatewayError
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    ErrorInfo,
    Event,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from streams.fold import fold
from tests.support.block_events import call_events, text_events, thought_events
from tests.support.examples import examples
from tests.support.responses_requests import OTHER, US
from tests.support.responses_strategies import TOOLS, VALUE, legal_events
from tests.support.responses_streams import (
    ANSWERS,
    HELLO,
    accumulate,
    accumulated,
    needs_corpus,
    raw_events,
    reply,
    spoken,
)

Item = dict[str, Any]

USER: Item = {"role": "user", "content": "hi"}
CALL: Item = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
OUTPUT: Item = {"type": "function_call_output", "call_id": "c1", "output": "done"}
SAID: Item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
              "content": [{"type": "output_text", "text": "ok", "annotations": []}]}  # fmt: skip
REFERENCE: Item = {"type": "item_reference", "id": "msg_1"}
WEB: Item = {"type": "web_search_call", "id": "ws_1", "status": "completed",
             "action": {"type": "search", "query": "q"}}  # fmt: skip


def plain(value: Any) -> Any:
    """An object as it will be read again."""
    return json.loads(msgspec.json.encode(value))


def kept(status: str = "completed", input: list[Item] | None = None, output: list[Item] | None = None) -> bytes:
    return msgspec.json.encode({"status": status, "input": input or [], "output": output or []})


def values(data: bytes) -> list[Item]:
    return [json.loads(sse.parse(raw)[1]) for raw in raw_events(data) if raw]  # type: ignore[index]


# What the gateway knows of a response


def test_the_response_has_the_id_and_the_state_that_it_is_told() -> None:
    """The id of `response.created` is the one that works next (vllm-project/vllm#43244, ENTERPILOT/GoModel#939)."""
    state = {"store": True, "previous_response_id": "resp_0", "conversation": {"id": "conv_1"}, "background": False}
    to = attrs.evolve(reply(), id="resp_tg1.mine", state=state)
    writer = RESPONSES.writer(to)
    events = values(b"".join(map(writer.send, [*HELLO, AnswerEnd("stop")])))
    for response in (events[0]["response"], events[-1]["response"], plain(writer.response)):
        assert response["id"] == "resp_tg1.mine"
        assert {name: response[name] for name in state} == state
    whole = plain(whole_answer(fold([*HELLO, AnswerEnd("stop")]), to))
    assert (whole["id"], whole["store"]) == ("resp_tg1.mine", True)


def test_where_nothing_is_kept_the_response_says_so() -> None:
    response = plain(whole_answer(fold([*HELLO, AnswerEnd("stop")]), reply()))
    assert is_ours(response["id"])
    assert (response["store"], response["previous_response_id"]) == (False, None)
    assert "conversation" not in response


def test_a_message_has_the_id_that_it_is_told() -> None:
    to = attrs.evolve(reply(api="messages"), id="msg_mine")
    answer = fold([AnswerStart("msg_upstream"), *HELLO[1:], AnswerEnd("stop")])
    assert json.loads(MESSAGES.write_answer(answer, to))["id"] == "msg_mine"
    assert b'"id":"msg_mine"' in MESSAGES.writer(to).send(HELLO[0]) + MESSAGES.writer(to).send(HELLO[1])
    assert json.loads(MESSAGES.write_answer(answer, reply(api="messages")))["id"] == "msg_upstream"


@pytest.mark.parametrize("last", [AnswerEnd("stop"), AnswerEnd("length"), ErrorInfo("upstream", "gone")])
def test_the_response_is_there_once_the_terminal_event_is(last: Event) -> None:
    writer = RESPONSES.writer(reply())
    for event in HELLO:
        writer.send(event)
        assert writer.response is None
    told = values(writer.send(last))[-1]["response"]
    assert plain(writer.response) == told
    assert plain(writer.interrupted("cancelled")) == told


# Broken off


def test_what_is_open_is_cut_and_a_call_that_is_not_whole_is_left_out() -> None:
    """Nobody could answer it (katanemo/plano#791)."""
    writer = RESPONSES.writer(reply(tools=TOOLS))
    events = [
        AnswerStart(), *thought_events(0, "hm"), *text_events(1, "a"), *text_events(2, "b"),
        ToolCallStart(3, "c1", "f"), ToolCallDelta(3, '{"a":'), ToolCallStart(4, "c2", "f"), ToolCallDelta(4, "{}"),
        ToolCallStart(5, "c3", "own", "custom"), ToolCallDelta(5, "{}"), TextDelta(6, "and"),
    ]  # fmt: skip
    for event in events:
        writer.send(event)
    found = plain(writer.interrupted("cancelled"))
    assert (found["status"], found["error"], found["usage"]) == ("cancelled", None, None)
    assert [(item["type"], item.get("status")) for item in found["output"]] == [
        ("reasoning", "completed"), ("message", "completed"),
        ("function_call", "incomplete"), ("message", "incomplete"),
    ]  # fmt: skip
    assert found["output"][2]["call_id"] == "c2"
    assert [part["text"] for part in found["output"][1]["content"]] == ["a", "b"]


def test_a_custom_call_that_came_wrapped_shows_when_it_is_whole() -> None:
    writer = RESPONSES.writer(reply(tools=TOOLS))
    writer.send(ToolCallStart(0, "c1", "own", "function"))
    writer.send(ToolCallDelta(0, '{"input":"SELECT'))
    assert writer.interrupted("failed")["output"] == []
    writer.send(ToolCallDelta(0, ' 1"}'))
    (item,) = writer.interrupted("failed")["output"]
    assert (item["type"], item["input"]) == ("custom_tool_call", "SELECT 1")


def test_reasoning_is_cut_with_what_the_provider_wants_back() -> None:
    native = {"type": "reasoning", "id": "rs_up", "summary": [], "encrypted_content": "gAAA"}
    writer = RESPONSES.writer(reply())
    for event in (
        AnswerStart(),
        ReasoningState(0, "responses", native),
        BlockEnd(0),
        ReasoningDelta(1, "hm"),
        ReasoningState(1, "chat", {}),
    ):
        writer.send(event)
    first, second = writer.interrupted("incomplete")["output"]
    assert first == native
    assert second["status"] == "incomplete"
    assert second["encrypted_content"].startswith("tg1.")


def test_a_failure_says_what_went_wrong() -> None:
    writer = RESPONSES.writer(reply())
    error = writer.interrupted("failed", ErrorInfo("rate_limited", "slow down"))["error"]
    assert error == {"code": "rate_limit_exceeded", "message": "slow down"}
    assert "broke off" in writer.interrupted("failed")["error"]["message"]


def real(event: Event) -> Event:
    """``event`` with an item that has all its members."""
    match event:
        case NativeItem(block=block):
            return attrs.evolve(event, item={**WEB, "id": f"ws_{block}"})
        case Citation(item=item):
            return attrs.evolve(event, item={**item, "filename": "a.pdf"})
        case _:
            return event


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(legal_events(), st.sampled_from(["cancelled", "failed", "incomplete"]))
def test_wherever_a_stream_breaks_off_what_is_left_is_a_response(events: list[Event], status: Any) -> None:
    writer, twin = RESPONSES.writer(reply(tools=TOOLS)), RESPONSES.writer(reply(tools=TOOLS))
    for event in map(real, events):
        found = plain(writer.interrupted(status))
        Response.model_validate(found, strict=False)
        assert found["status"] == status
        ids = [item["id"] for item in found["output"]]
        assert len(set(ids)) == len(ids)
        verdict = judge("responses", replay(found))
        assert verdict.broken is None, verdict.broken
        assert strip(writer.send(event)) == strip(twin.send(event))  # it was not changed by being asked


def strip(data: bytes) -> list[tuple[str, int]]:
    return [(event["type"], event["sequence_number"]) for event in values(data)]


# Stored input


def test_a_string_and_easy_messages_become_items() -> None:
    (item,) = stored_input("hi")
    assert is_ours(item.pop("id"))
    assert item == {
        "type": "message", "role": "user", "status": "completed", "content": [{"type": "input_text", "text": "hi"}],
    }  # fmt: skip
    said, given = stored_input([{"role": "assistant", "content": "ok", "phase": "commentary"}, SAID])
    assert said["content"][0]["type"] == "output_text"
    assert (said["phase"], given) == ("commentary", SAID)
    assert stored_input(None) == []


def test_ids_stay_unless_two_items_share_one() -> None:
    first, second, third = stored_input([CALL, {**CALL, "call_id": "c2"}, OUTPUT])
    assert first == CALL
    assert is_ours(second["id"])
    assert second["id"].startswith("fc_")
    assert third["id"].startswith("fco_")
    assert {**third, "id": ""} == {**OUTPUT, "id": ""}


def test_references_keep_their_ids_and_triggers_are_not_kept() -> None:
    assert stored_input([REFERENCE, {"id": "msg_1"}, SAID]) == [REFERENCE, REFERENCE, SAID]
    assert [item["type"] for item in stored_input([USER, {"type": "compaction_trigger"}])] == ["message"]


ITEMS = st.lists(
    st.sampled_from([USER, CALL, OUTPUT, SAID, REFERENCE, WEB, {"id": "x"}, {"type": "compaction_trigger"},
                     {"role": "system", "content": None}, {"role": "user", "content": []},
                     {"type": "future_thing", "id": 3}])
    | st.dictionaries(st.sampled_from(["type", "role", "content", "id", "call_id", "name", "status"]), VALUE),
    max_size=5,
)  # fmt: skip


@settings(max_examples=examples(120), deadline=None)
@given(ITEMS | st.text(max_size=3) | st.none())
def test_what_is_stored_stays_the_same_when_it_is_stored_again(value: Any) -> None:
    try:
        RESPONSES.read_request({"model": "m", "input": value, "previous_response_id": "resp_1"})
    except GatewayError:
        return  # nobody stores it
    once = stored_input(value)
    assert stored_input(once) == once
    ids = [item["id"] for item in once if item["type"] != "item_reference"]
    assert len(set(ids)) == len(ids)
    assert all(isinstance(id, str) and id for id in ids)


def test_the_sdk_reads_a_page_of_stored_input() -> None:
    items = stored_input([USER, {"role": "assistant", "content": "ok"}, {"role": "developer", "content": "x"}])
    found = ResponseItemList.model_validate(page(items, order="asc"))
    assert [item.id for item in found.data] == [item["id"] for item in items]


# References


def test_references_are_found_with_and_without_a_type() -> None:
    """`ItemReference.type` of the openai package may be null; the AI SDK sends it."""
    value = [REFERENCE, {"id": "a"}, {"id": "b", "type": None}, {"id": "c", "role": "user", "content": "x"}, CALL]
    assert references(value) == ["msg_1", "a", "b"]
    assert references("hi") == references(None) == []


def test_references_become_what_they_name_and_unknown_ones_are_told() -> None:
    """The AI SDK names the assistant's text in place of the item, and a 404 ends its turn."""
    items, unknown = resolved([USER, REFERENCE, {"id": "gone"}, OUTPUT], {"msg_1": SAID})
    assert items == [USER, SAID, OUTPUT]
    assert unknown == ["gone"]
    assert resolved("hi", {}) == ([USER], [])


def test_no_item_comes_twice() -> None:
    assert resolved([REFERENCE, REFERENCE], {"msg_1": SAID}) == ([SAID], [])
    assert resolved([REFERENCE, SAID], {"msg_1": SAID}) == ([SAID], [])
    assert resolved([REFERENCE, USER], {}, there={"msg_1"}) == ([USER], [])


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


@pytest.mark.parametrize("order", ["asc", "desc", None])
@pytest.mark.parametrize("limit", ["1", 7, "100", None])
def test_pages_put_together_are_the_list_from_either_end(order: Any, limit: Any) -> None:
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


@pytest.mark.parametrize(
    ("query", "param"),
    [({"limit": 0}, "limit"), ({"limit": "101"}, "limit"), ({"limit": "x"}, "limit"), ({"limit": "²"}, "limit"),
     ({"limit": "-1"}, "limit"), ({"limit": "9" * 5000}, "limit"), ({"order": "up"}, "order"),
     ({"after": "none"}, "after"), ({"before": "none"}, "before")],
)  # fmt: skip
def test_a_wrong_query_is_named(query: Item, param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        page(LIST, **query)
    assert (caught.value.failed.status, caught.value.failed.param) == (400, param)


# Going on


def test_the_whole_chain_reaches_a_chat_provider() -> None:
    """Calls and outputs were lost (vllm-project/vllm#43244, SamSaffron/term-llm#345, katanemo/plano#631)."""
    chain = [kept(input=stored_input("hi"), output=[SAID]), kept(input=stored_input([USER]), output=[CALL])]
    body = {"model": "m", "input": [OUTPUT], "previous_response_id": "resp_2", "instructions": "now"}
    call = read_continued(body, previous(chain, body["input"]))
    sent = json.loads(CHAT.write_request(call, Recipient("up", US)).body)
    assert [message["role"] for message in sent["messages"]] == [
        "system", "user", "assistant", "user", "assistant", "tool",
    ]  # fmt: skip
    assert sent["messages"][4]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    assert sent["messages"][5]["tool_call_id"] == "c1"
    assert call.dropped == ()


def test_paths_of_the_client_stay_its_own() -> None:
    earlier = [USER, {**SAID, "content": [{"type": "output_text", "text": "ok", "odd": 1}]}]
    body = {"model": "m", "input": [{"role": "user", "content": "x", "strange": 2}]}
    call = read_continued(body, earlier)
    assert [message.at for message in call.messages] == ["previous.input[0]", "previous.input[1]", "input[0]"]
    assert call.dropped == ("previous.input[].content[].odd", "input[].strange")
    with pytest.raises(GatewayError) as caught:
        read_continued({"model": "m", "input": [USER, {"role": "robot", "content": ""}]}, earlier)
    assert caught.value.failed.param == "input[1].role"
    with pytest.raises(GatewayError) as caught:
        read_continued(body, [{"type": "function_call"}])
    assert caught.value.failed.param == "previous.input[0].name"


def test_what_the_model_said_across_the_seam_is_one_turn() -> None:
    call = read_continued({"model": "m", "input": [{"role": "assistant", "content": "more"}, USER]}, [USER, SAID])
    assert [message.role for message in call.messages] == ["user", "assistant", "user"]
    assert [part.text for part in call.messages[1].parts if isinstance(part, TextPart)] == ["ok", "more"]


def test_what_was_referred_to_need_not_be_honoured_again() -> None:
    """The provider would refuse what the gateway has done already; instructions are those of the request."""
    body = {"model": "m", "input": "x", "conversation": "conv_1", "previous_response_id": "resp_1", "store": True}
    call = read_continued(body, [USER])
    assert set(call.parameters) == {"store"}
    assert call.source["input"] == [USER, {"role": "user", "content": "x"}]
    assert json.loads(CHAT.write_request(call, Recipient("up", US)).body)["messages"][-1]["content"] == "x"
    assert len(read_continued({"model": "m", "previous_response_id": "resp_1"}, [USER]).messages) == 1


def test_reasoning_goes_back_to_its_issuer_and_to_nobody_else() -> None:
    item = {"type": "thinking", "thinking": "hm", "signature": "S"}
    sealed = {"type": "reasoning", "id": "rs_tg1.1", "summary": [], "encrypted_content": seal(OTHER, "messages", item)}
    body = {"model": "m", "input": [OUTPUT], "max_output_tokens": 10}
    call = read_continued(body, previous([kept(input=[USER], output=[sealed, CALL])], body["input"]))
    assert [type(part) for part in call.messages[1].parts] == [ReasoningPart, ToolCallPart]
    assert isinstance(call.messages[2].parts[0], ToolResultPart)
    back = json.loads(MESSAGES.write_request(call, Recipient("up", OTHER)).body)
    assert back["messages"][1]["content"][0] == item
    other = MESSAGES.write_request(call, Recipient("up", US))
    assert b"signature" not in other.body
    assert other.dropped == ("previous.input[]",)


def test_tools_of_earlier_namespaces_keep_their_names() -> None:
    """The call goes out under the name that the client knows, though the tool was declared a turn ago."""
    tools = [{"type": "namespace", "name": "ns", "tools": [{"type": "function", "name": "g"}]}]
    earlier = [{"type": "additional_tools", "role": "developer", "tools": tools}, USER]
    call = read_continued({"model": "m", "input": "x"}, earlier)
    events: list[Event] = [AnswerStart(), *call_events(0, id="c", name="ns__g"), AnswerEnd("tool_calls")]
    (item,) = whole_answer(fold(events), attrs.evolve(reply(), request=call))["output"]
    assert (item["namespace"], item["name"]) == ("ns", "g")


@pytest.mark.parametrize("status", ["failed", "cancelled", "queued", "in_progress"])
def test_nothing_of_a_turn_that_did_not_end_well_is_said_again(status: str) -> None:
    assert previous([kept(input=[USER], output=[SAID]), kept(status, [USER], [CALL])]) == [USER, SAID]


def test_of_an_incomplete_turn_only_answered_calls_are_said_again() -> None:
    """Every API refuses a call that has no output, and reasoning without what it led to (maximhq/bifrost#5892)."""
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    chain = [kept("incomplete", [USER], [thought, SAID, {**thought, "id": "rs_2"}, CALL])]
    assert previous(chain, "go on") == [USER, thought, SAID]
    assert previous(chain, [OUTPUT])[-1] == CALL
    assert previous([*chain, kept(input=[OUTPUT])])[-2] == CALL
    assert (
        previous([kept(input=[USER], output=[CALL])], "go on")[-1] == CALL
    )  # the client's own mistake, told by its API


def test_after_a_compaction_only_the_notes_and_the_rules_are_said() -> None:
    rules = {"type": "message", "role": "developer", "content": "be brief"}
    notes = compaction_item("all of it")
    chain = [kept(input=[rules, USER], output=[SAID]), kept(output=[notes]), kept(input=[USER], output=[SAID])]
    assert previous(chain) == [rules, notes, USER, SAID]
    foreign = {**notes, "encrypted_content": "gAAA"}
    assert len(previous([chain[0], kept(output=[foreign])])) == 4


@pytest.mark.parametrize("body", [b"", b"[]", b'{"input": [1]}', b'{"status": null}', b"\xff", b'{"input":' * 3000])
def test_a_damaged_turn_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        previous([body])


def test_items_that_were_put_into_a_conversation_are_a_turn_without_a_status() -> None:
    assert previous([b'{"input": [{"type": "x"}], "output": []}', b"{}"]) == [{"type": "x"}]


def test_input_that_no_api_allows_is_left_for_the_codec_to_refuse() -> None:
    chain = [kept("incomplete", [USER, {"type": "x_output", "call_id": [1]}], [CALL, {"type": "x", "call_id": {}}])]
    for value in (3, {"a": 1}, [3, None], [{"type": ["x"], "call_id": [1]}], [{"type": {"a": 1}, "id": "x"}]):
        assert previous(chain, value)[0] == USER
        assert references(value) == []
        assert resolved(value, {})[1] == []


def test_items_that_only_their_api_knows_go_back_without_ids_of_ours() -> None:
    """The provider refuses an id that it does not know (Kilo-Org/kilocode#10197)."""
    approval = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}
    earlier = stored_input([approval, {"type": "mcp_call", "id": "mcp_1", "name": "n", "arguments": "{}"}])
    assert is_ours(earlier[0]["id"])
    body = RESPONSES.write_request(read_continued({"model": "m", "input": "x"}, earlier), Recipient("up", US)).body
    sent = json.loads(body)["input"]
    assert sent[0] == approval
    assert sent[1]["id"] == "mcp_1"


# Told once more


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(legal_events())
def test_a_kept_response_is_told_in_full_grammar(events: list[Event]) -> None:
    """`GET …?stream=true` of what was never streamed (SamSaffron/term-llm#460). What the model itself did wrong (words
    where arguments should be) is as wrong as it was."""
    writer = RESPONSES.writer(reply(tools=TOOLS))
    first = judge("responses", b"".join(writer.send(real(event)) for event in events)).broken
    response = plain(writer.response)
    data = replay(response)
    found = judge("responses", data).broken
    assert (found and found.rule) == (first and first.rule)
    assert found is None or found.rule == "responses.call.json"
    told = values(data)
    assert told[-1]["response"] == response
    if response["status"] == "completed":
        assert [(item.type, item.id) for item in accumulated(told).output] == [
            (item["type"], item["id"]) for item in response["output"]
        ]
        for collected, item in zip(accumulate(told), response["output"], strict=True):
            assert collected.get("arguments") == item.get("arguments")
            assert [spoken(part) for part in collected.get("content") or ()] == [
                spoken(part) for part in item.get("content") or ()
            ]


def test_a_cancelled_response_ends_in_a_failure_that_says_so() -> None:
    """There is no event for it, and a bare close makes clients ask again (router-for-me/CLIProxyAPI#1407)."""
    writer = RESPONSES.writer(reply())
    writer.send(TextDelta(0, "a"))
    for status, words in (("cancelled", "was cancelled"), ("incomplete", "broke off")):
        last = values(replay(plain(writer.interrupted(status))))[-1]  # type: ignore[arg-type]
        assert last["type"] == "response.failed"
        assert words in last["response"]["error"]["message"]


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_response_that_is_not_over_cannot_be_told(status: str) -> None:
    writer = RESPONSES.writer(reply())
    with pytest.raises(ValueError, match=status):
        replay({**plain(writer.interrupted("cancelled")), "status": status})


def test_items_of_other_servers_are_told_too() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "encrypted_content": "g",
               "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]}  # fmt: skip
    response = plain(whole_answer(fold([*HELLO, AnswerEnd("stop")]), reply())) | {"output": [thought, WEB, SAID]}
    verdict = judge("responses", replay(response))
    assert verdict.broken is None, verdict.broken


@needs_corpus
def test_recorded_answers_are_told_in_grammar_and_their_input_is_stored() -> None:
    found = 0
    for path in ANSWERS:
        response = json.loads(path.read_bytes())
        if response.get("object") != "response" or response["status"] not in ("completed", "incomplete"):
            continue
        verdict = judge("responses", replay(response), tolerant=True)
        assert verdict.broken is None, (path.name, verdict.broken)
        assert stored_input(response["output"]) == stored_input(stored_input(response["output"]))
        found += 1
    assert found > 20


# The log of a stream


def told(text: str, size: int = 400) -> bytes:
    """A whole stream with keep-alives."""
    writer = RESPONSES.writer(reply())
    events: list[Event] = [AnswerStart(), *(TextDelta(0, text) for _ in range(size)), BlockEnd(0), AnswerEnd("stop")]
    return b"".join(writer.send(event) + writer.ping() for event in events)


def logged(data: bytes, step: int) -> bytes:
    """``data`` logged in so many events at once."""
    log, events = EventLog(), [event + b"\n\n" for event in data.split(b"\n\n")[:-1]]
    for i in range(0, len(events), step):
        log.add(b"".join(events[i : i + step]))
    return log.close()


PLAIN = told("word " * 40).replace(sse.COMMENT_PING, b"")
LOG = logged(PLAIN, 9)


@pytest.mark.parametrize("number", [-1, 0, 1, 2, 57, 331, 405, 406, 10**9])
def test_a_client_gets_the_events_that_it_has_not_seen(number: int) -> None:
    for found in (after(LOG, number), after(PLAIN, number), after(sse.COMMENT_PING + PLAIN, number)[-len(PLAIN) :]):
        assert PLAIN.endswith(found)
        assert [event["sequence_number"] for event in values(found)] == list(range(number + 1, 408))


@settings(max_examples=examples(12), deadline=None)
@given(st.integers(2, 500))
@example(1)
def test_a_log_tells_the_same_however_many_events_came_at_once(step: int) -> None:
    assert after(logged(PLAIN, step)) == PLAIN


def test_a_log_grows_with_every_event() -> None:
    log, middle = EventLog(), PLAIN.index(b"\n\n", 5000) + 2
    log.add(PLAIN[:middle])
    assert after(log.close()) == PLAIN[:middle]
    log.add(PLAIN[middle:])
    assert after(log.close()) == PLAIN
    assert len(log.close()) < len(PLAIN) / 5
    assert after(EventLog().close()) == b""


def test_events_without_a_number_go_with_the_one_before() -> None:
    first, odd = b'event: a\ndata: {"sequence_number":0}\n\n', b"event: b\ndata: nonsense\n\n"
    data = first + odd + first.replace(b"0", b"1")
    assert after(logged(data, 2), 0) == first.replace(b"0", b"1")
    assert after(logged(data, 1)) == data


@settings(max_examples=examples(150), deadline=None)
@given(st.binary(max_size=40) | st.integers(0, 2000).map(lambda size: LOG[:size]))
def test_a_damaged_log_is_an_error_or_nothing(log: bytes) -> None:
    found = b""
    with contextlib.suppress(ValueError):
        found = after(log, 3)
    assert found in PLAIN


def test_a_changed_byte_does_not_go_unseen() -> None:
    for at in (0, 3, 4, 20, len(LOG) - 1):
        with pytest.raises(ValueError, match="log"):
            after(LOG[:at] + bytes([LOG[at] ^ 0x5A]) + LOG[at + 1 :])


def test_what_does_not_compress_is_kept_as_well() -> None:
    data = told(os.urandom(3000).hex(), 30)
    assert after(logged(data.replace(sse.COMMENT_PING, b""), 7)) == data.replace(sse.COMMENT_PING, b"")


def test_a_count_is_told_as_the_sdk_reads_it() -> None:
    assert json.loads(RESPONSES.write_count_answer(7)) == {"object": "response.input_tokens", "input_tokens": 7}
