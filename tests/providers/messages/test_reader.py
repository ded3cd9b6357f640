"""Readers of Messages streams and whole answers."""

import json

from providers.messages import MESSAGES
from streams.events import (
    AnswerEnd,
    AnswerStart,
    ReasoningDelta,
    ReasoningState,
    TextDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import NativeBlock, ReasoningBlock, TextBlock, ToolCallBlock, fold
from tests.support.block_events import call_events, text_events
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.messages_streams import (
    FIXTURES,
    START,
    STOP,
    TEXT,
    block_start,
    block_stop,
    delta,
    message_delta,
    message_start,
    raw,
    read,
    read_events,
    stream_of,
)
from tests.support.provider_streams import check_order


def test_a_text_stream_is_written_piece_by_piece():
    assert read_events(*FIXTURES["text"]) == [
        AnswerStart("msg_1", "claude"), Usage(15, 3, output=1), *text_events(0, "pi", "ng"), Usage(15, 3, output=9),
        AnswerEnd("stop", "end_turn"),
    ]  # fmt: skip


def test_a_signed_thinking_block_is_sealed_whole():
    folded = fold(read_events(*FIXTURES["thinking, text and a call"]))
    text = "Hm, weiß\u2028nicht"
    item = {"type": "thinking", "thinking": text, "signature": "c2ln"}
    assert folded.blocks[0] == ReasoningBlock(text, ReasoningState(0, "messages", item))
    assert folded.blocks[2] == ToolCallBlock("toolu_1", "f", '{"a":1.0}')
    assert folded.end.reason == "tool_calls"


def test_redacted_thinking_is_a_seal_without_text_and_server_tools_come_whole():
    folded = fold(read_events(*FIXTURES["redacted thinking and a server tool"]))
    redacted, call, result, text = folded.blocks
    assert redacted == ReasoningBlock(
        "", ReasoningState(0, "messages", {"type": "redacted_thinking", "data": "b3BhcXVl"})
    )
    item = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "x"}}
    assert call == NativeBlock("messages", "server_tool_use", item)
    assert result.kind == "web_search_tool_result"
    assert text.text == "found"
    assert text.citations[0].item["url"] == "https://a.example"


def test_a_thinking_block_with_a_signature_and_no_text_is_kept():
    events = read_events(
        message_start(),
        block_start(0, type="thinking", thinking="", signature=""),
        delta(0, type="signature_delta", signature="c2ln"),
        block_stop(0),
        message_delta(),
    )
    item = {"type": "thinking", "thinking": "", "signature": "c2ln"}
    assert fold(events).blocks == (ReasoningBlock("", ReasoningState(0, "messages", item)),)


def test_a_signature_in_the_start_of_the_block_counts():
    start = block_start(0, type="thinking", thinking="all at once", signature="c2ln")
    block = fold(read_events(message_start(), start, block_stop(0), message_delta())).blocks[0]
    assert block.text == "all at once"
    assert block.state.item["signature"] == "c2ln"


def test_a_call_with_its_input_in_the_start_reads_as_if_streamed():
    """Programmatic tool calling sends it so (recorded)."""
    start = block_start(0, type="tool_use", id="toolu_1", name="f", input={"a": [1, 2]})
    block = fold(read_events(message_start(), start, block_stop(0), message_delta("tool_use"))).blocks[0]
    assert block == ToolCallBlock("toolu_1", "f", '{"a":[1,2]}')


def test_blocks_that_are_in_the_message_start_come_first():
    begun = [{"type": "text", "text": "before"}, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}]
    folded = fold(read_events(message_start(content=begun), *TEXT, message_delta("tool_use"), STOP))
    assert folded.blocks == (TextBlock("before"), ToolCallBlock("toolu_1", "f", '{"a":1}'), TextBlock("ping"))


def test_a_call_without_arguments_has_no_pieces():
    start = block_start(0, type="tool_use", id="toolu_1", name="now", input={})
    empty = delta(0, type="input_json_delta", partial_json="")
    events = read_events(message_start(), start, empty, block_stop(0), message_delta("tool_use"), STOP)
    assert events[2:4] == call_events(0, id="toolu_1", name="now")


def test_an_empty_text_block_opens_nothing():
    empty = [block_start(0, type="text", text=""), block_stop(0)]
    call = [block_start(1, type="tool_use", id="toolu_1", name="f", input={}), block_stop(1)]
    events = read_events(message_start(), *empty, *call, message_delta("tool_use"))
    check_order(events)
    assert ToolCallStart(0, "toolu_1", "f") in events


def test_later_input_counts_replace_all_earlier_ones():
    """Some servers end with a meaningless `input_tokens: 0` (envoyproxy/ai-gateway#1631)."""
    for last, booked in [
        ({"output_tokens": 9}, Usage(15, 3, output=9)),
        ({"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 9}, Usage(15, 3, output=9)),
        ({"input_tokens": 20, "output_tokens": 9}, Usage(20, output=9)),
        ({"input_tokens": 0, "cache_read_input_tokens": 7}, Usage(0, 7)),
        ({"input_tokens": None, "output_tokens": "9"}, Usage(15, 3)),
        (
            {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}},
            Usage(15, 3, output=9, reasoning=4),
        ),
        (
            {"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": 2,
             "ephemeral_1h_input_tokens": 3}},
            Usage(0, 0, 5, 2, 3),
        ),
    ]:  # fmt: skip
        with case((last, booked)):
            assert fold(read_events(message_start(), *TEXT, message_delta(usage=last), STOP)).usage == booked


NO_OUTPUT = {"service_tier": "standard"}, {"input_tokens": 15}, {"output_tokens": 0}


@each_row(
    "ends",
    [(STOP,), *((message_delta(usage=last), STOP) for last in NO_OUTPUT)],
)  # fmt: skip
def test_the_output_count_at_the_start_is_not_used_at_the_end(ends):
    """Its single token would be billed for an answer of any length. 0 is estimated from the text."""
    usage = fold(read_events(message_start(), *TEXT, *ends)).usage
    assert usage.prompt
    assert usage.output == 0


def test_every_stop_reason_has_a_neutral_word_and_keeps_its_own():
    for word, reason in [
        ("end_turn", "stop"), ("stop_sequence", "stop_sequence"), ("max_tokens", "length"), ("tool_use", "tool_calls"),
        ("refusal", "refusal"), ("pause_turn", "pause"), ("model_context_window_exceeded", "context_exceeded"),
        ("compaction", "stop"), ("something_new", "stop"),
    ]:  # fmt: skip
        with case((word, reason)):
            end = AnswerEnd(reason, word, is_known=word != "something_new")
            assert read_events(message_start(), *TEXT, message_delta(word), STOP)[-1] == end


def test_the_stop_sequence_that_matched_is_reported():
    last = message_delta("stop_sequence", stop_sequence="###")
    assert read_events(message_start(), *TEXT, last, STOP)[-1] == AnswerEnd("stop_sequence", "stop_sequence", "###")


def test_a_stream_that_ends_after_its_stop_reason_is_whole():
    assert read_events(message_start(), *TEXT, message_delta())[-1] == AnswerEnd("stop", "end_turn")


@each_row(
    ("error", "kind"),
    [("overloaded_error", "overloaded"), ("rate_limit_error", "rate_limited"), ("api_error", "upstream")],
)
def test_an_error_event_fails_the_stream_and_ends_it(error, kind):
    failure = {"type": "error", "error": {"type": error, "message": "no"}}
    events = read_events(message_start(), *TEXT, failure, message_delta(), STOP)
    assert (events[-1].kind, events[-1].message) == (kind, "no")
    assert not any(isinstance(event, AnswerEnd) for event in events)


def test_a_bare_json_error_in_mid_stream_is_an_error():
    data = raw(message_start(), *TEXT) + b'{"error":{"type":"overloaded_error","message":"busy"}}\n\n'
    assert read(data)[-1].kind == "overloaded"


def test_malformed_json_fails_the_stream():
    for data in (b'event: content_block_delta\ndata: {"type":\n\n', b"event: ping\ndata: \xff{\n\n"):
        last = read(raw(message_start(), *TEXT) + data)[-1]
        assert (last.kind, last.message) == ("upstream", "the provider sent an event that is not valid JSON")


def test_unknown_events_do_not_fail_a_stream():
    odd = [
        {"type": "something_new", "index": "x"},
        {"type": "content_block_start", "index": 0},
        {"type": "content_block_start", "index": 4, "content_block": {"type": None}},
        {"type": "content_block_stop", "index": 99},
        {"type": "content_block_delta", "index": 7},
        delta(8, type="new_delta", text="?"),
        {"type": "message_delta", "delta": None, "usage": []},
        {"type": "message_start", "message": None},
    ]
    events = read_events(message_start(), message_start(), *odd, *TEXT, delta(0, type="text_delta", text=None),
                   message_delta(), STOP)  # fmt: skip
    check_order(events)
    assert [block for block in fold(events).blocks if isinstance(block, TextBlock)] == [TextBlock("ping")]


def test_deltas_with_odd_members_are_read_the_slow_way():
    odd = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "!", "thinking": 7}}
    assert fold(read_events(message_start(), *TEXT[:-1], odd, TEXT[-1], message_delta())).blocks == (
        TextBlock("ping!"),
    )


def test_a_server_that_forgets_starts_and_stops_is_still_understood():
    events = read_events(
        delta(0, type="thinking_delta", thinking="hm"),
        delta(1, type="text_delta", text="a"),
        block_start(2, type="tool_use", id="toolu_1", name="f", input={}),
        block_start(3, type="text", text=""),
        delta(3, type="text_delta", text="b"),
        STOP,
    )
    check_order(events)
    assert fold(events).blocks == (
        ReasoningBlock("hm"),
        TextBlock("a"),
        ToolCallBlock("toolu_1", "f", ""),
        TextBlock("b"),
    )


def test_thinking_inside_a_text_block_and_text_inside_thinking_are_blocks_of_their_own():
    """LiteLLM sends the reasoning of some servers into a text block (BerriAI/litellm#32105)."""
    events = read_events(
        message_start(),
        block_start(0, type="text", text=""),
        delta(0, type="thinking_delta", thinking="h"),
        delta(0, type="thinking_delta", thinking="m"),
        delta(0, type="text_delta", text="a"),
        delta(0, type="thinking_delta", thinking=""),
        delta(0, type="text_delta", text="b"),
        block_stop(0),
        message_delta(),
        STOP,
    )
    check_order(events)
    assert fold(events).blocks == (ReasoningBlock("hm"), TextBlock("ab"))


def test_text_inside_a_call_is_a_block_of_its_own():
    """sgl-project/sglang#24293"""
    events = read_events(
        message_start(),
        block_start(0, type="tool_use", id="toolu_1", name="f", input={}),
        delta(0, type="input_json_delta", partial_json='{"a"'),
        delta(0, type="text_delta", text="b"),
        delta(0, type="text_delta", text="c"),
        delta(0, type="input_json_delta", partial_json=":1}"),
        delta(0, type="text_delta", text="d"),
        block_stop(0),
        message_delta("tool_use"),
        STOP,
    )
    check_order(events)
    assert fold(events).blocks == (ToolCallBlock("toolu_1", "f", '{"a":1}'), TextBlock("bcd"))


def test_done_from_a_compatible_server_is_not_an_error():
    assert read(raw(message_start(), *TEXT, message_delta()) + b"data: [DONE]\n\n")[-1] == AnswerEnd("stop", "end_turn")


# Whole answers, read

WHOLE = START | {
    "content": [
        {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
        {"type": "text", "text": "Let me look", "citations": None},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1.0, "z": [], "b": None}},
        {"type": "mcp_tool_use", "id": "mcp_1", "name": "x", "server_name": "s", "input": {}},
    ],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 15, "cache_read_input_tokens": 3, "output_tokens": 9},
}


def test_a_whole_answer_reads_as_the_events_of_its_stream():
    events = MESSAGES.read_answer(json.dumps(WHOLE).encode())
    check_order(events)
    assert fold(events) == fold(read(stream_of(WHOLE)))


def test_an_error_in_place_of_an_answer_is_a_failure():
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}'
    (failed,) = MESSAGES.read_answer(body)
    assert (failed.kind, failed.message) == ("overloaded", "busy")


# Refusals

DETAILS = {"type": "refusal", "category": "cyber", "explanation": "No."}


def test_the_details_of_a_refusal_are_kept():
    """Streams and whole answers have the details next to the reason (recorded)."""
    last = read_events(message_start(), *TEXT, message_delta("refusal", stop_details=DETAILS), STOP)[-1]
    assert last == AnswerEnd("refusal", "refusal", None, DETAILS)
    body = START | {"content": [], "stop_reason": "refusal", "stop_details": DETAILS}
    assert MESSAGES.read_answer(json.dumps(body).encode())[-1] == last


# Usage


def test_the_usage_of_a_whole_answer_comes_first_as_in_a_stream():
    """Clients read the input from the start or from the end (router-for-me/CLIProxyAPI#1700)."""
    begin, usage, *_ = MESSAGES.read_answer(json.dumps(WHOLE).encode())
    assert (begin, usage) == (AnswerStart("msg_1", "claude"), Usage(15, 3, output=9))


@each_row("delta_type", ["new_delta", "compaction_delta", "citations_delta", "thinking_delta"])
def test_deltas_that_do_not_belong_in_a_block_shift_no_index(delta_type):
    """What comes later stays in its place (maximhq/bifrost#4890)."""
    odd = [
        block_start(0, type="something_new", data=1),
        delta(0, type=delta_type, content="?", estimated_tokens=3),
        block_stop(0),
    ]
    text = [block_start(1, type="text", text=""), delta(1, type="text_delta", text="a"), block_stop(1)]
    events = read_events(message_start(), *odd, *text, message_delta())
    check_order(events)
    assert TextDelta(1, "a") in events


def test_thinking_that_only_reports_its_progress_is_not_text():
    """With ``thinking.display`` ``omitted``, deltas have an estimate instead of text (anthropic's
    ``BetaThinkingDelta``). Their bytes are still activity of the provider."""
    thinking = [
        block_start(0, type="thinking", thinking="", signature=""),
        *(delta(0, type="thinking_delta", thinking="", estimated_tokens=count) for count in (10, 20)),
        delta(0, type="signature_delta", signature="c2ln"), block_stop(0),
    ]  # fmt: skip
    events = read_events(message_start(), *thinking, message_delta(), STOP)
    check_order(events)
    assert not [event for event in events if isinstance(event, ReasoningDelta)]
    assert [event.item["signature"] for event in events if isinstance(event, ReasoningState)] == ["c2ln"]
