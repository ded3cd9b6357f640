"""Stored state of a Responses turn, and its use in the next turn."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from providers.grammar import judge
from providers.responses import RESPONSES
from providers.responses.answer import whole_answer
from providers.responses.replay import replay
from providers.responses.tools import is_own_id
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    ErrorInfo,
    Event,
    ReasoningDelta,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from streams.fold import fold
from tests.support.block_events import text_events, thought_events
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.responses_strategies import TOOLS, legal_events
from tests.support.responses_streams import (
    HELLO,
    as_plain_json,
    reply,
    values,
)

# The response object for the client


def test_an_unstored_response_has_store_false() -> None:
    response = as_plain_json(whole_answer(fold([*HELLO, AnswerEnd("stop")]), reply()))
    assert is_own_id(response["id"])
    assert (response["store"], response["previous_response_id"]) == (False, None)
    assert "conversation" not in response


@each_row("last", [AnswerEnd("stop"), AnswerEnd("length"), ErrorInfo("upstream", "gone")])
def test_the_response_exists_after_the_terminal_event(last: Event) -> None:
    writer = RESPONSES.writer(reply())
    for event in HELLO:
        writer.send(event)
        assert writer.response is None
    told = values(writer.send(last))[-1]["response"]
    assert as_plain_json(writer.response) == told
    assert as_plain_json(writer.interrupted_response("cancelled")) == told


# Interrupted responses


def test_an_interrupted_response_cuts_texts_and_omits_incomplete_calls() -> None:
    """The client could not answer such calls (katanemo/plano#791)."""
    writer = RESPONSES.writer(reply(tools=TOOLS))
    events = [
        AnswerStart(), *thought_events(0, "hm"), *text_events(1, "a"), *text_events(2, "b"),
        ToolCallStart(3, "c1", "f"), ToolCallDelta(3, '{"a":'), ToolCallStart(4, "c2", "f"), ToolCallDelta(4, "{}"),
        ToolCallStart(5, "c3", "own", "custom"), ToolCallDelta(5, "{}"), TextDelta(6, "and"),
    ]  # fmt: skip
    for event in events:
        writer.send(event)
    found = as_plain_json(writer.interrupted_response("cancelled"))
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
    assert writer.interrupted_response("failed")["output"] == []
    writer.send(ToolCallDelta(0, ' 1"}'))
    (item,) = writer.interrupted_response("failed")["output"]
    assert (item["type"], item["input"]) == ("custom_tool_call", "SELECT 1")


def test_interrupted_reasoning_keeps_the_state_to_return() -> None:
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
    first, second = writer.interrupted_response("incomplete")["output"]
    assert first == native
    assert second["status"] == "incomplete"
    assert second["encrypted_content"].startswith("tg1.")


def test_a_failure_has_its_error() -> None:
    writer = RESPONSES.writer(reply())
    error = writer.interrupted_response("failed", ErrorInfo("rate_limited", "slow down"))["error"]
    assert error == {"code": "rate_limit_exceeded", "message": "slow down"}
    assert "the answer ended before it was complete" in writer.interrupted_response("failed")["error"]["message"]


@settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(legal_events(), st.sampled_from(["cancelled", "failed", "incomplete"]))
def test_the_rest_of_a_broken_stream_is_a_response(events: list[Event], status: Any) -> None:
    writer, twin = RESPONSES.writer(reply(tools=TOOLS)), RESPONSES.writer(reply(tools=TOOLS))
    for event in events:
        found = as_plain_json(writer.interrupted_response(status))
        Response.model_validate(found, strict=False)
        assert found["status"] == status
        ids = [item["id"] for item in found["output"]]
        assert len(set(ids)) == len(ids)
        verdict = judge("responses", replay(found))
        assert verdict.broken is None, verdict.broken
        assert strip(writer.send(event)) == strip(twin.send(event))  # the query did not change it


def strip(data: bytes) -> list[tuple[str, int]]:
    return [(event["type"], event["sequence_number"]) for event in values(data)]


def test_a_token_count_has_the_shape_that_the_sdk_reads() -> None:
    assert json.loads(RESPONSES.write_count_answer(7)) == {"object": "response.input_tokens", "input_tokens": 7}
