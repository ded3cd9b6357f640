"""The reader of Responses streams and answers."""

from typing import get_args

from openai.types.responses import ResponseStreamEvent

from providers.responses import RESPONSES
from streams import sse
from streams.events import (
    AnswerEnd,
    ErrorInfo,
    ReasoningState,
    TextDelta,
    Usage,
)
from streams.fold import ReasoningBlock, RefusalBlock, TextBlock, fold
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.provider_streams import check_order
from tests.support.responses_streams import (
    created_event,
    ended_event,
    item_added,
    item_done,
    message,
    read,
    stream,
    text_delta,
)

TEXT_STREAM = stream(
    created_event(),
    item_added(0, type="message", id="msg_1", content=[]),
    {"type": "response.content_part.added", "output_index": 0, "content_index": 0, "part": {}},
    text_delta(0, "Grüße,\u2028 "),
    text_delta(0, "Welt 🌍"),
    {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "Grüße,\u2028 Welt 🌍"},
    item_done(0, **message("Grüße,\u2028 Welt 🌍")),
    ended_event("completed", message("Grüße,\u2028 Welt 🌍"), usage={"input_tokens": 9, "output_tokens": 3}),
)


def all_event_types() -> list[str]:
    """Return the types of all events in the openai package but those that start or end an answer, and newer ones."""
    union, _ = get_args(ResponseStreamEvent)
    types = {get_args(member.model_fields["type"].annotation)[0] for member in get_args(union)}
    ends = {"error", *(f"response.{word}" for word in ("created", "queued", "completed", "failed", "incomplete"))}
    newer = {"response.steer.failed", "response.compaction.in_progress", "response.something_new.delta"}
    return sorted((types | newer) - ends)


@each_row("type", all_event_types())
def test_no_event_without_members_breaks_a_stream(type) -> None:
    """Shell calls, compactions and steering have events that no other API has."""
    head, *rest = TEXT_STREAM.split(b"\n\n", 4)[:4], TEXT_STREAM.split(b"\n\n", 4)[4]
    odd = stream({"type": type, "sequence_number": 7})
    events = read(b"\n\n".join(head) + b"\n\n" + odd + rest[0])
    check_order(events)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Grüße,\u2028 Welt 🌍"
    assert events[-1] == AnswerEnd("stop", "completed")


@each_row("kind", ["output_text", "refusal"])
def test_text_that_only_the_final_event_has_is_returned(kind: str) -> None:
    member = "text" if kind == "output_text" else kind
    for whole, want in (("abcd", "abcd"), ("abc", "abc"), ("ab", "abc"), ("Xbyd and another text", "abc")):
        end = {"type": f"response.{kind}.done", "output_index": 0, "content_index": 0, member: whole}
        found = read(
            stream(
                created_event(), text_delta(0, "ab", kind=kind), text_delta(0, "c", kind=kind), end, end, ended_event()
            )
        )
        check_order(found)
        (block,) = fold(found).blocks
        assert isinstance(block, TextBlock | RefusalBlock)
        assert block.text == want


def test_summaries_are_one_block_and_the_item_goes_back_whole() -> None:
    item = {
        "type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA",
        "summary": [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}],
    }  # fmt: skip
    delta = {"type": "response.reasoning_summary_text.delta", "output_index": 0}
    streamed = read(
        stream(
            created_event(),
            item_added(0, type="reasoning", id="rs_1", summary=[]),
            {**delta, "summary_index": 0, "delta": "o"},
            {**delta, "summary_index": 0, "delta": "ne"},
            {**delta, "summary_index": 1, "delta": "two"},
            {"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "delta": "said again"},
            item_done(0, **item),
            text_delta(1, "hi"),
            ended_event("completed", item, message("hi")),
        )
    )
    check_order(streamed)
    blocks = fold(streamed).blocks
    assert blocks == (ReasoningBlock("one\n\ntwo", ReasoningState(0, "responses", item)), TextBlock("hi"))
    assert fold(read(stream(created_event(), ended_event("completed", item, message("hi"))))).blocks == blocks


def test_an_incomplete_answer_whose_reason_is_a_failure_has_failed() -> None:
    details = {"reason": "network_error"}
    end = read(stream(created_event(), text_delta(0, "hi"), ended_event("incomplete", incomplete_details=details)))[-1]
    assert isinstance(end, ErrorInfo)
    assert end.reason == "server_error"


FAILED = ended_event("failed", error={"code": "rate_limit_exceeded", "message": "slow down"})


def test_an_early_end_is_a_failure_and_done_marks_are_no_end() -> None:
    """icebear0828/codex-proxy#108: an end that only the connection tells is none."""
    data = stream(created_event(), text_delta(0, "hi"))
    for tail in (b"", b"data: [DONE]\n\n"):
        assert read(data + tail)[-1] == ErrorInfo(
            "upstream", "the provider ended the stream early", reason="bad_answer"
        )
    assert isinstance(read(TEXT_STREAM + b"data: [DONE]\n\n")[-1], AnswerEnd)


def test_malformed_json_is_a_failure_and_a_completed_that_says_failed_is_no_end() -> None:
    cut = read(stream(created_event()) + b'data: {"type": "response.output\n\n')[-1]
    assert isinstance(cut, ErrorInfo)
    assert "not JSON" in cut.message
    lie = {"type": "response.completed", "response": {"status": "failed", "error": {"message": "x"}}}
    assert isinstance(read(stream(created_event(), lie))[-1], ErrorInfo)


def test_usage_counts_every_token_once() -> None:
    """icebear0828/codex-proxy#587, BerriAI/litellm#35127: the cached part is in the sum, once."""
    for usage, want in [
        (
            {"input_tokens": 12000, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 11008}},
            Usage(992, 11008, output=5),
        ),
        (
            {"input_tokens": 1220, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 1217}},
            Usage(3, 0, 1217),
        ),
        (
            {"input_tokens": 2168, "input_tokens_details": {"cached_tokens": 2161, "cache_write_tokens": 2161}},
            Usage(0, 2161, 7),
        ),
        (
            {"input_tokens": 1, "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 12}},
            Usage(1, output=9, reasoning=9),
        ),
        ({"input_tokens": 0, "output_tokens": "x", "input_tokens_details": None}, Usage()),
    ]:
        with case((usage, want)):
            assert read(stream(created_event(), ended_event(usage=usage)))[-2] == want


def test_whole_answers_fail_by_their_status() -> None:
    error = RESPONSES.read_answer(b'{"error":{"message":"no","code":"invalid_prompt"}}')[-1]
    failed = RESPONSES.read_answer(sse.dump(FAILED["response"]))[-1]
    queued = RESPONSES.read_answer(sse.dump({"object": "response", "status": "queued", "output": []}))[-1]
    assert isinstance(error, ErrorInfo)
    assert error.kind == "invalid_request"
    assert isinstance(failed, ErrorInfo)
    assert failed.kind == "rate_limited"
    assert isinstance(queued, ErrorInfo)


# Log probabilities
