"""Compaction for providers without it: the model writes notes, and the client gets them as one item."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from openai.types.responses import CompactedResponse, Response

from providers.chat import CHAT
from providers.grammar import judge
from providers.messages import MESSAGES
from providers.neutral.codec import Recipient, Reply
from providers.neutral.request import NativePart, TextPart, ToolCallPart
from providers.responses import RESPONSES
from providers.responses.answer import compaction_response, find_compaction, whole_answer
from providers.responses.compaction import compaction_item, compaction_request, is_compaction
from providers.responses.incoming import read_continuation
from providers.responses.tools import is_own_id
from streams.errors import GatewayError
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    ErrorInfo,
    Event,
    NativeItem,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import fold
from tests.support.block_events import text_events, thought_events
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.responses_requests import US, read, send
from tests.support.responses_strategies import legal_events
from tests.support.responses_streams import ISSUER, sdk_response, values

TRIGGER = {"type": "compaction_trigger"}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
TALK: list[dict[str, Any]] = [
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": "fix it"},
    {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "done"},
]
NOTES: list[Event] = [AnswerStart(), *thought_events(0, "hm"), *text_events(1, "Asked: ", "fix it"), Usage(7, output=3)]
NATIVE = {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAA"}


def asking(**members: Any) -> dict[str, Any]:
    return {"model": "m", "input": [*TALK, TRIGGER], **members}


def reply(**members: Any) -> Reply:
    return Reply(RESPONSES.read_request(asking(**members)), ISSUER, 1_700_000_000, id="resp_tg1.x")


def stream(events: list[Event]) -> list[dict[str, Any]]:
    writer = RESPONSES.writer(reply(stream=True))
    data = b"".join(map(writer.send, events))
    verdict = judge("responses", data)
    assert verdict.broken is None, verdict.broken
    return values(data)


# The request to the model


def test_a_trigger_at_the_end_requests_notes_and_no_tool() -> None:
    """Codex's own wire form: never an ordinary answer (Soju06/codex-lb#971, caozhiyuan/copilot-api#359)."""
    body = asking(tools=[TOOL], max_output_tokens=20, temperature=0.5, text={"format": {"type": "json_object"}})
    assert is_compaction(body)
    call = RESPONSES.read_request(body)
    before = RESPONSES.read_request({**body, "input": TALK})
    assert call.messages[:-1] == before.messages
    assert call.messages[-1].role == "user"
    assert (call.tools, call.format) == (before.tools, None)
    assert call.tool_choice.mode == "none"
    assert set(call.parameters) == {"temperature"}
    assert call.dropped == ()
    assert compaction_request(call) == call
    assert attrs.evolve(compaction_request(before), source=call.source) == call


@each_row("codec", [CHAT, MESSAGES, RESPONSES])
def test_every_api_can_write_a_compaction_summary(codec: Any) -> None:
    """The calls in the history need declarations of their tools; without tools, the request has no tool choice."""
    for tools, choice in (([TOOL], {"none"}), ([], {None}), ([{"type": "web_search"}], {None, "none"})):
        outgoing = codec.write_request(RESPONSES.read_request(asking(tools=tools)), Recipient("up", US))
        sent = json.loads(outgoing.body)
        found = sent.get("tool_choice")
        assert (found.get("type") if isinstance(found, dict) else found) in choice
        assert ("tools" in sent) == (found is not None) or codec is RESPONSES
        assert "word for word" in outgoing.body.decode()
        assert "c1" in outgoing.body.decode()


def test_the_notes_also_cover_the_earlier_turns() -> None:
    call = read_continuation({"model": "m", "input": [TRIGGER], "previous_response_id": "resp_1"}, TALK)
    assert [message.role for message in call.messages] == ["developer", "user", "assistant", "user", "user"]
    assert is_compaction(call.source)


# The response to the client


def test_a_compaction_stream_has_exactly_one_item() -> None:
    """ "expected exactly one compaction output item, got 0" (router-for-me/CLIProxyAPI#5857, openai/codex#38323)."""
    events = stream([*NOTES, AnswerEnd("stop")])
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created", "in_progress", "output_item.added", "compaction.compacting", "output_item.done", "completed",
    ]  # fmt: skip
    response = events[-1]["response"]
    (item,) = response["output"]
    assert item == events[-2]["item"]
    assert item["type"] == "compaction"
    assert is_own_id(item["id"])
    assert response["id"] == "resp_tg1.x"
    assert response["usage"]["total_tokens"] == 10
    assert [one.type for one in sdk_response(events).output] == ["compaction"]


def test_the_whole_answer_is_the_same_response() -> None:
    answer = fold([*NOTES, AnswerEnd("stop")])
    body = RESPONSES.write_answer(answer, reply())
    assert judge("responses", body).broken is None
    Response.model_validate_json(body)
    whole, streamed = json.loads(body), stream([*NOTES, AnswerEnd("stop")])[-1]["response"]
    assert [item["type"] for item in whole_answer(answer, reply())["output"]] == ["compaction"]
    for response in (whole, streamed):
        del response["output"][0]["id"]
    assert whole == streamed


def test_a_missing_or_incomplete_summary_is_a_failure() -> None:
    """A summary that is cut off must not look complete: the client would discard the conversation for it."""
    for events in [
        [AnswerStart(), AnswerEnd("stop")],
        [AnswerStart(), TextDelta(0, "  "), BlockEnd(0), AnswerEnd("stop")],
        [*NOTES, AnswerEnd("length")],
        [*NOTES, AnswerEnd("refusal")],
        [AnswerStart(), ToolCallStart(0, "c", "f"), ToolCallDelta(0, "{}"), BlockEnd(0), AnswerEnd("tool_calls")],
    ]:
        with case(events):
            last = stream(events)[-1]
            assert (last["type"], last["response"]["output"]) == ("response.failed", [])
            with pytest.raises(GatewayError) as caught:
                RESPONSES.write_answer(fold(events), reply())
            assert caught.value.info.status == 502


def test_a_failure_stays_a_failure_and_nothing_follows_it() -> None:
    writer = RESPONSES.writer(reply())
    writer.send(NOTES[3])
    assert b"response.failed" in writer.send(ErrorInfo("overloaded", "later"))
    assert writer.send(AnswerEnd("stop")) == b""
    assert writer.response is not None
    assert writer.response == writer.interrupted_response("cancelled")


def test_a_providers_own_compaction_is_used() -> None:
    events: list[Event] = [AnswerStart(), NativeItem(0, "responses", "compaction", NATIVE), AnswerEnd("stop")]
    assert stream(events)[-1]["response"]["output"] == [NATIVE]
    assert find_compaction(fold(events)) == NATIVE


@settings(max_examples=examples(60), deadline=None)
@given(legal_events())
def test_the_stream_is_well_formed_for_every_output_of_the_model(events: list[Event]) -> None:
    found = stream(events)
    kinds = [item["type"] for item in found[-1]["response"]["output"]]
    assert kinds == (["compaction"] if found[-1]["type"] == "response.completed" else [])
    assert found[-1]["type"] in ("response.completed", "response.failed")


def test_the_sdk_can_read_the_response_of_compact() -> None:
    """Codex asks `/v1/responses/compact` (lidge-jun/opencodex#422)."""
    body = compaction_response("resp_1", 17, find_compaction(fold([*NOTES, AnswerEnd("stop")])), Usage(3, output=2))
    found = CompactedResponse.model_validate(body)
    assert (found.object, found.usage.total_tokens, [item.type for item in found.output]) == (
        "response.compaction", 5, ["compaction"],
    )  # fmt: skip
    assert compaction_response("resp_1", 17, NATIVE, None)["usage"]["total_tokens"] == 0


# When it is sent back


def test_our_item_is_read_as_notes_and_foreign_ones_stay_with_their_provider() -> None:
    ours = compaction_item("the notes")
    call = read(input=[ours, NATIVE, {"role": "user", "content": "go on"}])
    first, native, last = call.messages
    assert isinstance(first.parts[0], TextPart)
    assert first.role == "user"
    assert first.parts[0].text.endswith("the notes")
    assert native.parts == (NativePart("responses", "compaction", NATIVE, "input[1]"),)
    assert last.role == "user"
    assert call.dropped == ()
    assert send(call)[0]["input"][1] == NATIVE
    assert CHAT.write_request(call, Recipient("up", US)).dropped == ("input[]",)


def test_an_item_that_was_changed_on_its_way_is_dropped_by_name() -> None:
    call = read(input=[{**compaction_item("x"), "encrypted_content": "tg1.!!"}, {"role": "user", "content": "go on"}])
    assert (len(call.messages), call.dropped) == (1, ("input[]",))


def test_a_provider_of_the_same_api_gets_the_notes_as_a_message() -> None:
    """It could not read our item, and refuses what it cannot read."""
    broken = {**compaction_item("x"), "encrypted_content": "tg1.e30"}
    members, dropped = RESPONSES.restore({"input": [compaction_item("the notes"), NATIVE, broken]}, US)
    message, native = members["input"]
    assert (message["role"], native) == ("user", NATIVE)
    assert message["content"][0]["text"].endswith("the notes")
    assert dropped == ("input[]",)


def test_a_seal_of_reasoning_is_not_a_summary() -> None:
    item = compaction_item("x")
    call = read(input=[{**item, "type": "reasoning", "summary": []}, {"role": "user", "content": "x"}])
    assert CHAT.write_request(call, Recipient("up", US)).dropped == ("input[]",)
    assert not any(isinstance(part, ToolCallPart) for message in call.messages for part in message.parts)
