"""Answers of Interactions providers, streamed and whole."""

import json
from typing import Any

from providers.apis import CODECS
from providers.grammar import judge
from providers.interactions import INTERACTIONS
from providers.neutral.codec import Reply
from providers.neutral.request import Request
from streams.events import AnswerEnd, AnswerStart, Citation, ErrorInfo, NativeItem, TextDelta, Usage
from streams.fold import Answer, ReasoningBlock, TextBlock, ToolCallBlock, fold
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.interactions_answers import (
    COUNTS,
    DONE,
    GOOGLE,
    begin,
    call_step,
    completed_event,
    created_event,
    interaction,
    piece,
    read_stream_events,
    result_step,
    shown_reply,
    stop,
    stream,
    text_step,
    thought_step,
    wire_event,
)

SEARCH = {"type": "google_search_call", "id": "s1", "arguments": {"queries": ["a"]}, "signature": "c2ln"}
FULL = stream(
    begin(0, "thought", summary=[{"type": "text", "text": "h"}], signature=""),
    piece(0, type="thought_summary", content={"type": "text", "text": "m"}),
    piece(0, type="thought_signature", signature="c2ln"), stop(0),
    begin(1, content=[{"type": "text", "text": "Hel"}]), piece(1, type="text", text="lo"), stop(1),
    begin(2, "function_call", id="c1", name="f", arguments={}),
    piece(2, type="arguments_delta", arguments='{"a"'), piece(2, type="arguments_delta", arguments=":1}"), stop(2),
    status="requires_action",
)  # fmt: skip
WHOLE = interaction(thought_step(), text_step("Hello"), call_step(a=1), status="requires_action")


def answer(*events: bytes) -> Answer:
    return fold(read_stream_events(events))


def blocks_of(found: Answer) -> list[Any]:
    return [
        block.text if isinstance(block, TextBlock) else (block.id, json.loads(block.input))
        for block in found.blocks if isinstance(block, TextBlock | ToolCallBlock)
    ]  # fmt: skip


def test_a_stream_and_the_whole_answer_are_the_same():
    """The first text, summary and arguments may be in the start of a step."""
    streamed, whole = answer(*FULL), fold(INTERACTIONS.read_answer(WHOLE))
    assert (streamed.blocks, streamed.end, streamed.usage) == (whole.blocks, whole.end, whole.usage)
    assert [type(block) for block in whole.blocks] == [ReasoningBlock, TextBlock, ToolCallBlock]
    assert whole.start == AnswerStart("v1_a", "g")


def test_usage_follows_googles_counts():
    """Recorded, 53 and 15 tokens and 65 of thoughts are 133."""
    assert answer(*FULL).usage == Usage(input=50, cache_read=3, output=80, reasoning=65)


def test_a_broken_stream_reports_the_usage_of_its_events():
    """``metadata.total_usage`` is the fallback."""
    event = wire_event("step.delta", index=0, delta={"type": "text", "text": "a"}, metadata={"total_usage": COUNTS})
    *_, usage, error = read_stream_events([created_event(), begin(0), event])
    assert isinstance(usage, Usage)
    assert (usage.prompt, usage.output) == (53, 80)
    assert isinstance(error, ErrorInfo)


def test_paid_searches_are_billed_as_web_searches():
    """N19."""
    counted = {**COUNTS, "grounding_tool_count": [{"type": "google_search", "count": 2}]}
    usage = fold(INTERACTIONS.read_answer(interaction(text_step("a"), usage=counted))).usage
    assert usage.calls == (("web_search", 2),)


def test_tokens_of_googles_tools_are_input():
    usage = fold(
        INTERACTIONS.read_answer(interaction(text_step("a"), usage={**COUNTS, "total_tool_use_tokens": 7}))
    ).usage
    assert usage.prompt == 60


def test_deltas_without_a_type_are_known_by_their_members():
    """And empty ids and signatures count as absent."""
    found = answer(*stream(
        begin(0, "thought", signature=""), piece(0, content={"text": "hm"}), piece(0, signature=""), stop(0),
        begin(1), piece(1, text="a"), stop(1),
        begin(2, "function_call", id="", name="f"), piece(2, arguments="{}"), stop(2),
    ))  # fmt: skip
    thought, text, call = found.blocks
    assert thought == ReasoningBlock("hm")
    assert isinstance(text, TextBlock)
    assert text.text == "a"
    assert isinstance(call, ToolCallBlock)
    assert call.id.startswith("call_")


def test_whole_arguments_in_the_start_count_once():
    call = begin(0, "function_call", id="c1", name="f", arguments={"a": 1})
    assert blocks_of(answer(*stream(call, stop(0)))) == [("c1", {"a": 1})]
    assert blocks_of(answer(*stream(call, piece(0, arguments='{"a":1}'), stop(0)))) == [("c1", {"a": 1})]


OVERLAPPING = stream(
    begin(0), begin(1), piece(0, text="a"), piece(1, text="x"),
    begin(2, "function_call", id="c2", name="f", arguments={}), begin(3, "function_call", id="c3", name="g"),
    piece(3, arguments='{"b":'), piece(0, text="b"), piece(2, arguments="{}"), piece(1, text="y"),
    piece(3, arguments="2}"), stop(1), stop(3), stop(2), stop(0),
)  # fmt: skip


@each_row("api", CODECS)
def test_overlapping_steps_reach_each_client_as_separate_blocks(api):
    """N9."""
    events = read_stream_events(OVERLAPPING)
    found = fold(events)
    assert sorted(map(str, blocks_of(found))) == sorted(map(str, ["ab", "xy", ("c2", {}), ("c3", {"b": 2})]))
    reply = Reply(Request(api, "m", ()), GOOGLE, created=5)
    writer = CODECS[api].writer(reply)
    body = b"".join(map(writer.send, events))
    verdict = judge(api, body, streamed=True)
    assert (verdict.broken, verdict.outcome) == (None, "complete")
    whole = CODECS[api].write_answer(found, reply)
    assert judge(api, whole).broken is None
    assert all(text in whole for text in (b"ab", b"xy", b'"f"', b'"g"'))


def test_a_call_without_a_start_is_read_from_the_whole_answer():
    end = completed_event("requires_action", steps=[call_step(a=1)])
    events = read_stream_events([created_event(), piece(0, type="arguments_delta", arguments='{"a":1}'), end])
    assert blocks_of(fold(events)) == [("c1", {"a": 1})]


def test_a_completed_answer_with_a_call_ends_with_it():
    """N10."""
    call = [begin(0, "function_call", id="c1", name="f", arguments={}), stop(0)]
    assert answer(*stream(*call)).end == AnswerEnd("tool_calls", "completed")
    run = [*call, begin(1, "function_result", call_id="c1", result="x"), stop(1)]
    assert answer(*stream(*run)).end == AnswerEnd("stop", "completed")


def test_only_a_final_status_is_a_good_end():
    """A stream that ends anywhere else has failed, with or without ``[DONE]``."""
    for count in range(len(FULL) - 1):
        for end in ([], [DONE]):
            with case((count, end)):
                *before, last = read_stream_events([*FULL[:count], *end])
                assert isinstance(last, ErrorInfo)
                assert not any(isinstance(event, AnswerEnd | ErrorInfo) for event in before)
    for status in ("in_progress", "queued"):
        assert isinstance(read_stream_events(stream(status=status))[-1], ErrorInfo)


@each_row("status", ["incomplete", "budget_exceeded", "requires_continuation"])
def test_an_unfinished_answer_ends_by_length(status):
    """The provider's own word stays."""
    assert answer(*stream(begin(0), piece(0, text="a"), stop(0), status=status)).end == AnswerEnd("length", status)
    whole = interaction(text_step("a"), status=status)
    assert fold(INTERACTIONS.read_answer(whole)).end == AnswerEnd("length", status)


def test_a_continuation_token_means_that_the_answer_is_unfinished():
    assert answer(created_event(), completed_event(continuation_token="t")).end.reason == "length"


@each_row("status", ["failed", "cancelled"])
def test_a_failure_is_an_error(status):
    errors = [{"code": "resource_exhausted", "message": "quota"}] if status == "failed" else []
    for events in (
        read_stream_events([created_event(), completed_event(status, errors=errors)]),
        INTERACTIONS.read_answer(interaction(status=status, errors=errors)),
    ):
        error = events[-1]
        assert isinstance(error, ErrorInfo)
        assert error.native
        assert "quota" in error.message or "cancelled" in error.message


def test_a_failed_answer_has_the_message_of_its_failed_step():
    """``error`` of ``ModelOutputStep`` in the google-genai package."""
    failed = {"type": "model_output", "error": {"code": 13, "message": "the model broke off"}}
    for events in (
        read_stream_events(stream(begin(0), stop(0), begin(1, error=failed["error"]), stop(1), status="failed")),
        read_stream_events([created_event(), completed_event("failed", steps=[text_step("a"), failed])]),
        INTERACTIONS.read_answer(interaction(text_step("a"), failed, status="failed")),
    ):
        error = events[-1]
        assert isinstance(error, ErrorInfo)
        assert (error.message, error.native) == ("the model broke off", True)


def test_an_error_event_ends_the_stream():
    event = wire_event("error", error={"code": "too_many_requests", "message": "slow down"})
    error = read_stream_events([created_event(), event, piece(0, text="more")])[-1]
    assert isinstance(error, ErrorInfo)
    assert (error.kind, error.message) == ("rate_limited", "slow down")


CITED = "Grüße 😀 и мир."
NOTE = {"type": "url_citation", "url": "https://e.org", "title": "E", "start_index": 8, "end_index": 15}


def test_citations_are_converted_between_bytes_and_characters():
    """N17."""
    assert CITED.encode()[8:15].decode() == CITED[6:9] == "😀 и"
    noted = piece(0, type="text_annotation_delta", annotations=[NOTE])
    streamed = stream(begin(0), piece(0, text=CITED), noted, stop(0))
    for events in (read_stream_events(streamed), INTERACTIONS.read_answer(interaction(text_step(CITED, NOTE)))):
        (citation,) = (event for event in events if isinstance(event, Citation))
        assert (citation.item["start_index"], citation.item["end_index"]) == (6, 9)
        again = json.loads(INTERACTIONS.write_answer(fold(events), shown_reply()))
        assert again["steps"][0]["content"][0]["annotations"] == [NOTE]
        writer = INTERACTIONS.writer(shown_reply())
        body = b"".join(map(writer.send, events))
        assert b'"start_index":8,"end_index":15' in body


def test_steps_of_googles_tools_are_native_and_come_back():
    events = read_stream_events(stream(
        begin(0, "google_search_call", id="s1"), piece(0, type="google_search_call", arguments={"queries": ["a"]}),
        piece(0, signature="c2ln"), stop(0), begin(1), piece(1, text="a"), stop(1),
    ))  # fmt: skip
    (native,) = (event for event in events if isinstance(event, NativeItem))
    assert native.item == SEARCH
    assert json.loads(INTERACTIONS.write_answer(fold(events), shown_reply()))["steps"] == [SEARCH, text_step("a")]


def test_images_of_an_answer_are_native():
    events = read_stream_events(stream(begin(0), piece(0, text="a"), piece(0, type="image", data="AAAA"), stop(0)))
    assert [type(event) for event in events if isinstance(event, TextDelta | NativeItem)] == [TextDelta, NativeItem]


def test_unknown_events_and_steps_break_nothing():
    found = answer(*stream(
        wire_event("content.delta", delta={"text": "old"}), begin(0, "new_step", a=1), stop(0), begin(1, text="x"),
        piece(1, type="new_delta", b=2), piece(1, text="a"), stop(1), wire_event("step.other", index=9),
    ))  # fmt: skip
    assert "a" in blocks_of(found)


def test_a_reader_that_holds_nothing_still_follows_the_answer():
    events = read_stream_events(OVERLAPPING, limit=0)
    assert isinstance(events[-1], AnswerEnd)
    assert {event.text for event in events if isinstance(event, TextDelta)} == {"a", "b", "x", "y"}


def test_a_whole_answer_with_a_result_of_its_own_call_ends_well():
    found = fold(INTERACTIONS.read_answer(interaction(call_step(), result_step(), text_step("a"))))
    assert found.end.reason == "stop"
