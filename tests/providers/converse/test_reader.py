"""The reader of Converse answers, whole and streamed, in pieces of any size."""

import json
from collections.abc import Iterable
from typing import Any

import pytest

from providers.converse import CONVERSE
from streams import event_stream
from streams.event_stream import EVENT_STREAM
from streams.events import (
    AnswerEnd,
    AnswerStart,
    Citation,
    ErrorInfo,
    Event,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import Answer, NativeBlock, ReasoningBlock, TextBlock, ToolCallBlock, fold
from tests.support.block_events import text_events, thought_events
from tests.support.cases import case
from tests.support.converse_recordings import ConverseRecording, converse_recordings
from tests.support.each_row import each_row
from tests.support.provider_streams import check_order, read_pieces
from tests.support.recordings import ABSENT

recorded = pytest.mark.skipif(not converse_recordings(), reason=ABSENT)


def read(pieces: Iterable[bytes], content_limit: int = 2**20) -> list[Event]:
    return read_pieces(CONVERSE, pieces, content_limit)


def frame(name: str, **value: Any) -> bytes:
    return event_stream.event_frame(name, json.dumps(value).encode())


def delta(index: int, **value: Any) -> bytes:
    return frame("contentBlockDelta", contentBlockIndex=index, delta=value)


def start(index: int, **value: Any) -> bytes:
    return frame("contentBlockStart", contentBlockIndex=index, start=value)


def stop(index: int) -> bytes:
    return frame("contentBlockStop", contentBlockIndex=index)


BEGIN = frame("messageStart", role="assistant")
USAGE = frame("metadata", usage={"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, metrics={"latencyMs": 1})


def end(word: str = "end_turn", **more: Any) -> bytes:
    return frame("messageStop", stopReason=word, **more)


def content_blocks(answer: Answer) -> list[Any]:
    """Return the blocks of an answer in Converse's words, without empty ones."""
    blocks: list[Any] = []
    for block in answer.blocks:
        match block:
            case TextBlock(text=text, citations=citations):
                blocks.append(("text", text, [plain_citation(cited.item) for cited in citations]))
            case ReasoningBlock(text=text, state=state):
                blocks.append(("reasoning", text, state and state.item))
            case ToolCallBlock(id=id, name=name, input=input):
                blocks.append(("call", id, name, json.loads(input or "{}")))
            case NativeBlock(kind=kind, item=item):
                blocks.append(("native", kind, item))
    return blocks


def plain_citation(citation: dict[str, Any]) -> dict[str, Any]:
    """Return a citation without the additions for other APIs."""
    return {name: citation[name] for name in citation if name in ("location", "sourceContent")}


def expected_blocks(recording: ConverseRecording) -> list[Any]:
    """Read the same from the recording by hand."""
    blocks: list[Any] = []
    for block in recording.blocks:
        if cited := block.get("citationsContent"):
            citations = list(map(plain_citation, cited["citations"]))
            if text := "".join(part["text"] for part in cited.get("content", ())):
                blocks.append(("text", text, citations))
            else:  # of the text before
                blocks[-1][2].extend(citations)
        elif block.get("text"):
            blocks.append(("text", block["text"], list(map(plain_citation, block.get("citations", ())))))
        elif reasoning := block.get("reasoningContent"):
            text = reasoning.get("reasoningText", {})
            signed = "signature" in text or "redactedContent" in reasoning
            blocks.append(("reasoning", text.get("text", ""), reasoning if signed else None))
        elif (call := block.get("toolUse")) and call.get("type") != "server_tool_use":
            blocks.append(("call", call["toolUseId"], call["name"], call["input"]))
        elif "text" not in block:
            ((kind, _),) = block.items()
            blocks.append(("native", kind, block))
    return blocks


@recorded
def test_recorded_answers_match_a_manual_reading():
    for recording in converse_recordings():
        events = read([recording.body]) if recording.is_streamed else list(CONVERSE.read_answer(recording.body))
        check_event_order(events)
        answer = fold(events)
        assert content_blocks(answer) == expected_blocks(recording), recording.name
        assert answer.end.raw == recording.stop, recording.name
        usage = answer.usage or Usage()
        assert usage.prompt + usage.output == recording.usage["totalTokens"], recording.name


def check_event_order(events: list[Event]) -> None:
    """Fail if the events are out of order, or the answer ended badly."""
    check_order(events)
    assert isinstance(events[-1], AnswerEnd)


def test_the_stop_does_not_end_the_answer_and_the_counts_come_after_it():
    events = read([BEGIN, delta(0, text="Hi"), stop(0), end(), USAGE])
    assert events == [AnswerStart(), *text_events(0, "Hi"), Usage(input=3, output=2), AnswerEnd("stop", "end_turn")]


def test_an_answer_without_counts_is_complete():
    assert read([BEGIN, delta(0, text="Hi"), end("max_tokens")])[-1] == AnswerEnd("length", "max_tokens")


def test_an_interrupted_stream_is_not_an_answer():
    for pieces in ([], [BEGIN], [BEGIN, delta(0, text="Hi"), stop(0)], [BEGIN, USAGE]):
        failed = read(pieces)[-1]
        assert isinstance(failed, ErrorInfo)
        assert failed.reason == "bad_answer"


def test_an_answer_without_its_first_event_begins_with_its_first_piece():
    assert read([delta(0, text="Hi"), end(), USAGE])[:2] == [AnswerStart(), TextDelta(0, "Hi")]


def test_interleaved_calls_keep_their_arguments():
    events = read([
        BEGIN,
        start(0, toolUse={"toolUseId": "a", "name": "one"}),
        start(1, toolUse={"toolUseId": "b", "name": "two"}),
        delta(1, toolUse={"input": '{"b":'}),
        delta(0, toolUse={"input": '{"a":'}),
        delta(1, toolUse={"input": "2}"}),
        delta(0, toolUse={"input": "1}"}),
        stop(1), stop(0), end("tool_use"), USAGE,
    ])  # fmt: skip
    check_event_order(events)
    assert content_blocks(fold(events)) == [("call", "a", "one", {"a": 1}), ("call", "b", "two", {"b": 2})]


def test_interleaved_texts_and_reasoning_become_consecutive_blocks():
    events = read([
        BEGIN, delta(0, reasoningContent={"text": "think"}), delta(1, text="say"),
        delta(0, reasoningContent={"signature": "sig"}), delta(1, text=" more"), end(), USAGE,
    ])  # fmt: skip
    check_event_order(events)
    assert [block for block in content_blocks(fold(events)) if block[0] == "text"] == [
        ("text", "say", []),
        ("text", " more", []),
    ]


def test_arguments_are_passed_unchanged():
    """Garbled pieces of some models' calls are for the client to judge (aws/bedrock-agentcore-sdk-python#425)."""
    events = read([
        BEGIN, start(0, toolUse={"toolUseId": "a", "name": "one"}), delta(0, toolUse={"input": '{"a": 1'}),
        delta(0, toolUse={"input": ""}), stop(0), start(1, toolUse={"toolUseId": "a", "name": "two"}), stop(1),
        end("tool_use"), USAGE,
    ])  # fmt: skip
    assert [event for event in events if isinstance(event, ToolCallDelta)] == [ToolCallDelta(0, '{"a": 1')]
    first, second = (event for event in events if isinstance(event, ToolCallStart))
    assert first == ToolCallStart(0, "a", "one")
    assert second.id.startswith("tooluse_")  # an id that stood already is no id
    assert second.name == "two"


def test_a_piece_of_a_call_that_has_not_begun_is_a_failure():
    failed = read([BEGIN, delta(0, toolUse={"input": "{}"}), stop(0), end("tool_use"), USAGE])[-1]
    assert isinstance(failed, ErrorInfo)
    assert failed.reason == "bad_answer"


def test_signed_reasoning_is_kept_whole():
    events = read([
        BEGIN, delta(0, reasoningContent={"text": "I "}), delta(0, reasoningContent={"text": "think"}),
        delta(0, reasoningContent={"signature": "s1"}), delta(0, reasoningContent={"signature": "s2"}), stop(0),
        delta(1, reasoningContent={"redactedContent": "AAEC"}), stop(1),
        delta(2, reasoningContent={"signature": "lone"}), stop(2), end(), USAGE,
    ])  # fmt: skip
    check_event_order(events)
    assert content_blocks(fold(events)) == [
        ("reasoning", "I think", {"reasoningText": {"text": "I think", "signature": "s1s2"}}),
        ("reasoning", "", {"redactedContent": "AAEC"}),
        ("reasoning", "", {"reasoningText": {"text": "", "signature": "lone"}}),
    ]


def test_pieces_of_redacted_reasoning_are_joined_as_bytes():
    events = read([
        BEGIN, delta(0, reasoningContent={"redactedContent": "AA=="}),
        delta(0, reasoningContent={"redactedContent": "AQI="}), stop(0), end(), USAGE,
    ])  # fmt: skip
    assert ReasoningState(0, "converse", {"redactedContent": "AAEC"}) in events


def test_unsigned_reasoning_has_nothing_to_give_back():
    events = read([BEGIN, delta(0, reasoningContent={"text": "hm"}), stop(0), end(), USAGE])
    assert events[1:3] == thought_events(0, "hm")


def test_a_page_that_is_cited_after_its_text_is_cited_in_it():
    page = {"location": {"web": {"url": "https://example.org/a", "domain": "example.org"}}}
    events = read([BEGIN, delta(0, text="So."), stop(0), delta(1, citation=page), stop(1), end(), USAGE])
    check_event_order(events)
    item = {"title": "example.org", **page, "url": "https://example.org/a"}
    assert events[1:4] == text_events(0, "So.", Citation(0, "converse", item))


def test_a_citation_in_front_of_its_text_waits_for_it():
    events = read([BEGIN, delta(0, citation={"title": "a"}), delta(0, text="So."), stop(0), end(), USAGE])
    check_event_order(events)
    assert events[1:3] == [TextDelta(0, "So."), Citation(0, "converse", {"title": "a"})]


def test_calls_that_the_provider_runs_do_not_reach_the_client():
    call = {"toolUseId": "t", "name": "nova_code_interpreter", "type": "server_tool_use"}
    result = {"toolUseId": "t", "type": "nova_code_interpreter_result", "status": "success"}
    events = read([
        BEGIN, start(0, toolUse=call), delta(0, toolUse={"input": '{"snippet":'}), delta(0, toolUse={"input": '"1"}'}),
        stop(0), start(1, toolResult=result), delta(1, toolResult=[{"json": {"stdOut": "1"}}]), stop(1),
        delta(2, text="1"), stop(2), end(), USAGE,
    ])  # fmt: skip
    check_event_order(events)
    assert content_blocks(fold(events)) == [
        ("native", "toolUse", {"toolUse": {**call, "input": {"snippet": "1"}}}),
        ("native", "toolResult", {"toolResult": {**result, "content": [{"json": {"stdOut": "1"}}]}}),
        ("text", "1", []),
    ]


def test_an_exception_in_mid_stream_fails_the_answer_by_its_type():
    """It fell through a default case, and half an answer was a success (aaif-goose/goose#9579, crmne/ruby_llm#871)."""
    for kind, expected, reason in [
        ("throttlingException", "rate_limited", "rate_limited"),
        ("serviceUnavailableException", "overloaded", "overloaded"),
        ("modelTimeoutException", "timeout", "timeout"),
        ("validationException", "invalid_request", "invalid"),
        ("modelStreamErrorException", "upstream", "server_error"),
        ("internalServerException", "upstream", "server_error"),
        ("somethingElse", "upstream", "server_error"),
    ]:
        with case((kind, expected, reason)):
            failing = event_stream.exception_frame(kind, b'{"message":"no"}')
            for before in ([BEGIN], [BEGIN, delta(0, text="Hi")], [BEGIN, delta(0, text="Hi"), stop(0), end()]):
                events = read([*before, failing, delta(0, text="more"), end(), USAGE])
                failed = events[-1]
                assert isinstance(failed, ErrorInfo)
                assert (failed.kind, failed.reason, failed.message) == (expected, reason, "no")
                assert not any(isinstance(event, AnswerEnd) for event in events)


def test_an_error_that_no_model_of_the_service_knows_fails_it_too():
    headers = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "broken"}
    failed = read([BEGIN, event_stream.build_frame(headers, b""), end(), USAGE])[-1]
    assert isinstance(failed, ErrorInfo)
    assert failed.message == "broken"


@each_row(
    "word, reason",
    [
        ("end_turn", "stop"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("guardrail_intervened", "refusal"),
        ("content_filtered", "refusal"),
        ("model_context_window_exceeded", "context_exceeded"),
        ("something_new", "stop"),
    ],
)
def test_stop_reasons_have_a_neutral_word(word, reason):
    answer = fold(read([BEGIN, delta(0, text="Sorry."), end(word), USAGE]))
    assert (answer.end.reason, answer.end.raw, content_blocks(answer)) == (reason, word, [("text", "Sorry.", [])])


def test_malformed_output_is_a_failure_streamed_and_whole():
    """It came out as an empty answer that looked complete (Wei-Shaw/sub2api#7081, NousResearch/hermes-agent#83886)."""
    for word in ("malformed_model_output", "malformed_tool_use"):
        whole = {"output": {"message": {"role": "assistant", "content": [{"text": "x"}]}}, "stopReason": word}
        for events in (read([BEGIN, delta(0, text="x"), end(word), USAGE]), CONVERSE.read_answer(as_json(whole))):
            failed = events[-1]
            assert isinstance(failed, ErrorInfo)
            assert (failed.reason, word in failed.message) == ("bad_answer", True)


def test_the_stop_string_is_read_from_the_models_own_fields():
    events = read([BEGIN, end("stop_sequence", additionalModelResponseFields={"stop_sequence": "END"}), USAGE])
    assert events[-1] == AnswerEnd("stop_sequence", "stop_sequence", "END")


def test_the_prompt_includes_cached_tokens():
    """The input excludes cached tokens. Another gateway subtracted them again, and billed no input
    (crmne/ruby_llm#832, librefang/librefang#5879)."""
    for read_name in ("cacheReadInputTokens", "cacheReadInputTokenCount"):
        counts = {"inputTokens": 562, read_name: 3059, "outputTokens": 10, "totalTokens": 3631}
        usage = fold(read([BEGIN, end(), frame("metadata", usage=counts)])).usage
        assert (usage.input, usage.cache_read, usage.prompt) == (562, 3059, 3621)
    written = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 32, "cacheWriteInputTokens": 30,
               "cacheDetails": [{"ttl": "5m", "inputTokens": 10}, {"ttl": "1h", "inputTokens": 20}]}  # fmt: skip
    usage = fold(read([BEGIN, end(), frame("metadata", usage=written, serviceTier={"type": "flex"})])).usage
    assert usage == Usage(input=1, cache_write=30, cache_write_5m=10, cache_write_1h=20, output=1)
    assert usage.tier == "flex"


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def test_an_answer_without_content_ends_with_its_reason():
    whole = {"output": {"message": {"role": "assistant", "content": []}}, "stopReason": "max_tokens"}
    assert CONVERSE.read_answer(as_json(whole)) == [AnswerStart(), AnswerEnd("length", "max_tokens")]


def test_other_events_are_ignored():
    odd = [
        frame("brandNew", x=1), delta(0), delta(0, text=None), delta(0, text=""), delta(0, video={"x": 1}),
        start(3, toolUse=None), frame("contentBlockStart", contentBlockIndex="a", start=[]), stop(9),
    ]  # fmt: skip
    assert read([BEGIN, *odd, end(), USAGE]) == [AnswerStart(), Usage(input=3, output=2), AnswerEnd("stop", "end_turn")]
    failed = read([BEGIN, event_stream.event_frame("messageStop", b"{no")])[-1]
    assert isinstance(failed, ErrorInfo)


@each_row("content", ["x", 1, {}, None])
def test_a_result_is_read_even_if_its_content_does_not_start_as_a_list(content):
    result = {"toolUseId": "a", "content": content}
    events = read([BEGIN, start(0, toolResult=result), delta(0, toolResult=[{"text": "x"}]), stop(0), end(), USAGE])
    assert fold(events).blocks[0].item == {"toolResult": {"toolUseId": "a", "content": [{"text": "x"}]}}


def test_a_reader_with_content_limit_0_holds_nothing():
    call = {"toolUseId": "t", "name": "nova_grounding", "type": "server_tool_use"}
    pieces = [
        BEGIN, delta(0, reasoningContent={"text": "hm"}), delta(0, reasoningContent={"signature": "s"}), stop(0),
        start(1, toolUse=call), delta(1, toolUse={"input": "{}"}), stop(1), delta(2, text="x"), end(), USAGE,
    ]  # fmt: skip
    events = read(pieces, content_limit=0)
    check_event_order(events)
    assert not any(isinstance(event, ReasoningState) for event in events)
    assert isinstance(events[-1], AnswerEnd)


def test_an_answer_beyond_the_bounds_is_a_failure():
    for pieces in (
        [start(index, toolUse={"toolUseId": f"c{index}", "name": "x"}) for index in range(3000)],
        [delta(0, reasoningContent={"text": "x" * 1000}) for _ in range(200)],
    ):
        failed = read([BEGIN, *pieces, end(), USAGE], content_limit=100_000)[-1]
        assert isinstance(failed, ErrorInfo)
        assert "too many" in failed.message


def test_frames_are_written_as_they_were_read():
    writer = EVENT_STREAM.writer() if EVENT_STREAM.writer else None
    assert writer is not None
    failing = event_stream.exception_frame("throttlingException", b'{"message":"no"}')
    for raw in (BEGIN, delta(0, text="Hi"), failing):
        assert writer.event(*(EVENT_STREAM.parse(raw) or ("", b""))) == raw
    assert writer.close() == b""
